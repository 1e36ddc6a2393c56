"""What features are worth: probes of classes, numbers and pixels, and retrieval.

    evaluate(backbone, train_set, test_set)                # the table, in one call

    train = collect_features(backbone, train_set)          # invariant: averaged over the group
    test = collect_features(backbone, test_set)
    LogisticProbe().fit(train).score(test).value           # accuracy, or mean AP
    NeighborsProbe(k=20).fit(train).score(test).value
    learning_curve(train, test, sizes=(10, 100, 1000))     # a tidy table

What the features know beyond the class:

    sets = transformation_sets()                           # rot, colour, blur, ..., all
    probe_transformations(backbone, train_set, test_set, sets["rot"])   # R², a tidy table
    probe_poses(backbone, train_objects, test_objects)     # the same of two views of one object
    retrieve_predicted(sie, test_objects)                  # MRR and hit@k, beside chance
    dense_probe(backbone, train_masks, test_masks).table()              # mIoU, mAcc, aAcc

A kind of features is a function (`average_group`, `flatten_group`), a way to sum up average
precision is one too (`area`, `eleven_points`), and a probe is an object with `fit` and `score`
(`Probe`): others may be passed in.
"""

from hierforecast.image_ssl.evaluation.classifiers import LogisticProbe, NeighborsProbe
from hierforecast.image_ssl.evaluation.dense import (
    DenseFeatures,
    DenseProbe,
    DenseScore,
    SegmentedImages,
    average_maps,
    confusion_of,
    dense_probe,
    flatten_maps,
)
from hierforecast.image_ssl.evaluation.features import (
    BlockReadout,
    Features,
    MirrorMean,
    average_group,
    collect_features,
    flatten_group,
)
from hierforecast.image_ssl.evaluation.pairs import PROBES, Pairs, part, probe_pairs
from hierforecast.image_ssl.evaluation.probe import (
    Probe,
    Score,
    accuracy,
    area,
    average_precision,
    eleven_points,
    mean_average_precision,
)
from hierforecast.image_ssl.evaluation.regression import MLPProbe, RidgeProbe
from hierforecast.image_ssl.evaluation.retrieval import (
    cosine_distance,
    euclidean_distance,
    retrieve_objects,
    retrieve_views,
)
from hierforecast.image_ssl.evaluation.tables import (
    CLASSIFIERS,
    FEATURES,
    balanced_order,
    evaluate,
    learning_curve,
)
from hierforecast.image_ssl.evaluation.targets import (
    POSE_TARGETS,
    QUANTITIES,
    TARGETS,
    YES_NO,
    Outcome,
    Target,
    as_is,
    box,
    circle,
    r2,
    r2_per_dimension,
    r2_pooled,
)
from hierforecast.image_ssl.evaluation.two_views import (
    collect_pairs,
    collect_posed_pairs,
    probe_poses,
    probe_transformations,
    retrieve_predicted,
    transformation_sets,
)

__all__ = [
    "CLASSIFIERS",
    "FEATURES",
    "POSE_TARGETS",
    "PROBES",
    "QUANTITIES",
    "TARGETS",
    "YES_NO",
    "BlockReadout",
    "DenseFeatures",
    "DenseProbe",
    "DenseScore",
    "Features",
    "LogisticProbe",
    "MLPProbe",
    "MirrorMean",
    "NeighborsProbe",
    "Outcome",
    "Pairs",
    "Probe",
    "RidgeProbe",
    "Score",
    "SegmentedImages",
    "Target",
    "accuracy",
    "area",
    "as_is",
    "average_group",
    "average_maps",
    "average_precision",
    "balanced_order",
    "box",
    "circle",
    "collect_features",
    "collect_pairs",
    "collect_posed_pairs",
    "confusion_of",
    "cosine_distance",
    "dense_probe",
    "eleven_points",
    "euclidean_distance",
    "evaluate",
    "flatten_group",
    "flatten_maps",
    "learning_curve",
    "mean_average_precision",
    "part",
    "probe_pairs",
    "probe_poses",
    "probe_transformations",
    "r2",
    "r2_per_dimension",
    "r2_pooled",
    "retrieve_objects",
    "retrieve_predicted",
    "retrieve_views",
    "transformation_sets",
]
