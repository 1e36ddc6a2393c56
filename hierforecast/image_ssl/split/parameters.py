"""Relative parameters of two views as numbers that a network takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import Parameters, Transformation

__all__ = ["KINDS", "RelativeParameters", "parameters_of"]

# What a predictor may be told of: kind -> names of parameters.
KINDS: dict[str, tuple[str, ...]] = {
    "rotation": ("angle",),
    "color": ("brightness", "contrast", "saturation", "hue"),
    "blur": ("blur",),
    "translation": ("translation",),
    "crop": ("crop",),
    "flip": ("flip",),
}
# Beyond these factors, colours say no more; they also keep 0 and infinity out.
FACTORS = (1 / 8, 8.0)


def _circle(turns: Tensor) -> Tensor:
    radians = 2 * math.pi * turns
    return torch.stack([radians.sin(), 1 - radians.cos()], 1)


def _factor(values: Tensor) -> Tensor:
    # A factor of 1.5 is about one; 0 / 0, black to black, changes nothing.
    return values.nan_to_num(1.0).clamp(*FACTORS).log()[:, None] / math.log(1.5)


def _crop(box: Tensor) -> Tensor:
    corner, side = box.split(2, 1)
    centre = corner + side / 2 - 0.5
    return torch.cat([2 * centre, side.clamp(min=1e-3).log() / math.log(1.5)], 1)


# Each gives (b, k), all zeros for the identity, about one where usual views differ much.
COLUMNS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "angle": (2, lambda degrees: _circle(degrees / 360)),
    "translation": (2, lambda shift: 5 * shift),
    "crop": (4, _crop),
    "flip": (1, lambda flip: flip[:, None]),
    "brightness": (1, _factor),
    "contrast": (1, _factor),
    "saturation": (1, _factor),
    "hue": (2, _circle),
    "grayscale": (1, lambda gray: gray[:, None]),
    "blur": (1, lambda sigma: sigma[:, None]),
}


class RelativeParameters(nn.Module):
    """From what `Transformation.relative` says to a matrix (b, k); the identity is all zeros.

    | parameter | columns |
    |---|---|
    | `angle` | sine, and one minus the cosine |
    | `translation` | fractions of the image by 0.2 |
    | `crop` | twice the move of the centre down and right, log of height and width to base 1.5 |
    | `flip`, `grayscale` | as they are |
    | `brightness`, `contrast`, `saturation` | log of the factor to base 1.5, within 1/8 and 8 |
    | `hue` | sine, and one minus the cosine |
    | `blur` | pixels |

    Args:
        names: of the parameters that are told; all others stay hidden.

    Attributes:
        width: k.

    Raises:
        ValueError: for an unknown name, or none.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        unknown = [name for name in self.names if name not in COLUMNS]
        if unknown or not self.names:
            raise ValueError(
                f"parameters {list(self.names)}: give one or more of {', '.join(COLUMNS)}"
            )
        self.width = sum(COLUMNS[name][0] for name in self.names)

    def forward(self, relative: Mapping[str, Tensor]) -> Tensor:
        """Map parameters, n rows each, to (n, k).

        Raises:
            DataError: if one is missing.
        """
        missing = [name for name in self.names if name not in relative]
        if missing:
            raise DataError(
                f"the views have no parameter {missing[0]!r}, only {sorted(relative)}: put its "
                "transformation into the augmentation, or tell the predictor of others"
            )
        return torch.cat([COLUMNS[name][1](relative[name]) for name in self.names], 1)


def parameters_of(augmentation: Transformation, kind: str = "all") -> RelativeParameters:
    """The relative parameters of one kind of change, or of all that an augmentation makes.

    Args:
        augmentation: draws them.
        kind: one of `KINDS`, or ``"all"``.

    Raises:
        ValueError: for another kind, or one that the augmentation does not make.
    """
    if kind == "all":
        return RelativeParameters(augmentation.names)
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of all, {', '.join(KINDS)}")
    names = [name for name in KINDS[kind] if name in augmentation.names]
    if not names:
        raise ValueError(
            f"the augmentation makes no change of {kind}: it has {', '.join(augmentation.names)}"
        )
    return RelativeParameters(names)


def rows(parameters: Mapping[str, Tensor], chosen: Tensor) -> Parameters:
    """Some rows of parameters, (b,) bool."""
    return {name: values[chosen] for name, values in parameters.items()}
