"""Playing surfaces drawn line by line: a court in feet, a pitch in meters, a field in yards."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from hierforecast.errors import DataError
from hierforecast.plot.style import FLOOR, FLOOR_LINES, FONT, GRASS, GRASS_LINES, MUTED

Polyline = np.ndarray  # (points, 2)
Surface = str | Callable[[Axes], object] | None  # what users name

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


@dataclass(frozen=True, eq=False)
class Ground:
    """A surface with known measures, on which positions may be seen to lie.

    Args:
        name: what users call it.
        unit: of its coordinates.
        lines: drawn on it.
        corner: the least x and y on it.
        size: length and width.
        crowd: at most so many series move on it at a time.
        color, floor: of the lines and what is below; None for nothing.
        margin: kept free around it.
    """

    name: str
    unit: str
    lines: tuple[Polyline, ...]
    corner: tuple[float, float]
    size: tuple[float, float]
    crowd: int = 40
    color: str = GRASS_LINES
    floor: str | None = GRASS
    margin: float = 3.0

    def at(self, x: float, y: float) -> Ground:
        """The same surface with its corner elsewhere."""
        moved = tuple(line + np.array([x, y]) - self.corner for line in self.lines)
        return replace(self, lines=moved, corner=(x, y))

    def holds(self, low: np.ndarray, high: np.ndarray) -> bool:
        """Whether positions between `low` and `high` (2,) lie on it, or hardly beside it."""
        start, size = np.asarray(self.corner), np.asarray(self.size)
        beside = 0.06 * size[1]
        return bool((low >= start - beside).all() and (high <= start + size + beside).all())

    def fits(self, low: np.ndarray, high: np.ndarray, crowd: int) -> bool:
        """Whether these positions look like a game on it: they lie on it and use much of it."""
        spread = (high - low) / np.asarray(self.size)
        used = spread[0] >= 0.2 and spread[1] >= 0.4
        return bool(used and crowd <= self.crowd and self.holds(low, high))

    def draw(self, ax: Axes, linewidth: float = 1.3) -> Axes:
        """Draw it, and set the limits, the aspect and the frame of the axes."""
        (x, y), (length, width) = self.corner, self.size
        if self.floor is not None:
            patch = Rectangle((x, y), length, width, facecolor=self.floor, edgecolor="none")
            ax.add_patch(patch).set_zorder(0)
        drawn = LineCollection(self.lines, colors=self.color, linewidths=linewidth, zorder=0.5)
        drawn.set_gid("surface")
        ax.add_collection(drawn, autolim=False)
        ax.set_xlim(x - self.margin, x + length + self.margin)
        ax.set_ylim(y - self.margin, y + width + self.margin)
        ax.set_aspect("equal")
        ax.set_axis_off()
        return ax

    def write_size(self, ax: Axes, scale: float) -> None:
        """Its measures in its lower right corner, so that distances can be read off."""
        (x, y), (length, width) = self.corner, self.size
        ax.text(
            x + 0.994 * length, y + 0.01 * width, f"{length:.0f} × {width:.3g} {self.unit}",
            ha="right", va="bottom", fontsize=FONT["small"] * scale, color=MUTED, alpha=0.8,
            zorder=0.6, clip_on=True, gid="size",
        )  # fmt: skip


def _pitch(length: float = PITCH[0], width: float = PITCH[1]) -> Ground:
    lines = tuple(pitch_lines(length, width))
    return Ground("soccer", "m", lines, (-length / 2, -width / 2), (length, width))


# From small to large; of those that fit, the first one is meant.
GROUNDS = (
    Ground(
        "basketball", "ft", tuple(court_lines()), (0.0, 0.0), COURT, 13, FLOOR_LINES, FLOOR, 1.5
    ),
    Ground("nfl", "yd", tuple(field_lines()), (0.0, 0.0), FIELD),
    _pitch(),
    _pitch().at(0.0, 0.0),
)


def draw_court(
    ax: Axes, *, color: str = FLOOR_LINES, floor: str | None = FLOOR, linewidth: float = 1.3
) -> Axes:
    """Draw a full NBA court, 94 x 50 ft with the origin at a corner.

    Args:
        ax: axes to draw on; their limits, aspect and frame are set.
        color: color of the lines.
        floor: color of the floor, or None for none.
        linewidth: points.
    """
    return replace(GROUNDS[0], color=color, floor=floor).draw(ax, linewidth)


def draw_field(
    ax: Axes, *, color: str = GRASS_LINES, floor: str | None = GRASS, linewidth: float = 1.3
) -> Axes:
    """Draw an NFL field, 120 x 53 1/3 yd with both end zones and the origin at a corner.

    Args:
        ax, color, floor, linewidth: as for `draw_court`.
    """
    return replace(GROUNDS[1], color=color, floor=floor).draw(ax, linewidth)


def draw_pitch(
    ax: Axes,
    *,
    length: float = PITCH[0],
    width: float = PITCH[1],
    color: str = GRASS_LINES,
    floor: str | None = GRASS,
    linewidth: float = 1.3,
) -> Axes:
    """Draw a soccer pitch in meters with the origin at the center spot.

    Args:
        ax: axes to draw on; their limits, aspect and frame are set.
        length: goal line to goal line, meters.
        width: touch line to touch line, meters.
        color: color of the lines.
        floor: color of the grass, or None for none.
        linewidth: points.
    """
    return replace(_pitch(length, width), color=color, floor=floor).draw(ax, linewidth)


def find_ground(
    court: Surface, low: np.ndarray, high: np.ndarray, crowd: int
) -> Ground | Callable[[Axes], object] | None:
    """The surface that `court` names; of one with two usual origins, the one positions lie on.

    Args:
        court: `"auto"` for the one that the positions fit, if any; a name; a function of the axes;
            None.
        low, high: (2,) between which nearly all positions lie.
        crowd: series that are there at a time.

    Raises:
        DataError: if `court` is none of these.
    """
    if court is None or callable(court):
        return court
    if court == "auto":
        return next((ground for ground in GROUNDS if ground.fits(low, high, crowd)), None)
    named = [ground for ground in GROUNDS if ground.name == court]
    if not named:
        names = ", ".join(dict.fromkeys(repr(ground.name) for ground in GROUNDS))
        raise DataError(
            f"court={court!r} is not known: give 'auto', {names}, None, or a function that draws "
            "on the axes it is given"
        )
    return next((ground for ground in named if ground.holds(low, high)), named[0])
