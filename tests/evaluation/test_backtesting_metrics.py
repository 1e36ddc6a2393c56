"""Quantiles of forecasts and backtests, and what an evaluation makes of a backtest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import DataError, HiPerformer
from hierforecast.metrics import METRICS
from hierforecast.plot.horizon import error_table
from tests.evaluation.backtests import LIBRARIES, PLAIN, as_pandas, daily, forecaster, library

# --- quantiles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIBRARIES)
def test_quantiles_stand_beside_levels(name):
    frame = library(daily(), name)
    model = forecaster(HiPerformer(8, 1, 2)).fit(frame)
    options = {"level": [80], "quantiles": [0.1, 0.5, 0.9, 0.975]}
    for found in (model.predict(frame, **options), model.backtest(frame, **options)):
        found = as_pandas(found)
        keys = [f"HiPerformer-q-{q}" for q in ("10", "50", "90", "97.5")]
        assert list(found)[-7:] == ["HiPerformer", "HiPerformer-lo-80", "HiPerformer-hi-80", *keys]
        assert (found[keys].diff(axis=1).iloc[:, 1:] > 0).all().all()
        pd.testing.assert_series_equal(
            found[keys[0]], found["HiPerformer-lo-80"], check_names=False
        )
        pd.testing.assert_series_equal(
            found[keys[2]], found["HiPerformer-hi-80"], check_names=False
        )
    law, _ = model.distribution(frame)
    found = as_pandas(model.predict(frame, quantiles=0.5))
    np.testing.assert_allclose(found["HiPerformer-q-50"], law.median.reshape(-1), rtol=1e-5)
    with pytest.raises(DataError, match=r"^quantiles=90 .* did you mean 0\.9\?"):
        model.predict(frame, quantiles=[90])


# --- metrics -------------------------------------------------------------------------------------

NAMES = ["mae", "rmse", "wape", "bias", "mase", "rmsse", "mwql"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pandas", {}),
        ("polars", {"n_windows": 3}),
        ("pandas", {"start": "2024-01-20", "stride": 1}),
        ("pyarrow", {"n_windows": 3, "refit": 2}),
    ],
)
def test_an_evaluation_is_what_pandas_makes_of_the_backtest(name, options):
    frame = daily()
    frame = frame.drop(index=[3, 17, 37, 60, 79]).assign(group="g")
    model = forecaster(HiPerformer(8, 1, 2, head="gaussian")).fit(frame)
    given = library(frame, name)
    table = as_pandas(model.evaluate(given, NAMES, **options))
    value = table.set_index("metric").value
    deciles = np.arange(1, 10) / 10
    back = as_pandas(model.backtest(given, **options, quantiles=deciles)).dropna(subset=["y"])
    error = back.HiPerformer - back.y
    assert value.mae == pytest.approx(error.abs().mean(), rel=1e-5)
    assert value.rmse == pytest.approx((error**2).mean() ** 0.5, rel=1e-5)
    assert value.wape == pytest.approx(error.abs().sum() / back.y.abs().sum(), rel=1e-5)
    assert value.bias == pytest.approx(error.mean(), rel=1e-4)
    losses = []
    for q in deciles:
        gap = back.y - back[f"HiPerformer-q-{100 * q:g}"]
        losses.append(2 * np.maximum(q * gap, (q - 1) * gap).sum() / back.y.abs().sum())
    assert value["mean_weighted_quantile_loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("season", [1, 7])
def test_scaled_errors_are_those_of_utilsforecast(season):
    """Ragged starts, a constant series, several cutoffs; its own frame is what it is given."""
    losses = pytest.importorskip("utilsforecast.losses")
    frame = daily(60, names="abcd")
    frame = frame[(frame.unique_id != "b") | (frame.ds >= "2024-01-20")]
    frame.loc[frame.unique_id == "d", "y"] = 4.0
    model = forecaster().fit(frame)
    options: dict[str, Any] = {"n_windows": 4, "stride": 3}
    names = [METRICS[name].using(season=season) for name in ("mase", "rmsse")]
    value = model.evaluate(frame, names, **options).set_index("metric").value
    back = model.backtest(frame, **options)
    for name in ("mase", "rmsse"):
        theirs = getattr(losses, name)(back, ["LastValue"], season, frame)
        assert theirs.LastValue.isna().sum() == 4, "the constant one"
        mine = value[f"{name}[season={season}]"]
        assert mine == pytest.approx(theirs.LastValue.mean(), rel=1e-5)


def test_the_season_is_that_of_the_frequency():
    frame = daily(60)
    model = forecaster().fit(frame)
    for given, season in ((frame, 7), (frame.assign(ds=frame.groupby("unique_id").cumcount()), 1)):
        model = forecaster().fit(given)
        found = model.evaluate(given, ["mase", f"mase[season={season}]", "mase[season=3]"]).value
        assert found[0] == found[1] != found[2]


def test_scales_see_nothing_after_the_cutoff(fitted):
    """A later jump changes the scale of later cutoffs only."""
    frame = daily()
    now = pd.Timestamp("2024-01-20")
    jump = frame.assign(y=frame.y.where(frame.ds <= now + pd.Timedelta(days=2), 1e4))
    options: dict[str, Any] = {"start": now + pd.Timedelta(days=1), "n_windows": 1}
    one, two = (fitted.evaluate(f, ["mase", "rmsse"], **options) for f in (frame, jump))
    pd.testing.assert_frame_equal(one, two)


def test_pictures_do_not_take_quantiles_for_models(fitted):
    back = fitted.backtest(daily(), n_windows=3, level=[80], quantiles=[0.1, 0.975])
    assert list(error_table(back, columns=PLAIN)) == ["LastValue"]


def test_utilsforecast_takes_a_backtest_with_quantiles(fitted):
    utilsforecast = pytest.importorskip("utilsforecast.evaluation")
    losses = pytest.importorskip("utilsforecast.losses")
    back = fitted.backtest(daily(), n_windows=3, refit=True, level=[80], quantiles=[0.1, 0.5])
    table = utilsforecast.evaluate(back, metrics=[losses.mae], models=["LastValue"])
    mine = fitted.evaluate(daily(), "mae", n_windows=3, refit=True).value[0]
    assert table.LastValue.mean() == pytest.approx(mine, rel=1e-5)
    pinball = losses.quantile_loss(back, {"LastValue": "LastValue-q-10"}, q=0.1)
    gap = back.y - back["LastValue-lo-80"]
    assert pinball.LastValue.mean() == pytest.approx(np.maximum(0.1 * gap, -0.9 * gap).mean())
