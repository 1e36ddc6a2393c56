"""Augmentations in use, put together."""

from __future__ import annotations

from hierforecast.image_ssl.augment.base import Range
from hierforecast.image_ssl.augment.color import ColorJitter, GaussianBlur, RandomGrayscale
from hierforecast.image_ssl.augment.compose import Compose
from hierforecast.image_ssl.augment.geometry import (
    HorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    Translation,
)


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
