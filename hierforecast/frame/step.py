"""Regular steps of time: how integers, durations, business days and months are counted.

A `Step` counts time from 1970-01-01 (or from 0): integers and fixed durations as they are, business
days and months by the calendar. Its count of a time is the *ordinal*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame.table import rank

NANOSECONDS = {
    "D": 86_400_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
END_OF_MONTH = 31


@dataclass(frozen=True)
class Step:
    """The regular distance between two steps, free of the data's unit of time.

    Args:
        kind: ``"int"``, ``"ns"`` (a fixed duration), ``"B"`` (business days) or ``"M"`` (months).
        size: steps of that kind in one step of the data.
        anchor: day of the month for ``"M"``; 31 is the month's end.
        wall: whether time zones are counted on the wall's clock (daily data or coarser).
    """

    kind: str
    size: int
    anchor: int = 0
    wall: bool = False

    names: ClassVar[dict[str, str]] = {"int": "", "B": " business day(s)", "M": " month(s)"}

    def __str__(self) -> str:
        return f"{self.kind}/{self.size}/{self.anchor}/{int(self.wall)}"

    @classmethod
    def parse(cls, text: str) -> Step:
        """Inverse of `str`.

        Raises:
            DataError: if it is not what `Clock.step` gave.
        """
        try:
            kind, size, anchor, wall = str(text).split("/")
            return cls(kind, int(size), int(anchor), bool(int(wall)))
        except ValueError as error:
            raise DataError(f"step={text!r} is not a step: pass panel.clock.step") from error

    def describe(self) -> str:
        """The step in words, for messages."""
        if self.kind == "ns":
            return str(pd.Timedelta(self.size, "ns"))
        end = {0: "", 1: " from the first day", END_OF_MONTH: " at the month's end"}
        return f"{self.size}{self.names[self.kind]}{end.get(self.anchor, f', day {self.anchor}')}"

    def ordinals(self, times: np.ndarray, unit: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Count of each time (n,) int64, and its time of day, which a calendar sets aside."""
        if self.kind in ("int", "ns"):
            return times, np.zeros(len(times), dtype=np.int64)
        days, of_day = split_days(times, unit)
        return (business_days(days) if self.kind == "B" else month_of(days)), of_day

    def valid(self, times: np.ndarray, unit: str | None) -> np.ndarray:
        """Which times (n,) exist in the calendar: weekdays, or the anchored day of the month."""
        if self.kind in ("int", "ns"):
            return np.ones(len(times), dtype=bool)
        days, _ = split_days(times, unit)
        if self.kind == "B":
            return weekday(days) < 5
        return days == day_in_month(month_of(days), self.anchor)

    def times(self, ordinals: np.ndarray, of_day: np.ndarray, unit: str | None) -> np.ndarray:
        """Times (n,) int64 in `unit` of these counts: the inverse of `ordinals`."""
        if self.kind in ("int", "ns"):
            return ordinals
        if self.kind == "B":
            days = ordinals // 5 * 7 + ordinals % 5 - 3
        else:
            days = day_in_month(ordinals, self.anchor)
        return days * per_day(unit) + of_day

    def stride(self, unit: str | None) -> int:
        """Ordinals from one step to the next, for times in `unit`.

        Raises:
            DataError: if the times cannot hold this step: of another kind, or too coarse.
        """
        if (self.kind == "int") != (unit is None):
            fitted, here = ("integers", "dates") if self.kind == "int" else ("dates", "integers")
            raise DataError(
                f"the time column holds {here}, but the step {self.describe()} was found on "
                f"{fitted}: give times of the same kind as in training"
            )
        if self.kind != "ns":
            return self.size
        size, rest = divmod(self.size, NANOSECONDS[str(unit)])
        if rest:
            raise DataError(
                f"the time column's unit {unit!r} cannot hold a step of {self.describe()}: give "
                "datetimes of the same resolution as in training"
            )
        return size


def per_day(unit: str | None) -> int:
    """How many `unit` make a day."""
    return NANOSECONDS["D"] // NANOSECONDS[str(unit)]


def split_days(times: np.ndarray, unit: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970-01-01 and the rest of each day, both (n,) int64."""
    days = times // per_day(unit)
    return days, times - days * per_day(unit)


def weekday(days: np.ndarray) -> np.ndarray:
    """0 for Monday .. 6 for Sunday; 1970-01-01 was a Thursday."""
    return (days + 3) % 7


def business_days(days: np.ndarray) -> np.ndarray:
    """Count of business days (n,) int64; right for weekdays only."""
    return (days + 3) // 7 * 5 + weekday(days)


def month_of(days: np.ndarray) -> np.ndarray:
    """Months since 1970-01, (n,) int64."""
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def day_in_month(months: np.ndarray, anchor: int) -> np.ndarray:
    """Days since 1970-01-01 of one day in each month (n,); anchor 31 is the month's last day."""
    end = anchor == END_OF_MONTH
    first = (months + end).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return first - 1 if end else first + (anchor - 1)


def most_common(gaps: np.ndarray) -> int:
    """The most common of these integers (n,), the smallest of equals."""
    codes, distinct = rank(gaps)
    return int(distinct[np.bincount(codes).argmax()])


def infer_step(scene: np.ndarray, times: np.ndarray, unit: str | None, wall: bool) -> Step:
    """The step of the data: a calendar if one fits, otherwise the most common gap.

    Args:
        scene, times: (n,) distinct pairs, sorted; gaps are taken within scenes.
        unit: unit of the times, None for integers.
        wall: kept in the step.
    """
    same = scene[1:] == scene[:-1]
    gaps = np.diff(times)[same]
    if unit is None:
        return Step("int", most_common(gaps) if len(gaps) else 1)
    if not len(gaps):
        return Step("ns", NANOSECONDS["D"], wall=wall)
    days, of_day = split_days(times, unit)
    if not np.diff(of_day)[same].any():
        calendar = _infer_calendar(days, same, wall)
        if calendar is not None:
            return calendar
    return Step("ns", most_common(gaps) * NANOSECONDS[unit], wall=wall)


def _infer_calendar(days: np.ndarray, same: np.ndarray, wall: bool) -> Step | None:
    """Months or business days, if the days (n,) fit; `same` (n-1,) marks gaps within a scene."""
    gaps = np.diff(days)[same]
    if gaps.min() >= 28:
        months = month_of(days)
        for anchor in (END_OF_MONTH, int((days - day_in_month(months, 1)).min()) + 1):
            if (anchor <= 28 or anchor == END_OF_MONTH) and (
                days == day_in_month(months, anchor)
            ).all():
                return Step("M", most_common(np.diff(months)[same]), anchor, wall)
    if (weekday(days) < 5).all() and most_common(gaps) % 7:
        business = np.diff(business_days(days))[same]
        if (business != gaps).any():
            return Step("B", most_common(business), wall=wall)
    return None


def season_of(step: str) -> int | None:
    """Steps of the usual season: a day of hours, a week of days, a year of weeks or months.

    Args:
        step: what `Clock.step` says.

    Returns:
        None where there is none: integers, steps that do not divide a season.
    """
    known = Step.parse(step)
    day = NANOSECONDS["D"]
    if known.kind == "int":
        return None
    if known.kind == "M":
        steps = 12 / known.size
    elif known.kind == "B":
        week = getattr(known, "week", "").count("1") or 5
        steps = week / known.size if week > 1 else 52 / known.size
    elif known.size < day:
        steps = day / known.size
    else:
        steps = 7 * day / known.size if known.size < 7 * day else 52 * 7 * day / known.size
    return int(steps) if steps >= 1 and steps == int(steps) else None
