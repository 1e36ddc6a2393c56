"""Two views of each image: what every objective is given, and the one place where they are drawn.

A batch of images holds each image as both views, a batch of a posed set two views of each object. A
source makes of it what is learned from: `Augmented` views, or those of `Poses` as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from hierforecast._options import share
from hierforecast.image_ssl.augment import Compose, Parameters, Transformation
from hierforecast.image_ssl.augment.base import limits, uniform

# Parameters with an end that meets the beginning: its length; and those that are yes or no.
CIRCLES = {"angle": 360.0, "hue": 1.0}
CHOICES = ("flip", "grayscale")
# Multiples of it spread evenly over the circle: every run of objects has its share of known ones.
GOLDEN = (5**0.5 - 1) / 2


class Views(NamedTuple):  # a tuple: torch and Lightning know how to move it to a device
    """Two views of the same images, or of the same objects.

    Attributes:
        first: images (b, 3, h, w).
        second: images; row i shows what row i of `first` shows.
        relative: name -> the parameter that takes the first view to the second, a row each.
        labels: (b,) int64, the class; or (b, classes) where an image shows several.
        known: (b,) bool, rows of which an objective may use `relative`; None for all.
        between: images (b, 3, h, w) that lie between the two views.
        objects: of posed sets, the number of each object, int64 (b,).
        numbers: of posed sets, the images' numbers in the set, int64 (2, b).
    """

    first: Tensor
    second: Tensor
    relative: Parameters | None = None
    labels: Tensor | None = None
    known: Tensor | None = None
    between: Tensor | None = None
    objects: Tensor | None = None
    numbers: Tensor | None = None

    def map_images(self, change: Callable[[Tensor], Tensor]) -> Views:
        """The same with other images; parameters stay as they are."""
        between = None if self.between is None else change(self.between)
        return self._replace(first=change(self.first), second=change(self.second), between=between)

    def known_relative(self) -> tuple[Parameters, Tensor]:
        """The relative parameters of the known rows, and which rows these are, (b,) bool."""
        known = self.known
        if known is None:
            known = torch.ones(len(self.first), dtype=torch.bool, device=self.first.device)
        return {name: values[known] for name, values in (self.relative or {}).items()}, known


# Makes of a batch what is learned from; it may take a `generator` to draw from.
Source: TypeAlias = Callable[..., Views]


class Augmented:
    """Draw two views of each image, each with parameters of its own.

    Args:
        known: share of the *images* whose parameters are known. An image is known whenever it
            comes or never, by a number made of its pixels: a set of data of which a part is
            annotated. Two images of the same pixels are the same image. None leaves the
            parameters out.
    """

    def __init__(
        self, augment: Transformation, known: float | None = 1.0, between: Between | None = None
    ) -> None:
        self.augment, self.between = augment, between
        self.known = None if known is None else share("known", known)

    def draw(
        self, shape: torch.Size, generator: torch.Generator | None = None
    ) -> tuple[Parameters, Parameters]:
        """Parameters of both views of images of this shape (b, 3, h, w)."""
        first = self.augment.draw(shape, generator)
        return first, self.augment.draw(shape, generator)

    def __call__(self, views: Views, generator: torch.Generator | None = None) -> Views:
        """Two views of the images ``views.first``, float32 or float64 in [0, 1]."""
        images = views.first
        drawn = self.draw(images.shape, generator)
        first, second = (self.augment.replay(images, one) for one in drawn)
        relative = known = between = None
        if self.known is not None:
            relative = self._relative(first.parameters, second.parameters, images)
            known = None if self.known == 1 else number_of(images) < self.known
        if self.between is not None:
            middle = self.between(first.parameters, second.parameters, generator)
            between = self.augment.replay(images, middle).images
        return views._replace(
            first=first.images,
            second=second.images,
            relative=relative,
            known=known,
            between=between,
        )

    def _relative(self, first: Parameters, second: Parameters, images: Tensor) -> Parameters:
        """The way from the first views of images (b, 3, h, w) to the second."""
        if isinstance(self.augment, Compose):
            return self.augment.relative(first, second, (images.shape[-2], images.shape[-1]))
        return self.augment.relative(first, second)


class OneAtATime(Augmented):
    """Draw views that differ in one step of a chain, drawn anew for each image.

    It is how ``all one at a time`` is read here. The relative parameters of all other steps are
    those of the identity, but for a flip or a turn: in a view that shows a box of the image it is
    one about another place than the middle, which is a shift and a shear besides.
    """

    augment: Compose

    def draw(
        self, shape: torch.Size, generator: torch.Generator | None = None
    ) -> tuple[Parameters, Parameters]:
        """Parameters of both views; all but one step's are the same."""
        first, other = super().draw(shape, generator)
        steps = [step for step in self.augment.steps if step.names]
        chosen = torch.randint(len(steps), (shape[0],), generator=generator)
        second = dict(first)
        for number, step in enumerate(steps):
            for name in step.names:
                differs = (chosen == number).view(-1, *[1] * (first[name].ndim - 1))
                second[name] = torch.where(differs, other[name], first[name])
        return first, second


class AugmentedOnce:
    """Draw one view of each image: it is the first and the second."""

    def __init__(self, augment: Transformation) -> None:
        self.augment = augment

    def __call__(self, views: Views, generator: torch.Generator | None = None) -> Views:
        """One view of the images ``views.first``, float32 or float64 in [0, 1]."""
        images = self.augment(views.first, generator).images
        return views._replace(first=images, second=images)


class Poses:
    """Take two views of an object as they are: stands where an augmentation would.

    Args:
        known: share of the *objects* whose poses are known. An object is known whenever it comes
            or never, by its number in the set.

    Attributes:
        names: of the parameters that change from one view to the other.
    """

    names = ("rotation", "background_hue", "light_hue", "light_theta", "light_phi")
    relative_names = names

    def __init__(self, known: float = 1.0) -> None:
        self.known = share("known", known)

    def __call__(self, views: Views, generator: torch.Generator | None = None) -> Views:
        """The same views, and which are known; nothing is drawn."""
        assert views.objects is not None
        return views._replace(known=views.objects.double() * GOLDEN % 1 < self.known)


class Between:
    """Parameters on the way from one view to another (arXiv 2503.18753).

    Numbers are mixed, angles and hues along the shorter way; of what is done or not, such as a
    flip, the first view's choice is kept.

    Args:
        shares: of the way, drawn evenly from here for each image.
    """

    def __init__(self, shares: tuple[float, float] = (0.25, 0.75)) -> None:
        self.shares = limits("shares", shares, 0, 1)

    def __call__(
        self, first: Parameters, second: Parameters, generator: torch.Generator | None = None
    ) -> Parameters:
        """The parameters between those of two views."""
        count = len(next(iter(first.values()), ()))
        shares = uniform(count, self.shares, generator)
        return {name: _mixed(name, first[name], second[name], shares) for name in first}


def _mixed(name: str, a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    if name in CHOICES:
        return a
    way = b - a
    if name in CIRCLES:
        length = CIRCLES[name]
        way = (way + length / 2) % length - length / 2
    return a + share.to(a).view(-1, *[1] * (a.ndim - 1)) * way


def number_of(images: Tensor) -> Tensor:
    """A number in [0, 1) for each image (b, 3, h, w) in [0, 1], made of its pixels as bytes."""
    pixels = (images.detach().flatten(1) * 255).round().long()
    places = torch.arange(pixels.shape[1], device=pixels.device)
    mixed = pixels * (places * 7919 % 10007 + 1)  # far below 2**63 for any image
    return (mixed.sum(1) % 10007).double() / 10007
