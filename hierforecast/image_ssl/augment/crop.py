"""Boxes cut out of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from hierforecast.image_ssl.augment.affine import affine
from hierforecast.image_ssl.augment.base import (
    Parameters,
    Range,
    Size,
    check_probability,
    check_range,
    uniform,
)
from hierforecast.image_ssl.augment.geometry import Geometric


class RandomResizedCrop(Geometric):
    """Cut a box out of the image and bring it to one size.

    The box's area is uniform in `scale`; its shape is log-uniform among those in `ratio` that fit
    into the image, so no draw is rejected and areas are as promised.

    Args:
        size: side of the square views in pixels; None keeps the size of the images.
        scale: area of the box as a fraction of the image, (low, high).
        ratio: width by height of the box in pixels, (low, high).
        p: probability that an image is cut; another is brought to `size` whole.
    """

    neutral: ClassVar = {"crop": (0.0, 0.0, 1.0, 1.0)}

    def __init__(
        self,
        size: int | None = None,
        scale: Range = (0.3, 1.0),
        ratio: Range = (3 / 4, 4 / 3),
        p: float = 1.0,
    ) -> None:
        super().__init__()
        if size is not None and size < 1:
            raise ValueError(f"size={size}: give the side of the views in pixels, or None")
        self.size, self.p = size, check_probability(p)
        self.scale, self.ratio = check_range("scale", scale, 0.0), check_range("ratio", ratio, 0.0)
        if not 0 < self.scale[0] <= self.scale[1] <= 1 or self.ratio[0] == 0:
            raise ValueError("scale must lie in (0, 1], and ratio must be positive")

    def sample(
        self, images_shape: Sequence[int], generator: torch.Generator | None = None
    ) -> Parameters:
        """Draw `crop` (b, 4)."""
        n, shape = images_shape[0], images_shape[-2] / images_shape[-1]
        area = uniform(n, self.scale, generator)
        # A box of this area fits if its width by its height, both in fractions of the image,
        # lies between the area and its reciprocal.
        low, high = (torch.full_like(area, value * shape) for value in self.ratio)
        low, high = (value.clamp(area, 1 / area).log() for value in (low, high))
        shape_of_box = (low + (high - low) * uniform(n, (0.0, 1.0), generator)).exp()
        height, width = (area / shape_of_box).sqrt(), (area * shape_of_box).sqrt()
        height, width = height.clamp(max=1), width.clamp(max=1)
        top = (1 - height) * uniform(n, (0.0, 1.0), generator)
        left = (1 - width) * uniform(n, (0.0, 1.0), generator)
        return {"crop": torch.stack([top, left, height, width], 1)}

    def view_size(self, size: Size) -> Size:
        """Height and width of the view."""
        return size if self.size is None else (self.size, self.size)

    def sources(self, parameters: Mapping[str, Tensor], size: Size) -> Tensor:
        """Where each place of the view comes from, (b, 3, 3)."""
        top, left, height, width = parameters["crop"].unbind(1)
        x, y = 2 * left + width - 1, 2 * top + height - 1
        return affine([[width, 0.0, x], [0.0, height, y]], x)
