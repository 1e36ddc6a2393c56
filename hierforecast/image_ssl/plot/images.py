"""Images side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import as_float
from hierforecast.image_ssl.plot.style import FONT, INK, bare, new_figure


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
        title: set in bold at the top left.

    Raises:
        DataError: if there are no images, or labels do not fit them.
    """
    pixels = torch.as_tensor(images)
    if pixels.ndim != 4 or pixels.shape[1] != 3 or len(pixels) == 0 or columns < 1:
        raise DataError(f"images have shape {tuple(pixels.shape)}: give at least one, (n, 3, h, w)")
    if labels is not None and len(labels) != len(pixels):
        raise DataError(f"{len(labels)} labels do not fit {len(pixels)} images")
    pixels = as_float(pixels) if pixels.dtype == torch.uint8 else pixels.detach().float().cpu()
    columns = min(columns, len(pixels))
    rows = math.ceil(len(pixels) / columns)
    room = 0.0 if labels is None else 0.25
    height = 1.25 * pixels.shape[2] / pixels.shape[3] + room
    figure = new_figure(1.25 * columns + 0.1, height * rows + (0.1 if title is None else 0.5))
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    for number, ax in enumerate(grid.flat):
        bare(ax)
        if number >= len(pixels):
            ax.set_visible(False)
            continue
        ax.imshow(pixels[number].permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        if labels is not None:
            ax.set_title(str(labels[number]), fontsize=FONT["small"], color=INK, pad=3)
    if title is not None:
        figure.suptitle(
            title, x=0.01, ha="left", fontsize=FONT["title"], fontweight="bold", color=INK
        )
    return figure
