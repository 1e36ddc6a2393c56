"""The functions that probes were before they became objects; each warns, and names its probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from hierforecast.errors import warn_user
from hierforecast.image_ssl.evaluation.features import Features
from hierforecast.image_ssl.evaluation.logistic import LogisticProbe
from hierforecast.image_ssl.evaluation.metrics import Score
from hierforecast.image_ssl.evaluation.mlp import MLPProbe
from hierforecast.image_ssl.evaluation.neighbors import NeighborsProbe
from hierforecast.image_ssl.evaluation.outcomes import QUANTITIES, YES_NO
from hierforecast.image_ssl.evaluation.ridge import RidgeProbe


def linear_probe(train: Features, test: Features, *options: Any, **named: Any) -> Score:
    """`LogisticProbe`, fitted and scored."""
    return _instead(LogisticProbe)(*options, **named).fit(train).score(test)


def choose_penalty(train: Features, *options: Any, **named: Any) -> LogisticProbe:
    """`LogisticProbe`, fitted."""
    return _instead(LogisticProbe)(*options, **named).fit(train)


def fit_probe(train: Features, penalty: float) -> LogisticProbe:
    """`LogisticProbe` of one penalty, fitted."""
    return _instead(LogisticProbe)([penalty]).fit(train)


def knn(train: Features, test: Features, k: int = 20, *options: Any, **named: Any) -> Score:
    """`NeighborsProbe`, fitted and scored."""
    return _instead(NeighborsProbe)(k, *options, **named).fit(train).score(test)


def knn_scores(train: Features, x: Tensor, k: int = 20, temperature: float | None = 0.07) -> Tensor:
    """The scores of `NeighborsProbe`."""
    return _instead(NeighborsProbe)(k, temperature).fit(train).scores(x)


def ridge_probe(
    x: Tensor, y: Tensor, binary: bool = False, seed: int = 0, **options: Any
) -> RidgeProbe:
    """`RidgeProbe`, fitted."""
    make = _instead(RidgeProbe)
    return make(YES_NO if binary else QUANTITIES, seed, **options).fit(Features(x, y))


def fit_ridge(x: Tensor, y: Tensor, penalty: float) -> Callable[[Tensor], Tensor]:
    """The predictions of `RidgeProbe` of one penalty."""
    return _instead(RidgeProbe)(penalties=[penalty]).fit(Features(x, y)).predict


def mlp_probe(
    x: Tensor, y: Tensor, binary: bool = False, seed: int = 0, **options: Any
) -> MLPProbe:
    """`MLPProbe`, fitted."""
    make = _instead(MLPProbe)
    return make(YES_NO if binary else QUANTITIES, seed, **options).fit(Features(x, y))


def _instead(probe: type[Any]) -> Any:
    warn_user(
        f"probes are objects now: use {probe.__name__}(...).fit(train).score(test) of "
        "hierforecast.image_ssl.evaluation",
        DeprecationWarning,
    )
    return probe
