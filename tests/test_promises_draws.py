"""The promises of the design, from frame to frame: the same seed, and draws of the joint law."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Forecaster, HiPerformer
from tests.helpers import H, make_frame, tiny
from tests.promised import (
    KEYS,
    NOW,
    fitted,
    predict,
    pytestmark,  # noqa: F401
    worst,
)
from tests.promised import (
    frame as frame,
)

# --- 5. the same seed, the same forecast ---------------------------------------------------------


@pytest.fixture(scope="module")
def single() -> Forecaster:
    return tiny(HiPerformer(12, 1, 2)).fit(make_frame())


def test_the_same_seed_gives_the_same_forecast(single, frame):
    history = frame[frame.ds < NOW]
    torch.manual_seed(99)
    np.random.seed(99)
    again = tiny(HiPerformer(12, 1, 2)).fit(make_frame())
    other = tiny(HiPerformer(12, 1, 2), seed=1).fit(make_frame())
    forecasts = [f.predict(history, level=[90]) for f in (single, again, other)]
    pd.testing.assert_frame_equal(forecasts[0], forecasts[1], check_exact=True)
    assert worst(forecasts[0], forecasts[2]) > 1e-6


def test_fitting_again_starts_anew(frame):
    forecaster = tiny(HiPerformer(12, 1, 2)).fit(make_frame())
    one = forecaster.predict(frame)
    two = forecaster.fit(make_frame()).predict(frame)
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_draws_follow_their_seed(single, frame):
    history = frame[frame.ds < NOW]
    one, two, other = (single.sample(history, 3, seed=s) for s in (5, 5, 6))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert not one.equals(other)
    pd.testing.assert_frame_equal(single.sample(history, 2), single.sample(history, 2))
    assert single.evaluate(frame).equals(single.evaluate(frame))


def test_batches_of_another_size_forecast_the_same(frame):
    forecaster = fitted("lowrank")
    one = predict(forecaster, frame)
    try:
        forecaster.set_params(batch_size=1)
        assert worst(one, predict(forecaster, frame)) <= 1e-10
    finally:
        forecaster.set_params(batch_size=8)


def test_nobody_else_s_random_numbers_are_touched(frame):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    forecaster = tiny(HiPerformer(12, 1, 2)).fit(make_frame())
    forecaster.predict(frame), forecaster.sample(frame, 2, seed=1)
    forecaster.backtest(frame), forecaster.evaluate(frame), forecaster.distribution(frame)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])


# --- 4. the joint law, from frame to frame -------------------------------------------------------


def test_draws_agree_with_the_distribution_and_with_the_intervals(single, frame):
    history = frame[frame.ds < NOW]
    law, index = single.distribution(history)
    forecast = single.predict(history, level=[80])
    draws = single.sample(history, 2000)
    assert len(index) == len(law.mean) and (index.ds == NOW).all()
    first = forecast[forecast.ds == NOW].reset_index(drop=True)
    pd.testing.assert_frame_equal(first[KEYS], index)
    np.testing.assert_allclose(first["HiPerformer_y"], law.mean[:, 0, 1], rtol=1e-6)
    spread = draws.groupby(KEYS)[["HiPerformer_x"]].agg(["mean", "std"]).droplevel(0, axis=1)
    wide = forecast.set_index(KEYS)
    deviation = (wide["HiPerformer_x-hi-80"] - wide["HiPerformer_x-lo-80"]) / 2 / 1.2816
    spread = spread.loc[wide.index]
    assert (spread["mean"] - wide["HiPerformer_x"]).abs().div(deviation).max() < 0.15
    assert (spread["std"] / deviation - 1).abs().max() < 0.15
    one = draws[draws.scene == 0].pivot_table(
        index="sample_id", columns=["unique_id", "ds"], values=["HiPerformer_x", "HiPerformer_y"]
    )
    ids = index[index.scene == 0].unique_id.tolist()
    steps = [NOW + h for h in range(H)]
    order = [(f"HiPerformer_{d}", i, t) for i in ids for t in steps for d in "xy"]
    found = np.corrcoef(one[order].to_numpy().T)
    covariance = law.covariance(0).numpy()
    root = np.sqrt(np.diag(covariance))
    assert np.abs(found - covariance / root / root[:, None]).max() < 0.15
