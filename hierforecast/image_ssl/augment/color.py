"""Transformations that change colours.

All of them act on luma and chroma: Y = .299 R + .587 G + .114 B and the plane of U = .492 (B - Y)
and V = .877 (R - Y), the YUV of ITU-R BT.470. There, brightness b, contrast c, saturation s and a
turn of the hue are

    Y -> b (c Y + (1 - c) mean(Y)),    (U, V) -> b c s turn(U, V),

which commute: there is no order to choose, factors multiply and turns add up, and all four are one
affine map of colours for each image. (Hue turned in HSV, as torchvision and kornia do it, is not
linear, changes luma, and alone takes several times as long as all four here.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment.base import (
    Parameters,
    Transformation,
    check_probability,
    device_of,
    per_image,
    uniform,
)

LUMA = (0.299, 0.587, 0.114)
FACTORS = ("brightness", "contrast", "saturation")


class ColorJitter(Transformation):
    """Change `brightness`, `contrast`, `saturation` (factors) and `hue` (turns).

    Values are clipped to [0, 1] once, at the end: undoing is exact for pixels that were not.

    Args:
        brightness: factors are drawn from 1 - brightness to 1 + brightness, not below 0.
        contrast: the same; contrast is the distance from the image's mean luma.
        saturation: the same; saturation is the distance from each pixel's own luma.
        hue: turns are drawn from -hue to hue; 0.5 is the opposite colour.
        p: probability that an image is changed.
    """

    neutral: ClassVar[dict[str, float]] = {
        "brightness": 1.0,
        "contrast": 1.0,
        "saturation": 1.0,
        "hue": 0.0,
    }

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        p: float = 0.8,
    ) -> None:
        self.strengths = dict(zip(FACTORS, (brightness, contrast, saturation), strict=True))
        for name, strength in self.strengths.items():
            if strength < 0:
                raise ValueError(f"{name}={strength}: give 0 or more")
        if not 0 <= hue <= 0.5:
            raise ValueError(f"hue={hue} turns: give a number from 0 to 0.5")
        self.hue, self.p = hue, check_probability(p)

    def sample(
        self, images_shape: Sequence[int], generator: torch.Generator | None = None
    ) -> Parameters:
        """Draw four parameters (b,)."""
        n = images_shape[0]
        drawn = {
            name: uniform(n, (max(0.0, 1 - strength), 1 + strength), generator)
            for name, strength in self.strengths.items()
        }
        return drawn | {"hue": uniform(n, (-self.hue, self.hue), generator)}

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Recolour images (b, 3, h, w)."""
        brightness, contrast, saturation, hue = (parameters[k].to(images) for k in self.neutral)
        pixels = images.flatten(2)
        luma = pixels.mean(2) @ pixels.new_tensor(LUMA)
        shift = brightness * (1 - contrast) * luma
        colors = _color_matrix(brightness * contrast, saturation, hue)
        mixed = torch.baddbmm(shift[:, None, None], colors, pixels)
        return mixed.clamp(0, 1).view_as(images)

    def relative(self, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Parameters:
        """Factors and turn (in [-0.5, 0.5)) from view a to view b; infinite where a's factor is 0.

        They are meant for views that differ in colour only: another box has another mean luma.
        """
        ratios: Parameters = {name: b[name] / a[name] for name in FACTORS}
        return ratios | {"hue": (b["hue"] - a["hue"] + 0.5) % 1 - 0.5}

    def inverse(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """Reciprocal factors and the opposite turn; raises DataError if a factor is 0."""
        for name in FACTORS:
            if bool((parameters[name] == 0).any()):
                raise DataError(f"{name} 0 cannot be undone: jitter {name} by less than 1")
        return super().inverse(parameters)


class RandomGrayscale(Transformation):
    """Replace each pixel by its luma where `grayscale` is 1.

    Args:
        p: probability that an image loses its colours.
    """

    neutral: ClassVar = {"grayscale": 0.0}
    lossy = True

    def __init__(self, p: float = 0.2) -> None:
        self.p = check_probability(p)

    def sample(
        self, images_shape: Sequence[int], generator: torch.Generator | None = None
    ) -> Parameters:
        """Draw `grayscale` (b,)."""
        return {"grayscale": torch.ones(images_shape[0], device=device_of(generator))}

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Take the colours out of images (b, 3, h, w)."""
        luma = torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA))[:, None]
        return torch.where(per_image(parameters["grayscale"] > 0.5), luma, images)

    def relative(self, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Parameters:
        """1 if only b is grey, and -1 if only a is: then no transformation brings colours back."""
        return {"grayscale": b["grayscale"] - a["grayscale"]}


def _color_matrix(luma: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Maps of colours (b, 3, 3): scale luma, and chroma by `luma` x `saturation`, and turn it."""
    to_yuv, to_rgb = (matrix.to(luma) for matrix in _yuv())
    chroma, turn = luma * saturation, 2 * math.pi * hue
    cos, sin, zero = chroma * turn.cos(), chroma * turn.sin(), torch.zeros_like(luma)
    # What is added to the identity, so that parameters of the identity change no bit.
    rows = [luma - 1, zero, zero, zero, cos - 1, -sin, zero, sin, cos - 1]
    change = torch.stack(rows, 1).unflatten(1, (3, 3))
    return torch.eye(3, dtype=luma.dtype, device=luma.device) + to_rgb @ change @ to_yuv


@cache
def _yuv() -> tuple[Tensor, Tensor]:
    """From (R, G, B) to (Y, U, V), and back, float64 (3, 3)."""
    luma = torch.tensor(LUMA, dtype=torch.float64)
    red, _, blue = torch.eye(3, dtype=torch.float64)
    there = torch.stack([luma, 0.492 * (blue - luma), 0.877 * (red - luma)])
    return there, torch.linalg.inv(there)
