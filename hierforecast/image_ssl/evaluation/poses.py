"""What lies between two views of one object: probes of pose, hues and light, and SIE's retrieval.

As in `transformations`, a probe sees the frozen features of two views side by side; but the views
are the set's own, and the way from one to the other is what the set knows of them. How it becomes
targets stands in `targets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Unpack

import pandas as pd
import torch
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import Parameters
from hierforecast.image_ssl.data.views import (
    PosedSet,
    another_view,
    check_posed,
    relative_parameters,
)
from hierforecast.image_ssl.evaluation.features import FeatureOptions, Pool, run_backbone
from hierforecast.image_ssl.evaluation.pairs import EQUIVARIANT, Pairs, ProbeOptions, probe_sets
from hierforecast.image_ssl.evaluation.retrieval import Distance, cosine_distance, retrieve_views
from hierforecast.image_ssl.evaluation.targets import POSE_TARGETS
from hierforecast.image_ssl.split.sie import SIE


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
    **options: Unpack[ProbeOptions],
) -> pd.DataFrame:
    """`probe_pairs` of two views of one object, from frozen features.

    Args:
        backbone: images (b, 3, h, w) to (b, c, g), or whatever the pools take; left as it was.
        features: as for `probe_pairs`.
        options: `ProbeOptions`.

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
    options.setdefault("targets", POSE_TARGETS)
    return probe_sets(partial(collect_posed_pairs, backbone), train, test, features, **options)


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
        method: trained on `PosedPairs`; left as it was, bit for bit.

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
