"""One look for the pictures of this room: colors that stay apart, sizes for a slide.

Colors follow Okabe and Ito, "Color Universal Design" (2008). Nothing here touches `rcParams`.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import as_float

INK, MUTED, FAINT = "#1F2630", "#6B7280", "#D5D9E0"
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#B0528F", "#7A5C3E", "#9AA1AC",
)  # fmt: skip
MARKERS = ("o", "^", "s", "D", "v", "P")
FONT = {"title": 16.0, "label": 12.5, "tick": 11.0, "legend": 12.0, "small": 10.0}
LABEL: dict[str, Any] = {"color": MUTED, "fontsize": FONT["label"]}  # of an axis
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": FONT["legend"], "labelcolor": INK}
BESIDE: dict[str, Any] = {"rotation": 0, "ha": "right", "va": "center"}  # of a row of pictures
HEAT = LinearSegmentedColormap.from_list(
    "night_to_day", ["#0B1D33", "#0F4C81", "#2C8FB5", "#8CCBB5", "#F6E8A6", "#FFF9E3"]
)


def look_of(number: int) -> tuple[str, str]:
    """Color and marker of the class or method of this number; no two alike up to 48."""
    return PALETTE[number % len(PALETTE)], MARKERS[number // len(PALETTE) % len(MARKERS)]


def new_figure(width: float, height: float, title: str | None = None, x: float = 0.01) -> Figure:
    """A figure of this size in inches that fits its parts by itself; its title starts at `x`."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    if title is not None:
        size = FONT["title"]
        figure.suptitle(title, x=x, ha="left", fontsize=size, fontweight="bold", color=INK)
    return figure


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
    if grid:
        ax.grid(axis="x" if grid == "x" else "y", color=FAINT, linewidth=0.7, alpha=0.7)


def as_pixels(images: Tensor | np.ndarray, name: str = "images") -> np.ndarray:
    """Images as they are drawn, (n, h, w, 3), floats in [0, 1]; what lies beyond is cut off.

    Args:
        images: (n, 3, h, w), uint8, or floating point.

    Raises:
        DataError: if there are none, or they have another shape.
    """
    pixels = torch.as_tensor(images)
    if pixels.ndim != 4 or pixels.shape[1] != 3 or len(pixels) == 0:
        shape = tuple(pixels.shape)
        raise DataError(f"{name!r} has shape {shape}: give at least one image, (n, 3, h, w)")
    pixels = as_float(pixels) if pixels.dtype == torch.uint8 else pixels.detach().float()
    return pixels.permute(0, 2, 3, 1).clamp(0, 1).cpu().numpy()


def show(
    ax: Axes, pixels: np.ndarray, frame: str | None = None, width: float = 3.0, **heat: Any
) -> None:
    """One picture without ticks, in a frame if one of a color is wanted.

    Args:
        pixels: (h, w, 3), or (h, w) with options for `imshow` in `heat`.
    """
    ax.imshow(pixels, interpolation="nearest", **heat)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(visible=frame is not None, color=frame, linewidth=width)


def set_title(ax: Axes, title: str | None, pad: float = 12.0) -> None:
    """A title in bold at the top left, if there is one; `pad` points above the axes."""
    if title is not None:
        size = FONT["title"]
        ax.set_title(title, loc="left", fontsize=size, fontweight="bold", color=INK, pad=pad)


def spread_apart(positions: list[float], gap: float) -> list[float]:
    """Move label positions to at least `gap` from each other, keeping order and center."""
    order = np.argsort(positions, kind="stable")
    placed = np.asarray(positions, dtype=float)[order]
    steps = np.arange(len(placed)) * gap
    placed = np.maximum.accumulate(placed - steps) + steps
    placed -= placed.mean() - np.mean(positions)
    return [float(value) for value in placed[np.argsort(order)]]
