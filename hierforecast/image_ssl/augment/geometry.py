"""Transformations that move pixels.

Beyond the edges the image is mirrored: black corners would tell a network the angle before it looks
at anything else. Interpolation is bilinear; a view much smaller than its box is not smoothed first,
so bring large images near the size of the views beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from hierforecast._options import one_of, share, whole
from hierforecast.errors import DataError
from hierforecast.image_ssl.augment.affine import Affine, affine, chain_sources
from hierforecast.image_ssl.augment.base import (
    Parameters,
    Random,
    Range,
    Size,
    limits,
    per_image,
    uniform,
)

Padding: TypeAlias = Literal["reflection", "border", "zeros"]
TINY = 1e-12  # least area, or shape, of a box


class Geometric(Affine):
    """An affine map of coordinates by interpolation; a chain of them samples once.

    Args:
        padding: what lies beyond the edges: the image mirrored ("reflection"), its last pixels
            ("border"), or black ("zeros").
    """

    def __init__(self, padding: Padding = "reflection") -> None:
        self.padding = one_of("padding", padding, get_args(Padding))

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Transform images (b, 3, h, w) as `parameters` say."""
        return sample_once([self], images, parameters)


def sample_once(
    chain: Sequence[Geometric], images: Tensor, parameters: Mapping[str, Tensor]
) -> Tensor:
    """Apply geometric transformations, first to last, with one interpolation.

    Pixels that an early step moves out of sight are still there for a later one.
    """
    placed = {name: parameters[name].to(images) for step in chain for name in step.names}
    sources, size = chain_sources(chain, placed, (images.shape[-2], images.shape[-1]))
    if not len(images):  # which torch's grids refuse
        return images.new_zeros(*images.shape[:2], *size)
    grid = F.affine_grid(sources[:, :2], [*images.shape[:2], *size], align_corners=False)
    return F.grid_sample(
        images, grid, mode="bilinear", padding_mode=chain[-1].padding, align_corners=False
    )


class Turn(Affine):
    """What turns about the center by `angle` degrees."""

    neutral: ClassVar = {"angle": 0.0}

    def sources(self, parameters: Mapping[str, Tensor], size: Size) -> Tensor:
        """Where each place of the view comes from, (b, 3, 3)."""
        radians = torch.deg2rad(parameters["angle"])
        cos, sin = radians.cos(), radians.sin()
        # Rows point down, and a unit of x is w / h units of y long.
        shape = size[0] / size[1]
        return affine([[cos, -sin * shape, 0.0], [sin / shape, cos, 0.0]], cos)


class RandomRotation(Turn, Geometric):
    """Rotate about the center by `angle` degrees, counter-clockwise as one looks at the image.

    Args:
        degrees: angles are drawn from here: (low, high), or d for (-d, d).
    """

    def __init__(
        self, degrees: float | Range = 180.0, p: float = 1.0, padding: Padding = "reflection"
    ) -> None:
        super().__init__(padding)
        both = degrees if isinstance(degrees, tuple) else (-degrees, degrees)
        self.degrees, self.p = limits("degrees", both, -360.0), share("p", p)

    def sample(self, shape: Sequence[int], generator: Random = None) -> Parameters:
        """Draw `angle` (b,)."""
        return {"angle": uniform(shape[0], self.degrees, generator)}


class RightAngleTurn(Turn):
    """Turn by 0, 90, 180 or 270 degrees: pixels change places and no value changes.

    `angle` is that of `RandomRotation`. A quarter turn needs square images.
    """

    def sample(self, shape: Sequence[int], generator: Random = None) -> Parameters:
        """Draw `angle` (b,), each of the four with the same probability."""
        quarters = uniform(shape[0], (0.0, 4.0), generator).floor().clamp(max=3)
        return {"angle": 90 * quarters}

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Turn images (b, 3, h, h)."""
        if images.shape[-2] != images.shape[-1]:
            height, width = images.shape[-2:]
            raise DataError(
                f"images of {height} x {width} pixels cannot share a batch with their quarter "
                "turns: crop them to squares first (RandomResizedCrop)"
            )
        quarters = (parameters["angle"] / 90).round() % 4
        # At most a half turn and then a quarter: two choices instead of three.
        half = torch.where(per_image(quarters >= 2), images.rot90(2, (-2, -1)), images)
        return torch.where(per_image(quarters % 2 == 1), half.rot90(1, (-2, -1)), half)


class Translation(Geometric):
    """Shift the image by `translation`, fractions of its width to the right and height down.

    Args:
        fraction: the largest shift, of either sign, along either axis.
    """

    neutral: ClassVar = {"translation": (0.0, 0.0)}

    def __init__(
        self, fraction: float = 0.2, p: float = 1.0, padding: Padding = "reflection"
    ) -> None:
        super().__init__(padding)
        self.fraction, self.p = share("fraction", fraction), share("p", p)

    def sample(self, shape: Sequence[int], generator: Random = None) -> Parameters:
        """Draw `translation` (b, 2)."""
        n = shape[0]
        shift = uniform(2 * n, (-self.fraction, self.fraction), generator).view(n, 2)
        return {"translation": shift}

    def sources(self, parameters: Mapping[str, Tensor], size: Size) -> Tensor:
        """Where each place of the view comes from, (b, 3, 3)."""
        x, y = (-2 * parameters["translation"]).unbind(1)
        return affine([[1.0, 0.0, x], [0.0, 1.0, y]], x)


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
        self.size, self.p = size if size is None else whole("size", size), share("p", p)
        self.scale = limits("scale", scale, TINY, 1)
        self.ratio = limits("ratio", ratio, TINY)

    def sample(self, shape: Sequence[int], generator: Random = None) -> Parameters:
        """Draw `crop` (b, 4)."""
        n, height_by_width = shape[0], shape[-2] / shape[-1]
        area = uniform(n, self.scale, generator)
        # A box of this area fits if its width by its height, both in fractions of the image,
        # lies between the area and its reciprocal.
        low, high = (torch.full_like(area, value * height_by_width) for value in self.ratio)
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


class HorizontalFlip(Geometric):
    """Let left and right change places where `flip` is 1; alone, no value changes."""

    neutral: ClassVar = {"flip": 0.0}

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = share("p", p)

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Flip images (b, 3, h, w)."""
        return torch.where(per_image(parameters["flip"] > 0.5), images.flip(-1), images)

    def sources(self, parameters: Mapping[str, Tensor], size: Size) -> Tensor:
        """Where each place of the view comes from, (b, 3, 3)."""
        side = 1 - 2 * parameters["flip"]
        return affine([[side, 0.0, 0.0], [0.0, 1.0, 0.0]], side)
