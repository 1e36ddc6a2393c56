"""How the simulated players want to move and what pushes them: pure functions of arrays.

Everything is in the attack frame of `hierforecast.datasets._basketball_game`. Axes: ``S`` scenes,
2 sides (attack, defence), 5 players, 2 coordinates. Feet and seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierforecast.datasets._tracks import COURT, HOOPS, TEAM_SIZE

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LIMIT = np.array(COURT)
HOOP = np.array(HOOPS[1])
ACCELERATION = 16.0  # ft/s^2, the most a player can do
BRAKING = 7.0
REACTION = 0.25  # s, the lag with which a marker sees his man
WALL = 2.5  # ft from the line at which players turn away


def norm(vector: Array) -> Array:
    """Length over the last axis, of two."""
    x, y = vector[..., 0], vector[..., 1]
    return np.sqrt(x * x + y * y)  # a sum over an axis of two is three times slower


def unit(vector: Array) -> Array:
    """Direction; zero stays zero."""
    return vector / (norm(vector) + 1e-9)[..., None]


def pull_back(vector: Array, longest: Array | float) -> Array:
    """Shorten the vectors that are longer than allowed."""
    return vector * np.minimum(1.0, longest / (norm(vector) + 1e-9))[..., None]


def run_to(goal: Array, position: Array, pace: Array) -> Array:
    """Velocities ``(S, 5, 2)`` of players who run to a place and slow down to stop there."""
    way = goal - position
    left = norm(way)
    speed = np.minimum(pace, np.minimum(np.sqrt(2 * BRAKING * left), 1.5 * left))
    return unit(way) * speed[..., None]


def mark(defence: Array, seen: Array, velocity: Array, ball: Array, has: Mask) -> Array:
    """Velocities ``(S, 5, 2)`` of markers, who stand between their man, the hoop and the ball.

    Args:
        defence: ``(S, 5, 2)`` where they are.
        seen: ``(S, 5, 2)`` where they believe their men to be.
        velocity: ``(S, 5, 2)`` of their men.
        ball: ``(S, 2)``.
        has: ``(S, 5)`` whether the man has the ball; he is marked tightly.
    """
    to_hoop = HOOP - seen
    tight = unit(to_hoop) * np.minimum(4.5, 0.3 * norm(to_hoop))[..., None]
    sag = 0.24 * to_hoop + 0.17 * (ball[:, None] - seen)
    post = seen + np.where(has[..., None], tight, sag)
    return 1.7 * (post - defence) + 0.55 * velocity


def elbow_room(position: Array) -> Array:
    """Players push each other apart below 3 feet, which is also what makes a screen work."""
    everybody = position.reshape(-1, 2 * TEAM_SIZE, 2)
    x, y = everybody[..., 0], everybody[..., 1]
    dx, dy = x[:, :, None] - x[:, None], y[:, :, None] - y[:, None]
    distance = np.sqrt(dx * dx + dy * dy) + 1e-6
    push = np.maximum(3.0 - distance, 0.0) * 7.0 / distance
    total = [np.einsum("sij,sij->si", push, d) for d in (dx, dy)]
    return np.stack(total, -1).reshape(position.shape)


def walls(position: Array) -> Array:
    """What turns players back before the lines."""
    low, high = WALL - position, position - (LIMIT - WALL)
    return 9.0 * (np.maximum(low, 0) - np.maximum(high, 0))
