"""Lines of playing surfaces, in the units of their rule books: plain points, nothing is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Polyline = np.ndarray  # (points, 2)

COURT = (94.0, 50.0)  # feet, origin at a corner
PITCH = (105.0, 68.0)  # meters, origin at the center spot
FIELD = (120.0, 160 / 3)  # yards with both end zones, origin at a corner
HOOP = 5.25  # baseline to the center of the rim
THREE_POINT, CORNER = 23.75, 22.0  # radius of the arc; distance of its straight parts


def arc(x: float, y: float, radius: float, start: float = 0.0, stop: float = 360.0) -> Polyline:
    """Points of a circular arc, degrees counter-clockwise, about one point every 3 degrees."""
    angles = np.radians(np.linspace(start, stop, max(8, int(abs(stop - start) / 3) + 1)))
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def box(x0: float, y0: float, x1: float, y1: float) -> Polyline:
    """The closed outline of a rectangle between two opposite corners."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]])


def _dashes(line: Polyline) -> list[Polyline]:
    """Every other pair of points, for the hidden half of the free-throw circle."""
    return [line[i : i + 3] for i in range(0, len(line) - 2, 4)]


def court_lines() -> list[Polyline]:
    """Lines of an NBA court, feet, origin at a corner (NBA Official Rules, rule 1)."""
    length, width = COURT
    middle = width / 2
    reach = math.degrees(math.asin(CORNER / THREE_POINT))
    bend = HOOP + math.sqrt(THREE_POINT**2 - CORNER**2)
    half = [
        box(0, middle - 8, 19, middle + 8),
        arc(19, middle, 6, -90, 90),
        *_dashes(arc(19, middle, 6, 90, 270)),
        np.concatenate(
            [
                [[0.0, middle - CORNER], [bend, middle - CORNER]],
                arc(HOOP, middle, THREE_POINT, -reach, reach),
                [[bend, middle + CORNER], [0.0, middle + CORNER]],
            ]
        ),
        np.concatenate([[[4.0, middle - 4]], arc(HOOP, middle, 4, -90, 90), [[4.0, middle + 4]]]),
        np.array([[4.0, middle - 3], [4.0, middle + 3]]),
        np.array([[4.0, middle], [HOOP - 0.75, middle]]),
        arc(HOOP, middle, 0.75),
        np.array([[28.0, 0.0], [28.0, 3.0]]),
        np.array([[28.0, width], [28.0, width - 3.0]]),
    ]
    mirrored = [line * [-1.0, 1.0] + [length, 0.0] for line in half]
    center = [
        box(0, 0, length, width),
        np.array([[length / 2, 0.0], [length / 2, width]]),
        arc(length / 2, middle, 6),
        arc(length / 2, middle, 2),
    ]
    return [*half, *mirrored, *center]


def pitch_lines(length: float = PITCH[0], width: float = PITCH[1]) -> list[Polyline]:
    """Lines of a soccer pitch, meters, origin at the center spot (IFAB Laws of the Game, law 1)."""
    end, side = length / 2, width / 2
    spot = end - 11.0
    open_angle = math.degrees(math.acos(5.5 / 9.15))  # the arc outside the penalty area
    right = [
        box(end - 16.5, -20.16, end, 20.16),
        box(end - 5.5, -9.16, end, 9.16),
        box(end, -3.66, end + 2.0, 3.66),
        arc(spot, 0, 9.15, 180 - open_angle, 180 + open_angle),
        arc(spot, 0, 0.2),
        arc(end, side, 1.0, 180, 270),
        arc(end, -side, 1.0, 90, 180),
    ]
    center = [
        box(-end, -side, end, side),
        np.array([[0.0, -side], [0.0, side]]),
        arc(0, 0, 9.15),
        arc(0, 0, 0.2),
    ]
    return [*right, *(line * [-1.0, 1.0] for line in right), *center]


def field_lines() -> list[Polyline]:
    """Lines of an NFL field, yards, origin at a corner: every fifth yard and the inner marks."""
    length, width = FIELD
    every = [np.array([[x, 0.0], [x, width]]) for x in np.arange(10.0, length - 9.0, 5.0)]
    marks = [
        np.array([[x, y - 0.5], [x, y + 0.5]])
        for x in range(11, int(length) - 10)
        for y in (70.75 / 3, width - 70.75 / 3)
    ]
    return [box(0, 0, length, width), *every, *marks]


@dataclass(frozen=True)
class Rink:
    """Measures of a rink for ice hockey, all in one unit.

    Args:
        size: length and width.
        corner: radius of the boards' corners.
        goal_line, blue_line: from the end boards.
        spot: of an end zone: from the goal line, and from the axis of the rink.
        neutral: from the blue line to the spots of the neutral zone.
        circle: radius about the spots.
        crease: radius, and half the width at the goal line.
        goal: half its width.
        behind: half the width of the goalkeeper's area behind the goal, at the goal line and at the
            boards; None where there is none.
    """

    size: tuple[float, float]
    corner: float
    goal_line: float
    blue_line: float
    spot: tuple[float, float]
    neutral: float
    circle: float
    crease: tuple[float, float]
    goal: float
    behind: tuple[float, float] | None = None


# NHL Official Rules, rule 1, feet; IIHF Official Rule Book 2023/24, rule 1, meters.
NHL = Rink((200.0, 85.0), 28, 11, 75, (20, 22), 5, 15, (6, 4), 3, (11, 14))
IIHF = Rink((60.0, 30.0), 8.5, 4, 22.86, (6, 7), 1.5, 4.5, (1.8, 1.22), 0.915)


def rink_lines(rink: Rink) -> dict[str, list[Polyline]]:
    """The boards ("border"), and red and blue lines, of a rink, origin at center ice."""
    end, side = rink.size[0] / 2, rink.size[1] / 2
    goal, blue, (deep, wide) = end - rink.goal_line, end - rink.blue_line, rink.spot
    dot, y = rink.circle / 15, _half_width(rink, goal)
    back = 1.1 * rink.goal
    radius, half = rink.crease
    open_angle = math.degrees(math.asin(half / radius))
    crease = arc(goal, 0, radius, 180 - open_angle, 180 + open_angle)
    red = [
        np.array([[goal, -y], [goal, y]]),
        box(goal, -rink.goal, goal + back, rink.goal),
        *(arc(goal - deep, at, rink.circle) for at in (-wide, wide)),
        *(arc(goal - deep, at, dot) for at in (-wide, wide)),
        *(arc(blue - rink.neutral, at, dot) for at in (-wide, wide)),
        np.concatenate([[[goal, half]], crease, [[goal, -half]]]),
    ]
    if rink.behind is not None:
        near, far = rink.behind
        red += [np.array([[goal, near * up], [end, far * up]]) for up in (-1, 1)]
    center = [np.array([[0.0, -side], [0.0, side]])]
    return {
        "border": [_rounded(end, side, rink.corner)],
        "red": [*red, *(line * [-1.0, 1.0] for line in red), *center],
        "blue": [
            *(np.array([[x, -side], [x, side]]) for x in (-blue, blue)),
            arc(0, 0, rink.circle),
            arc(0, 0, dot / 2),
        ],
    }


def _half_width(rink: Rink, x: float) -> float:
    """From the axis of a rink to its boards, x from center ice; corners are round."""
    into = x - (rink.size[0] / 2 - rink.corner)
    cut = rink.corner - math.sqrt(rink.corner**2 - max(into, 0.0) ** 2)
    return rink.size[1] / 2 - cut


def _rounded(end: float, side: float, radius: float) -> Polyline:
    """The closed outline of a rectangle about the origin with round corners."""
    corners = [
        arc(x * (end - radius), y * (side - radius), radius, start, start + 90)
        for x, y, start in ((1, 1, 0), (-1, 1, 90), (-1, -1, 180), (1, -1, 270))
    ]
    return np.concatenate([*corners, corners[0][:1]])


def grid_lines(low: np.ndarray, high: np.ndarray, cell: float) -> list[Polyline]:
    """The lines of a grid of squares between two corners (2,)."""
    every = [np.arange(a, b + cell / 2, cell) for a, b in zip(low, high, strict=True)]
    up = [np.array([[x, low[1]], [x, high[1]]]) for x in every[0]]
    return up + [np.array([[low[0], y], [high[0], y]]) for y in every[1]]
