"""Images side by side: as they are, the nearest of some, what was rebuilt, and maps that turn."""

from __future__ import annotations

import math
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
from hierforecast.image_ssl.groups import Group, ImageAction
from hierforecast.image_ssl.nn.backbone import Backbone, evaluating
from hierforecast.image_ssl.plot.style import (
    BESIDE,
    FONT,
    HEAT,
    INK,
    MUTED,
    PALETTE,
    as_pixels,
    new_figure,
    show,
)

CELL = 1.05  # inches
GAP = 0.3  # between blocks, in cells


def plot_images(
    images: Tensor | np.ndarray,
    labels: Sequence[object] | None = None,
    columns: int = 8,
    *,
    title: str | None = None,
) -> Figure:
    """A grid of images, each under its label.

    Args:
        images: (n, 3, h, w), uint8, or floating point in [0, 1]; what lies beyond is cut off.
        labels: a text for each image.
        columns: images in a row.
    """
    pixels = as_pixels(images)
    if labels is not None and len(labels) != len(pixels):
        raise DataError(f"{len(labels)} labels do not fit {len(pixels)} images")
    if columns < 1:
        raise DataError(f"columns is {columns}: give 1 or more")
    columns = min(columns, len(pixels))
    rows = math.ceil(len(pixels) / columns)
    room = 0.0 if labels is None else 0.25
    height = 1.25 * pixels.shape[1] / pixels.shape[2] + room
    figure = new_figure(
        1.25 * columns + 0.1, height * rows + (0.1 if title is None else 0.5), title
    )
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.flat[len(pixels) :]:
        ax.set_visible(False)
    for number, image in enumerate(pixels):
        show(grid.flat[number], image)
        if labels is not None:
            text = str(labels[number])
            grid.flat[number].set_title(text, fontsize=FONT["small"], color=INK, pad=3)
    return figure


def plot_neighbors(
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
        k: neighbors, at most n - 1.
        distance: features (q, d) and (n, d) to (q, n).

    Raises:
        DataError: if there are no queries or features, they do not fit the images, a query is no
            image, or there are not k others.
    """
    pixels = as_pixels(images)
    nearest = _nearest(len(pixels), features, list(queries), k, distance)
    cells = [1.0, *([GAP] + [1.0] * k) * len(features)]
    figure, grid = _grid(len(queries), cells, pixels, title)
    for row, query in enumerate(queries):
        show(grid[row, 0], pixels[query], PALETTE[0])
        for block, found in enumerate(nearest.values()):
            start = 1 + block * (k + 1)
            grid[row, start].set_visible(False)
            for place, number in enumerate(found[row], start + 1):
                show(grid[row, place], pixels[number])
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

    Raises:
        DataError: if the images are none, or not the same number everywhere.
    """
    if not isinstance(reconstructions, Mapping):
        reconstructions = {"rebuilt": torch.as_tensor(reconstructions)}
    given = {"original": originals, "first view": first, "second view": second, **reconstructions}
    rows = {name: as_pixels(images, name) for name, images in given.items()}
    counts = {name: len(pixels) for name, pixels in rows.items()}
    if len(set(counts.values())) != 1 or len(rows) == 3:
        raise DataError(f"numbers of images differ, or nothing was rebuilt: {counts}")
    figure, grid = _grid(len(rows), [1.0] * counts["original"], rows["original"], title, left=1.5)
    for row, (name, pixels) in enumerate(rows.items()):
        rebuilt = row > 2
        for ax, image in zip(grid[row], pixels, strict=True):
            show(ax, image, PALETTE[2] if rebuilt else None)
        color, weight = (INK, "bold") if rebuilt else (MUTED, "normal")
        style = {"color": color, "weight": weight, "fontsize": FONT["legend"]}
        grid[row, 0].set_ylabel(name, **style, **BESIDE)
    return figure


def _nearest(
    n: int,
    features: Mapping[str, Tensor],
    queries: list[int],
    k: int,
    distance: Callable[[Tensor, Tensor], Tensor],
) -> dict[str, list[list[int]]]:
    """Numbers of the nearest of `n` images by each kind of features, a row for each query."""
    if not features or not queries:
        raise DataError("nothing to draw: give at least one kind of features and one query")
    if not 1 <= k < n:
        raise DataError(f"k is {k} neighbors: give one from 1 to {n - 1}, the other images")
    outside = [query for query in queries if not 0 <= query < n]
    if outside:
        raise DataError(f"there is no image {outside[0]} to ask for: there are {n}")
    nearest = {}
    for name, x in features.items():
        if x.ndim != 2 or len(x) != n:
            raise DataError(f"features {name!r} are {tuple(x.shape)}: give ({n}, d), one an image")
        apart = distance(x[queries], x).detach().cpu()
        apart[torch.arange(len(queries)), queries] = torch.inf
        nearest[name] = apart.argsort(dim=1, stable=True)[:, :k].tolist()
    return nearest


def _grid(
    rows: int, cells: Sequence[float], pixels: np.ndarray, title: str | None, left: float = 0.0
) -> tuple[Figure, Any]:
    """Axes (rows, cells), columns as wide as `cells` says, and room for a title and headings."""
    height = CELL * pixels.shape[1] / pixels.shape[2] * rows + (0.0 if left else 0.3)
    room = 0.0 if title is None else 0.5
    figure = new_figure(left + CELL * sum(cells), height + room, title)
    figure.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.03, hspace=0, wspace=0))
    widths = {"width_ratios": list(cells)}
    return figure, figure.subplots(rows, len(cells), squeeze=False, gridspec_kw=widths)


def _heading(ax: Axes, text: str, in_layout: bool = True) -> None:
    label = ax.annotate(
        text, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", va="bottom",
        fontsize=FONT["legend"], color=MUTED, annotation_clip=False,
    )  # fmt: skip
    label.set_in_layout(in_layout)


def plot_turning_map(
    backbone: Backbone,
    image: Tensor,
    channel: int | None = None,
    *,
    maps: Callable[[Tensor], Tensor] | None = None,
    title: str | None = None,
) -> Figure:
    """How the maps of one channel move when the image does.

    A column for each element of the group: on top the image moved by it, below it the channel's
    maps of that image, a row for each entry of the group's axis. The frames tell where each map of
    the first column has gone: in a network that commutes with the group, maps in frames of one
    color are one map, moved as its image is. The line below says how nearly that is so.

    Args:
        backbone: with a `group` and `maps`, images (b, 3, h, w) to (b, c, g, h', w'). It runs in
            evaluation mode and is left as it was.
        image: (3, h, w), uint8, or floating point in [0, 1]; square.
        channel: which to draw; None takes the one whose maps differ most from each other.
        maps: instead of ``backbone.maps``: such as an earlier layer, whose maps are finer.

    Raises:
        DataError: if the image is not (3, h, h), the network has no group to turn by, or there is
            no such channel.
    """
    group: Group = getattr(backbone, "group", Group("C1"))
    if group.order == 1:
        raise DataError("a plain network has no maps that turn: give one of a group such as 'C4'")
    if image.ndim != 3 or image.shape[0] != 3 or image.shape[1] != image.shape[2]:
        raise DataError(f"the image has shape {tuple(image.shape)}: give one square (3, h, h)")
    pixels = as_float(image) if image.dtype == torch.uint8 else image
    moved = torch.cat([ImageAction(group).act(a, pixels[None]) for a in group.elements()])
    with evaluating(backbone) as like, torch.no_grad():
        found = (backbone.maps if maps is None else maps)(moved.to(like)).cpu()
    if channel is None:
        # Where all maps are alike one would not see that they change places.
        channel = int(found[0].float().var(dim=1).sum(dim=(1, 2)).argmax())
    if not 0 <= channel < found.shape[1]:
        raise DataError(f"there is no channel {channel}: this layer has {found.shape[1]}")
    return _draw(group, moved, found[:, channel], channel, title)


def _draw(group: Group, images: Tensor, found: Tensor, channel: int, title: str | None) -> Figure:
    """Draw images (g, 3, h, w) over maps (g, g, h', w'), of each image a column."""
    order = group.order
    width, height = 1.3 * (order + 0.6), 1.3 * (order + 1.2) + 0.6
    figure = new_figure(width, height, title, x=0.02)
    grid: Any = figure.subplots(order + 1, order, squeeze=False)
    values, pixels = found.float().numpy(), as_pixels(images)
    heat = {"cmap": HEAT, "vmin": values.min(), "vmax": values.max()}
    for a in group.elements():
        show(grid[0, a], pixels[a])
        grid[0, a].set_title(name_of(group, a), fontsize=FONT["small"], color=INK, pad=5)
        for k in group.elements():
            source = group.compose(group.inverse(a), k)
            show(grid[k + 1, a], values[a, k], PALETTE[source % len(PALETTE)], 4.0, **heat)
    for row, text in enumerate(["image", *(f"map {k + 1}" for k in group.elements())]):
        grid[row, 0].set_ylabel(text, fontsize=FONT["small"], color=MUTED, **BESIDE)
    note = (
        f"Channel {channel} of {group.name}. Frames of one color hold one map, moved with its "
        f"image:\nthe largest difference is {_error(group, found):.0e} of the largest value."
    )
    figure.supxlabel(note, x=0.02, ha="left", fontsize=FONT["small"], color=MUTED)
    return figure


def _error(group: Group, found: Tensor) -> float:
    """The largest difference between a map and the one it should be, of the largest value."""
    action, worst = ImageAction(group), 0.0
    for a in group.elements():
        for k in group.elements():
            source = found[0, group.compose(group.inverse(a), k)]
            wanted = action.act(a, source[None, None])[0, 0]
            worst = max(worst, float((found[a, k] - wanted).abs().max()))
    return worst / max(float(found.abs().max()), torch.finfo(found.dtype).tiny)


def name_of(group: Group, a: int) -> str:
    """An element in words: as it is, turned, mirrored."""
    degrees = 90 * group.quarter_turns(a)
    if a == group.identity:
        return "as it is"
    turned = f"{degrees}°" if degrees else ""
    return " ".join(filter(None, ["mirrored" if group.is_mirror(a) else "turned", turned]))
