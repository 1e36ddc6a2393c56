"""Backtests that fit again: what a refit may know, when there is one, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, DataError, Forecaster, HiPerformer, NotFittedError, Ridge
from tests.evaluation.backtests import (
    CONTEXT,
    HORIZON,
    LIBRARIES,
    as_pandas,
    daily,
    forecaster,
    library,
    series,
)
from tests.helpers import QUIET

# --- refits --------------------------------------------------------------------------------------


def small() -> HiPerformer:
    return HiPerformer(8, 1, 2, head="gaussian")


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("model", [small(), Ridge()], ids=["HiPerformer", "Ridge"])
def test_a_refit_is_a_fit_on_the_frame_cut_at_its_cutoff(model, name):
    frame = daily()
    plan = forecaster(model)
    back = as_pandas(
        plan.backtest(library(frame, name), n_windows=3, refit=True, level=80, quantiles=0.3)
    )
    assert not hasattr(plan, "model_"), "the plan is not fitted by it"
    assert back.cutoff.nunique() == 3
    for cutoff, found in back.groupby("cutoff"):
        past = frame[frame.ds <= cutoff]
        wanted = forecaster(model).fit(past).predict(past, level=80, quantiles=0.3)
        found = found.drop(columns=["cutoff", "y"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(found, wanted, check_dtype=False, check_exact=True)


def test_nothing_after_a_cutoff_reaches_its_refit():
    """Garbage from the last cutoff on: its forecast and all before stay the same, to the bit."""
    frame = daily()
    now = frame.ds.max() - pd.Timedelta(days=HORIZON)
    spoilt = frame.assign(y=frame.y.where(frame.ds <= now, -1e9))
    one, two = (
        forecaster(small()).backtest(f, n_windows=2, refit=True, level=90) for f in (frame, spoilt)
    )
    assert (one.y != two.y).any()
    pd.testing.assert_frame_equal(one.drop(columns="y"), two.drop(columns="y"), check_exact=True)
    fixed = forecaster(small()).fit(frame).backtest(frame, n_windows=2)
    assert (fixed.HiPerformer - one.HiPerformer).abs().max() > 1e-6, "another fit, other numbers"


def test_a_refit_every_so_many_windows():
    frame, plan = daily(), forecaster(Ridge())
    back = plan.backtest(frame, n_windows=5, refit=3)
    times = np.sort(back.cutoff.unique())
    for i, cutoff in enumerate(times):
        past = frame[frame.ds <= times[i // 3 * 3]]
        wanted = forecaster(Ridge()).fit(past).predict(frame[frame.ds <= cutoff])
        found = back[back.cutoff == cutoff].reset_index(drop=True)
        pd.testing.assert_series_equal(found.Ridge, wanted.Ridge, rtol=1e-6)
    assert plan.backtest(frame, refit=np.True_).equals(plan.backtest(frame, refit=1))


def test_a_refit_leaves_the_forecaster_and_its_folder_alone(tmp_path):
    frame = daily()
    trainer = {**QUIET, "default_root_dir": str(tmp_path / "kept")}
    fitted = forecaster(small(), trainer=trainer).fit(frame[frame.ds < "2024-02-01"])
    files = {p: p.read_bytes() for p in sorted((tmp_path / "kept").rglob("*")) if p.is_file()}
    before = fitted.predict(frame)
    state = fitted.model_.state_dict()
    fitted.backtest(frame, n_windows=2, refit=True)
    pd.testing.assert_frame_equal(fitted.predict(frame), before, check_exact=True)
    assert all((value == state[key]).all() for key, value in fitted.model_.state_dict().items())
    assert fitted.trainer == trainer
    now = {p: p.read_bytes() for p in sorted((tmp_path / "kept").rglob("*")) if p.is_file()}
    assert files and now == files


def test_refits_show_one_bar_or_none(capsys):
    bars = {True: {**QUIET, "enable_progress_bar": True}, False: QUIET}
    for shown, trainer in bars.items():
        forecaster(small(), trainer=trainer).backtest(daily(), n_windows=2, refit=True)
        assert ("refit" in "".join(capsys.readouterr())) == shown


def test_refits_of_scenes_need_one_calendar():
    columns, frame = Columns(group=None, scene="shop"), series(np.arange(30))
    both = pd.concat([frame.assign(shop=0), frame.assign(shop=1)])
    with pytest.raises(DataError, match=r"column 'ds' counts steps, .* each of 2 scenes: give dat"):
        forecaster(columns=columns).backtest(both, refit=True)
    assert len(forecaster(columns=columns).backtest(both[both.shop == 0], refit=True))
    dates = pd.concat([daily(30).assign(shop=0), daily(24, seed=1).assign(shop=1)])
    back = forecaster(Ridge(), columns).backtest(dates, n_windows=2, refit=True)
    for cutoff, found in back.groupby("cutoff"):
        past = dates[dates.ds <= cutoff]
        wanted = forecaster(Ridge(), columns).fit(past).predict(past)
        merged = found.merge(wanted, on=["shop", "unique_id", "ds"], suffixes=("", "_new"))
        assert len(merged) == len(found)
        pd.testing.assert_series_equal(merged.Ridge, merged.Ridge_new, check_names=False)


def test_a_refit_starts_where_there_is_something_to_learn_from():
    frame = daily(20)
    first = forecaster().backtest(frame, refit=True).cutoff.min()
    assert (frame.ds.unique() <= first).sum() == CONTEXT + HORIZON
    with pytest.raises(DataError, match=r"^nothing to fit on: .* context_length \+ .* = 6 \+ 2 st"):
        forecaster().backtest(daily(9), refit=True)


def test_a_refit_that_fails_names_its_cutoff():
    """A kind of group that no fit has seen yet stands in the frame."""
    columns = Columns(group=None, group_type="kind")
    frame = daily().assign(kind=lambda f: np.where(f.unique_id == "c", "late", "usual"))
    frame = frame[(frame.kind == "usual") | (frame.ds > "2024-02-06")]
    message = r"^the fit at cutoff 2024-02-05 failed: column 'kind' .* group type 'late'"
    with pytest.raises(DataError, match=message):
        forecaster(columns=columns).backtest(frame, n_windows=2, refit=True)


@pytest.mark.parametrize(
    "options",
    [{"level": 0.9}, {"metrics": "nope"}, {"metrics": []}, {"n_samples": 0}, {"quantiles": 90}],
)
def test_nothing_is_fitted_for_a_wrong_option(monkeypatch, options):
    monkeypatch.setattr(Forecaster, "fit", None)  # would be called
    call = forecaster().backtest if "quantiles" in options else forecaster().evaluate
    with pytest.raises(ValueError, match=r"did you mean|no metric|must be a whole number"):
        call(daily(), refit=True, **options)


def test_without_a_refit_there_must_be_a_fit():
    with pytest.raises(NotFittedError):
        forecaster().backtest(daily(), n_windows=1)
