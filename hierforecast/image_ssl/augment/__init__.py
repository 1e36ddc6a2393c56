"""Augmentation that tells what it did: batched, on the images' own device, exactly repeatable.

``view = augmentation(images)`` gives `view.images` and `view.parameters`, one row an image. Drawing
and applying are two functions here, where kornia's augmentation classes make them one: drawing can
then take a `torch.Generator` (kornia's only know the global one), an image that a transformation
passed over has the parameters of the identity (kornia fills in a drawn value all the same), the
colors' order is not drawn anew for every batch, and parameters can be inverted, compared, and
applied to other images. Applying is left to torch: one grid of pixels for a chain of geometric
steps, one affine map for all changes of color; kornia's functions blur.

Parameters, n rows each:

| name | shape | unit | identity |
|---|---|---|---|
| `angle` | (n,) | degrees, counter-clockwise as one looks at the image | 0 |
| `translation` | (n, 2) | fraction of the image to the right, and down | 0, 0 |
| `crop` | (n, 4) | top, left, height, width of the box as fractions of the image | 0, 0, 1, 1 |
| `flip` | (n,) | 1 if left and right have changed places | 0 |
| `brightness`, `contrast`, `saturation` | (n,) | factor | 1 |
| `hue` | (n,) | turns of the color circle, red towards green | 0 |
| `grayscale` | (n,) | 1 if the colors are gone | 0 |
| `blur` | (n,) | standard deviation of the Gaussian in pixels | 0 |
| `shear` | (n,) | pixels to the right for each pixel down; only between two views | 0 |
"""

from hierforecast.image_ssl.augment.base import (
    Identity,
    Parameters,
    Transformation,
    View,
)
from hierforecast.image_ssl.augment.color import ColorJitter, GaussianBlur, RandomGrayscale
from hierforecast.image_ssl.augment.compose import Compose, contrastive, every_kind
from hierforecast.image_ssl.augment.geometry import (
    HorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RightAngleTurn,
    Translation,
)

__all__ = [
    "ColorJitter",
    "Compose",
    "GaussianBlur",
    "HorizontalFlip",
    "Identity",
    "Parameters",
    "RandomGrayscale",
    "RandomResizedCrop",
    "RandomRotation",
    "RightAngleTurn",
    "Transformation",
    "Translation",
    "View",
    "contrastive",
    "every_kind",
]
