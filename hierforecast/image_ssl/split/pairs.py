"""Pairs of views that say what was done to them, and for which images it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from hierforecast._random import with_generator
from hierforecast.image_ssl.augment import (
    ColorJitter,
    Compose,
    GaussianBlur,
    HorizontalFlip,
    Parameters,
    RandomResizedCrop,
    RandomRotation,
    Transformation,
    Translation,
    View,
)
from hierforecast.image_ssl.augment.base import check_probability

__all__ = ["Between", "OneAtATimePairs", "Pair", "PairsWithParameters", "ViewPairs", "every_kind"]

# Parameters with an end that meets the beginning: its length; and those that are yes or no.
CIRCLES = {"angle": 360.0, "hue": 1.0}
CHOICES = ("flip", "grayscale")


@dataclass(frozen=True)
class Pair:
    """Two views of the same images.

    Attributes:
        first: a view, with its parameters.
        second: another.
        relative: the parameters that take the first view to the second.
        known: (b,) bool, of which images a method may look at the parameters.
        between: images (b, 3, h, w) that lie between the two views, if asked for.
    """

    first: View
    second: View
    relative: Parameters
    known: Tensor
    between: Tensor | None = None

    def to(self, dtype: torch.dtype) -> Pair:
        """The same with images of another type; parameters stay as they are."""
        first, second = (View(v.images.to(dtype), v.parameters) for v in (self.first, self.second))
        between = None if self.between is None else self.between.to(dtype)
        return replace(self, first=first, second=second, between=between)


class ViewPairs:
    """Draw pairs of views, each with parameters of its own.

    Args:
        augmentation: draws and applies parameters.
        known: share of the *images* whose parameters are known. An image is known whenever it
            comes or never, by a number made of its pixels: a set of data of which a part is
            annotated. Two images of the same pixels are the same image.
        between: asks for an image between the views; `Between`.

    Raises:
        ValueError: if `known` is no share.
    """

    def __init__(
        self,
        augmentation: Transformation,
        known: float = 1.0,
        between: Between | None = None,
    ) -> None:
        self.augmentation, self.known = augmentation, check_probability(known)
        self.between = between

    def draw(
        self, shape: torch.Size, generator: torch.Generator | None = None
    ) -> tuple[Parameters, Parameters]:
        """Parameters of both views of images of this shape (b, 3, h, w)."""
        first = self.augmentation.draw(shape, generator)
        return first, self.augmentation.draw(shape, generator)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Pair:
        """A pair of views of images (b, 3, h, w), float32 or float64 in [0, 1]."""
        drawn = self.draw(images.shape, generator)
        first, second = (self.augmentation.replay(images, one) for one in drawn)
        relative = self.augmentation.relative(first.parameters, second.parameters)
        between = None
        if self.between is not None:
            middle = self.between(first.parameters, second.parameters, generator)
            between = self.augmentation.replay(images, middle).images
        return Pair(first, second, relative, number_of(images) < self.known, between)


class OneAtATimePairs(ViewPairs):
    """Draw pairs whose views differ in one step of a chain, drawn anew for each image.

    The relative parameters of all other steps are those of the identity, and those of this one are
    exact even where steps do not commute. It is how ``all one at a time`` is read here.

    Args:
        augmentation: the chain.
        known: see `ViewPairs`.
        between: see `ViewPairs`.
    """

    augmentation: Compose

    def __init__(
        self, augmentation: Compose, known: float = 1.0, between: Between | None = None
    ) -> None:
        super().__init__(augmentation, known, between)

    def draw(
        self, shape: torch.Size, generator: torch.Generator | None = None
    ) -> tuple[Parameters, Parameters]:
        """Parameters of both views; all but one step's are the same."""
        first, other = super().draw(shape, generator)
        steps = [step for step in self.augmentation.steps if step.names]
        chosen = torch.randint(len(steps), (shape[0],), generator=generator)
        second = dict(first)
        for number, step in enumerate(steps):
            for name in step.names:
                differs = (chosen == number).view(-1, *[1] * (first[name].ndim - 1))
                second[name] = torch.where(differs, other[name], first[name])
        return first, second


class Between:
    """Parameters on the way from one view to another (arXiv 2503.18753).

    Numbers are mixed, angles and hues along the shorter way; of what is done or not, such as a
    flip, the first view's choice is kept.

    Args:
        shares: of the way, drawn evenly from here for each image.
    """

    def __init__(self, shares: tuple[float, float] = (0.25, 0.75)) -> None:
        low, high = shares
        if not 0 <= low <= high <= 1:
            raise ValueError(f"shares={shares}: give (low, high) with 0 <= low <= high <= 1")
        self.shares = shares

    def __call__(
        self, first: Parameters, second: Parameters, generator: torch.Generator | None = None
    ) -> Parameters:
        """The parameters between those of two views."""
        count = len(next(iter(first.values()), ()))
        low, high = self.shares
        share = low + (high - low) * torch.rand(count, generator=generator)
        return {name: _mixed(name, first[name], second[name], share) for name in first}


class PairsWithParameters(nn.Module):
    """A loss of pairs with their parameters, as a loss of images: `PairedViews` that tells more.

    Args:
        method: `SIE`, `Reconstruction` or another module with `backbone` and ``pair_loss(pair)``.
        pairs: images (b, 3, h, w) to a `Pair`; `ViewPairs`.
    """

    generator: torch.Generator | None = None

    def __init__(self, method: nn.Module, pairs: Callable[[Tensor], Pair]) -> None:
        super().__init__()
        self.method, self.pairs = method, pairs

    @property
    def backbone(self) -> nn.Module:
        """The network that is trained."""
        return self.method.get_submodule("backbone")

    def loss(self, images: Tensor) -> Tensor:
        """Loss of images (b, 3, h, w), floats in [0, 1]."""
        with torch.no_grad():
            # Colours and places need more than bfloat16 holds.
            drawn = with_generator(self.pairs)(images.float(), generator=self.generator)
            pair: Pair = drawn.to(images.dtype)
        loss: Tensor = self.method.pair_loss(pair)  # type: ignore[operator]
        return loss


def every_kind(size: int | None = None) -> Compose:
    """Flip, rotation, translation, box, colours and blur together: what part two is about.

    The flip comes first: behind it, a mirrored view would turn the other way. Any two views are
    within 90 degrees of each other. There is no greyscale: what it does to colour
    has no parameter.

    Args:
        size: side of the views in pixels; None keeps the size of the images.
    """
    steps = [
        HorizontalFlip(),
        RandomRotation(45.0),
        Translation(0.2),
        RandomResizedCrop(size, (0.5, 1.0)),
        ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0),
        GaussianBlur((0.1, 1.0), p=0.5),
    ]
    return Compose(steps)


def number_of(images: Tensor) -> Tensor:
    """A number in [0, 1) for each image (b, 3, h, w) in [0, 1], made of its pixels as bytes."""
    pixels = (images.detach().flatten(1) * 255).round().long()
    places = torch.arange(pixels.shape[1], device=pixels.device)
    mixed = pixels * (places * 7919 % 10007 + 1)  # far below 2**63 for any image
    return (mixed.sum(1) % 10007).double() / 10007


def _mixed(name: str, a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    if name in CHOICES:
        return a
    way = b - a
    if name in CIRCLES:
        length = CIRCLES[name]
        way = (way + length / 2) % length - length / 2
    return a + share.to(a).view(-1, *[1] * (a.ndim - 1)) * way
