"""What the calendar says of times, a second time; and the holidays of an invented country."""

from __future__ import annotations

import sys
from datetime import date
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest


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
