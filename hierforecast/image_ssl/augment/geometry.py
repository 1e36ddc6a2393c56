"""Transformations that move pixels.

Beyond the edges the image is mirrored: black corners would tell a network the angle before it looks
at anything else. Interpolation is bilinear; a view much smaller than its box is not smoothed first,
so bring large images near the size of the views beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment.affine import Affine, affine, chain_sources
from hierforecast.image_ssl.augment.base import (
    Parameters,
    Range,
    Size,
    check_probability,
    check_range,
    device_of,
    per_image,
    uniform,
)

Padding: TypeAlias = Literal["reflection", "border", "zeros"]


class Geometric(Affine):
    """An affine map of coordinates by interpolation; a chain of them samples once.

    Args:
        padding: what lies beyond the edges: the image mirrored ("reflection"), its last pixels
            ("border"), or black ("zeros").
    """

    def __init__(self, padding: Padding = "reflection") -> None:
        if padding not in ("reflection", "border", "zeros"):
            raise ValueError(f"padding {padding!r}: give 'reflection', 'border' or 'zeros'")
        self.padding = padding

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


class RandomRotation(Geometric):
    """Rotate about the centre by `angle` degrees, counter-clockwise as one looks at the image.

    Args:
        degrees: angles are drawn from here: (low, high), or d for (-d, d).
        p: probability that an image is rotated.
        padding: see `Geometric`.
    """

    neutral: ClassVar = {"angle": 0.0}

    def __init__(
        self, degrees: float | Range = 180.0, p: float = 1.0, padding: Padding = "reflection"
    ) -> None:
        super().__init__(padding)
        both = degrees if isinstance(degrees, tuple) else (-degrees, degrees)
        self.degrees = check_range("degrees", both, -360.0)
        self.p = check_probability(p)

    def sample(
        self, images_shape: Sequence[int], generator: torch.Generator | None = None
    ) -> Parameters:
        """Draw `angle` (b,)."""
        return {"angle": uniform(images_shape[0], self.degrees, generator)}

    def sources(self, parameters: Mapping[str, Tensor], size: Size) -> Tensor:
        """Where each place of the view comes from, (b, 3, 3)."""
        return turned(parameters["angle"], size)


class RightAngleTurn(Affine):
    """Turn by 0, 90, 180 or 270 degrees: pixels change places and no value changes.

    `angle` is that of `RandomRotation`. A quarter turn needs square images.
    """

    neutral: ClassVar = {"angle": 0.0}

    def sample(
        self, images_shape: Sequence[int], generator: torch.Generator | None = None
    ) -> Parameters:
        """Draw `angle` (b,), each of the four with the same probability."""
        quarters = uniform(images_shape[0], (0.0, 4.0), generator).floor().clamp(max=3)
        return {"angle": 90 * quarters}

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Turn images (b, 3, h, h).

        Raises:
            DataError: if the images are not square.
        """
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

    def sources(self, parameters: Mapping[str, Tensor], size: Size) -> Tensor:
        """Where each place of the view comes from, (b, 3, 3)."""
        return turned(parameters["angle"], size)


class Translation(Geometric):
    """Shift the image by `translation`, fractions of its width to the right and height down.

    Args:
        fraction: the largest shift, of either sign, along either axis.
        p: probability that an image is shifted.
        padding: see `Geometric`.
    """

    neutral: ClassVar = {"translation": (0.0, 0.0)}

    def __init__(
        self, fraction: float = 0.2, p: float = 1.0, padding: Padding = "reflection"
    ) -> None:
        super().__init__(padding)
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction={fraction} of the image: give a number from 0 to 1")
        self.fraction, self.p = fraction, check_probability(p)

    def sample(
        self, images_shape: Sequence[int], generator: torch.Generator | None = None
    ) -> Parameters:
        """Draw `translation` (b, 2)."""
        n = images_shape[0]
        shift = uniform(2 * n, (-self.fraction, self.fraction), generator).view(n, 2)
        return {"translation": shift}

    def sources(self, parameters: Mapping[str, Tensor], size: Size) -> Tensor:
        """Where each place of the view comes from, (b, 3, 3)."""
        x, y = (-2 * parameters["translation"]).unbind(1)
        return affine([[1.0, 0.0, x], [0.0, 1.0, y]], x)


class HorizontalFlip(Geometric):
    """Let left and right change places where `flip` is 1; alone, no value changes.

    Args:
        p: probability that an image is flipped.
    """

    neutral: ClassVar = {"flip": 0.0}

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check_probability(p)

    def sample(
        self, images_shape: Sequence[int], generator: torch.Generator | None = None
    ) -> Parameters:
        """Draw `flip` (b,)."""
        return {"flip": torch.ones(images_shape[0], device=device_of(generator))}

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Flip images (b, 3, h, w)."""
        return torch.where(per_image(parameters["flip"] > 0.5), images.flip(-1), images)

    def sources(self, parameters: Mapping[str, Tensor], size: Size) -> Tensor:
        """Where each place of the view comes from, (b, 3, 3)."""
        side = 1 - 2 * parameters["flip"]
        return affine([[side, 0.0, 0.0], [0.0, 1.0, 0.0]], side)


def turned(degrees: Tensor, size: Size) -> Tensor:
    """Maps of turns about the middle of images of height and width `size`, (b, 3, 3)."""
    radians = torch.deg2rad(degrees)
    cos, sin = radians.cos(), radians.sin()
    # Rows point down, and a unit of x is w / h units of y long.
    shape = size[0] / size[1]
    return affine([[cos, -sin * shape, 0.0], [sin / shape, cos, 0.0]], cos)
