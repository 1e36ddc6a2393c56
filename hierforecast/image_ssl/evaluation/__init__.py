"""What features are worth: linear probe, nearest neighbours, learning curves, mean AP.

    evaluate(backbone, train_set, test_set)                # the table, in one call

    train = collect_features(backbone, train_set)          # invariant: averaged over the group
    test = collect_features(backbone, test_set)
    linear_probe(train, test).value                        # accuracy, or mean AP
    knn(train, test, k=20).value
    learning_curve(train, test, sizes=(10, 100, 1000))     # a tidy table

A kind of features is a function (`average_group`, `flatten_group`), a way to sum up average
precision is one too (`area`, `eleven_points`), and so is a classifier: others may be passed in.
"""

from hierforecast.image_ssl.evaluation.curves import CLASSIFIERS, balanced_order, learning_curve
from hierforecast.image_ssl.evaluation.features import (
    Features,
    average_group,
    collect_features,
    flatten_group,
)
from hierforecast.image_ssl.evaluation.metrics import (
    Score,
    accuracy,
    area,
    average_precision,
    eleven_points,
    mean_average_precision,
)
from hierforecast.image_ssl.evaluation.neighbours import knn, knn_scores
from hierforecast.image_ssl.evaluation.probe import (
    LinearProbe,
    choose_penalty,
    fit_probe,
    linear_probe,
)
from hierforecast.image_ssl.evaluation.scores import FEATURES, evaluate

__all__ = [
    "CLASSIFIERS",
    "FEATURES",
    "Features",
    "LinearProbe",
    "Score",
    "accuracy",
    "area",
    "average_group",
    "average_precision",
    "balanced_order",
    "choose_penalty",
    "collect_features",
    "eleven_points",
    "evaluate",
    "fit_probe",
    "flatten_group",
    "knn",
    "knn_scores",
    "learning_curve",
    "linear_probe",
    "mean_average_precision",
]
