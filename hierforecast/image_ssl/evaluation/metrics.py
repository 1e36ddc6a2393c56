"""How good class scores are: accuracy, and average precision where images show several classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hierforecast.errors import DataError, import_extra

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
