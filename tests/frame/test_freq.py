"""Stated frequencies, and those that are found without."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns
from hierforecast.errors import DataError
from hierforecast.frame import read_frame
from tests.frames import PLAIN, ahead, days, fit, mended, series
from tests.helpers import newest

SHOP = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat", holidays=["2024-02-06"])
STATED = (
    "B", "W-SUN", "2W-TUE", "MS", "ME", "QS", "QE-NOV", "YE", "YS-APR", "BME", "BQS-FEB",
    "WOM-3FRI", "LWOM-MON", "15min", "h", "D",
)  # fmt: skip
OFFSETS = [
    pd.offsets.MonthEnd(),
    pd.offsets.Week(weekday=2),
    pd.offsets.BusinessDay(),
    pd.offsets.Hour(3),
    SHOP,
    pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu", holidays=["2024-02-04"]),
    pd.offsets.CustomBusinessMonthEnd(holidays=["2024-05-31", "2025-02-28"]),
]


@newest
@pytest.mark.parametrize("freq", [*STATED, *OFFSETS], ids=str)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_stated_frequency_gives_the_labels_that_pandas_gives(freq: Any, zone: str | None) -> None:
    times = days("2024-01-01", periods=33, freq=freq, tz=zone)
    columns = Columns(group=None, freq=freq)
    assert ahead(series(times[:30]), columns) == [
        str(t).removesuffix(" 00:00:00") for t in times[30:]
    ]
    again = Columns.from_dict(json.loads(json.dumps(columns.to_dict())))
    assert again == columns and hash(again) == hash(columns)
    kept = np.r_[0, 2, 5:30]  # missing steps are missing, whatever the frequency
    panel = read_frame(series(times[kept]), columns)
    assert panel.present.tolist() == [i in kept for i in range(30)]


def test_a_frequency_says_what_a_short_history_cannot_show(to: Any) -> None:
    week = to(series(days("2024-01-08", periods=5)))
    stocks = to(series(days("2024-01-01", periods=15, freq="B")))
    assert ahead(stocks, Columns(group=None, freq="B"), week)[0] == "2024-01-15"
    shops = to(series(days("2024-01-01", periods=30, freq=SHOP)))
    assert ahead(shops, Columns(group=None, freq=SHOP)) == [
        "2024-02-05",
        "2024-02-07",
        "2024-02-08",
    ]


@pytest.mark.parametrize(
    ("freq", "same"),
    [
        ("Mon Tue Wed Thu Fri Sat", {"weekmask": "Mon Tue Wed Thu Fri Sat"}),
        ('{"weekmask": "Mon Tue", "holidays": ["2024-01-01"]}', None),
        (pd.Timedelta("15min"), "15min"),
        (np.timedelta64(3, "h"), "3h"),
        (pd.DateOffset(days=2), "2D"),
        (np.int64(4), 4),
    ],
)
def test_frequencies_in_other_words(freq: Any, same: Any) -> None:
    columns = Columns(group=None, freq=freq)
    assert Columns.from_dict(columns.to_dict()) == columns
    if same is not None:
        times = range(0, 120, 4) if same == 4 else days("2024", periods=30, freq=_offset(same))
        other = Columns(group=None, freq=same)
        assert ahead(series(times), columns) == ahead(series(times), other)


def _offset(freq: Any) -> Any:
    return pd.offsets.CustomBusinessDay(**freq) if isinstance(freq, dict) else freq


@newest
@pytest.mark.parametrize(
    ("freq", "message"),
    [
        ("M", r"freq='M' is no frequency \(did you mean 'ME'\?\)"),
        ("often", r"freq='often' is no frequency; give an alias"),
        ("bh", "freq='bh' has no regular steps"),
        ("-1D", "freq='-1D' must go forward"),
        (0, "freq=0 must be a step of at least 1"),
        (True, "freq=True is no frequency"),
        (1.5, r"freq=1\.5 is no frequency"),
        (pd.DateOffset(months=1), "give 'MS', 'ME' or 'YS'"),
        ({"week": 1}, "'weekmask', 'holidays'"),
        ({"weekmask": "Foo"}, "Foo"),
        ("{weekmask}", "is not JSON"),
    ],
)
def test_what_is_no_frequency(freq: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Columns(freq=freq)


OFF = {
    "Saturday": (
        "B",
        [*days("2024-01-01", periods=30, freq="B"), pd.Timestamp("2024-01-13")],
        r"2024-01-13 \(a Saturday\) in column 'ds', which is not on the grid of Columns\(freq='B'",
        "2024-02-12",
    ),
    "Mondays": ("W-SUN", days("2024-01-01", periods=30, freq="W-MON"), "2024-01-01", "2024-07-29"),
    "ends": ("MS", days("2024-01-01", periods=30, freq="ME"), "2024-01-31", "2026-07-31"),
    "quarters": ("QS", days("2024-01-01", periods=30, freq="QS-FEB"), "2024-02-01", "2031-08-01"),
    "ten minutes": (
        "15min",
        days("2024", periods=30, freq="10min"),
        "00:10",
        "2024-01-01 05:00:00",
    ),
    "two": (3, range(0, 60, 2), "the time 2 in column 'ds'.* 3 from 0", "60"),
    "integers": ("D", range(30), "holds integers, which do not step by", "30"),
    "dates": (2, days("2024", periods=30), "holds dates, which do not step by", "2024-01-31"),
    "weekly": ("D", days("2024", periods=30, freq="W-WED"), "so 1 of 7 steps", "2024-07-31"),
    "every day": ("B", days("2024", periods=300), r"2024-01-06 \(a Saturday\)", "2024-10-27"),
}


@pytest.mark.parametrize("case", OFF)
def test_times_off_the_stated_grid(case: str, to: Any) -> None:
    freq, times, message, first = OFF[case]
    frame, columns = to(series(times)), Columns(group=None, freq=freq)
    scope = mended(message, lambda: fit(frame, columns), frame=frame, columns=columns)
    assert ahead(scope["frame"], scope["columns"])[0] == first


@pytest.mark.parametrize(
    ("week", "first"),
    [
        ("Mon Tue Wed Thu Fri Sat", "2024-02-05"),
        ("Sun Mon Tue Wed Thu", "2024-02-12"),
        ("Mon Wed Fri", "2024-03-11"),
        ("Sat Sun", "2024-04-20"),
    ],
)
def test_days_that_never_come_are_closed(week: str, first: str) -> None:
    offset = pd.offsets.CustomBusinessDay(weekmask=week)
    frame = series(days("2024-01-01", periods=30, freq=offset))
    assert ahead(frame)[0] == first
    assert ahead(frame, Columns(group=None, freq=week))[0] == first


def test_two_missing_sundays_are_missing_and_so_are_gaps_at_random() -> None:
    shop = pd.offsets.CustomBusinessDay(weekmask="Mon Tue Wed Thu Fri Sat")
    panel = read_frame(series(days("2024-01-01", periods=16, freq=shop)), PLAIN)
    assert int((~panel.present).sum()) == 2
    rng, found = np.random.default_rng(0), 0
    for _ in range(300):
        kept = rng.random(60) < 0.8
        found += read_frame(series(days("2024", periods=60)[kept]), PLAIN).clock.step[0] != "n"
    assert found == 0


@newest
@pytest.mark.parametrize("freq", ["BME", "BMS", "WOM-3FRI", "LWOM-MON", "BQE-NOV"])
def test_business_months_are_found(freq: str) -> None:
    times = days("2023", periods=15, freq=freq)
    assert ahead(series(times[:12])) == [str(t.date()) for t in times[12:]]
