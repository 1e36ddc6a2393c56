from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast.errors import DataError
from hierforecast.frame import Columns, Panel, read_frame
from tests.frames import PLAIN, pl, series
from tests.helpers import newest


def future(panel: Panel, horizon: int) -> list[str]:
    """The labels after the cutoff, as text."""
    steps = panel.cutoff[0] + np.arange(horizon)
    back = panel.to_frame(np.zeros(horizon, dtype=int), steps, {})
    return [str(t).removesuffix(" 00:00:00") for t in back["ds"]]


CALENDARS = {
    "months start": ("2023-11-01", 6, "MS", ["2024-05-01", "2024-06-01"]),
    "months end": ("2023-10-31", 4, pd.offsets.MonthEnd(), ["2024-02-29", "2024-03-31"]),
    "quarters start": ("2023-01-01", 5, "QS", ["2024-04-01", "2024-07-01"]),
    "quarters end": ("2023-03-31", 4, pd.offsets.QuarterEnd(), ["2024-03-31", "2024-06-30"]),
    "years end": ("2020-12-31", 3, pd.offsets.YearEnd(), ["2023-12-31", "2024-12-31"]),
    "years start": ("2020-01-01", 3, pd.offsets.YearBegin(), ["2023-01-01", "2024-01-01"]),
    "business days": ("2024-02-26", 9, "B", ["2024-03-08", "2024-03-11"]),
    "weeks": ("2024-02-05", 4, "W-MON", ["2024-03-04", "2024-03-11"]),
    "days": ("2024-02-22", 8, "D", ["2024-03-01", "2024-03-02"]),
    "hours": ("2024-02-29 20:00", 3, "h", ["2024-02-29 23:00:00", "2024-03-01"]),
    "ten minutes": ("2024-02-29 23:30", 2, "10min", ["2024-02-29 23:50:00", "2024-03-01"]),
}


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("unit", ["s", "ns"])
def test_calendars_go_on_as_pandas_does(calendar: str, unit: str) -> None:
    start, n, freq, expected = CALENDARS[calendar]
    times = pd.date_range(start, periods=n, freq=freq).as_unit(unit)
    panel = read_frame(series(times), PLAIN)
    assert panel.present.all() and len(panel.present) == n
    assert future(panel, 2) == expected
    assert (panel.times(np.zeros(n, dtype=int), np.arange(n)) == times.to_numpy()).all()


@pytest.mark.parametrize(
    "freq", ["MS", pd.offsets.MonthEnd(), "B", "W-WED", "D", "h", pd.offsets.YearEnd(), "QS"]
)
def test_long_calendars_agree_with_pandas_and_holes_stay_missing(freq: Any) -> None:
    times = pd.date_range("1965-01-01", periods=200, freq=freq)
    keep = np.random.default_rng(0).random(200) < 0.8
    keep[[0, -1]] = True
    panel = read_frame(series(times[keep]), PLAIN, horizon=50)
    assert panel.present.tolist() == keep.tolist() + [False] * 50
    ahead = pd.date_range(times[0], periods=250, freq=freq)
    assert (panel.times(np.zeros(250, dtype=int), np.arange(250)) == ahead.to_numpy()).all()


def test_holidays_are_holes_and_bars_keep_their_time_of_day() -> None:
    times = pd.bdate_range("2023-12-18", "2024-01-10") + pd.Timedelta("16h")
    open_days = times[~times.normalize().isin(pd.to_datetime(["2023-12-25", "2024-01-01"]))]
    panel = read_frame(series(open_days), PLAIN)
    assert len(panel.present) == len(times)
    assert (~panel.present).nonzero()[0].tolist() == [5, 10]
    assert future(panel, 3)[-1] == "2024-01-15 16:00:00"


def test_a_short_prediction_frame_keeps_the_fitted_step() -> None:
    fitted = read_frame(series(pd.bdate_range("2024-01-01", periods=30)), PLAIN).clock.step
    short = series(pd.bdate_range("2024-03-06", periods=3))  # Wednesday to Friday: no weekend seen
    assert future(read_frame(short, PLAIN), 1) == ["2024-03-09"]
    assert future(read_frame(short, PLAIN, step=str(fitted)), 1) == ["2024-03-11"]
    tenth = read_frame(series([0, 10, 20]), PLAIN).clock.step
    assert future(read_frame(series([5]), PLAIN, step=tenth), 1) == ["15"]
    with pytest.raises(DataError, match=r"2024-03-09, which does not fit the step of 1 business"):
        read_frame(series(pd.date_range("2024-03-07", periods=3)), PLAIN, step=fitted)
    hours = pd.to_datetime(["2024-03-07 16:00", "2024-03-08 17:00"])
    with pytest.raises(DataError, match=r"2024-03-07T16:00:00 to 2024-03-08T17:00:00, which does"):
        read_frame(series(hours), PLAIN, step=fitted)
    with pytest.raises(DataError, match="holds dates, but the step 10 was found on integers"):
        read_frame(short, PLAIN, step=tenth)
    with pytest.raises(DataError, match=r"step='weekly' is not a step: pass panel\.clock\.step"):
        read_frame(short, PLAIN, step="weekly")


def test_a_step_finer_than_the_time_column() -> None:
    hourly = read_frame(series(pd.date_range("2024", periods=3, freq="h")), PLAIN).clock.step
    days = pl.DataFrame({"unique_id": ["a"], "ds": [date(2024, 1, 1)], "y": [1.0]})
    with pytest.raises(DataError, match="unit 'D' cannot hold a step of 1 hour"):
        read_frame(days, PLAIN, step=hourly)


def test_scenes_of_one_step() -> None:
    assert future(read_frame(series([4]), PLAIN), 1) == ["5"]
    assert future(read_frame(series(pd.to_datetime(["2024-02-29"])), PLAIN), 1) == ["2024-03-01"]
    frame = pd.concat([series([4]).assign(s=0), series([7, 9, 13]).assign(s=1)])
    panel = read_frame(frame, Columns(group=None, scene="s"))
    assert panel.length.tolist() == [1, 4]
    assert panel.times(np.array([0, 1]), np.array([1, 3])).tolist() == [6, 13]


def test_scenes_may_have_phases_of_their_own() -> None:
    frame = pd.concat([series([0, 3, 6]).assign(s="a"), series([101, 104]).assign(s="b")])
    panel = read_frame(frame, Columns(group=None, scene="s"))
    assert panel.length.tolist() == [3, 2]
    assert panel.times(np.array([1]), np.array([2])).tolist() == [107]


def test_a_row_without_target_makes_its_time_exist_but_history_ends_before() -> None:
    late = series([3]).assign(y=np.nan, unique_id="b")
    panel = read_frame(pd.concat([series([0, 1]), late]), PLAIN)
    assert panel.length.tolist() == [4] and panel.present.tolist() == [True, True] + [False] * 6
    assert panel.cutoff.tolist() == [2]


def test_hours_with_a_time_zone_are_counted_in_utc(library: str, to: Any) -> None:
    times = pd.date_range("2024-03-30 22:00", periods=6, freq="h", tz="Europe/Berlin")
    panel = read_frame(to(series(times)), PLAIN)
    assert panel.present.all()
    back = panel.to_frame(np.zeros(6, dtype=int), np.arange(6), {})["ds"]
    assert "Europe/Berlin" in str(back.type if library == "pyarrow" else back.dtype)
    assert (back if library == "pandas" else back.to_pandas()).tolist() == times.tolist()


def test_days_with_a_time_zone_are_counted_on_the_wall() -> None:
    times = pd.date_range(
        "2024-03-04", periods=8, freq="B", tz="America/New_York"
    )  # DST on the 10th
    panel = read_frame(series(times), PLAIN, horizon=1)
    assert panel.present.tolist() == [True] * 8 + [False]
    back = panel.to_frame(np.zeros(9, dtype=int), np.arange(9), {})
    ahead = pd.date_range("2024-03-04", periods=9, freq="B", tz="America/New_York")
    assert back["ds"].tolist() == ahead.tolist() and back["ds"].dtype == times.dtype


# A day that begins at 1 o'clock, because the clock was put forward at midnight; the last two have
# a midnight that comes twice.
SKIPPED = {
    "America/Santiago": ("2024-08-12", "2024-09-08 01:00:00-03:00"),
    "Africa/Cairo": ("2024-03-30", "2024-04-26 01:00:00+03:00"),
    "Asia/Beirut": ("2024-03-04", "2024-03-31 01:00:00+03:00"),
    "America/Sao_Paulo": ("2018-10-08", "2018-11-04 01:00:00-02:00"),
    "America/Havana": ("2024-02-12", "2024-03-10 01:00:00-04:00"),
    "America/Havana in autumn": ("2024-10-07", "2024-11-03 00:00:00-04:00"),
    "America/Santiago in autumn": ("2024-03-11", "2024-04-07 00:00:00-04:00"),
}


@pytest.mark.parametrize("case", SKIPPED)
def test_a_midnight_that_does_not_exist_is_the_hour_after_it(
    case: str, library: str, to: Any
) -> None:
    start, label = SKIPPED[case]
    zone, n = case.removesuffix(" in autumn"), 27
    first = series(pd.date_range(start, periods=n, tz=zone))
    panel = read_frame(to(first), PLAIN)
    ahead = panel.to_frame(np.zeros(5, dtype=int), n + np.arange(5), {})
    labels = pd.DatetimeIndex(ahead["ds"].to_pandas() if library != "pandas" else ahead["ds"])
    assert str(labels[0]) == label
    assert [str(t)[:10] for t in labels] == [
        str(t.date()) for t in pd.date_range(label[:10], periods=5)
    ]
    # The answer appended to the history is read as what it was, with and without the days before.
    for rows in (slice(None), slice(-9, None), slice(n, n + 1)):
        times = pd.DatetimeIndex([*first["ds"], *labels])[rows]
        for step in (None, panel.clock.step):
            again = read_frame(to(series(times)), PLAIN, step=step)
            assert again.present.all() and len(again.present) == len(times)
            more = again.to_frame(np.array([0]), again.cutoff, {})["ds"]
            expected = pd.Timestamp(times[-1].date() + pd.Timedelta("1D")).tz_localize(zone)
            assert pd.Timestamp(more[0].as_py() if library == "pyarrow" else more[0]) == expected
    hours = pd.date_range(start, periods=24 * 40, freq="h", tz=zone)
    daily = pd.Series(1.0, hours).resample("D").sum()
    again = read_frame(to(series(daily.index)), PLAIN)
    assert again.present.all() and again.clock.step == panel.clock.step
    hourly = read_frame(to(series(hours)), PLAIN)
    assert hourly.present.all() and hourly.clock.step.startswith("ns/3600000000000/")


@newest
def test_weeks_and_other_hours_across_a_skipped_midnight() -> None:
    hours = pd.date_range("2024-07-01", periods=24 * 100, freq="h", tz="America/Santiago")
    weekly = pd.Series(1.0, hours).resample("W-SUN").sum().index[:12]
    assert str(weekly[9]) == "2024-09-08 01:00:00-03:00"
    for columns in (PLAIN, Columns(group=None, freq="W-SUN")):
        panel = read_frame(series(weekly), columns)
        assert panel.present.all() and future(panel, 1) == [
            f"{weekly[-1].date() + pd.Timedelta('7D')} 00:00:00-03:00"
        ]
    evening = pd.date_range("2024-09-01 21:30", periods=12, tz="America/Santiago")
    assert read_frame(series(evening), PLAIN).times(np.array([0]), np.array([7]))[
        0
    ] == np.datetime64("2024-09-09T00:30")


def test_days_may_have_a_zone_in_the_fit_or_after_it() -> None:
    winter = pd.date_range("2024-02-15", periods=30)
    spring = pd.date_range("2024-03-15", periods=30)  # the clock is put forward on the 31st
    for first, then in ((None, "Europe/Berlin"), ("Europe/Berlin", None)):
        step = read_frame(series(winter.tz_localize(first)), PLAIN).clock.step
        panel = read_frame(series(spring.tz_localize(then)), PLAIN, step=step)
        assert panel.present.all() and future(panel, 1)[0].startswith("2024-04-14")


def test_dates_come_back_as_dates() -> None:
    days = [date(2024, 1, 31), date(2024, 2, 29), date(2024, 4, 30)]
    frame = pl.DataFrame({"unique_id": ["a"] * 3, "ds": days, "y": [1.0, 2.0, 3.0]})
    panel = read_frame(frame, PLAIN)
    assert panel.present.tolist() == [True, True, False, True]
    back = panel.to_frame(np.array([0]), np.array([4]), {})
    assert back["ds"].to_list() == [date(2024, 5, 31)] and back.schema["ds"] == pl.Date


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 2, 4, 5], r"'ds': the frame goes from 4 to 5, which does not fit the step of 2"),
        (
            pd.to_datetime(
                ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-03 12:00"], format="mixed"
            ),
            r"goes from 2024-01-03 to 2024-01-03T12:00:00.* of 1 day; .*resample",
        ),
        (pd.Series([0.0, 1.0, 2.0]), r"'ds' .*float64.*whole numbers: .*frame\['ds'\]\.astype"),
        (["2024-01-01", "2024-01-02"], r"column 'ds' .*pd\.to_datetime\(frame\['ds'\]"),
        ([True, False], r"column 'ds' .*is no time \(its type is bool\)"),
        (
            pd.to_datetime(["2024-01-01", None, None]),
            r"'ds' .* has 2 null values, the first in row 1",
        ),
    ],
)
def test_times_that_cannot_be_read(times: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_frame(series(times), PLAIN)


def test_an_irregular_scene_is_named() -> None:
    frame = pd.concat([series([0, 2, 4, 6]).assign(s="a"), series([1, 4]).assign(s="b")])
    with pytest.raises(
        DataError, match="irregular time step in column 'ds': s 'b' goes from 1 to 4"
    ):
        read_frame(frame, Columns(group=None, scene="s"))
