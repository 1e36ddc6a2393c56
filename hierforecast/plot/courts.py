"""Playing surfaces, each from one description: a court, a field, a pitch, a rink, a plain grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Polygon, Rectangle

from hierforecast.errors import DataError
from hierforecast.plot.lines import (
    COURT,
    FIELD,
    IIHF,
    NHL,
    PITCH,
    Polyline,
    Rink,
    court_lines,
    field_lines,
    grid_lines,
    pitch_lines,
    rink_lines,
)
from hierforecast.plot.look import look, looking
from hierforecast.plot.style import FONT

Surface = str | Callable[[Axes], object] | None  # what users name
CELLS = 12  # of a grid, about, along its longer side

FULL = 20  # series, of two full teams on a large field


@dataclass(frozen=True, eq=False)
class Ground:
    """A surface with known measures, on which positions may be seen to lie.

    Args:
        name: what users call it.
        unit: of its coordinates.
        lines: drawn on it, by the pen of `look` that draws them; the border has the material's.
        corner: the least x and y on it.
        size: length and width.
        crowd: at most so many series move on it at a time; 0 for one that is drawn by name only.
        material: of `look`.
        margin: kept free around it.
        cell: side of the squares that are drawn on it, if any.
        least: share of its length that two full teams span.
    """

    name: str
    unit: str | None
    lines: Mapping[str, Sequence[Polyline]]
    corner: tuple[float, float]
    size: tuple[float, float]
    crowd: int = 40
    material: str = "grass"
    margin: float = 3.0
    cell: float | None = None
    least: float = 0.2

    def at(self, x: float, y: float, crowd: int | None = None) -> Ground:
        """The same surface with its corner elsewhere."""
        offset = np.array([x, y]) - self.corner
        moved = {pen: [line + offset for line in lines] for pen, lines in self.lines.items()}
        crowd = self.crowd if crowd is None else crowd
        return replace(self, lines=moved, corner=(x, y), crowd=crowd)

    def holds(self, low: np.ndarray, high: np.ndarray) -> bool:
        """Whether positions between `low` and `high` (2,) lie on it, or hardly beside it."""
        start, size = np.asarray(self.corner), np.asarray(self.size)
        beside = 0.06 * size[1]
        return bool((low >= start - beside).all() and (high <= start + size + beside).all())

    def fits(self, low: np.ndarray, high: np.ndarray, crowd: int) -> bool:
        """Whether these positions look like a game on it: they lie on it and use much of it."""
        spread = (high - low) / np.asarray(self.size)
        least = self.least if crowd >= FULL else 0.2
        used = spread[0] >= least and spread[1] >= 0.4
        return bool(used and crowd <= self.crowd and self.holds(low, high))

    def pen(self, name: str) -> str:
        """The pen of `look` for some of its lines."""
        return self.material if name == "border" else name

    def draw(
        self,
        ax: Axes,
        linewidth: float = 1.3,
        color: str | None = None,
        floor: str | Literal["auto"] | None = "auto",
    ) -> Axes:
        """Draw it, and set the limits, the aspect and the frame of the axes."""
        (x, y), (length, width) = self.corner, self.size
        below = look().floors[self.material] if floor == "auto" else floor
        if below is not None:
            border = self.lines.get("border")
            shape = Polygon(border[0]) if border else Rectangle((x, y), length, width)
            shape.set(facecolor=below, edgecolor="none")
            ax.add_patch(shape).set_zorder(0)
        for name, lines in self.lines.items():
            pen = color or look().pens[self.pen(name)]
            drawn = LineCollection(lines, colors=pen, linewidths=linewidth, zorder=0.5)
            drawn.set_gid("surface")
            ax.add_collection(drawn, autolim=False)
        ax.set_xlim(x - self.margin, x + length + self.margin)
        ax.set_ylim(y - self.margin, y + width + self.margin)
        ax.set_aspect("equal")
        ax.set_axis_off()
        return ax

    def measure(self) -> str:
        """Its size, or that of its squares, in words."""
        if self.cell is not None:
            return f"squares of {self.cell:g} {self.unit or 'units'}"
        return f"{self.size[0]:.0f} × {self.size[1]:.3g} {self.unit}"

    def write_size(self, ax: Axes, scale: float) -> None:
        """Its measure in its lower right corner, so that distances can be read off."""
        (x, y), (length, width) = self.corner, self.size
        inside = 0.85 if "border" in self.lines else 0.994  # a rink has round corners
        ax.text(
            x + inside * length, y + 0.01 * width, self.measure(), ha="right", va="bottom",
            fontsize=FONT["small"] * scale, color=look().muted, alpha=0.8, zorder=0.6,
            clip_on=True, gid="size",
        )  # fmt: skip


def _pitch(length: float = PITCH[0], width: float = PITCH[1]) -> Ground:
    lines = {"grass": pitch_lines(length, width)}
    return Ground("soccer", "m", lines, (-length / 2, -width / 2), (length, width))


def _rink(name: str, unit: str, rink: Rink, crowd: int) -> Ground:
    corner = -rink.size[0] / 2, -rink.size[1] / 2
    margin = 0.03 * rink.size[0]  # holds the clock of a film
    return Ground(name, unit, rink_lines(rink), corner, rink.size, crowd, "ice", margin)


def _grid(low: np.ndarray, high: np.ndarray) -> Ground:
    """Squares of 1, 2 or 5 units times a power of ten, enough to hold all between two corners."""
    rough = float((high - low).max()) / CELLS or 1.0
    power = 10.0 ** np.floor(np.log10(rough))
    cell = float(power * min(step for step in (1, 2, 5, 10) if step * power >= rough * 0.999))
    start, end = np.floor(low / cell) * cell, np.ceil(high / cell) * cell
    end = np.maximum(end, start + cell)
    (x, y), (length, width) = start.tolist(), (end - start).tolist()
    lines = {"paper": grid_lines(start, end, cell)}
    return Ground("grid", None, lines, (x, y), (length, width), 0, "paper", 0.2 * cell, cell)


_COURT = Ground("basketball", "ft", {"wood": court_lines()}, (0.0, 0.0), COURT, 13, "wood", 1.5)
# Before the snap nearly all stand within some yards of a line, from side to side.
_FIELD = Ground("nfl", "yd", {"grass": field_lines()}, (0.0, 0.0), FIELD, least=0.1)
_ICE = _rink("ice", "ft", NHL, 14)
_WIDE = _rink("ice-iihf", "m", IIHF, 0)
# From small to large; of those that fit, the first one is meant.
GROUNDS = (
    _COURT,
    _FIELD,
    _pitch(),
    _pitch().at(0.0, 0.0),
    _ICE,
    _ICE.at(0.0, 0.0, crowd=0),
    _WIDE,
    _WIDE.at(0.0, 0.0),
)


def draw_court(
    ax: Axes, *, color: str | None = None, floor: str | None = "auto", linewidth: float = 1.3
) -> Axes:
    """Draw a full NBA court, 94 x 50 ft with the origin at a corner.

    Args:
        ax: axes to draw on; their limits, aspect and frame are set.
        color: color of the lines; None takes one that suits the background.
        floor: color of the floor, ``"auto"`` for one that suits the background, None for none.
        linewidth: points.
    """
    with looking(ax):
        return _COURT.draw(ax, linewidth, color, floor)


def draw_field(
    ax: Axes, *, color: str | None = None, floor: str | None = "auto", linewidth: float = 1.3
) -> Axes:
    """Draw an NFL field, 120 x 53 1/3 yd with both end zones and the origin at a corner.

    Args:
        ax, color, floor, linewidth: as for `draw_court`.
    """
    with looking(ax):
        return _FIELD.draw(ax, linewidth, color, floor)


def draw_pitch(
    ax: Axes,
    *,
    length: float = PITCH[0],
    width: float = PITCH[1],
    color: str | None = None,
    floor: str | None = "auto",
    linewidth: float = 1.3,
) -> Axes:
    """Draw a soccer pitch in meters with the origin at the center spot.

    Args:
        ax, color, floor, linewidth: as for `draw_court`.
        length: goal line to goal line, meters.
        width: touch line to touch line, meters.
    """
    with looking(ax):
        return _pitch(length, width).draw(ax, linewidth, color, floor)


def draw_rink(
    ax: Axes,
    *,
    rules: Literal["nhl", "iihf"] = "nhl",
    color: str | None = None,
    floor: str | None = "auto",
    linewidth: float = 1.3,
) -> Axes:
    """Draw a rink for ice hockey with the origin at center ice.

    Args:
        ax, floor, linewidth: as for `draw_court`.
        rules: ``"nhl"``, 200 x 85 ft (NHL Official Rules, rule 1), or ``"iihf"``, 60 x 30 m (IIHF
            Official Rule Book 2023/24, rule 1).
        color: of all lines; None: red and blue ones, in shades that suit the background.

    Raises:
        DataError: for other rules.
    """
    if rules not in ("nhl", "iihf"):
        raise DataError(f"rules={rules!r} is not known: give 'nhl' or 'iihf'")
    with looking(ax):
        return (_ICE if rules == "nhl" else _WIDE).draw(ax, linewidth, color, floor)


def find_ground(
    court: Surface, low: np.ndarray, high: np.ndarray, crowd: int, everything: np.ndarray
) -> Ground | Callable[[Axes], object] | None:
    """The surface that `court` names; of one with two usual origins, the one positions lie on.

    Args:
        court: `"auto"` for the one that the positions fit, if any; a name; a function of the axes;
            None.
        low, high: (2,) between which nearly all positions lie.
        crowd: series that are there at a time.
        everything: (2, 2) corners of the box that holds all that is drawn, for `"grid"`.

    Raises:
        DataError: if `court` is none of these.
    """
    if court is None or callable(court):
        return court
    if court == "auto":
        return next((ground for ground in GROUNDS if ground.fits(low, high, crowd)), None)
    if court == "grid":
        return _grid(*everything)
    named = [ground for ground in GROUNDS if ground.name == court]
    if not named:
        names = ", ".join(dict.fromkeys(repr(ground.name) for ground in GROUNDS))
        raise DataError(
            f"court={court!r} is not known: give 'auto', {names}, 'grid', None, or a function that "
            "draws on the axes it is given"
        )
    return next((ground for ground in named if ground.holds(low, high)), named[0])
