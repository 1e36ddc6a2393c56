"""Stated frequencies: pandas' aliases and offsets, integers, weekmasks, as a `Step` and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from hierforecast.errors import DataError
from hierforecast.frame.step import DAY, DAY_NAMES, END_OF_MONTH, WORKDAYS, Step

# For pandas' offsets of months: months between two, and which day of the month, of which days.
MONTHLY = {
    "MonthBegin": (1, 1, ""),
    "MonthEnd": (1, END_OF_MONTH, ""),
    "QuarterBegin": (3, 1, ""),
    "QuarterEnd": (3, END_OF_MONTH, ""),
    "YearBegin": (12, 1, ""),
    "YearEnd": (12, END_OF_MONTH, ""),
    "BusinessMonthBegin": (1, 1, WORKDAYS),
    "BusinessMonthEnd": (1, END_OF_MONTH, WORKDAYS),
    "BQuarterBegin": (3, 1, WORKDAYS),
    "BQuarterEnd": (3, END_OF_MONTH, WORKDAYS),
    "BYearBegin": (12, 1, WORKDAYS),
    "BYearEnd": (12, END_OF_MONTH, WORKDAYS),
    "CustomBusinessMonthBegin": (1, 1, WORKDAYS),
    "CustomBusinessMonthEnd": (1, END_OF_MONTH, WORKDAYS),
}
# Aliases of polars that mean the same in pandas, and what others stand for.
POLARS = {"d": "D", "w": "W", "b": "B", "m": "min"}
MEANT = {"A": "YE", "mo": "MS", "q": "QS", "y": "YS", "me": "ME", "M": "ME", "Q": "QE", "Y": "YE"}
KINDS = (
    "an alias such as 'D', 'B', 'W-SUN', 'MS', 'ME', 'QS', 'YE', 'h' or '15min', days such as "
    "'Mon Tue Wed Thu Fri Sat', an offset of pandas, or an integer for integer times"
)


def plain_freq(freq: Any) -> Any:
    """A stated frequency as `Columns` keeps it: an integer, a text, or pandas' custom days.

    Args:
        freq: an alias or an offset of pandas, days of the week (``"Sun Mon Tue Wed Thu"``), a
            duration, an integer, or what `freq_to_json` gave, also as text.

    Raises:
        DataError: if it is none of them.
    """
    plain: Any
    if freq is None:
        return None
    if isinstance(freq, int | np.integer) and not isinstance(freq, bool | np.timedelta64):
        plain = int(freq)
    elif isinstance(freq, str) and freq.lstrip().startswith("{"):
        plain = plain_freq(_json(freq))
    elif isinstance(freq, str):
        plain = freq
    elif isinstance(freq, Mapping):
        plain = _custom(freq)
    else:
        plain = _plain_offset(freq)
    step_of(plain)  # raises if it is no frequency
    return plain


def freq_to_json(freq: Any) -> Any:
    """What `plain_freq` gave, as a value of JSON."""
    days = getattr(freq, "calendar", None)
    if days is None:
        return freq
    return {
        "freq": freq.freqstr,
        "weekmask": " ".join(n for n, here in zip(DAY_NAMES, days.weekmask, strict=True) if here),
        "holidays": [str(day) for day in days.holidays],
    }


def step_of(freq: Any) -> Step:
    """The step that a frequency states.

    Args:
        freq: what `plain_freq` gave.

    Raises:
        DataError: if it is no frequency, or none that regular steps have.
    """
    if isinstance(freq, int):
        if freq < 1:
            raise DataError(f"freq={freq} must be a step of at least 1")
        return Step("int", freq)
    offset = freq
    if isinstance(freq, str):
        week = _week(freq)
        if week:
            return Step("B", 1, wall=True, week=week)
        offset = _offset(freq)
    if offset.n < 1:
        raise DataError(f"freq={freq!r} must go forward: give {KINDS}")
    step = _offset_step(offset)
    if step is None:
        raise DataError(
            f"freq={freq!r} has no regular steps that can be counted: give {KINDS}; or number the "
            "steps and forecast those"
        )
    return step


def _offset(text: str) -> Any:
    """Pandas' offset of an alias; days, weeks and minutes may be written as polars does."""
    number, name = re.fullmatch(r"(\d*)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        return to_offset(number + POLARS.get(name, name))
    except ValueError as error:
        close = re.search(r"(?:mean|use) '?(\w+)'?", str(error))
        meant = MEANT.get(name) or (close[1] if close else None)
        hint = f" (did you mean {number + meant!r}?)" if meant else ""
        raise DataError(f"freq={text!r} is no frequency{hint}; give {KINDS}") from error


def alias(step: Step, month: int = 0) -> Any:
    """The shortest frequency that states a step found in the data, or None.

    Args:
        step: a step that `infer_step` gives.
        month: any month of the data, from 1970-01, for steps of quarters and years.
    """
    if step.kind == "int":
        return step.size
    if step.kind == "ns":
        return _text(pd.Timedelta(step.size, "ns"))
    if step.kind == "B":
        if step.week and step.size == 1:
            return _names(step.week)
        return None if step.week else _times(step.size, "B")
    if step.week not in ("", WORKDAYS):
        day = DAY_NAMES[step.week.index("1")].upper()
        if step.anchor == END_OF_MONTH:
            return _times(step.size, f"LWOM-{day}")
        return _times(step.size, f"WOM-{step.anchor}{day}")
    if step.anchor not in (1, END_OF_MONTH):
        return None
    business, end = "B" if step.week else "", "S" if step.anchor == 1 else "E"
    name = pd.Timestamp(2000, month % 12 + 1, 1).strftime("%b").upper()
    if step.size % 12 == 0:
        return _times(step.size // 12, f"{business}Y{end}-{name}")
    if step.size % 3 == 0:
        return _times(step.size // 3, f"{business}Q{end}-{name}")
    return _times(step.size, f"{business}M{end}")


def period_step(freq: Any) -> Step:
    """The step between the starts of pandas' periods of a frequency."""
    step = step_of(to_offset(freq))
    if step.kind == "B" and step.week:  # weeks
        return Step("ns", step.size * 7 * DAY, wall=True)
    return Step("M", step.size, 1, wall=True) if step.kind == "M" else step


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"freq={text!r} is not JSON ({error}): give {KINDS}") from error


def _custom(given: Mapping[str, Any]) -> Any:
    """Pandas' offset of days of one's own."""
    extra = set(given) - {"freq", "weekmask", "holidays"}
    try:
        offset = to_offset(given.get("freq", "C"))
        if extra or getattr(offset, "calendar", None) is None:
            raise ValueError("it may hold 'weekmask', 'holidays', and 'freq' of C, CBMS or CBME")
        week = given.get("weekmask", _names(WORKDAYS))
        return type(offset)(offset.n, weekmask=week, holidays=list(given.get("holidays", ())))
    except (ValueError, TypeError) as error:
        raise DataError(f"freq={dict(given)!r} is not understood ({error})") from error


def _plain_offset(freq: Any) -> Any:
    if isinstance(freq, timedelta | np.timedelta64):
        return _text(pd.Timedelta(freq))
    if type(freq) is pd.DateOffset and freq.kwds:
        try:
            return _text(pd.Timedelta(**freq.kwds) * freq.n)
        except ValueError as error:
            raise DataError(f"freq={freq!r} has no fixed day: give 'MS', 'ME' or 'YS'") from error
    if not isinstance(freq, pd.offsets.BaseOffset):
        raise DataError(f"freq={freq!r} is no frequency: give {KINDS}")
    own = freq_to_json(freq)
    return _custom(own) if isinstance(own, dict) else freq.freqstr


def _text(duration: pd.Timedelta) -> str:
    days, rest = divmod(duration.value, DAY)
    return str(to_offset(duration).freqstr) if rest else _times(days, "D")


def _times(n: int, name: str) -> str:
    return name if n == 1 else f"{n}{name}"


def _names(week: str) -> str:
    return " ".join(name for name, here in zip(DAY_NAMES, week, strict=True) if here == "1")


def _week(text: str) -> str:
    """The weekmask of ``"Mon Tue"`` or ``"1100000"``, else an empty text."""
    if len(text) == 7 and set(text) <= {"0", "1"} and "1" in text:
        return text
    words = text.replace(",", " ").title().split()
    if not words or not set(words) <= set(DAY_NAMES):
        return ""
    return "".join("01"[name in words] for name in DAY_NAMES)


def _offset_step(offset: Any) -> Step | None:
    kind, n = type(offset).__name__, int(offset.n)
    if isinstance(offset, pd.offsets.Tick):
        size = pd.Timedelta(offset).value
        return Step("ns", size, wall=size % DAY == 0)
    if kind == "Day":
        return Step("ns", n * DAY, wall=True)
    week, holidays = _own_days(offset)
    if kind == "Week":
        if offset.weekday is None:
            return Step("ns", 7 * n * DAY, wall=True)
        return Step("B", n, wall=True, week=_only(offset.weekday))
    if kind in ("BusinessDay", "CustomBusinessDay"):
        return Step("B", n, wall=True, week=week, holidays=holidays)
    if kind in ("WeekOfMonth", "LastWeekOfMonth"):
        anchor = END_OF_MONTH if kind.startswith("Last") else offset.week + 1
        return Step("M", n, anchor, wall=True, week=_only(offset.weekday))
    if kind not in MONTHLY:
        return None
    months, anchor, usual = MONTHLY[kind]
    first = getattr(offset, "startingMonth", None) or getattr(offset, "month", None) or 1
    phase = (first - 1) % months
    return Step("M", n * months, anchor, True, week or usual, holidays, months, phase)


def _only(day: int) -> str:
    return "0" * day + "1" + "0" * (6 - day)


def _own_days(offset: Any) -> tuple[str, tuple[int, ...]]:
    """Weekmask, empty for Monday to Friday, and holidays of pandas' custom offsets."""
    days = getattr(offset, "calendar", None)
    if days is None:
        return "", ()
    week = "".join("01"[bool(here)] for here in days.weekmask)
    holidays = tuple(int(day) for day in days.holidays.astype("M8[D]").view(np.int64))
    return ("" if week == WORKDAYS else week), holidays
