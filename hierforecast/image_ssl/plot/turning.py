"""A feature map that turns with its image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import as_float
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

CELL = 1.3  # inches


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
    figure = new_figure(CELL * (order + 0.6), CELL * (order + 1.2) + 0.6, title, x=0.02)
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
