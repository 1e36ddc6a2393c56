"""Transformations one after the other, and the chains that are in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment.affine import Affine, relative_in_chain
from hierforecast.image_ssl.augment.base import Parameters, Random, Range, Size, Transformation
from hierforecast.image_ssl.augment.color import ColorJitter, GaussianBlur, RandomGrayscale
from hierforecast.image_ssl.augment.geometry import (
    Geometric,
    HorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    Translation,
    sample_once,
)


class Compose(Transformation):
    """Transformations one after the other, with the parameters of all.

    Neighboring geometric steps of one padding sample the image once, through the product of their
    maps.

    Args:
        steps: the transformations, first to last; their parameters' names differ.
    """

    def __init__(self, steps: Sequence[Transformation]) -> None:
        self.steps = tuple(steps)
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two steps have a parameter {twice[0]!r}: leave one of them out")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters of all steps."""
        return tuple(name for step in self.steps for name in step.names)

    def identity(self, n: int) -> Parameters:
        """The parameters that change nothing, n rows."""
        return _merge(step.identity(n) for step in self.steps)

    def sample(self, shape: Sequence[int], generator: Random = None) -> Parameters:
        """Draw the parameters of all steps."""
        n, channels, *size = shape
        drawn: Parameters = {}
        for step in self.steps:
            drawn |= step.draw((n, channels, *size), generator)
            size = [*step.view_size((size[0], size[1]))]
        return drawn

    def view_size(self, size: Size) -> Size:
        """Height and width of the view."""
        for step in self.steps:
            size = step.view_size(size)
        return size

    def apply(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Apply all steps to images (b, 3, h, w)."""
        # Geometric steps in a row are sampled once, if they share what lies beyond the edges.
        for _, run in groupby(self.steps, lambda step: getattr(step, "padding", step)):
            chain = tuple(run)
            together = tuple(step for step in chain if isinstance(step, Geometric))
            if len(together) > 1:
                images = sample_once(together, images, parameters)
            else:
                images = chain[0].apply(images, parameters)
        return images

    def relative(
        self, a: Mapping[str, Tensor], b: Mapping[str, Tensor], size: Size = (1, 1)
    ) -> Parameters:
        """The parameters that take view a to view b.

        Those of places are exact: they say the one affine map from the one view to the other, see
        `relative_in_chain`. Colors and blur are compared as if they stood alone.

        Args:
            size: height and width of the images, which matter where they are not square.
        """
        steps = self._single()
        places = [step for step in steps if isinstance(step, Affine)]
        found = relative_in_chain(places, a, b, size) if places else {}
        others = [step.relative(a, b) for step in steps if not isinstance(step, Affine)]
        found |= _merge(others)
        return {name: found[name] for name in self.relative_names}

    @property
    def relative_names(self) -> tuple[str, ...]:
        """Names of the relative parameters: a chain that turns and crops has `shear` as well."""
        sheared = {"angle", "crop"} <= {*self.names}
        return (*self.names, "shear") if sheared else self.names

    def _single(self) -> list[Transformation]:
        """The steps, of chains within the chain too."""
        inner = (step._single() if isinstance(step, Compose) else [step] for step in self.steps)
        return [step for steps in inner for step in steps]

    def inverse(self, parameters: Mapping[str, Tensor]) -> Parameters:
        """Refuse: the steps' inverses belong in the opposite order."""
        raise DataError("the inverse of a chain is a chain in the opposite order: use undo()")

    def undo(self, images: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """Undo the steps, last to first; each samples anew."""
        for step in reversed(self.steps):
            images = step.undo(images, parameters)
        return images


def _merge(parts: Iterable[Parameters]) -> Parameters:
    return {name: values for part in parts for name, values in part.items()}


def contrastive(
    size: int | None = None,
    *,
    scale: Range = (0.3, 1.0),
    strength: float = 0.5,
    blur: Range | None = None,
) -> Compose:
    """The views of SimCLR and MoCo v2, for small images: box, flip, colors, greys and a blur.

    Args:
        scale: area of the box as a fraction of the image. Both papers take (0.2, 1.0) or less on
            ImageNet; of 33 pixels, that leaves 15.
        strength: of the color jitter; SimCLR takes 1 for ImageNet and 0.5 for CIFAR-10, and 0.5
            is MoCo v2's. Factors are within 0.8 x strength of 1, turns within 0.2 x strength of 0.
        blur: range of the blur's standard deviation in pixels, which is done to every other view;
            None leaves it out, as SimCLR does for CIFAR-10.

    Source: Chen et al., arXiv 2002.05709, appendices A and B.9; Chen et al., arXiv 2003.04297.
    """
    factor = 0.8 * strength
    steps = [
        RandomResizedCrop(size, scale),
        HorizontalFlip(),
        ColorJitter(factor, factor, factor, 0.2 * strength, p=0.8),
        RandomGrayscale(p=0.2),
    ]
    return Compose(steps if blur is None else [*steps, GaussianBlur(blur, p=0.5)])


def every_kind(size: int | None = None) -> Compose:
    """Flip, rotation, translation, box, colors and blur together, for objectives of parameters.

    The flip comes first: after it, a mirrored view would turn the other way. Any two views are
    within 90 degrees of each other. There is no greyscale: what it does to color has no parameter.
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
