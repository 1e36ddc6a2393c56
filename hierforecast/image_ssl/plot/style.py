"""One look for the pictures of this room: colours that stay apart, sizes for a slide.

Colours follow Okabe and Ito, "Color Universal Design" (2008). Nothing here touches `rcParams`.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

INK, MUTED, FAINT = "#1F2630", "#6B7280", "#D5D9E0"
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#B0528F", "#7A5C3E", "#9AA1AC",
)  # fmt: skip
MARKERS = ("o", "^", "s", "D", "v", "P")
FONT = {"title": 16.0, "label": 12.5, "tick": 11.0, "legend": 12.0, "small": 10.0}
HEAT = LinearSegmentedColormap.from_list(
    "night_to_day", ["#0B1D33", "#0F4C81", "#2C8FB5", "#8CCBB5", "#F6E8A6", "#FFF9E3"]
)


def look_of(number: int) -> tuple[str, str]:
    """Colour and marker of the class or method of this number; no two alike up to 48."""
    return PALETTE[number % len(PALETTE)], MARKERS[number // len(PALETTE) % len(MARKERS)]


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches that fits its parts by itself."""
    return plt.figure(figsize=(width, height), layout="constrained")


def new_axes(width: float = 10.0, height: float = 6.0) -> Axes:
    """Axes that fill a new figure."""
    return new_figure(width, height).subplots()


def calm(ax: Axes, grid: str = "y") -> None:
    """No box, a light grid behind the data (`grid`: ``"x"``, ``"y"``, ``""``), muted ticks."""
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(FAINT)
    ax.tick_params(which="both", length=0, labelsize=FONT["tick"], labelcolor=MUTED)
    ax.set_axisbelow(True)
    if grid == "x":
        ax.grid(axis="x", color=FAINT, linewidth=0.7, alpha=0.7)
    elif grid == "y":
        ax.grid(axis="y", color=FAINT, linewidth=0.7, alpha=0.7)


def bare(ax: Axes) -> None:
    """Only the picture: no ticks and no box."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def set_title(ax: Axes, title: str | None, pad: float = 12.0) -> None:
    """A title in bold at the top left, if there is one; `pad` points above the axes."""
    if title is not None:
        size = FONT["title"]
        ax.set_title(title, loc="left", fontsize=size, fontweight="bold", color=INK, pad=pad)


def spread_apart(positions: list[float], gap: float) -> list[float]:
    """Move label positions to at least `gap` from each other, keeping order and centre."""
    order = np.argsort(positions, kind="stable")
    placed = np.asarray(positions, dtype=float)[order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    placed -= placed.mean() - np.mean(positions)
    out = np.empty_like(placed)
    out[order] = placed
    return [float(value) for value in out]
