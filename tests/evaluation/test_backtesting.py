"""Which windows a backtest takes, where it may start, and how many there are."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, DataError, Forecaster
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
