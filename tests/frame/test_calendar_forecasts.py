"""Forecasts that know the calendar: what models are given of it, and what saving keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster, HiPerformer, LastValue
from hierforecast.models import Model
from hierforecast.storage import OPTIONS
from tests.frame.calendars import (
    expected,
    library,  # noqa: F401 (a fixture)
)
from tests.frames import LIBRARIES, PLAIN, both, series, to_pandas
from tests.helpers import DOUBLE, QUIET, assert_same_frame

pytestmark = pytest.mark.usefixtures("networks")

GOLDEN = Path(__file__).parents[1] / "golden"


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
