"""Time columns that are no times: the remedy runs on the very frame, and keeps all its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns
from hierforecast.errors import DataError
from hierforecast.frame import read_frame
from tests.commands import call, complaint
from tests.frames import (
    LIBRARIES,
    PLAIN,
    ahead,
    both,
    fit,
    jitter,
    mend,
    mended,
    type_of,
    values_of,
)
from tests.helpers import newest

N = 40


def long(times: Any) -> pd.DataFrame:
    return both(times, times)


def days(
    form: str = "%Y-%m-%d", start: str = "2024-01-20", freq: str = "D", n: int = N
) -> list[str]:
    return pd.date_range(start, periods=n, freq=freq).strftime(form).tolist()


@dataclass
class Case:
    """Times that cannot be read, what the error says, and the first label after the remedy."""

    times: Any
    message: str
    first: str
    options: str = ""
    only: tuple[str, ...] = tuple(LIBRARIES)


OBJECTS = ("pandas",)
CASES = {
    "seconds": Case(np.arange(400) * 0.04, "lie 0.04 apart", "400", "--time-step 0.04"),
    "seconds, float32": Case((np.arange(400) * 0.04).astype("float32"), "0.04 apart", "400"),
    "thirds": Case(np.arange(400) / 30, "lie 0.0333333 apart", "400", "--time-step"),
    "late seconds": Case(7.013 + np.arange(400) * 0.04, "0.04 apart", "400", "--time-step 0.04"),
    "hundredths, 30": Case(
        (np.arange(N) / 30).round(2), "about 0.0333333 apart", str(N), "--time-step 0.0333333"
    ),
    "hundredths, 24": Case((np.arange(N) / 24).round(2), "about 0.0416667 apart", str(N)),
    "hundredths, 60": Case((np.arange(N) / 60).round(2), "about 0.0166667 apart", str(N)),
    "hundredths, gaps": Case(
        np.delete((np.arange(N) / 30).round(2), [5, 9, 20]), "about 0.0333333 apart", str(N)
    ),
    "jitter": Case(np.arange(N) / 25 + jitter(0.008, N), "about 0.04 apart", str(N)),
    "no clock": Case(
        np.arange(N) / 25 + jitter(0.03, N),
        "no even clock counts its values, which lie between",
        str(N + 1),
        "number of each frame",
    ),
    "gaps": Case(np.delete(np.arange(400) * 0.04, [5, 9, 70]), "0.04 apart", "400"),
    "milliseconds": Case(np.arange(400) * 1e-3, "0.001 apart", "400", "--time-step 0.001"),
    "whole floats": Case(np.arange(N) * 1.0, "whole numbers", str(N), "whole numbers in"),
    "decimals": Case(
        [Decimal(i) for i in range(N)], "whole numbers", str(N), only=("polars", "pyarrow")
    ),
    "ISO dates": Case(days(), "convert it", "2024-02-29"),
    "ISO times": Case(days("%Y-%m-%d %H:%M", freq="h"), "convert it", "2024-01-21 16:00:00"),
    "one offset": Case(days("%Y-%m-%dT00:00+02:00"), "convert it", "2024-02-2"),
    "offsets": Case(
        [f"{d}T01:00+01:00" for d in days()[:20]] + [f"{d}T02:00+02:00" for d in days()[20:]],
        "their offsets from UTC differ",
        "2024-02-29 00:00:00+00:00",
        "--zone UTC",
    ),
    "day first": Case(days("%d/%m/%Y"), "'%d/%m/%Y'", "2024-02-29", "--date-format '%d/%m/%Y'"),
    "day first, all small": Case(
        days("%d/%m/%Y", "2024-01-01", n=12), "'%d/%m/%Y', or perhaps '%m/%d/%Y'", "2024-01-13"
    ),
    "month first": Case(days("%m/%d/%Y"), "'%m/%d/%Y'", "2024-02-29", "'%m/%d/%Y'"),
    "German": Case(days("%d.%m.%Y %H:%M"), "'%d.%m.%Y %H:%M'", "2024-02-29"),
    "American": Case(days("%b %d, %Y"), "'%b %d, %Y'", "2024-02-29"),
    "half days": Case(days("%m/%d/%Y %I:%M %p", freq="12h"), "%I:%M %p", "2024-02-09"),
    "digits": Case(days("%Y%m%d"), "'%Y%m%d'", "2024-02-29", "--date-format '%Y%m%d'"),
    "months in digits": Case(days("%Y%m", freq="MS"), "'%Y%m'", "2027-06-01"),
    "months": Case(days("%b %Y", freq="MS"), "'%b %Y'", "2027-06-01", "--date-format '%b %Y'"),
    "FRED months": Case(days("%YM%m", freq="MS"), "'%YM%m'", "2027-06-01"),
    "quarters": Case(
        [f"{y} Q{q}" for y in range(1998, 2008) for q in "1234"], "quarters", "2008-01-01"
    ),
    "Q1 first": Case(
        [f"Q{q}-{y}" for y in range(1998, 2008) for q in "1234"], "quarters", "2008-01-01"
    ),
    "weeks": Case(days("%G-W%V", "2023-12-03", "W"), "these are weeks", "2024-09-02"),
    "months in floats": Case(
        [float(d) for d in days("%Y%m", "2021-01-01", "MS")], "months in digits", "2024-05-01"
    ),
    "months of one year": Case(days("%Y%m", "2023-01-01", "MS", 12), "'%Y%m'", "2024-01-01"),
    "quarters in digits": Case(
        [f"{y}{q}" for y in range(1998, 2008) for q in "1234"], "quarters in digits", "2008-01-01"
    ),
    "text seconds": Case([f"{0.04 * i:.2f}" for i in range(N)], "lie 0.04 apart", str(N)),
    "exact seconds": Case([Decimal(i) / 4 for i in range(N)], "lie 0.25 apart", str(N)),
    "midnights of a zone": Case(
        [t.isoformat() for t in pd.date_range("2024-03-10", periods=N, tz="Europe/Berlin")],
        "not their time of day",
        "2024-04-19",
        "--zone with the name",
    ),
    "hours of a zone": Case(
        [
            t.isoformat()
            for t in pd.date_range("2024-03-30", periods=N, freq="h", tz="Europe/Berlin")
        ],
        "so name one zone",
        "2024-03-31 15:00:00+00:00",
        "--zone UTC",
    ),
    "ISO with noon": Case(
        days("%Y-%m-%d %I:%M %p", freq="12h"), "'%Y-%m-%d %I:%M %p'", "2024-02-09"
    ),
    "short years": Case(days("%y-%m-%d"), "'%y-%m-%d'", "2024-02-29"),
    "zones mixed in objects": Case(
        pd.Series(
            [
                pd.Timestamp(d, tz=z)
                for d, z in zip(days("%Y-%m-%d"), ["UTC", "Etc/GMT"] * 20, strict=True)
            ],
            dtype=object,
        ),
        "its values are dates",
        "2024-02-29 00:00:00+00:00",
        only=OBJECTS,
    ),
    "text integers": Case([str(i) for i in range(N)], "whole numbers", str(N)),
    "date objects": Case(
        [date.fromisoformat(d) for d in days()], "its values are dates", "2024-02-29", only=OBJECTS
    ),
    "integer objects": Case(
        pd.Series(range(N), dtype=object), "whole numbers", str(N), only=OBJECTS
    ),
    "categories": Case(pd.Categorical(days("%d/%m/%Y")), "'%d/%m/%Y'", "2024-02-29"),
}


@pytest.mark.parametrize("case", CASES)
def test_remedies_of_times_keep_every_row(case: str, library: str, to: Any) -> None:
    given = CASES[case]
    if library not in given.only:
        pytest.skip(f"{library} has no such column")
    frame = to(long(given.times))
    with pytest.raises(DataError, match="column 'ds' of the frame is no time") as caught:
        read_frame(frame, PLAIN)
    shown = caught.value.on_command_line()
    assert given.message in str(caught.value) and given.options.split("'")[0] in shown
    assert not any(word in shown for word in ("frame[", "pd.", "pl.", "pa.", "{"))
    scope = mend(caught.value, frame=frame)
    assert ahead(scope["frame"])[0].startswith(given.first)
    assert len(scope["frame"]) == 2 * len(given.times)
    panel = read_frame(scope["frame"], PLAIN)
    assert int(panel.present.sum()) == 2 * len(given.times)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([True, False], r"its type is bool\): .* are; name the time column"),
        ([time(1), time(2)], "convert it"),
        (["2024-01-01", "soon"], "'soon' is none that could be recognized"),
        (["2024-01-01T00:00", "2024-01-02T00:00Z"], "'2024-01-01T00:00' has no offset from UTC"),
        ([0.5, np.inf], "it has infinite values"),
        ([0.5, np.nan], "has 2 null values, the first in row 1"),
        ([datetime(2024, 1, 1), "2024-01-02"], "convert it|its values are dates"),
        ([[1], [2]], "convert it"),
    ],
)
def test_times_without_a_reading(times: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_frame(long(times), PLAIN)


# --- periods and durations -----------------------------------------------------------------------


@pytest.mark.parametrize("freq", ["M", "2M", "Q-DEC", "Q-NOV", "Y", "W-SUN", "D", "h", "15min"])
def test_periods_come_back_as_periods(freq: str) -> None:
    times = pd.period_range("2024-01-01", periods=43, freq=freq)
    frame = long(times[:40])
    forecaster = fit(frame)
    forecast = forecaster.predict(frame)
    assert (
        forecast["ds"].dtype == times.dtype and forecast["ds"][:3].tolist() == times[40:].tolist()
    )
    alone = forecaster.predict(frame[frame.ds == times[39]])  # its type says how it goes on
    assert alone["ds"][:3].tolist() == times[40:].tolist()
    starts = frame.assign(ds=frame["ds"].dt.start_time)
    assert forecaster.predict(starts)["ds"][:3].tolist() == times[40:].start_time.tolist()


def test_periods_in_arrow_are_taken_by_their_start() -> None:
    frame = LIBRARIES["pyarrow"](long(pd.period_range("2024-01", periods=N, freq="M")))
    message = "take the start of each period"
    scope = mended(message, lambda: read_frame(frame, PLAIN), frame=frame)
    assert ahead(scope["frame"])[0] == "2027-05-01"


def test_periods_of_every_third_month_step_by_three() -> None:
    frame = long(pd.period_range("2004-01", periods=90, freq="M")[::3])
    panel = read_frame(frame, PLAIN)
    assert panel.present.all() and len(panel.present) == 60


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_durations_come_back_as_durations(to: Any, unit: str) -> None:
    times = pd.to_timedelta(np.arange(63) * 40, unit="ms").as_unit(unit)
    frame = to(long(times[:60]))
    forecaster = fit(frame)
    forecast = forecaster.predict(frame)
    assert [pd.Timedelta(t) for t in values_of(forecast)[:3]] == times[60:].tolist()
    assert type_of(forecast) == type_of(frame)


def test_durations_know_no_calendar() -> None:
    workdays = pd.to_timedelta([0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 14, 15, 16], unit="D")
    assert len(read_frame(long(workdays), PLAIN).present) == 2 * 17
    with pytest.raises(DataError, match="holds durations, which do not step by"):
        read_frame(long(workdays), Columns(group=None, freq="B"))
    with pytest.raises(
        DataError, match=r"goes from 0 days 00:00:00.120000 to 0 days 00:00:00.150000"
    ):
        read_frame(long(pd.to_timedelta([0, 40, 80, 120, 150, 160], unit="ms")), PLAIN)


# --- the command line ----------------------------------------------------------------------------


def first_labels(*arguments: Any) -> list[str]:
    """The times of the first rows that `hierforecast predict` writes."""
    lines = call("predict", *arguments).stdout.splitlines()
    return [line.split(",")[1] for line in lines[1:4]]


@newest
def test_a_frequency_on_the_command_line(tmp_path: Path) -> None:
    table, model = tmp_path / "t.csv", tmp_path / "m"
    shop = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")
    long(pd.date_range("2024-01-01", periods=30, freq=shop)).to_csv(table, index=False)
    fit = ["fit", table, model, "--context", 8, "--horizon", 3, "--model", "last-value"]
    for freq in ("Mon Tue Wed Thu Fri Sat", '{"weekmask": "Mon Tue Wed Thu Fri Sat"}'):
        call(*fit, "--freq", freq)
        assert first_labels(table, model) == ["2024-02-05", "2024-02-06", "2024-02-07"]
    shown = complaint(*fit, "--freq", "B")
    assert "2024-01-06 (a Saturday)" in shown and "frame" not in shown.replace("the frame", "")
    assert "--freq" in shown and "ME" in complaint(*fit, "--freq", "M")
    long(range(0, 60, 2)).to_csv(table, index=False)
    assert complaint(*fit, "--freq", 3).endswith("--freq 2")
    call(*fit, "--freq", 2)
    assert first_labels(table, model) == ["60", "62", "64"]
    assert "uses it" in complaint("predict", table, model, "--known", table)
    assert "--samples" in complaint("predict", table, model, "--seed", 3)


def test_options_that_the_errors_of_times_name(tmp_path: Path) -> None:
    table, model = tmp_path / "t.csv", tmp_path / "m"
    fit = ["fit", table, model, "--context", 8, "--horizon", 3, "--model", "last-value"]
    long([int(d) for d in days("%Y%m", "2021-01-01", "MS")]).to_csv(table, index=False)
    shown = complaint(*fit)
    assert shown.endswith("--date-format %Y%m") and "--freq" in shown
    call(*fit, "--date-format", "%Y%m")
    assert first_labels(table, model, "--date-format", "%Y%m")[0] == "2024-05-01"
    call(*fit, "--freq", 1)
