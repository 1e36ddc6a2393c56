"""Features of the calendar against pandas' own fields of the same times, in every library."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, DataError, Forecaster, HiPerformer, LastValue
from hierforecast.errors import MissingExtraError
from hierforecast.frame import calendar, read_frame
from hierforecast.frame.calendar import Calendar, check_calendar, learn_calendar
from hierforecast.frame.columns import CYCLES
from hierforecast.models import Model
from hierforecast.storage import OPTIONS
from tests.frames import LIBRARIES, PLAIN, both, series, to_pandas
from tests.helpers import DOUBLE, QUIET, assert_same_frame

pytestmark = pytest.mark.usefixtures("networks")

GOLDEN = Path(__file__).parents[1] / "golden"
YEARS = [2023, 2024]
ALL = tuple(f"{name} {wave}" for name in CYCLES for wave in calendar._CYCLES[name].waves)


def expected(names: tuple[str, ...], times: pd.DatetimeIndex) -> np.ndarray:
    """The plain second implementation: what pandas says of each time, one feature at a time."""
    year_start = pd.to_datetime(times.year.astype(str) + "-01-01")
    local = times.tz_localize(None)
    parts = {
        "hour": ((local - local.normalize()) / pd.Timedelta("1D")),
        "weekday": times.day_of_week / 7,
        "day": (times.day - 1) / times.days_in_month,
        "week": ((local - year_start) / pd.Timedelta("1D")) / (365 + times.is_leap_year),
        "month": (times.month - 1) / 12,
        "quarter": (times.quarter - 1) / 4,
    }
    columns = []
    for name in names:
        cycle, kind, number = name.split()
        turn = 2 * np.pi * int(number) * np.asarray(parts[cycle], dtype=float)
        columns.append({"sin": np.sin, "cos": np.cos}[kind](turn))
    return np.stack(columns, -1)


@pytest.fixture
def library(monkeypatch):
    """Holidays of an invented country: every first of March and May, and one Monday off for it."""

    def country_holidays(code, subdiv=None, years=None):
        if code != "XX" or subdiv not in (None, "A"):
            raise NotImplementedError(code)
        days = {date(years, 3, 1): "Spring", date(years, 5, 1): "May; Labor"}
        if years == 2022:
            days[date(2022, 5, 2)] = "May (observed)"
        return days if subdiv is None else days | {date(years, 6, 9): "Local"}

    monkeypatch.setitem(sys.modules, "holidays", SimpleNamespace(country_holidays=country_holidays))
    from hierforecast.frame import public_holidays

    public_holidays._in_year.cache_clear()
    yield
    public_holidays._in_year.cache_clear()


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


class Weekdays(Model):
    """Asks for the calendar and keeps what it is given."""

    def __init__(self, asks: bool = True) -> None:
        super().__init__()
        self.asks = asks

    @property
    def uses_calendar(self) -> bool:
        return self.asks

    def build(self, task):
        self.inner = LastValue().for_task(task)
        self.seen = task.with_calendar().known if self.asks else task.known

    @property
    def origin(self):
        return self.inner.origin

    def fit_statistics(self, batch, future):
        assert batch.known.shape[-1] == len(self.seen)
        self.inner.fit_statistics(batch, future)

    def forward(self, batch):
        self.known = batch.known
        return self.inner(batch)


def priced(start: str, n: int, freq: str = "D", zone: Any = None) -> pd.DataFrame:
    """Two series with a covariate that is known in advance."""
    times = pd.date_range(start, periods=n, freq=freq, tz=zone)
    return both(times, times[n // 3 :]).assign(price=2.5)


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize(("freq", "zone"), [("D", None), ("h", "Europe/Berlin"), ("QS", None)])
def test_a_model_that_asks_is_given_the_horizon_too_without_being_told(name, freq, zone):
    """The numbers that a model gets, in the order of its batch, beyond the frame."""
    n = {"D": 60, "h": 24 * 20, "QS": 30}[freq]
    frame, late = priced("2024-02-20", n + 3, freq, zone), None
    late = frame[frame.groupby("unique_id").cumcount(ascending=False) < 3]
    frame = frame.drop(late.index)
    columns = Columns(group=None, known_covariates="price")
    to = LIBRARIES[name]
    fitted = Forecaster(
        Weekdays(), context_length=8, prediction_length=3, columns=columns, trainer=QUIET
    ).fit(to(frame))
    forecast = to_pandas(fitted.predict(to(frame), known=to(late.drop(columns="y"))))
    known, names = fitted.model_.known, fitted.vocabulary_.calendar
    assert known.shape == (2, 11, 1 + len(names)) and len(names) >= 3
    assert fitted.model_.task.known == (None,) and fitted.model_.task.calendar == names
    times = pd.DatetimeIndex(frame.ds[:n][-8:].tolist() + late.ds[:3].tolist())
    if zone is not None:
        times = pd.DatetimeIndex(times.tz_convert(zone))
    for row in range(2):
        np.testing.assert_allclose(known[row, :, 1:], expected(names, times), atol=1e-6)
    assert forecast.ds.iloc[2] == times[-1].tz_convert(forecast.ds.dt.tz) if zone else True


def test_steps_before_the_first_have_a_calendar_and_no_covariates():
    frame = priced("2024-01-01", 30)
    columns = Columns(group=None, known_covariates="price")
    fitted = Forecaster(
        Weekdays(), context_length=8, prediction_length=2, columns=columns, trainer=QUIET
    ).fit(frame)
    few = frame[frame.ds > "2024-01-25"]
    ahead = priced("2024-01-01", 32)[lambda f: f.ds > "2024-01-30"].drop(columns="y")
    fitted.predict(few, known=ahead)
    known = fitted.model_.known
    assert known[:, :3, 0].isnan().all() and not known[:, 3:, 0].isnan().any()
    times = pd.date_range("2024-01-23", periods=10)
    names = fitted.vocabulary_.calendar
    np.testing.assert_allclose(known[0, :, 1:], expected(names, times), atol=1e-6)


def test_a_model_that_does_not_ask_is_given_none():
    for columns in (PLAIN, Columns(group=None, calendar="weekday")):
        plan = Forecaster(Weekdays(asks=False), context_length=8, prediction_length=2,
                          columns=columns, trainer=QUIET)  # fmt: skip
        fitted = plan.fit(series(pd.date_range("2024", periods=40)))
        fitted.predict(series(pd.date_range("2024", periods=40)))
        assert fitted.model_.known.shape[-1] == 0


def network(columns: Columns, **options: Any) -> Forecaster:
    lengths = {"context_length": 6, "prediction_length": 3, "max_steps": 3}
    given = {**lengths, "columns": columns, "trainer": DOUBLE, **options}
    return Forecaster(HiPerformer(16, 1, 2, scale="series"), **given)


def test_by_default_series_forecast_as_they_did():
    frame = series(pd.date_range("2024-01-01", periods=60)).assign(y=np.arange(60.0) % 7)
    answers = [
        network(Columns(group=None, calendar=given)).fit(frame).predict(frame, level=[80])
        for given in ("auto", None, ("weekday",))
    ]
    pd.testing.assert_frame_equal(answers[0], answers[1], check_exact=True)
    assert (answers[2].HiPerformer - answers[0].HiPerformer).abs().max() > 1e-6


def test_swapped_series_swap_and_the_calendar_stays():
    frame = priced("2024-01-01", 60).assign(y=lambda f: np.sin(f.y) + f.y / 9)
    fitted = network(Columns(group=None, calendar=["weekday", "day"])).fit(frame)
    swapped = frame.assign(unique_id=frame.unique_id.map({"a": "b", "b": "a"}))
    one, other = fitted.predict(frame, level=[80]), fitted.predict(swapped.iloc[::-1], level=[80])
    other = other.assign(unique_id=other.unique_id.map({"a": "b", "b": "a"}))
    assert_same_frame(one, other, 1e-10, ["unique_id", "ds"])
    moved = frame.assign(ds=frame.ds + pd.Timedelta(days=1))
    late = fitted.predict(moved).assign(ds=lambda f: f.ds - pd.Timedelta(days=1))
    assert (late.HiPerformer - one.HiPerformer).abs().max() > 1e-6, "another weekday"


@pytest.mark.usefixtures("library")
def test_what_is_saved_forecasts_alike_bit_for_bit(tmp_path):
    frame = series(pd.date_range("2022-02-01", periods=500)).assign(y=lambda f: f.y % 7)
    fitted = network(Columns(group=None, calendar=["weekday"], holidays="XX")).fit(frame)
    assert "holiday XX: Spring" in fitted.vocabulary_.calendar
    fitted.save(tmp_path / "m")
    back = Forecaster.load(tmp_path / "m")
    assert back.columns == fitted.columns and back.vocabulary_ == fitted.vocabulary_
    pd.testing.assert_frame_equal(back.predict(frame), fitted.predict(frame), check_exact=True)
    again = back.fit(frame[frame.ds < "2023-01-01"], warm_start=True)
    assert again.vocabulary_.calendar == fitted.vocabulary_.calendar


@pytest.mark.parametrize("folder", ["fourier", "hiperformer", "ridge"])
def test_folders_of_before_have_no_calendar(folder):
    assert "calendar" not in json.loads((GOLDEN / folder / OPTIONS).read_text())["columns"]
    old = Forecaster.load(GOLDEN / folder)
    assert old.columns.calendar is None and old.vocabulary_.calendar == ()
    assert old.model_.task.calendar == () and not old.model_.uses_calendar


@pytest.mark.parametrize("name", ["hour", "hour sin 9", "year sin 1", "holiday sys", "holiday"])
def test_features_that_no_version_gave_are_refused(name):
    check_calendar((*ALL, "holiday US", "holiday DE-BY: Neujahr: der erste"))
    with pytest.raises(ValueError, match="is no feature of the calendar"):
        check_calendar((name,))
