"""Transformations that change colors, or blur.

The colors' act on luma and chroma: Y = .299 R + .587 G + .114 B and the plane of U = .492 (B - Y)
and V = .877 (R - Y), the YUV of ITU-R BT.470. There, brightness b, contrast c, saturation s and a
turn of the hue are

    Y -> b (c Y + (1 - c) mean(Y)),    (U, V) -> b c s turn(U, V),

which commute: there is no order to choose, factors multiply and turns add up, and all four are one
affine map of colors for each image. (Hue turned in HSV, as torchvision and kornia do it, is not
linear, changes luma, and alone takes several times as long as all four here.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from hierforecast._options import number, share
from hierforecast.errors import DataError, import_extra
from hierforecast.image_ssl.augment.base import (
    Parameters,
    Random,
    Range,
    Transformation,
    limits,
    per_image,
    uniform,
)

REACH = 3  # standard deviations after which a Gaussian is cut off
LUMA = (0.299, 0.587, 0.114)
FACTORS = ("brightness", "contrast", "saturation")


class ColorJitter(Transformation):
    """Change `brightness`, `contrast`, `saturation` (factors) and `hue` (turns).

    Values are clipped to [0, 1] once, at the end: undoing is exact for pixels that were not.

    Args:
        brightness: factors are drawn from 1 - brightness to 1 + brightness, not below 0.
        contrast: the same; contrast is the distance from the image's mean luma.
        saturation: the same; saturation is the distance from each pixel's own luma.
        hue: turns are drawn from -hue to hue; 0.5 is the opposite color.
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
        strengths = zip(FACTORS, (brightness, contrast, saturation), strict=True)
        self.strengths = {name: number(name, strength, 0) for name, strength in strengths}
        self.hue, self.p = share("hue", hue, 0, 0.5), share("p", p)

    def sample(self, shape: Sequence[int], generator: Random = None) -> Parameters:
        """Draw four parameters (b,)."""
        n = shape[0]
        drawn = {
            name: uniform(n, (max(0.0, 1 - strength), 1 + strength), generator)
            for name, strength in self.strengths.items()
        }
        return drawn | {"hue": uniform(n, (-self.hue, self.hue), generator)}

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Recolor images (b, 3, h, w)."""
        brightness, contrast, saturation, hue = (parameters[k].to(images) for k in self.neutral)
        pixels = images.flatten(2)
        luma = pixels.mean(2) @ pixels.new_tensor(LUMA)
        shift = brightness * (1 - contrast) * luma
        colors = _color_matrix(brightness * contrast, saturation, hue)
        mixed = torch.baddbmm(shift[:, None, None], colors, pixels)
        return mixed.clamp(0, 1).view_as(images)

    def relative(self, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Parameters:
        """Factors and turn (in [-0.5, 0.5)) from view a to view b; infinite where a's factor is 0.

        They are meant for views that differ in color only: another box has another mean luma.
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
    """Replace each pixel by its luma where `grayscale` is 1."""

    neutral: ClassVar = {"grayscale": 0.0}
    lossy = True

    def __init__(self, p: float = 0.2) -> None:
        self.p = share("p", p)

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Take the colors out of images (b, 3, h, w)."""
        luma = torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA))[:, None]
        return torch.where(per_image(parameters["grayscale"] > 0.5), luma, images)

    def relative(self, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Parameters:
        """1 if only b is grey, and -1 if only a is: then no transformation brings colors back."""
        return {"grayscale": b["grayscale"] - a["grayscale"]}


class GaussianBlur(Transformation):
    """Blur with a Gaussian of standard deviation `blur` pixels.

    Args:
        sigma: standard deviations are drawn from here, (low, high) in pixels. `apply` takes no
            larger ones than `high`: its filter is that wide.
    """

    neutral: ClassVar = {"blur": 0.0}
    lossy = True

    def __init__(self, sigma: Range = (0.1, 1.0), p: float = 0.5) -> None:
        self.sigma, self.p = limits("sigma", sigma, 0.0), share("p", p)

    @property
    def radius(self) -> int:
        """Pixels that the filter reaches to each side."""
        return max(1, math.ceil(REACH * self.sigma[1]))

    def sample(self, shape: Sequence[int], generator: Random = None) -> Parameters:
        """Draw `blur` (b,)."""
        return {"blur": uniform(shape[0], self.sigma, generator)}

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Blur images (b, 3, h, w); beyond the edges they are mirrored."""
        filters = import_extra("kornia.filters", "image", "to blur images")
        if self.radius >= min(images.shape[-2:]):
            raise DataError(
                f"a blur of up to {self.sigma[1]:g} pixels needs images of more than {self.radius} "
                f"pixels, not {tuple(images.shape[-2:])}: give a smaller sigma"
            )
        sigma = parameters["blur"].to(images)
        # Only what is blurred: the others keep every bit, and the filter's time.
        rows = (sigma > 0).nonzero()[:, 0]
        if not len(rows):
            return images
        side = 2 * self.radius + 1
        both = sigma[rows, None].expand(-1, 2)
        blurred = filters.gaussian_blur2d(images[rows], (side, side), both)
        return images.index_copy(0, rows, blurred)

    def relative(self, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Parameters:
        """`blur` that takes view a to view b: variances of Gaussians add up.

        Where a is the more blurred one it is negative: the blur that takes b to a, which `apply`
        does not undo.
        """
        more = b["blur"] ** 2 - a["blur"] ** 2
        return {"blur": more.sign() * more.abs().sqrt()}


def _color_matrix(luma: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Maps of colors (b, 3, 3): scale luma, and chroma by `luma` x `saturation`, and turn it."""
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
