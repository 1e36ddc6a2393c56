"""What a fit makes of sizes: factors or amounts, small series beside large, and totals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.frame import read_frame
from hierforecast.inference import forecasts
from hierforecast.nn.demand import DemandScale
from hierforecast.nn.head import Scenes
from hierforecast.windows import history
from hierforecast.windows.history import learn_smoothing, warp_of
from tests.windows.shops import H


def test_growth_is_by_factors_or_by_amounts():
    rng, steps = np.random.default_rng(0), 120
    days = pd.date_range("2024-01-01", periods=steps)

    def shift(values: np.ndarray) -> float:
        long = pd.DataFrame({"ds": np.tile(days, 8), "unique_id": np.repeat(np.arange(8), steps)})
        panel = read_frame(long.assign(y=values.ravel()), Columns(group=None))
        smoothing = learn_smoothing(panel, np.array([steps]), H)
        assert isinstance(warp_of(smoothing).shift, torch.Tensor)
        return smoothing.shifts[0] / float(np.median(values))

    size = np.exp(rng.normal(size=(8, 1)))
    assert shift(100 * size * np.exp(0.3 * rng.normal(size=(8, steps)))) <= 0.1
    assert shift(np.abs(100 + 30 * rng.normal(size=(8, steps)))) >= 1


def test_where_most_days_sell_nothing_the_mean_stays_within_sense(monkeypatch):
    """A sale that is a jump of many logs would be one upward too: the mean would know no bounds."""
    rng, months = np.random.default_rng(3), pd.date_range("2015-01-01", periods=66, freq="MS")
    chance = 0.15 + 0.2 * rng.random(60)
    sold = rng.poisson(2 + 3 * rng.random(60), (66, 60)) * (rng.random((66, 60)) < chance)
    frame = pd.DataFrame(sold, months).stack().rename("y").reset_index()
    frame.columns = ["ds", "unique_id", "y"]

    def largest_mean() -> float:
        plan = Forecaster(
            HiPerformer(8, 1, 2), context_length=12, prediction_length=6, max_steps=20,
            columns=Columns(group=None), trainer={"enable_progress_bar": False},
        )  # fmt: skip
        return float(plan.fit(frame).predict(frame)["HiPerformer"].max())

    assert largest_mean() < sold.max()
    monkeypatch.setattr(history, "WORSE", (np.inf, np.inf))
    assert largest_mean() < sold.max()
    monkeypatch.setattr(forecasts, "below_ceiling", lambda raw, *rest: raw)
    assert largest_mean() > 10 * sold.max()


def counts(name: str) -> pd.DataFrame:
    """Two hundred days of four products, of which a part is no sales at all."""
    day = np.arange(200)
    open_days = {
        "launched": day >= 197,
        "launched a month ago": day >= 170,
        "season over": day < 160,
        "one sale": day == 50,
        "nothing ever": day < 0,
    }[name]
    sizes = 5 * np.arange(1, 5)[:, None] * (open_days if name != "one sale" else 0.2 * open_days)
    y = np.random.default_rng(0).poisson(sizes) if name != "one sale" else sizes > 3
    ids, days = np.repeat(list("abcd"), 200), pd.date_range("2023-01-01", periods=200)
    return pd.DataFrame({"unique_id": ids, "ds": np.tile(days, 4), "y": 1.0 * y.ravel()})


@pytest.mark.parametrize(
    "name", ["launched", "launched a month ago", "season over", "one sale", "nothing ever"]
)
def test_forecasts_stay_within_what_a_series_has_shown(name, monkeypatch):
    frame = counts(name)
    plan = Forecaster(
        HiPerformer(8, 1, 2), context_length=28, prediction_length=7, max_steps=20,
        columns=Columns(group=None), trainer={"enable_progress_bar": False},
    ).fit(frame)  # fmt: skip
    most = frame.groupby("unique_id")["y"].max()

    def largest() -> pd.Series:
        return (
            plan.predict(frame, level=[90]).groupby("unique_id").max(numeric_only=True).max(axis=1)
        )

    assert (largest() <= 20 * most + 0.1).all()
    assert (plan.sample(frame, 20)["HiPerformer"] <= 40 * most.max() + 0.1).all()
    if name in ("launched", "one sale"):
        plan.model_.growth.reset()
        monkeypatch.setattr(forecasts, "below_ceiling", lambda raw, *rest: raw)
        assert largest().max() > 1e3 * max(most.max(), 1)


def demand_of(frame: pd.DataFrame, **options: Any) -> tuple[Forecaster, pd.DataFrame]:
    """A short fit as it comes, and its forecast."""
    plan = Forecaster(
        HiPerformer(8, 1, 2), context_length=8, prediction_length=4, max_steps=20,
        columns=Columns(group=None), trainer={"enable_progress_bar": False},
    )  # fmt: skip
    return plan, plan.fit(frame).predict(frame, level=[90])


def test_small_series_are_not_forgotten_beside_large_ones():
    rng, quarters = np.random.default_rng(1), pd.date_range("2010-01-01", periods=40, freq="QS")
    season = 0.1 * np.sin(np.arange(40) * np.pi / 2)
    sizes = 10.0 ** np.arange(3, 11).repeat(3)
    paths = np.exp((0.01 + 0.02 * rng.normal(size=(40, 24))).cumsum(0) + season[:, None])
    wide = pd.DataFrame(sizes * paths, quarters)
    frame = wide.stack().rename("y").reset_index()
    frame.columns = ["ds", "unique_id", "y"]
    _, found = demand_of(frame)
    last = found.unique_id.map(wide.iloc[-1])
    assert (found["HiPerformer-hi-90"] < 3 * last).all()
    assert (found["HiPerformer-lo-90"] > last / 3).all()


def test_constant_series_make_others_no_wider_nor_narrower():
    rng, days = np.random.default_rng(2), pd.date_range("2024-01-01", periods=150)
    walks = 10 + 0.1 * rng.normal(size=(150, 6)).cumsum(0)
    wide = pd.DataFrame(np.c_[walks, np.ones((150, 6)) * np.arange(0.3, 6)], days)
    frame = wide.stack().rename("y").reset_index()
    frame.columns = ["ds", "unique_id", "y"]
    forecaster, found = demand_of(frame)
    assert float(forecaster.model_.linear.error_scale.min()) > 0.1, "no rounding for an error"
    width = (found["HiPerformer-hi-90"] - found["HiPerformer-lo-90"]).groupby(found.unique_id)
    assert width.mean()[:6].between(0.1, 3).all()
    assert (found.HiPerformer - found.unique_id.map(wide.iloc[-1])).abs().max() < 1


def test_rungs_are_compared_by_totals_too():
    """Errors that series share count at every level, as large as they are; others shrink."""
    group, scene = torch.tensor([0, 0, 1, 1]), torch.zeros(4, dtype=torch.int64)
    scenes, present = Scenes(scene, 1, (group,)), torch.ones(4, 2, dtype=torch.bool)
    scale, shared = DemandScale(1), torch.full((4, 2, 1), 0.5)
    assert scale.totals_apart(shared, present, scenes) == pytest.approx(2 * 0.5)
    own = shared * torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None, None]
    assert scale.totals_apart(own, present, scenes) == 0
    present[1::2] = False
    junk = torch.where(present[..., None], own, torch.nan)
    assert scale.totals_apart(junk, present, scenes) == pytest.approx(2 * 0.5)
