"""How good class scores are: accuracy, and average precision where images show several classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from hierforecast.errors import DataError

# Of the distinct thresholds, strictest first: (true positives, images above, positives) -> AP.
Summary: TypeAlias = Callable[[Tensor, Tensor, int], float]


@dataclass(frozen=True)
class Score:
    """What an evaluation found.

    Args:
        metric: ``"accuracy"`` or ``"mean AP"``.
        value: between 0 and 1.
        settings: what the evaluation chose or was given: a penalty, a number of neighbours.
    """

    metric: str
    value: float
    settings: Mapping[str, float] = field(default_factory=dict)


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """The share of images whose class is right.

    Args:
        predicted: (n,) class numbers.
        labels: (n,) class numbers.

    Raises:
        DataError: if the shapes differ or there are no images.
    """
    if predicted.shape != labels.shape or predicted.ndim != 1:
        raise DataError(
            f"predictions {tuple(predicted.shape)} and labels {tuple(labels.shape)} must both be "
            "one class number an image"
        )
    if len(labels) == 0:
        raise DataError("no images: accuracy needs at least one")
    return float((predicted == labels).double().mean())


def area(hits: Tensor, above: Tensor, positives: int) -> float:
    """Average precision over all thresholds: precision times the recall that each one adds.

    Nothing is interpolated, so a ranking is not flattered by later luck.

    Args:
        hits: (t,) images of the class above each threshold, rising.
        above: (t,) all images above each threshold, rising.
        positives: images of the class.
    """
    precision = hits.double() / above
    gained = hits.diff(prepend=hits.new_zeros(1))
    return float((precision * gained).sum() / positives)


def eleven_points(hits: Tensor, above: Tensor, positives: int) -> float:
    """VOC2007's average precision: the best precision at recall 0, 0.1, ... 1 and beyond, averaged.

    Arguments as for `area`. Source: Everingham et al., "The PASCAL Visual Object Classes (VOC)
    Challenge" (2010), section 4.2.
    """
    precision = hits.double() / above
    best = [
        # In whole numbers: a recall of 0.3 must reach the point 0.3, rounding or not.
        float(precision[10 * hits >= tenth * positives].amax())
        for tenth in range(11)
    ]
    return sum(best) / len(best)


def average_precision(scores: Tensor, targets: Tensor, summary: Summary = area) -> Tensor:
    """Average precision of every class.

    Images of equal score share a threshold: their order in the set is no knowledge.

    Args:
        scores: (n, classes), higher is more certain.
        targets: (n, classes) of 0 and 1; nan: not judged, the image does not count for the class.
        summary: `area` (all thresholds) or `eleven_points` (VOC2007).

    Returns:
        (classes,) float64; nan for a class that no judged image shows.

    Raises:
        DataError: if the shapes differ, or a score is NaN.
    """
    if scores.shape != targets.shape or scores.ndim != 2:
        raise DataError(
            f"scores {tuple(scores.shape)} and targets {tuple(targets.shape)} must both be "
            "(images, classes)"
        )
    if scores.isnan().any():
        raise DataError("scores are NaN: did the training that gave them diverge?")
    columns = zip(scores.T, targets.T, strict=True)
    found = [_average_precision(score, target, summary) for score, target in columns]
    return torch.tensor(found, dtype=torch.float64)


def _average_precision(scores: Tensor, targets: Tensor, summary: Summary) -> float:
    judged = ~targets.isnan()
    scores, order = scores[judged].sort(descending=True)
    hits = (targets[judged][order] > 0).cumsum(0)
    if len(hits) == 0 or hits[-1] == 0:
        return float("nan")
    last = torch.ones_like(scores, dtype=torch.bool)  # the last image of each run of equal scores
    last[:-1] = scores[1:] != scores[:-1]
    above = last.nonzero().flatten() + 1
    return summary(hits[last], above, int(hits[-1]))


def mean_average_precision(scores: Tensor, targets: Tensor, summary: Summary = area) -> float:
    """The mean of `average_precision` over the classes that some judged image shows; else nan."""
    return float(average_precision(scores, targets, summary).nanmean())
