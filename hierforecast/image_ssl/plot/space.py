"""Feature space in two dimensions."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import Features
from hierforecast.image_ssl.plot.style import LABEL, LEGEND, calm, look_of, new_axes, set_title


def principal_axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates along the two directions in which rows vary most.

    Args:
        x: (n, d) of at least two rows and two columns.

    Returns:
        (n, 2) coordinates, and (2,) the share of the variance that each direction holds. The signs
        are such that the coordinate farthest from the center is positive: a repeated call gives
        the same picture.

    Raises:
        DataError: if there are fewer than two rows or columns, or all rows are equal.
    """
    if min(x.shape) < 2:
        raise DataError(
            f"features {tuple(x.shape)} span no plane: give two rows and columns or more"
        )
    centered = x.double() - x.double().mean(0)
    total = centered.square().sum()
    if total == 0:
        raise DataError("all features are equal: the network has collapsed, nothing can be drawn")
    # The directions come from the smaller of the two Gram matrices: a long set costs no long SVD.
    if x.shape[0] >= x.shape[1]:
        directions = torch.linalg.eigh(centered.T @ centered).eigenvectors[:, -2:].flip(1)
        places = centered @ directions
    else:
        values, vectors = torch.linalg.eigh(centered @ centered.T)
        places = (vectors * values.clamp_min(0).sqrt())[:, -2:].flip(1)
    farthest = places.gather(0, places.abs().argmax(0, keepdim=True))
    places = places * torch.where(farthest < 0, -1.0, 1.0)
    return places, places.square().sum(0) / total


def plot_features(
    features: Features,
    ax: Axes | None = None,
    *,
    max_points: int = 3000,
    title: str | None = None,
) -> Axes:
    """Feature space along its two principal axes, a color for each class.

    The axes are those of all features; colors and markers follow the class numbers, so pictures of
    different networks compare.

    Args:
        features: of one class an image.
        max_points: at most so many are drawn, chosen at random (always the same ones).

    Raises:
        DataError: if images show several classes, or as `principal_axes` does.
    """
    if features.multi_label:
        raise DataError(
            "a point has one color: features of images with several classes cannot be colored; "
            "give Features(x, y[:, k].long()) of one class that is labelled everywhere"
        )
    places, shares = principal_axes(features.x)
    drawn = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))[:max_points]
    places, labels = places[drawn], features.y[drawn]
    ax = new_axes(10.0, 6.5) if ax is None else ax
    size = min(60.0, 1000.0 / len(drawn) ** 0.5)
    looks = {label: look_of(label) for label in features.y.unique().tolist()}
    style: dict[str, Any] = {"s": size, "linewidths": 0.4, "edgecolors": "white", "alpha": 0.85}
    for marker in dict.fromkeys(marker for _, marker in looks.values()):
        # All classes of a marker at once, in mixed order: the last one would cover the others.
        mine = [row for row, label in enumerate(labels.tolist()) if looks[label][1] == marker]
        colors = [looks[label][0] for label in labels[mine].tolist()]
        x, y = places[mine].T.numpy()
        ax.scatter(x, y, c=colors, marker=marker, **style)
    calm(ax, grid="")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal", adjustable="datalim")
    first, second = (f"{float(share):.0%} of the variance" for share in shares)
    ax.set_xlabel(f"first principal axis ({first})", **LABEL)
    ax.set_ylabel(f"second principal axis ({second})", **LABEL)
    _legend(ax, [features.name_of(label).strip("'") for label in looks], list(looks.values()))
    set_title(ax, title)
    return ax


def _legend(ax: Axes, names: list[str], looks: list[tuple[str, str]]) -> None:
    """Names beside the axes, each with its color and marker."""
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle="none", markersize=8)
        for color, marker in looks
    ]
    ax.legend(
        handles, names, loc="center left", bbox_to_anchor=(1.01, 0.5), handletextpad=0.3,
        ncols=1 + (len(handles) - 1) // 16, **LEGEND,
    )  # fmt: skip
