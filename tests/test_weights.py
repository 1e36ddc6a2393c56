"""What comes fitted with the package forecasts at once, and better than what needs no fit."""

from __future__ import annotations

import numpy as np
import pytest

import hierforecast
from hierforecast import ConstantVelocity, Forecaster
from hierforecast.datasets import simulate_basketball
from hierforecast.errors import DataError
from hierforecast.weights import HOME
from tests.helpers import QUIET


@pytest.mark.slow
def test_it_beats_constant_velocity_with_players_hidden():
    test = simulate_basketball(20, 60, seed=5)
    test = test[test.unique_id != "home_3"]
    forecaster = hierforecast.pretrained("basketball")
    other = Forecaster(
        ConstantVelocity(), context_length=40, prediction_length=10,
        columns=simulate_basketball.columns, trainer=QUIET,
    ).fit(simulate_basketball(20, 60, seed=6))  # fmt: skip
    error, naive = (
        one.evaluate(test, ["ade", "coverage"]).query("part == 'all'").set_index("metric").value
        for one in (forecaster, other)
    )
    assert error.ade < 0.75 * naive.ade
    assert 0.8 < error.coverage < 0.97


def test_it_is_small_and_named():
    assert sum(path.stat().st_size for path in HOME.rglob("*") if path.is_file()) < 5e6
    with pytest.raises(DataError, match="there is basketball"):
        hierforecast.pretrained("football")


def test_it_is_the_same_each_time():
    history = simulate_basketball(2, 45, seed=3)
    first, second = (hierforecast.pretrained().sample(history, 2) for _ in range(2))
    names = ["HiPerformer_x", "HiPerformer_y"]
    np.testing.assert_array_equal(first[names], second[names])
