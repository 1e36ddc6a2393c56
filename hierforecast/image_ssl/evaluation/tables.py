"""What features tell of classes: a table of scores, and accuracy by the number of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count, takewhile
from typing import Unpack

import pandas as pd
import torch
from rich.progress import track
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import ImageSet
from hierforecast.image_ssl.evaluation.classifiers import LogisticProbe, NeighborsProbe
from hierforecast.image_ssl.evaluation.features import (
    FeatureOptions,
    Features,
    Pool,
    average_group,
    flatten_group,
    run_backbone,
)
from hierforecast.image_ssl.evaluation.probe import Probe

FEATURES: Mapping[str, Pool] = {"invariant": average_group, "equivariant": flatten_group}
PROBE_ONLY: Mapping[str, Callable[[], Probe]] = {"linear probe": LogisticProbe}
CLASSIFIERS: Mapping[str, Callable[[], Probe]] = {**PROBE_ONLY, "kNN": NeighborsProbe}


def evaluate(
    backbone: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    features: Mapping[str, Pool] = FEATURES,
    classifiers: Mapping[str, Callable[[], Probe]] = CLASSIFIERS,
    **options: Unpack[FeatureOptions],
) -> pd.DataFrame:
    """Score a frozen network by what simple classifiers make of its features.

    Every image passes through the network once. Accuracy, or mean AP where images show several
    classes.

    Args:
        backbone: images (b, 3, h, w) to (b, c, g); left as it was, bit for bit.
        features: name -> pool from (b, c, g) to (b, d).

    Returns:
        A row for each kind of features and each classifier: features, dimensions, classifier,
        metric, score, settings (what the classifier chose, such as its penalty, in words).

    Raises:
        DataError: if a set is empty, a feature is NaN, or the sets do not belong together.
    """
    (train_x, train_y), (test_x, test_y) = (
        run_backbone(backbone, images, **options) for images in (train_set, test_set)
    )
    rows = []
    for kind, pool in features.items():
        train = Features(pool(train_x), train_y, tuple(train_set.classes))
        test = Features(pool(test_x), test_y, tuple(test_set.classes))
        for name, make in classifiers.items():
            score = make().fit(train).score(test)
            rows.append([kind, train.x.shape[1], name, score.metric, score.value, score.chosen])
    names = ["features", "dimensions", "classifier", "metric", "score", "settings"]
    return pd.DataFrame(rows, columns=names)


def learning_curve(
    train: Features,
    test: Features,
    sizes: Sequence[int] | None = None,
    seeds: int | Sequence[int] = 3,
    classifiers: Mapping[str, Callable[[], Probe]] = PROBE_ONLY,
    progress: bool = False,
) -> pd.DataFrame:
    """Accuracy of classifiers that are shown only some of the training labels.

    Draws are balanced over the classes as far as these have images, and the draws of one seed are
    nested: the images of a smaller size are among those of a larger one.

    Args:
        train: to draw from; one class an image.
        test: the same for all sizes.
        sizes: numbers of labels, each at least the number of classes. None: 1, 10, 100, ... of each
            class, and all.
        seeds: of the draws, or how many.

    Returns:
        A row for each classifier, size and seed: classifier, labels, seed, accuracy.

    Raises:
        DataError: if a size is too large or has not one label for each class, if images show
            several classes, or if the two sets do not belong together.
    """
    if train.multi_label:
        raise DataError(
            "a learning curve draws the same number from each class: it needs sets with "
            "one class an image"
        )
    present = len(train.y.unique())
    if sizes is None:
        rising = takewhile(lambda size: size < len(train), (present * 10**k for k in count()))
        sizes = [*rising, len(train)]
    for size in sizes:
        if not present <= size <= len(train):
            raise DataError(
                f"cannot draw {size} labels: give sizes from {present}, the number of classes, to "
                f"{len(train)}, the number of training images"
            )
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    orders = {seed: balanced_order(train.y, seed) for seed in seeds}
    jobs = [(name, size, seed) for name in classifiers for size in sizes for seed in seeds]
    rows = [
        {
            "classifier": name,
            "labels": size,
            "seed": seed,
            "accuracy": classifiers[name]().fit(train[orders[seed][:size]]).score(test).value,
        }
        for name, size, seed in track(jobs, "learning curve", disable=not progress, transient=True)
    ]
    return pd.DataFrame(rows, columns=["classifier", "labels", "seed", "accuracy"])


def balanced_order(labels: Tensor, seed: int) -> Tensor:
    """Shuffled row numbers (n,) of which every beginning has as many of each class as can be.

    They go around the classes, each time in another order; a class without images left is passed
    over.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(labels), generator=generator)
    lap = torch.empty_like(rows)
    for label in labels.unique():
        own = labels[rows] == label
        lap[own] = torch.arange(int(own.sum()))
    # `rows` is in random order, so a stable sort by lap leaves the classes of a lap in one.
    return rows[lap.argsort(stable=True)]
