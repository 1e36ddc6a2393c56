"""One look for every picture: a color-blind-safe palette, sizes for a slide, small helpers.

Colors follow Okabe and Ito, "Color Universal Design" (2008): they stay apart under the
common color-vision deficiencies and, mostly, in gray. Nothing here touches `rcParams`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.path import Path

from hierforecast.plot.look import LIGHT, look, looking

SLIDE = (12.0, 6.75)  # inches, 16:9
FONT = {"title": 17.0, "label": 12.5, "tick": 11.0, "legend": 12.0, "small": 10.0}

INK, MUTED = LIGHT.ink, LIGHT.muted  # for pictures that are drawn on white only
HOME, AWAY, BALL = "#0072B2", "#D55E00", "#E69F00"
GREEN, PURPLE, SKY, BROWN = "#009E73", "#B0528F", "#56B4E9", "#7A5C3E"

NAMED = {"home": HOME, "away": AWAY, "visitor": AWAY, "ball": BALL, "puck": BALL}
CYCLE = (HOME, AWAY, GREEN, PURPLE, SKY, BROWN)


def group_colors(groups: Iterable[Hashable]) -> dict[Hashable, str]:
    """A color for each group: `home`, `away`, `ball` and so on keep theirs, others take a free one.

    Args:
        groups: group names, any hashable; order and repetition do not matter.

    Returns:
        group -> color, in the order of a legend: the home side first, the ball or puck last.
    """
    names = sorted(set(groups), key=str)
    colors: dict[Hashable, str] = {
        name: NAMED[str(name).casefold()] for name in names if str(name).casefold() in NAMED
    }
    free = [color for color in CYCLE if color not in colors.values()] or list(CYCLE)
    others = [name for name in names if name not in colors]
    colors |= {name: free[i % len(free)] for i, name in enumerate(others)}
    order = [HOME, AWAY, *CYCLE, BALL]
    return dict(sorted(colors.items(), key=lambda item: order.index(item[1])))


def tint(color: str, amount: float) -> tuple[float, float, float]:
    """`color` mixed with the paper; `amount` 0 keeps it, 1 gives paper. Opaque, unlike an alpha."""
    pairs, amount = zip(to_rgb(color), to_rgb(look().paper), strict=True), amount * look().strength
    red, green, blue = (channel + (paper - channel) * amount for channel, paper in pairs)
    return red, green, blue


@contextmanager
def opened(
    ax: Axes | None,
    figsize: tuple[float, float] = SLIDE,
    *,
    layout: Literal["constrained", "compressed"] = "constrained",
    bare: bool = False,
) -> Iterator[Axes]:
    """The axes given, or those of a new figure, which does not stay open if drawing fails.

    Within it `look` gives the colors that suit them.

    Args:
        ax: given, or None.
        figsize: inches.
        layout: `"compressed"` for axes of a fixed aspect.
        bare: keep the figure out of pyplot's registry.
    """
    if ax is not None:
        with looking(ax):
            yield ax
        return
    figure = (Figure if bare else plt.figure)(figsize=figsize, layout=layout)
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.1, h_pad=0.08)  # inches kept free at the edges
    try:
        drawn = figure.subplots()
        with looking(drawn):
            yield drawn
    except BaseException:
        plt.close(figure)
        raise


def size_of(ax: Axes) -> np.ndarray:
    """Width and height in inches that these axes may take; before and after the layout is made."""
    figure, spec = ax.get_figure(root=True), ax.get_subplotspec()
    if figure is None:
        return np.array(SLIDE)
    if spec is None or ax.get_figure() is not figure:
        return np.array(ax.get_position().size * figure.get_size_inches())
    grid = spec.get_gridspec()
    share = len(spec.colspan) / grid.ncols, len(spec.rowspan) / grid.nrows
    return np.array(share * figure.get_size_inches())


def settle(ax: Axes) -> None:
    """Lay the figure out once: texts that hang on axes move when these first shrink."""
    figure = ax.get_figure(root=True)
    if figure is not None and figure.get_layout_engine() is not None:
        figure.draw_without_rendering()


def scale_of(ax: Axes, usual: float = 11.5) -> float:
    """Size of markers and text for these axes: 1 if `usual` inches wide, less for a small panel."""
    return float(np.clip(size_of(ax)[0] / usual, 0.5, 1.15))


def write_title(ax: Axes, title: str | None, **style: Any) -> None:
    """A title in bold at the top left, if there is one."""
    if title is not None:
        usual = {"fontsize": FONT["title"] * scale_of(ax), "pad": 10}
        bold = {"loc": "left", "fontweight": "bold", "color": look().ink}
        ax.set_title(title, **{**bold, **usual, **style})


def calm(ax: Axes, *, grid: str | None = "y") -> None:
    """Axes for a chart: no box, light grid behind the data, muted ticks."""
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(look().faint)
    ax.tick_params(length=0, labelsize=FONT["tick"], labelcolor=look().muted)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis="y" if grid == "y" else "x", color=look().faint, linewidth=0.7, alpha=0.7)


def arrowhead(angle: float) -> Path:
    """A slim notched arrow head as a marker path, pointing along `angle` (radians)."""
    points = np.array([[1.0, 0.0], [-0.8, 0.75], [-0.4, 0.0], [-0.8, -0.75], [1.0, 0.0]])
    cos, sin = math.cos(angle), math.sin(angle)
    return Path(points @ np.array([[cos, sin], [-sin, cos]]))


def move_apart(positions: list[float], gap: float) -> list[float]:
    """Move label positions apart to at least `gap`, keeping their order and their center."""
    order = np.argsort(positions)
    placed = np.asarray(positions, dtype=float)[order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    placed -= (placed - np.asarray(positions)[order]).mean() if len(placed) else 0.0
    out = np.empty_like(placed)
    out[order] = placed
    return [float(value) for value in out]
