"""Playing surfaces drawn line by line: an NBA court in feet, a soccer pitch in metres."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from hierforecast.errors import DataError
from hierforecast.plot.style import FLOOR, FLOOR_LINES, GRASS, GRASS_LINES

Polyline = np.ndarray  # (points, 2)
Surface = str | Callable[[Axes], object] | None

COURT = (94.0, 50.0)  # feet, origin at a corner
PITCH = (105.0, 68.0)  # metres, origin at the centre spot
HOOP = 5.25  # baseline to the centre of the rim
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
    centre = [
        box(0, 0, length, width),
        np.array([[length / 2, 0.0], [length / 2, width]]),
        arc(length / 2, middle, 6),
        arc(length / 2, middle, 2),
    ]
    return [*half, *mirrored, *centre]


def pitch_lines(length: float = PITCH[0], width: float = PITCH[1]) -> list[Polyline]:
    """Lines of a soccer pitch, metres, origin at the centre spot (IFAB Laws of the Game, law 1)."""
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
    centre = [
        box(-end, -side, end, side),
        np.array([[0.0, -side], [0.0, side]]),
        arc(0, 0, 9.15),
        arc(0, 0, 0.2),
    ]
    return [*right, *(line * [-1.0, 1.0] for line in right), *centre]


def draw_court(
    ax: Axes, *, color: str = FLOOR_LINES, floor: str | None = FLOOR, linewidth: float = 1.3
) -> Axes:
    """Draw a full NBA court, 94 x 50 ft with the origin at a corner.

    Args:
        ax: axes to draw on; their limits, aspect and frame are set.
        color: colour of the lines.
        floor: colour of the floor, or None for none.
        linewidth: points.
    """
    return _draw(ax, court_lines(), (0.0, 0.0, *COURT), 1.5, color, floor, linewidth)


def draw_pitch(
    ax: Axes,
    *,
    length: float = PITCH[0],
    width: float = PITCH[1],
    color: str = GRASS_LINES,
    floor: str | None = GRASS,
    linewidth: float = 1.3,
) -> Axes:
    """Draw a soccer pitch in metres with the origin at the centre spot.

    Args:
        ax: axes to draw on; their limits, aspect and frame are set.
        length: goal line to goal line, metres.
        width: touch line to touch line, metres.
        color: colour of the lines.
        floor: colour of the grass, or None for none.
        linewidth: points.
    """
    lines = pitch_lines(length, width)
    return _draw(ax, lines, (-length / 2, -width / 2, length, width), 3.0, color, floor, linewidth)


def _draw(
    ax: Axes,
    lines: list[Polyline],
    extent: tuple[float, float, float, float],
    margin: float,
    color: str,
    floor: str | None,
    linewidth: float,
) -> Axes:
    x, y, length, width = extent
    if floor is not None:
        ax.add_patch(Rectangle((x, y), length, width, facecolor=floor, edgecolor="none", zorder=0))
    drawn = LineCollection(lines, colors=color, linewidths=linewidth, zorder=0.5)
    drawn.set_gid("surface")
    ax.add_collection(drawn, autolim=False)
    ax.set_xlim(x - margin, x + length + margin)
    ax.set_ylim(y - margin, y + width + margin)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def draw_surface(ax: Axes, court: Surface) -> None:
    """Draw what `court` names: `"basketball"`, `"soccer"`, None, or a callable that takes the axes.

    Raises:
        DataError: if `court` is none of these.
    """
    if callable(court):
        court(ax)
    elif court == "basketball":
        draw_court(ax)
    elif court == "soccer":
        draw_pitch(ax)
    elif court is not None:
        raise DataError(
            f"court={court!r} is not known: give 'basketball', 'soccer', None, "
            "or a function that draws on the axes it is given"
        )
