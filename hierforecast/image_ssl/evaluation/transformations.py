"""What lies between two views: probes of the transformation, of its every parameter.

Two views of each image, each with parameters drawn by itself, pass through the frozen network; a
probe sees the features of both side by side and predicts the parameters that take the first view to
the second. Every method, and a network that has learned nothing, is scored by one protocol: the
same pairs for the same seed, the same probes, test images that no probe has seen.

How parameters become targets stands in `targets`, what R² is in `outcomes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Unpack

import pandas as pd
import torch
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import (
    ColorJitter,
    Compose,
    GaussianBlur,
    HorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    Transformation,
    Translation,
)
from hierforecast.image_ssl.augment.base import Range
from hierforecast.image_ssl.data.arrays import ImageSet, as_float
from hierforecast.image_ssl.evaluation.features import FeatureOptions, Pool, run_backbone
from hierforecast.image_ssl.evaluation.pairs import EQUIVARIANT, Pairs, ProbeOptions, probe_sets
from hierforecast.image_ssl.evaluation.targets import TARGETS, known_targets


def transformation_sets(
    *,
    degrees: float = 45.0,
    strength: float = 0.4,
    hue: float = 0.1,
    sigma: Range = (0.1, 1.0),
    shift: float = 0.2,
    scale: Range = (0.5, 1.0),
) -> dict[str, Transformation]:
    """The transformations that are probed: rot, colour, blur, translation, crop, flip, and all.

    Each happens to every view (a flip to every other); "all" is one after the other.

    Args:
        degrees: angles lie between -degrees and degrees; relative ones reach twice as far.
        strength: of brightness, contrast and saturation: factors within `strength` of 1.
        hue: turns of the color circle, to either side; below 0.25, relative hues never wrap.
        sigma: standard deviations of the blur in pixels.
        shift: the largest translation, as a fraction of the image.
        scale: areas of the crop, as fractions of the image.
    """
    single: dict[str, Transformation] = {
        "rot": RandomRotation(degrees),
        "colour": ColorJitter(strength, strength, strength, hue, p=1.0),
        "blur": GaussianBlur(sigma, p=1.0),
        "translation": Translation(shift),
        "crop": RandomResizedCrop(scale=scale),
        "flip": HorizontalFlip(),
    }
    order = ("crop", "flip", "translation", "rot", "colour", "blur")  # one sampling, then colors
    return single | {"all": Compose([single[name] for name in order])}


def collect_pairs(
    backbone: nn.Module,
    images: ImageSet,
    augmentation: Transformation,
    *,
    seed: int = 0,
    **options: Unpack[FeatureOptions],
) -> Pairs:
    """Two views of each image through the frozen network, which is left as it was, bit for bit.

    Args:
        backbone: images (b, 3, h, w) to features (b, ...).
        augmentation: makes the views; parameters depend on `seed` and the number of images only.

    Raises:
        DataError: if the set is empty, or a feature is NaN or infinite.
    """
    if len(images) == 0:
        raise DataError("no images: the set is empty; is it the split that you meant?")
    prepare = options.get("prepare", as_float)
    shape = (len(images), *prepare(images[0][0][None]).shape[1:])
    generator = torch.Generator().manual_seed(seed)
    drawn = [augmentation.draw(shape, generator) for _ in range(2)]
    done = 0

    def views(batch: Tensor) -> Tensor:
        nonlocal done
        pixels, rows = prepare(batch), slice(done, done + len(batch))
        done = rows.stop
        chosen = [{name: values[rows] for name, values in each.items()} for each in drawn]
        return torch.cat([augmentation.replay(pixels, each).images for each in chosen])

    options = {**options, "prepare": views}
    both, _ = run_backbone(backbone, images, lambda x: torch.stack(x.chunk(2), dim=1), **options)
    return Pairs(both[:, 0], both[:, 1], augmentation.relative(*drawn))


def probe_transformations(
    backbone: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    augmentation: Transformation,
    features: Mapping[str, Pool] = EQUIVARIANT,
    **options: Unpack[ProbeOptions],
) -> pd.DataFrame:
    """`probe_pairs` of two augmented views of each image, from frozen features.

    Args:
        backbone: images (b, 3, h, w) to (b, c, g), or whatever the pools take; left as it was.
        train_set, test_set: the probes learn from pairs of the one, and are scored on the other.
        augmentation: makes the views; `transformation_sets` has some.
        features: as for `probe_pairs`.
        options: `ProbeOptions`.
    """
    options["targets"] = known_targets(augmentation.names, options.get("targets", TARGETS))
    collect = partial(collect_pairs, backbone, augmentation=augmentation)
    return probe_sets(collect, train_set, test_set, features, **options)
