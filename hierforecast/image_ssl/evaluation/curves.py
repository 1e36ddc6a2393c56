"""How good features are with few labels: accuracy against the number of labelled images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import pandas as pd
import torch
from rich.progress import track
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation.features import Features
from hierforecast.image_ssl.evaluation.metrics import Score
from hierforecast.image_ssl.evaluation.neighbours import knn
from hierforecast.image_ssl.evaluation.probe import linear_probe

# Training and test features to a score.
Classifier: TypeAlias = Callable[[Features, Features], Score]


def nearest(train: Features, test: Features) -> Score:
    """`knn` with its defaults, but never more neighbours than there are images."""
    return knn(train, test, k=min(20, len(train)))


CLASSIFIERS: Mapping[str, Classifier] = {"linear probe": linear_probe, "kNN": nearest}
PROBE_ONLY: Mapping[str, Classifier] = {"linear probe": linear_probe}


def learning_curve(
    train: Features,
    test: Features,
    sizes: Sequence[int] | None = None,
    seeds: int | Sequence[int] = 3,
    classifiers: Mapping[str, Classifier] = PROBE_ONLY,
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
        classifiers: name -> classifier; `CLASSIFIERS` has the linear probe and kNN.
        progress: whether to show a bar.

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
    sizes = _sizes(len(train), present) if sizes is None else sizes
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
            "accuracy": classifiers[name](train[orders[seed][:size]], test).value,
        }
        for name, size, seed in track(jobs, "learning curve", disable=not progress, transient=True)
    ]
    return pd.DataFrame(rows, columns=["classifier", "labels", "seed", "accuracy"])


def balanced_order(labels: Tensor, seed: int) -> Tensor:
    """Shuffled row numbers (n,) of which every beginning has as many of each class as can be.

    They go around the classes, each time in another order; a class without images left is passed
    over.

    Args:
        labels: (n,) class numbers.
        seed: of the shuffling.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(labels), generator=generator)
    lap = torch.empty_like(rows)
    for label in labels.unique():
        mine = labels[rows] == label
        lap[mine] = torch.arange(int(mine.sum()))
    # `rows` is in random order, so a stable sort by lap leaves the classes of a lap in one.
    return rows[lap.argsort(stable=True)]


def _sizes(images: int, classes: int) -> list[int]:
    sizes, size = [], classes
    while size < images:
        sizes.append(size)
        size *= 10
    return [*sizes, images]
