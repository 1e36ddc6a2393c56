"""Blur."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from hierforecast.errors import DataError, import_extra
from hierforecast.image_ssl.augment.base import (
    Parameters,
    Range,
    Transformation,
    check_probability,
    check_range,
    uniform,
)

# The Gaussian is cut off after this many standard deviations.
REACH = 3


class GaussianBlur(Transformation):
    """Blur with a Gaussian of standard deviation `blur` pixels.

    Args:
        sigma: standard deviations are drawn from here, (low, high) in pixels. `apply` takes no
            larger ones than `high`: its filter is that wide.
        p: probability that an image is blurred.
    """

    neutral: ClassVar = {"blur": 0.0}
    lossy = True

    def __init__(self, sigma: Range = (0.1, 1.0), p: float = 0.5) -> None:
        self.sigma, self.p = check_range("sigma", sigma, 0.0), check_probability(p)

    @property
    def radius(self) -> int:
        """Pixels that the filter reaches to each side."""
        return max(1, math.ceil(REACH * self.sigma[1]))

    def sample(
        self, images_shape: Sequence[int], generator: torch.Generator | None = None
    ) -> Parameters:
        """Draw `blur` (b,)."""
        return {"blur": uniform(images_shape[0], self.sigma, generator)}

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Blur images (b, 3, h, w); beyond the edges they are mirrored.

        Raises:
            DataError: if the images are smaller than the filter.
            MissingExtraError: if kornia is not installed.
        """
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
