"""What lies between two views: probes of the transformation, or of the pose, and SIE's retrieval.

Two views of each image, each with parameters drawn by itself, or two views of one object, pass
through the frozen network; a probe sees the features of both side by side and predicts the
parameters that take the first view to the second. Every method, and a network that has learned
nothing, is scored by one protocol: the same pairs for the same seed, the same probes, test images
that no probe has seen. How parameters become targets, and what R² is, stands in `targets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Unpack

import pandas as pd
import torch
from torch import Tensor, nn

from hierforecast.errors import DataError
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
)
from hierforecast.image_ssl.data.arrays import ImageSet, as_float
from hierforecast.image_ssl.data.views import (
    PosedSet,
    another_view,
    check_posed,
    relative_parameters,
)
from hierforecast.image_ssl.evaluation.features import FeatureOptions, Pool, run_backbone
from hierforecast.image_ssl.evaluation.pairs import EQUIVARIANT, Pairs, probe_sets
from hierforecast.image_ssl.evaluation.retrieval import Distance, cosine_distance, retrieve_views
from hierforecast.image_ssl.evaluation.targets import POSE_TARGETS, TARGETS, Target, known_targets
from hierforecast.image_ssl.split.sie import SIE


def transformation_sets() -> dict[str, Transformation]:
    """The transformations that are probed: rot, colour, blur, translation, crop, flip, and all.

    Each happens to every view (a flip to every other); "all" is one after the other. Relative
    angles reach twice as far as those drawn, and relative hues, drawn below a quarter turn, never
    wrap. Probes of others take any transformation.
    """
    single: dict[str, Transformation] = {
        "rot": RandomRotation(45.0),
        "colour": ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0),
        "blur": GaussianBlur((0.1, 1.0), p=1.0),
        "translation": Translation(0.2),
        "crop": RandomResizedCrop(scale=(0.5, 1.0)),
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
    *,
    targets: Mapping[str, Target] = TARGETS,
    **options: Any,
) -> pd.DataFrame:
    """`probe_pairs` of two augmented views of each image, from frozen features.

    Args:
        backbone: images (b, 3, h, w) to (b, c, g), or whatever the pools take; left as it was.
        train_set, test_set: the probes learn from pairs of the one, and are scored on the other.
        augmentation: makes the views; `transformation_sets` has some.
        features, targets: as for `probe_pairs`.
        options: `probes` and `seed` of `probe_pairs`, and `FeatureOptions`.
    """
    known = known_targets(augmentation.names, targets)
    collect = partial(collect_pairs, backbone, augmentation=augmentation)
    return probe_sets(collect, train_set, test_set, features, targets=known, **options)


def collect_posed_pairs(
    backbone: nn.Module, images: PosedSet, *, seed: int = 0, **options: Unpack[FeatureOptions]
) -> Pairs:
    """Features of each image and of another view of its object, from the frozen network.

    Every image passes through the network once, which is left as it was, bit for bit.

    Args:
        backbone: images (b, 3, h, w) to features (b, ...).

    Raises:
        DataError: if the set knows no poses, or a feature is NaN or infinite.
        ValueError: if the set has one view of each object only.
    """
    others, relative = _drawn(images, seed)
    features, _ = run_backbone(backbone, images, **options)
    return Pairs(features, features[others], relative)


def probe_poses(
    backbone: nn.Module,
    train: PosedSet,
    test: PosedSet,
    features: Mapping[str, Pool] = EQUIVARIANT,
    **options: Any,
) -> pd.DataFrame:
    """`probe_pairs` of two views of one object, from frozen features.

    Args:
        backbone: images (b, 3, h, w) to (b, c, g), or whatever the pools take; left as it was.
        features: as for `probe_pairs`.
        options: `targets`, `probes` and `seed` of `probe_pairs`, and `FeatureOptions`.

    Raises:
        DataError: if a set knows no poses, the sets' rotations are about different axes, or as
            `probe_pairs` does.
        ValueError: if a set has one view of each object only.
    """
    for images in (train, test):
        check_posed(images)
    if train.frame != test.frame:
        raise DataError(
            f"rotations of the sets are about the axes of the {train.frame} and of the "
            f"{test.frame}: make both with the same frame"
        )
    collect = partial(collect_posed_pairs, backbone)
    return probe_sets(collect, train, test, features, **{"targets": POSE_TARGETS, **options})


def retrieve_predicted(
    method: SIE,
    images: PosedSet,
    *,
    seed: int = 0,
    distance: Distance = cosine_distance,
    ks: Sequence[int] = (1, 5),
    **options: Unpack[FeatureOptions],
) -> pd.DataFrame:
    """How well the predictor finds a view among all views of its object: SIE's own protocol.

    Of each image one other view is drawn. The query is what the predictor makes of the image's
    equivariant vector and the way to that view; see `retrieve_views`.

    Args:
        method: learned from poses, ``augment=Poses()``; left as it was, bit for bit.

    Raises:
        DataError: as `collect_posed_pairs` and `retrieve_views` do, or if the predictor is
            conditioned on what the set does not know.
        ValueError: if the set has one view of each object only.
    """
    others, relative = _drawn(images, seed)
    batch_size = options.get("batch_size", 256)
    vectors, _ = run_backbone(method, images, call=lambda batch: method.embed(batch)[1], **options)
    weight = method.predictor.hyper.weight
    moved = []
    with torch.no_grad():
        for rows in torch.arange(len(images)).split(batch_size):
            way = {name: values[rows].to(weight.device) for name, values in relative.items()}
            moved.append(method.predictor(vectors[rows].to(weight), way).float().cpu())
    objects = torch.arange(len(images)) // images.views
    return retrieve_views(torch.cat(moved), vectors, others, objects, distance=distance, ks=ks)


def _drawn(images: PosedSet, seed: int) -> tuple[Tensor, Parameters]:
    """Another view for each image, (n,), and what changes on the way to it."""
    check_posed(images)
    numbers = torch.arange(len(images))
    others = another_view(numbers, images.views, torch.Generator().manual_seed(seed))
    shown = images.parameters(numbers)
    second = {name: values[others] for name, values in shown.items()}
    return others, relative_parameters(shown, second, images.frame)
