"""Which windows a backtest takes, what a refit may know, and what an evaluation makes of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import (
    Columns,
    DataError,
    Forecaster,
    HiPerformer,
    LastValue,
    NotFittedError,
    Ridge,
)
from hierforecast.metrics import METRICS
from hierforecast.plot.horizon import error_table
from tests.helpers import QUIET

CONTEXT, HORIZON = 6, 2
PLAIN = Columns(group=None)
LIBRARIES = ["pandas", "polars", "pyarrow"]


def series(
    time: Any, names: str = "abc", seed: int = 0, columns: dict[str, Any] | None = None
) -> pd.DataFrame:
    """Random walks, one for each name, a noisy week in them."""
    rng, days = np.random.default_rng(seed), np.arange(len(time))
    frames = [
        pd.DataFrame({"unique_id": name, "ds": time}).assign(
            y=20 + rng.normal(size=len(time)).cumsum() + 3 * np.sin(days * 2 * np.pi / 7)
        )
        for name in names
    ]
    return pd.concat(frames, ignore_index=True).assign(**(columns or {}))


def daily(days: int = 40, **options: Any) -> pd.DataFrame:
    return series(pd.date_range("2024-01-01", periods=days), **options)


def forecaster(model: Any = None, columns: Columns = PLAIN, **options: Any) -> Forecaster:
    given = {"max_steps": 3, "batch_size": 8, "trainer": QUIET, **options}
    model = LastValue() if model is None else model
    return Forecaster(
        model, context_length=CONTEXT, prediction_length=HORIZON, columns=columns, **given
    )


def library(frame: pd.DataFrame, name: str) -> Any:
    if name == "pandas":
        return frame
    module = pytest.importorskip(name)
    if name == "polars":
        return module.from_pandas(frame)
    return module.Table.from_pandas(frame, preserve_index=False)


def as_pandas(frame: Any) -> pd.DataFrame:
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return forecaster().fit(daily())


@pytest.fixture(scope="module")
def counting() -> Forecaster:
    return forecaster().fit(series(np.arange(40)))


# --- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize(
    ("options", "cutoffs"),
    [
        ({}, [6, 8, 10]),
        ({"n_windows": 2}, [8, 10]),
        ({"n_windows": np.int64(2), "stride": 1}, [9, 10]),
        ({"n_windows": 1, "stride": 5}, [10]),
        ({"start": 8}, [7, 9]),
        ({"start": 8, "n_windows": 1}, [7]),
        ({"start": np.int32(9), "stride": 1}, [8, 9, 10]),
        ({"start": "10"}, [9]),
        ({"start": 11, "n_windows": 5}, [10]),
        ({"start": -3}, [6, 8, 10]),
    ],
)
def test_cutoffs(counting, options, cutoffs, name):
    frame = series(np.arange(1, 13))
    found = as_pandas(counting.backtest(library(frame, name), **options))
    assert sorted(found.cutoff.unique()) == cutoffs
    wanted = [(n, c + h, c) for n in "abc" for c in cutoffs for h in (1, 2)]
    assert list(found[["unique_id", "ds", "cutoff"]].itertuples(index=False, name=None)) == wanted
    truth = frame.set_index(["unique_id", "ds"]).y
    key = list(zip(found.unique_id, found.ds, strict=True))
    np.testing.assert_array_equal(found.y, truth[key])
    last = truth[list(zip(found.unique_id, found.cutoff, strict=True))]
    np.testing.assert_allclose(found.LastValue, last, rtol=1e-6)


DAY = pd.Timestamp("2024-02-05")


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize(
    "start",
    [
        "2024-02-05",
        DAY,
        DAY.date(),
        DAY.to_pydatetime(),
        DAY.to_datetime64(),
        np.datetime64("2024-02-05"),
        "2024-02-04 12:00",
    ],
)
def test_a_start_is_any_label_of_a_date(fitted, start, name):
    found = as_pandas(fitted.backtest(library(daily(), name), start=start))
    assert found.ds.min() == DAY
    assert found.cutoff.drop_duplicates().tolist() == [
        DAY - pd.Timedelta(days=1),
        DAY + pd.Timedelta(days=1),
    ]


def test_a_start_may_fall_between_two_times():
    """On a Saturday, for business days; before the frame; inside a month."""
    frame = series(pd.bdate_range("2024-01-01", periods=40))
    found = forecaster().fit(frame).backtest(frame, start="2024-02-03", n_windows=1)
    assert found.ds.min() == pd.Timestamp("2024-02-05")
    assert found.cutoff.unique().tolist() == [pd.Timestamp("2024-02-02")]
    frame = series(pd.date_range("2020-01-01", periods=40, freq="MS"))
    model = forecaster().fit(frame)
    assert model.backtest(frame, start=dt.date(2023, 1, 2)).ds.min() == pd.Timestamp("2023-02-01")
    assert model.backtest(frame, start="1999").ds.min() == frame.ds.unique()[CONTEXT]


def test_a_start_in_a_time_zone():
    zone = "America/New_York"
    frame = series(pd.date_range("2024-03-01", periods=40, tz=zone))
    model = forecaster().fit(frame)
    wanted = pd.Timestamp("2024-03-20", tz=zone)
    for start in ("2024-03-20", wanted, wanted.tz_convert("UTC"), wanted.to_pydatetime()):
        found = model.backtest(frame, start=start, n_windows=1)
        assert found.ds.min() == wanted and found.ds.dtype == frame.ds.dtype
    with pytest.raises(DataError, match="has a time zone but the times of column 'ds' have none"):
        forecaster().fit(daily()).backtest(daily(), start=wanted)


def test_a_start_among_durations_and_periods():
    frame = series(pd.to_timedelta(np.arange(40), unit="h"))
    model = forecaster().fit(frame)
    for start in ("30h", pd.Timedelta(hours=30), dt.timedelta(hours=30), np.timedelta64(30, "h")):
        found = model.backtest(frame, start=start, n_windows=1)
        assert found.ds.min() == pd.Timedelta(hours=30)
    assert forecaster().backtest(frame, n_windows=2, refit=True).cutoff.nunique() == 2
    with pytest.raises(DataError, match="holds durations: give one of them"):
        model.backtest(frame, start="2024-01-01")
    frame = series(pd.period_range("2020-01", periods=40, freq="M"))
    model = forecaster().fit(frame)
    for start in (pd.Period("2023-01", "M"), "2023-01", dt.date(2023, 1, 1)):
        assert model.backtest(frame, start=start).ds.min() == pd.Period("2023-01", "M")
    assert forecaster().backtest(frame, n_windows=2, refit=True).cutoff.nunique() == 2


@pytest.mark.parametrize("start", [3.5, True, "soon", 20240205, pd.NaT, [DAY]])
def test_what_is_no_start(fitted, start):
    with pytest.raises(DataError, match=r"^start=.* is no time of column 'ds', which holds dates"):
        fitted.backtest(daily(), start=start)


@pytest.mark.parametrize("start", [3.0, True, "2024-02-05", DAY, "x"])
def test_what_is_no_start_among_steps(counting, start):
    with pytest.raises(DataError, match=r"is no time of .*holds whole steps: .*e\.g\. 38$"):
        counting.backtest(series(np.arange(40)), start=start)


def test_a_start_too_late_names_the_last_one(fitted):
    message = r"^start='2024-02-09' is too late: .*; the last possible start is 2024-02-08$"
    with pytest.raises(DataError, match=message):
        fitted.backtest(daily(), start="2024-02-09")
    assert len(fitted.backtest(daily(), start="2024-02-08")) == 3 * HORIZON


def test_more_windows_than_there_are(fitted):
    with pytest.raises(DataError, match=r"^n_windows=18 .* more than 17 windows 2 steps apart"):
        fitted.backtest(daily(), n_windows=18)
    assert fitted.backtest(daily(), n_windows=17).cutoff.nunique() == 17


@pytest.mark.parametrize("option", ["n_windows", "stride", "refit"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "2"])
def test_counts_are_whole_numbers(fitted, option, value):
    message = rf"^{option}={value!r} must be .*a whole number of at least 1$"
    for call in (fitted.backtest, fitted.evaluate):
        with pytest.raises(DataError, match=message):
            call(daily(), **{option: value})


def test_each_scene_has_its_own_last_windows():
    columns = Columns(group=None, scene="scene")
    short, long = series(np.arange(12)), series(np.arange(20))
    frame = pd.concat([short.assign(scene=0), long.assign(scene=1)])
    model = forecaster(columns=columns).fit(frame)
    cutoffs = model.backtest(frame, n_windows=4).groupby("scene").cutoff.unique()
    assert cutoffs[0].tolist() == [5, 7, 9] and cutoffs[1].tolist() == [11, 13, 15, 17]
    cutoffs = model.backtest(frame, start=9).groupby("scene").cutoff.unique()
    assert cutoffs[0].tolist() == [8] and cutoffs[1].tolist() == [8, 10, 12, 14, 16]


def test_missing_steps_at_the_end_are_as_if_deleted(fitted):
    frame = daily()
    gone = frame.ds > frame.ds.max() - pd.Timedelta(days=5)
    empty = frame.assign(y=frame.y.mask(gone))
    for options in ({}, {"n_windows": 2}, {"stride": 3}):
        one, two = (fitted.backtest(f, **options) for f in (empty, frame[~gone]))
        pd.testing.assert_frame_equal(one, two)


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
