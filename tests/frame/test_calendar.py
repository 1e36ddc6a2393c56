"""Features of the calendar against pandas' own fields of the same times, in every library."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, DataError
from hierforecast.errors import MissingExtraError
from hierforecast.frame import calendar, read_frame
from hierforecast.frame.calendar import Calendar, check_calendar, learn_calendar
from hierforecast.frame.columns import CYCLES
from tests.frame.calendars import (
    expected,
    library,  # noqa: F401 (a fixture)
)
from tests.frames import LIBRARIES, PLAIN, both, series

YEARS = [2023, 2024]
ALL = tuple(f"{name} {wave}" for name in CYCLES for wave in calendar._CYCLES[name].waves)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/New_York", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    "freq", ["15min", "h", "6h", "D", "B", "2D", "W-FRI", "W-MON", "MS", "ME", "QS", "QE", "YE"]
)
def test_features_are_those_of_pandas_before_within_and_beyond_a_frame(freq, zone):
    times = pd.date_range("2024-02-26", periods=120, freq=freq, tz=zone)
    panel = read_frame(series(times[20:80]), PLAIN)
    found = Calendar(panel.clock, ALL).at(np.array([0]), np.arange(-20, 100)[None])
    np.testing.assert_allclose(found[0], expected(ALL, times), atol=1e-9)


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_every_library_has_the_hours_of_its_own_clock_also_when_it_is_put_back(name, zone):
    times = pd.date_range("2024-10-31", periods=24 * 9, freq="h", tz=zone)
    frame = LIBRARIES[name](both(times, times[24:]))
    panel = read_frame(frame, PLAIN)
    found = Calendar(panel.clock, ALL).at(np.array([0, 0]), np.arange(24 * 9).reshape(2, -1))
    np.testing.assert_allclose(found.reshape(-1, len(ALL)), expected(ALL, times), atol=1e-9)


def test_hours_of_another_clock_or_of_the_step_before_are_caught():
    """The comparison above can fail: for a clock in UTC, and for one that is a step late."""
    times = pd.date_range("2024-10-31", periods=60, freq="h", tz="America/New_York")
    clock, steps = read_frame(series(times), PLAIN).clock, np.arange(60)[None]
    wanted = expected(ALL, times)
    for broken, late in ((replace(clock, zone=None), 0), (clock, 1)):
        found = Calendar(broken, ALL).at(np.array([0]), steps - late)[0]
        assert np.abs(found - wanted).max() > 0.1


def test_days_of_a_zone_are_days_of_its_wall():
    times = pd.date_range("2024-03-25", periods=20, freq="D", tz="America/New_York")
    panel = read_frame(series(times), PLAIN)
    names = ("hour cos 1", "weekday sin 1")
    found = Calendar(panel.clock, names).at(np.array([0]), np.arange(20)[None])[0]
    np.testing.assert_allclose(found[:, 0], 1, atol=1e-12)
    np.testing.assert_allclose(found[:7, 1], np.sin(2 * np.pi * np.arange(7) / 7), atol=1e-12)


@pytest.mark.parametrize(
    ("freq", "steps", "cycles"),
    [
        ("h", 47, set()),
        ("h", 48, {"hour"}),
        ("h", 24 * 14, {"hour", "weekday"}),
        ("h", 24 * 365, {"hour", "weekday"}),
        ("h", 24 * 731, {"hour", "weekday", "week"}),
        ("40ms", 5000, set()),
        ("D", 20, {"weekday"}),
        ("B", 100, {"weekday", "day"}),
        ("D", 730, {"weekday", "day", "week"}),
        ("W-FRI", 60, set()),
        ("W-FRI", 143, {"week"}),
        ("MS", 24, {"month"}),
        ("ME", 20, set()),
        ("QS", 8, {"quarter"}),
        ("YS", 30, set()),
    ],
)
def test_what_suits_the_step_and_is_seen_twice(freq, steps, cycles):
    panel = read_frame(series(pd.date_range("2020-01-01", periods=steps, freq=freq)), PLAIN)
    found = learn_calendar(panel.columns, panel.clock, panel.length)
    assert {name.split()[0] for name in found} == cycles
    assert learn_calendar(panel.columns, panel.clock, 0 * panel.length) == ()


def test_scenes_of_a_day_show_the_year_together():
    starts = pd.date_range("2020-01-01", periods=30, freq="30D")
    parts = [series(pd.date_range(at, periods=24, freq="h")).assign(day=str(at)) for at in starts]
    panel = read_frame(pd.concat(parts), Columns(group=None, scene="day"))
    found = learn_calendar(panel.columns, panel.clock, panel.length)
    assert {name.split()[0] for name in found} == {"hour", "weekday", "week"}


@pytest.mark.parametrize("times", [np.arange(40), pd.to_timedelta(np.arange(40), "h")])
def test_integers_and_durations_have_no_calendar(times):
    panel = read_frame(series(times), PLAIN)
    assert learn_calendar(panel.columns, panel.clock, panel.length) == ()
    stated = Columns(group=None, calendar="hour")
    with pytest.raises(DataError, match="have no calendar: give dates, or leave out calendar"):
        learn_calendar(stated, panel.clock, panel.length)


def test_what_is_named_is_given_however_short_the_frame():
    columns = Columns(group=None, calendar=["month", "hour", "month"])
    assert columns.calendar == ("month", "hour")
    panel = read_frame(series(pd.date_range("2020", periods=3, freq="h")), columns)
    found = learn_calendar(columns, panel.clock, panel.length)
    assert [name for name in found if "1" in name] == [
        "month sin 1", "month cos 1", "hour sin 1", "hour cos 1"
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"names 'hours': give some of \['hour', 'weekday'"):
        Columns(calendar=["hours"])
    with pytest.raises(DataError, match="holidays are named by their country"):
        Columns(calendar="holidays")
    with pytest.raises(DataError, match="is no country: give a code of ISO 3166"):
        Columns(holidays="Germany")
    assert Columns(calendar=()) == Columns(calendar=None)


def counted(freq: str, start: str, n: int, feature: str) -> dict[str, float]:
    """Steps that hold a holiday, by their label."""
    times = pd.date_range(start, periods=n, freq=freq)
    panel = read_frame(series(times), PLAIN)
    found = Calendar(panel.clock, (f"holiday {feature}",)).at(np.array([0]), np.arange(n)[None])
    labels = times.strftime("%Y-%m-%d %H" if freq == "h" else "%Y-%m-%d")
    return {k: v for k, v in zip(labels, found[0, :, 0].tolist(), strict=True) if v}


@pytest.mark.usefixtures("library")
def test_holidays_are_counted_in_their_step():
    assert counted("D", "2022-02-01", 400, "XX: Spring") == {"2022-03-01": 1, "2023-03-01": 1}
    assert counted("D", "2022-04-20", 40, "XX: May") == {"2022-05-01": 1, "2022-05-02": 1}
    assert counted("D", "2022-04-20", 40, "XX") == {"2022-05-01": 1, "2022-05-02": 1}
    assert len(counted("h", "2022-02-20", 24 * 20, "XX")) == 24
    # 2022-05-01 is a Sunday.
    assert counted("W-FRI", "2022-04-01", 8, "XX") == {"2022-05-06": 2}
    assert counted("W-SUN", "2022-04-01", 8, "XX") == {"2022-05-01": 1, "2022-05-08": 1}
    assert counted("W-MON", "2022-04-01", 8, "XX") == {"2022-04-25": 1, "2022-05-02": 1}
    assert counted("MS", "2022-02-01", 8, "XX") == {"2022-03-01": 1, "2022-05-01": 2}
    assert counted("ME", "2022-02-01", 8, "XX") == {"2022-03-31": 1, "2022-05-31": 2}
    assert counted("QS", "2021-12-01", 3, "XX-A") == {"2022-01-01": 1, "2022-04-01": 3}
    assert counted("QE", "2021-12-01", 3, "XX-A") == {"2022-03-31": 1, "2022-06-30": 3}


@pytest.mark.usefixtures("library")
def test_a_holiday_that_came_twice_has_a_column_of_its_own():
    times = pd.date_range("2023-01-06", "2024-04-12", freq="W-FRI")
    panel = read_frame(series(times), Columns(group=None, holidays=["XX", "XX-A"]))
    found = learn_calendar(panel.columns, panel.clock, panel.length)
    assert found == (
        "holiday XX", "holiday XX: Spring", "holiday XX-A", "holiday XX-A: Spring"
    )  # fmt: skip
    for code in ("YY", "XX-B"):
        other = Columns(group=None, holidays=code)
        with pytest.raises(DataError, match=rf"holidays='{code}' is no country that the library"):
            learn_calendar(other, panel.clock, panel.length)


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "holidays", None)
    panel = read_frame(series(pd.date_range("2022", periods=9)), Columns(holidays="ZZ", group=None))
    with pytest.raises(MissingExtraError, match=r"pip install 'hierforecast\[calendar\]'"):
        learn_calendar(panel.columns, panel.clock, panel.length)


def test_the_library_knows_the_fourth_of_july():
    pytest.importorskip("holidays", reason="needs the extra 'calendar'")
    found = counted("D", "2020-06-20", 30, "US: Independence Day")
    assert found == {"2020-07-03": 1, "2020-07-04": 1}, "a Saturday, observed on Friday too"
    assert counted("D", "2024-05-20", 20, "DE-BY") == {"2024-05-20": 1, "2024-05-30": 1}


@pytest.mark.parametrize("name", ["hour", "hour sin 9", "year sin 1", "holiday sys", "holiday"])
def test_features_that_no_version_gave_are_refused(name):
    check_calendar((*ALL, "holiday US", "holiday DE-BY: Neujahr: der erste"))
    with pytest.raises(ValueError, match="is no feature of the calendar"):
        check_calendar((name,))
