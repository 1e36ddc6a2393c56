"""What all probes share: their contract, which sets fit together, and what is held out.

A probe is an object with `fit` and `score`: a new one is a file with such a class, like
`neighbors.py`, and a name in `CLASSIFIERS` (classes) or `PROBES` (numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from hierforecast.errors import DataError, import_extra
from hierforecast.image_ssl.evaluation.features import Features, check_finite
from hierforecast.image_ssl.evaluation.metrics import (
    Score,
    Summary,
    accuracy,
    area,
    mean_average_precision,
)

# A fifth is held out, and an R² of two numbers says nothing.
FEWEST = 20


class Probe(Protocol):
    """Learns from training features, and is scored on test features."""

    def fit(self, train: Features) -> Self:
        """Learn, and return itself."""
        ...

    def score(self, test: Features) -> Score:
        """How good its predictions are."""
        ...


def linear_models() -> Any:
    """scikit-learn's linear models."""
    return import_extra("sklearn.linear_model", "image", "to fit linear probes")


def check_pair(train: Features, test: Features) -> None:
    """Refuse sets of classes that no classifier can be scored on.

    Raises:
        DataError: if the features or labels are of different kinds, if the training labels name one
            class only, or if the test labels name a class that the training labels lack.
    """
    if train.x.shape[1] != test.x.shape[1]:
        raise DataError(
            f"training features have {train.x.shape[1]} columns, test features {test.x.shape[1]}: "
            "take both from one network with one pool"
        )
    if train.y.shape[1:] != test.y.shape[1:]:
        raise DataError(
            f"labels of training {tuple(train.y.shape)} and test {tuple(test.y.shape)} differ in "
            "kind: give the same classes to both"
        )
    known, why = learnable(train), "training images"
    found = test.y.unique()
    if train.multi_label:
        found, why = (test.y == 1).any(0).nonzero().flatten(), f"positive and negative {why}"
        if len(found) == 0:
            raise DataError("no test image shows any class: mean AP has nothing to rank")
    missing = sorted(set(found.tolist()) - set(known.tolist()))
    if missing:
        names = ", ".join(train.name_of(label) for label in missing[:5])
        raise DataError(
            f"{len(missing)} classes of the test set have no {why}: {names}"
            f"{', ...' if len(missing) > 5 else ''}; draw the training images from every class, or "
            "leave these classes out of the test set"
        )


def learnable(train: Features) -> Tensor:
    """The classes that can be learned, rising.

    Raises:
        DataError: if a classifier has nothing to learn: there is one class only.
    """
    if train.multi_label:
        both = ((train.y == 1).any(0) & (train.y == 0).any(0)).nonzero().flatten()
        if len(both) == 0:
            raise DataError("no class has both positive and negative training images")
        return both
    labels = train.y.unique()
    if len(labels) < 2:
        raise DataError(
            f"all {len(train)} training images are of class {train.name_of(int(labels[0]))}: a "
            "classifier needs at least two; are the images sorted by class and cut?"
        )
    return labels


def class_score(
    scores: Tensor, test: Features, summary: Summary = area, **settings: float
) -> Score:
    """Accuracy of class scores (n, classes), or mean AP where images show several classes."""
    if test.multi_label:
        return Score("mean AP", mean_average_precision(scores, test.y, summary), settings)
    return Score("accuracy", accuracy(scores.argmax(dim=1), test.y), settings)


def check_numbers(train: Features) -> None:
    """Refuse numbers that no regression can learn."""
    if not train.multi_label:
        raise DataError(
            f"features {tuple(train.x.shape)} and targets {tuple(train.y.shape)} must be (n, d) "
            "and (n, k)"
        )
    if len(train) < FEWEST:
        raise DataError(
            f"{len(train)} rows are too few to learn by and to hold some out: give {FEWEST} or more"
        )
    check_finite(train.y, "rows", "targets")


def check_penalties(penalties: Sequence[float]) -> None:
    """Refuse penalties that cannot be chosen from."""
    if not penalties or min(penalties) <= 0:
        raise DataError(f"penalties are {tuple(penalties)}: give at least one, all positive")


def hold_out(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers to learn by, and a fifth to choose by."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return order[n // 5 :], order[: n // 5]


def hold_out_classes(train: Features, seed: int = 0) -> Tensor:
    """A random fifth of the features to choose by, as a mask (n,).

    With one class an image, a fifth of each class: at least one image, but never the last one.
    """
    draws = torch.rand(len(train), generator=torch.Generator().manual_seed(seed))
    held = torch.zeros(len(train), dtype=torch.bool)
    groups = [torch.arange(len(train))]
    if not train.multi_label:
        groups = [(train.y == label).nonzero().flatten() for label in train.y.unique()]
    for rows in groups:
        count = max(1, len(rows) // 5) if len(rows) > 1 else 0
        held[rows[draws[rows].argsort()[:count]]] = True
    return held
