"""Pictures of split features: what each half finds near, and what can be rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import as_float
from hierforecast.image_ssl.evaluation.retrieval import cosine_distance
from hierforecast.image_ssl.plot.style import FONT, INK, MUTED, PALETTE, bare, new_figure

CELL = 1.05  # inches
GAP = 0.3  # between blocks, in cells


def plot_neighbours(
    images: Tensor | np.ndarray,
    features: Mapping[str, Tensor],
    queries: Sequence[int],
    k: int = 4,
    *,
    distance: Callable[[Tensor, Tensor], Tensor] = cosine_distance,
    title: str | None = None,
) -> Figure:
    """The nearest images of some queries, in several features side by side.

    A row for each query: the query, then for each kind of features its k nearest, nearest first.
    The query itself is left out.

    Args:
        images: (n, 3, h, w), uint8, or floating point in [0, 1].
        features: name -> (n, d), such as the invariant and the equivariant half.
        queries: numbers of images.
        k: neighbours, at most n - 1.
        distance: features (q, d) and (n, d) to (q, n).
        title: set in bold at the top left.

    Raises:
        DataError: if there are no queries or features, they do not fit the images, a query is no
            image, or there are not k others.
    """
    pixels = _pixels("images", images)
    n = len(pixels)
    if not features or not len(queries):
        raise DataError("nothing to draw: give at least one kind of features and one query")
    if not 1 <= k < n:
        raise DataError(f"k is {k} neighbours: give one from 1 to {n - 1}, the other images")
    outside = [query for query in queries if not 0 <= query < n]
    if outside:
        raise DataError(f"there is no image {outside[0]} to ask for: there are {n}")
    asked = torch.as_tensor(list(queries))
    nearest = {}
    for name, x in features.items():
        if x.ndim != 2 or len(x) != n:
            raise DataError(f"features {name!r} are {tuple(x.shape)}: give ({n}, d), one an image")
        apart = distance(x[asked], x).detach().cpu()
        apart[torch.arange(len(asked)), asked] = torch.inf
        nearest[name] = apart.argsort(dim=1, stable=True)[:, :k]
    cells = [1.0, *([GAP] + [1.0] * k) * len(features)]
    figure, grid = _grid(len(asked), cells, pixels, title)
    for row, query in enumerate(asked.tolist()):
        _show(grid[row, 0], pixels[query], PALETTE[0])
        for block, found in enumerate(nearest.values()):
            start = 1 + block * (k + 1)
            grid[row, start].set_visible(False)
            for place, number in enumerate(found[row].tolist()):
                _show(grid[row, start + 1 + place], pixels[number])
    _heading(grid[0, 0], "query")
    for block, name in enumerate(nearest):
        # Wider than its column, which must not make room for it.
        _heading(grid[0, 2 + block * (k + 1)], f"nearest by {name}", in_layout=False)
    return figure


def plot_reconstructions(
    originals: Tensor | np.ndarray,
    first: Tensor | np.ndarray,
    second: Tensor | np.ndarray,
    reconstructions: Tensor | np.ndarray | Mapping[str, Tensor],
    *,
    title: str | None = None,
) -> Figure:
    """Images, their two views, and what was rebuilt: a column for each image.

    Args:
        originals: (n, 3, h, w), uint8, or floating point in [0, 1]; what lies beyond is cut off.
        first: the views that the decoder saw, (n, 3, h, w).
        second: the views that it was to rebuild, (n, 3, h, w).
        reconstructions: (n, 3, h, w), or name -> (n, 3, h, w) of several methods, a row each.
        title: set in bold at the top left.

    Raises:
        DataError: if the images are none, or not the same number everywhere.
    """
    if not isinstance(reconstructions, Mapping):
        reconstructions = {"rebuilt": torch.as_tensor(reconstructions)}
    given = {"original": originals, "first view": first, "second view": second, **reconstructions}
    rows = {name: _pixels(name, images) for name, images in given.items()}
    counts = {name: len(pixels) for name, pixels in rows.items()}
    if len(set(counts.values())) != 1 or len(rows) == 3:
        raise DataError(f"numbers of images differ, or nothing was rebuilt: {counts}")
    n = counts["original"]
    figure, grid = _grid(len(rows), [1.0] * n, rows["original"], title, left=1.5)
    for row, (name, pixels) in enumerate(rows.items()):
        for column in range(n):
            _show(grid[row, column], pixels[column], PALETTE[2] if row > 2 else None)
        style = {"rotation": 0, "ha": "right", "va": "center", "fontsize": FONT["legend"]}
        weight = "bold" if row > 2 else "normal"
        grid[row, 0].set_ylabel(name, color=INK if row > 2 else MUTED, weight=weight, **style)
    return figure


def _pixels(name: str, images: Tensor | np.ndarray) -> Tensor:
    """Images (n, h, w, 3), float in [0, 1], checked."""
    pixels = torch.as_tensor(images)
    if pixels.ndim != 4 or pixels.shape[1] != 3 or len(pixels) == 0:
        shape = tuple(pixels.shape)
        raise DataError(f"{name!r} has shape {shape}: give at least one image, (n, 3, h, w)")
    pixels = as_float(pixels) if pixels.dtype == torch.uint8 else pixels.detach().float()
    return pixels.permute(0, 2, 3, 1).clamp(0, 1).cpu()


def _grid(
    rows: int, cells: Sequence[float], pixels: Tensor, title: str | None, left: float = 0.0
) -> tuple[Figure, Any]:
    """Axes (rows, cells), columns as wide as `cells` says, and room for a title and headings."""
    height = CELL * pixels.shape[1] / pixels.shape[2] * rows + (0.0 if left else 0.3)
    figure = new_figure(left + CELL * sum(cells), height + (0.0 if title is None else 0.5))
    figure.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.03, hspace=0, wspace=0))
    grid = figure.subplots(
        rows, len(cells), squeeze=False, gridspec_kw={"width_ratios": list(cells)}
    )
    if title is not None:
        figure.suptitle(
            title, x=0.01, ha="left", fontsize=FONT["title"], fontweight="bold", color=INK
        )
    return figure, grid


def _show(ax: Axes, pixels: Tensor, frame: str | None = None) -> None:
    ax.imshow(pixels.numpy(), interpolation="nearest")
    bare(ax)
    if frame is not None:
        for spine in ax.spines.values():
            spine.set(visible=True, color=frame, linewidth=3.0)


def _heading(ax: Axes, text: str, in_layout: bool = True) -> None:
    label = ax.annotate(
        text, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", va="bottom",
        fontsize=FONT["legend"], color=MUTED, annotation_clip=False,
    )  # fmt: skip
    label.set_in_layout(in_layout)
