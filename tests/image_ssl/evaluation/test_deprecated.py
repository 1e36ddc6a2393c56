"""The functions that probes once were still answer, and name what takes their place."""

from __future__ import annotations

import pytest
import torch

from hierforecast.image_ssl import evaluation
from hierforecast.image_ssl.evaluation import (
    YES_NO,
    Features,
    LogisticProbe,
    NeighborsProbe,
    RidgeProbe,
    Target,
    as_is,
)

X = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
TRAIN = Features(X, torch.arange(40) % 2)
NUMBERS = Features(TRAIN.x, TRAIN.x[:, :1] + TRAIN.y[:, None])
SCORES = NeighborsProbe(5).fit(TRAIN).scores(TRAIN.x)
CALLS = {
    "linear_probe": lambda f: f(TRAIN, TRAIN) == LogisticProbe().fit(TRAIN).score(TRAIN),
    "choose_penalty": lambda f: f(TRAIN, (0.1, 1.0)).penalty in (0.1, 1.0),
    "fit_probe": lambda f: f(TRAIN, 0.1).penalty == 0.1,
    "knn": lambda f: f(TRAIN, TRAIN, k=5) == NeighborsProbe(5).fit(TRAIN).score(TRAIN),
    "knn_scores": lambda f: torch.equal(f(TRAIN, TRAIN.x, 5), SCORES),
    "ridge_probe": lambda f: f(TRAIN.x, NUMBERS.y).penalty == RidgeProbe().fit(NUMBERS).penalty,
    "fit_ridge": lambda f: f(TRAIN.x, NUMBERS.y, 0.1)(TRAIN.x).shape == (40, 1),
    "mlp_probe": lambda f: f(TRAIN.x, NUMBERS.y, hidden=4).predict(TRAIN.x).shape == (40, 1),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_earlier_versions(name):
    with pytest.warns(DeprecationWarning, match=r"use \w+Probe\(\.\.\.\)\.fit\(train\)"):
        assert CALLS[name](getattr(evaluation, name))


def test_a_binary_target_of_earlier_versions():
    with pytest.warns(DeprecationWarning, match="outcome=YES_NO"):
        assert Target({"flip": as_is}, binary=True).outcome is YES_NO
