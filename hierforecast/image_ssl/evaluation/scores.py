"""One call from a backbone to a table of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from hierforecast.image_ssl.data.arrays import ImageSet, as_float
from hierforecast.image_ssl.evaluation.curves import CLASSIFIERS, Classifier
from hierforecast.image_ssl.evaluation.features import (
    Features,
    Pool,
    average_group,
    flatten_group,
    run_backbone,
)

FEATURES: Mapping[str, Pool] = {"invariant": average_group, "equivariant": flatten_group}


def evaluate(
    backbone: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    features: Mapping[str, Pool] = FEATURES,
    classifiers: Mapping[str, Classifier] = CLASSIFIERS,
    *,
    prepare: Callable[[Tensor], Tensor] = as_float,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Judge a frozen network by what simple classifiers make of its features.

    Every image passes through the network once. Accuracy, or mean AP where images show several
    classes.

    Args:
        backbone: images (b, 3, h, w) to (b, c, g); left as it was, bit for bit.
        train_set: teaches the classifiers.
        test_set: judges them.
        features: name -> pool from (b, c, g) to (b, d).
        classifiers: name -> classifier of training and test `Features`.
        prepare, batch_size, device, progress: as for `collect_features`.

    Returns:
        A row for each kind of features and each classifier: features, dimensions, classifier,
        metric, score, settings (what the classifier chose, such as its penalty, in words).

    Raises:
        DataError: if a set is empty, a feature is NaN, or the sets do not belong together.
    """
    run = partial(
        run_backbone,
        backbone,
        pool=_whole,
        prepare=prepare,
        batch_size=batch_size,
        device=device,
        progress=progress,
    )
    (train_x, train_y), (test_x, test_y) = run(train_set), run(test_set)
    rows = []
    for kind, pool in features.items():
        train = Features(pool(train_x), train_y, tuple(train_set.classes))
        test = Features(pool(test_x), test_y, tuple(test_set.classes))
        for name, classifier in classifiers.items():
            score = classifier(train, test)
            settings = ", ".join(f"{key} {value:g}" for key, value in score.settings.items())
            rows.append([kind, train.x.shape[1], name, score.metric, score.value, settings])
    names = ["features", "dimensions", "classifier", "metric", "score", "settings"]
    return pd.DataFrame(rows, columns=names)


def _whole(x: Tensor) -> Tensor:
    return x
