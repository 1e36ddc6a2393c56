"""What all probes share: contract, scores of classes, which sets fit together, what is held out.

A probe is an object with `fit` and `score`: a new one is a class like those of `classifiers.py`,
and a name in `CLASSIFIERS` (classes) or `PROBES` (numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeAlias

import torch
from torch import Tensor

from hierforecast.errors import DataError, import_extra
from hierforecast.image_ssl.evaluation.features import Features, check_finite

# Labels of one class, 0 or 1 (n,), and its scores (n,) to its average precision.
Summary: TypeAlias = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Score:
    """What an evaluation found.

    Args:
        settings: what the probe chose or was given: a penalty, a number of neighbors.
        others: the same by other definitions, by name.
    """

    metric: str
    value: float
    settings: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)

    @property
    def chosen(self) -> str:
        """The settings in words."""
        return ", ".join(f"{key} {value:g}" for key, value in self.settings.items())


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """The share of images whose class is right.

    Args:
        predicted: (n,) class numbers.
        labels: (n,) class numbers.
    """
    if predicted.shape != labels.shape or predicted.ndim != 1:
        raise DataError(
            f"predictions {tuple(predicted.shape)} and labels {tuple(labels.shape)} must both be "
            "one class number an image"
        )
    if len(labels) == 0:
        raise DataError("no images: accuracy needs at least one")
    return float((predicted == labels).double().mean())


def area(labels: Tensor, scores: Tensor) -> float:
    """Average precision over all thresholds: precision times the recall that each one adds.

    Nothing is interpolated, so a ranking is not flattered by later luck.
    """
    return float(_sklearn().average_precision_score(labels, scores))


def eleven_points(labels: Tensor, scores: Tensor) -> float:
    """VOC2007's average precision: the best precision at recall 0, 0.1, ... 1 and beyond, averaged.

    Source: Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge" (2010), section
    4.2.
    """
    precision, recall, _ = _sklearn().precision_recall_curve(labels, scores)
    # The last point is no threshold. A recall of 0.3 must reach the point 0.3, rounding or not.
    best = [precision[:-1][recall[:-1] >= tenth / 10 - 1e-9].max() for tenth in range(11)]
    return float(sum(best) / len(best))


def average_precision(scores: Tensor, targets: Tensor, summary: Summary = area) -> Tensor:
    """Average precision of every class.

    Images of equal score share a threshold: their order in the set is no knowledge.

    Args:
        scores: (n, classes), higher is more certain.
        targets: (n, classes) of 0 and 1; nan: not known, the image does not count for the class.
        summary: `area` (all thresholds) or `eleven_points` (VOC2007).

    Returns:
        (classes,) float64; nan for a class that no image is known to show.
    """
    if scores.shape != targets.shape or scores.ndim != 2:
        raise DataError(
            f"scores {tuple(scores.shape)} and targets {tuple(targets.shape)} must both be "
            "(images, classes)"
        )
    if scores.isnan().any():
        raise DataError("scores are NaN: did the training that gave them diverge?")
    found = []
    for score, target in zip(scores.T, targets.T, strict=True):
        known = ~target.isnan()
        shown = target[known] > 0
        found.append(summary(shown, score[known]) if shown.any() else float("nan"))
    return torch.tensor(found, dtype=torch.float64)


def mean_average_precision(scores: Tensor, targets: Tensor, summary: Summary = area) -> float:
    """The mean of `average_precision` over the classes that some image is known to show; or nan."""
    return float(average_precision(scores, targets, summary).nanmean())


def _sklearn() -> Any:
    return import_extra("sklearn.metrics", "image", "to measure average precision")


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
