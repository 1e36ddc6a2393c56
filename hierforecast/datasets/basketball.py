"""Simulated basketball: the data set that needs no file."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hierforecast.datasets._basketball_game import NORMALS, STEP, UNIFORMS, Game
from hierforecast.datasets._loader import with_tracks
from hierforecast.datasets._tracks import AGENTS, BALL, BY_ID, COURT, TEAM_SIZE, tracks_to_frame

STEP_SECONDS = STEP
WARM_UP = 20  # steps that are played before the first recorded one
CAMERA_NOISE = 0.02  # ft, standard deviation of what is recorded around where they are
CHUNK = 512  # scenes that advance together: their arrays stay in the processor's cache


@with_tracks
def simulate_basketball(
    n_scenes: int, n_steps: int = 50, seed: int = 0, missing: float = 0.0
) -> pd.DataFrame:
    """Scenes of simulated basketball: ten players and a ball on a court of 94 x 50 feet.

    Players have momentum and limits, run between spots, mark, help, crowd and avoid each other;
    the ball is dribbled, passed, shot, rebounded and lost. Within a team all players are alike, so
    are both teams and both directions of play. A scene depends on `seed` and its own number only:
    scene 3 is the same whatever `n_scenes` and `missing` are.

    Args:
        n_scenes: number of independent scenes, numbered from 0.
        n_steps: recorded steps per scene, 0.16 s apart.
        seed: non-negative; the same seed gives the same frame.
        missing: share of the player-steps, 0 <= missing < 1, that are left out. A third of it
            are players absent for the whole scene, the rest are gaps: players leave and come
            back. The ball is never missing. Missing is a row that is not there.

    Returns:
        Columns ``scene, ds`` (integers), ``unique_id`` (``ball``, ``home_0``..``home_4``,
        ``away_0``..``away_4``), ``team``, ``kind`` (``ball`` or ``player``), ``x``, ``y`` (feet,
        origin at a corner), sorted by scene, ds and unique_id.

    Raises:
        ValueError: if an argument is out of range.
    """
    _check(n_scenes, n_steps, seed, missing)
    tracks = np.empty((n_scenes, n_steps, len(AGENTS), 2))
    for start in range(0, n_scenes, CHUNK):
        numbers = range(start, min(start + CHUNK, n_scenes))
        tracks[start : start + CHUNK] = _play(numbers, n_steps, seed)
    lengths = np.full(n_scenes, n_steps)
    tracks, agents = tracks[:, :, BY_ID], [AGENTS[slot] for slot in BY_ID]
    if missing > 0:
        players = [slot for slot, agent in enumerate(agents) if agent != BALL]
        present = _present(n_scenes, n_steps, seed, missing)
        tracks[:, :, players] = np.where(present[..., None], tracks[:, :, players], np.nan)
    return tracks_to_frame(tracks.reshape(-1, len(agents), 2), lengths, agents)


def _check(n_scenes: int, n_steps: int, seed: int, missing: float) -> None:
    for name, value, least in (
        ("n_scenes", n_scenes, 1),
        ("n_steps", n_steps, 1),
        ("seed", seed, 0),
    ):
        if not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    if not 0 <= missing < 1:
        raise ValueError(f"missing is a share, 0 <= missing < 1, not {missing!r}")


def _generator(seed: int, scene: int, purpose: int) -> np.random.Generator:
    """Random numbers of one scene, apart from those of every other scene and purpose."""
    return np.random.Generator(np.random.PCG64([seed, scene, purpose]))


def _play(numbers: range, n_steps: int, seed: int) -> NDArray[np.float64]:
    """Tracks ``(scenes, n_steps, 11, 2)`` of the scenes with these numbers."""
    generators = [_generator(seed, number, 0) for number in numbers]
    total = n_steps + WARM_UP
    setup = np.stack([g.random(UNIFORMS) for g in generators])
    symmetry = np.stack([g.random(3 + 2 * TEAM_SIZE) for g in generators])
    normal = np.stack([g.standard_normal((total, NORMALS)) for g in generators])
    uniform = np.stack([g.random((total, UNIFORMS)) for g in generators])
    camera = np.stack([g.standard_normal((n_steps, len(AGENTS), 2)) for g in generators])

    game = Game(setup)
    tracks = np.empty((len(generators), n_steps, len(AGENTS), 2))
    for step in range(total):
        game.step(normal[:, step], uniform[:, step])
        if step >= WARM_UP:
            tracks[:, step - WARM_UP] = game.on_court()
    return np.clip(_disguise(tracks, symmetry) + CAMERA_NOISE * camera, 0.0, COURT)


def _disguise(tracks: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shuffle players within teams, swap teams and mirror the court, per scene and at random.

    Nothing can then be learned from a player's number, a team's name or a direction.
    """
    players = np.argsort(uniform[:, 3:].reshape(-1, 2, TEAM_SIZE), axis=2)
    swap = (uniform[:, 0] < 0.5).astype(int)
    sides = np.stack([swap, 1 - swap], axis=1)[..., None]
    order = (1 + players + TEAM_SIZE * sides).reshape(len(tracks), -1)
    order = np.concatenate([np.zeros((len(tracks), 1), int), order], axis=1)
    tracks = np.take_along_axis(tracks, order[:, None, :, None], axis=2)
    mirror = (uniform[:, 1:3] < 0.5)[:, None, None]
    return np.where(mirror, COURT - tracks, tracks)


def _present(n_scenes: int, n_steps: int, seed: int, missing: float) -> NDArray[np.bool_]:
    """``(n_scenes, n_steps, 10)``: whom the camera sees. Gaps are a two-state Markov chain."""
    whole = missing / 3
    gap_share = (missing - whole) / (1 - whole)
    length = max(n_steps / 4, gap_share / (1 - gap_share), 1.0)  # mean steps of a gap
    leave = gap_share / (length * (1 - gap_share))
    width = 2 * TEAM_SIZE
    uniform = np.stack(
        [_generator(seed, s, 1).random((n_steps + 1, width)) for s in range(n_scenes)]
    )
    absent = uniform[:, 0] < whole
    seen = uniform[:, 1] >= gap_share
    present = np.empty((n_scenes, n_steps, width), bool)
    for step in range(n_steps):
        if step:
            seen = np.where(seen, uniform[:, step + 1] >= leave, uniform[:, step + 1] < 1 / length)
        present[:, step] = seen & ~absent
    return present
