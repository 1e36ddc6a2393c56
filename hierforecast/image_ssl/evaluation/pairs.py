"""Whether training and test features belong together, and how class scores become a `Score`."""

from __future__ import annotations

from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation.features import Features
from hierforecast.image_ssl.evaluation.metrics import (
    Score,
    Summary,
    accuracy,
    area,
    mean_average_precision,
)


def check_pair(train: Features, test: Features) -> None:
    """Refuse what no classifier can be judged on.

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
    check_classes(train)
    if train.multi_label:
        taught = ((train.y == 1).any(0) & (train.y == 0).any(0)).nonzero().flatten()
        asked = (test.y == 1).any(0).nonzero().flatten()
        why = "positive and negative training images"
        if len(asked) == 0:
            raise DataError("no test image shows any class: mean AP has nothing to rank")
    else:
        taught, asked = train.y.unique(), test.y.unique()
        why = "training images"
    missing = sorted(set(asked.tolist()) - set(taught.tolist()))
    if missing:
        names = ", ".join(train.name_of(label) for label in missing[:5])
        raise DataError(
            f"{len(missing)} classes of the test set have no {why}: {names}"
            f"{', ...' if len(missing) > 5 else ''}; draw the training images from every class, or "
            "leave these classes out of the test set"
        )


def check_classes(train: Features) -> None:
    """Refuse training labels that name one class only.

    Raises:
        DataError: if so.
    """
    if train.multi_label:
        if not ((train.y == 1).any(0) & (train.y == 0).any(0)).any():
            raise DataError("no class has both positive and negative training images")
        return
    labels = train.y.unique()
    if len(labels) < 2:
        raise DataError(
            f"all {len(train)} training images are of class {train.name_of(int(labels[0]))}: a "
            "classifier needs at least two; are the images sorted by class and cut?"
        )


def score_of(scores: Tensor, test: Features, summary: Summary = area, **settings: float) -> Score:
    """Judge class scores (n, classes): accuracy, or mean AP where images show several classes."""
    if test.multi_label:
        return Score("mean AP", mean_average_precision(scores, test.y, summary), settings)
    return Score("accuracy", accuracy(scores.argmax(dim=1), test.y), settings)
