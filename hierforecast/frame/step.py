"""Regular steps of time: how integers, durations, days of a week and months are counted.

A `Step` counts time from a fixed origin: integers and durations as they are, days of a week (less
holidays) and months by the calendar. Its count of a time is the *ordinal*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from hierforecast.errors import DataError

NANOSECONDS = {
    "D": 86_400_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
DAY = NANOSECONDS["D"]
END_OF_MONTH = 31
WORKDAYS, EVERY_DAY = "1111100", "1111111"
DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# Days are counted from the year 1: numpy counts backwards by another rule.
ORIGIN = np.datetime64("0001-01-01")


@dataclass(frozen=True)
class Step:
    """The regular distance between two steps, free of the data's unit of time.

    Args:
        kind: ``"int"``, ``"ns"`` (a fixed duration), ``"B"`` (days of a week) or ``"M"`` (months).
        size: steps of that kind in one step of the data.
        anchor: for ``"M"`` which day of the month, counted among the days of `week`; 31 is the
            last one.
        wall: whether time zones are counted on the wall's clock (daily data or coarser).
        week: which days there are, a digit from Monday to Sunday; empty for Monday to Friday
            (``"B"``), or every day (``"M"``).
        holidays: days that there are not, counted from 1970-01-01.
        cycle, phase: for ``"M"``, only months with ``month % cycle == phase`` exist.
    """

    kind: str
    size: int
    anchor: int = 0
    wall: bool = False
    week: str = ""
    holidays: tuple[int, ...] = ()
    cycle: int = 1
    phase: int = 0

    def __str__(self) -> str:
        text = f"{self.kind}/{self.size}/{self.anchor}/{int(self.wall)}"
        if self.week or self.holidays or self.cycle > 1:
            days = ",".join(map(str, self.holidays))
            text += f"/{self.week}/{days}/{self.cycle}/{self.phase}"
        return text

    @classmethod
    def parse(cls, text: str) -> Step:
        """Inverse of `str`.

        Raises:
            DataError: if it is not what `Clock.step` gave.
        """
        return _parse(str(text))

    @property
    def days(self) -> np.busdaycalendar:
        """The days that there are, as numpy takes them."""
        return _days(self.week or (WORKDAYS if self.kind == "B" else EVERY_DAY), self.holidays)

    @property
    def length(self) -> int:
        """About how long one step is: nanoseconds, or the integers between two steps."""
        if self.kind == "B":
            return self.size * DAY * (7 // int(self.days.weekmask.sum()))
        return self.size * DAY * 30 if self.kind == "M" else self.size

    def describe(self) -> str:
        """The step in words, for messages."""
        if self.kind == "int":
            return str(self.size)
        if self.kind == "ns":
            return duration(self.size)
        own = bool(self.week or self.holidays)
        names = " ".join(n for n, here in zip(DAY_NAMES, self.days.weekmask, strict=True) if here)
        names += " without holidays" if self.holidays else ""
        if self.kind == "B" and self.week.count("1") == 1:
            return f"{plural(self.size, 'week')} on {names}"
        if self.kind == "B":
            return f"{plural(self.size, 'day' if own else 'business day')}{own * f' of {names}'}"
        if own:
            which = {1: "first", END_OF_MONTH: "last"}.get(self.anchor, f"day {self.anchor}")
            return f"{plural(self.size, 'month')} on the {which} of {names}"
        end = {1: " from the first day", END_OF_MONTH: " at the month's end"}
        return plural(self.size, "month") + end.get(self.anchor, f", day {self.anchor}")

    def ordinals(self, times: np.ndarray, unit: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Count of each time (n,) int64, and its time of day, which a calendar sets aside."""
        if self.kind in ("int", "ns"):
            return times, np.zeros(len(times), dtype=np.int64)
        days, of_day = split_days(times, unit)
        if self.kind == "M":
            return month_of(days), of_day
        return np.busday_count(ORIGIN, days.view("M8[D]"), busdaycal=self.days), of_day

    def valid(self, times: np.ndarray, unit: str | None) -> np.ndarray:
        """Which times (n,) exist in the calendar."""
        if self.kind in ("int", "ns"):
            return np.ones(len(times), dtype=bool)
        days, _ = split_days(times, unit)
        if self.kind == "B":
            return np.is_busday(days.view("M8[D]"), busdaycal=self.days)
        months = month_of(days)
        return (days == self._day_in(months)) & (months % self.cycle == self.phase)

    def times(self, ordinals: np.ndarray, of_day: np.ndarray, unit: str | None) -> np.ndarray:
        """Times (n,) int64 in `unit` of these counts: the inverse of `ordinals`.

        Raises:
            OverflowError: if one is too far away for the unit.
        """
        if self.kind in ("int", "ns"):
            return ordinals
        if self.kind == "M":
            days = self._day_in(ordinals)
        else:
            days = np.busday_offset(ORIGIN, ordinals, roll="forward", busdaycal=self.days)
            days = days.view(np.int64)
        if len(days) and int(np.abs(days).max()) + 1 > (2**63 - 1) // per_day(unit):
            raise OverflowError
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

    def _day_in(self, months: np.ndarray) -> np.ndarray:
        if self.week or self.holidays:
            last = self.anchor == END_OF_MONTH
            first = (months + last).astype("M8[M]").astype("M8[D]")
            nth = -1 if last else self.anchor - 1
            return np.busday_offset(first, nth, roll="forward", busdaycal=self.days).view(np.int64)
        return day_in_month(months, self.anchor)


@lru_cache
def _parse(text: str) -> Step:
    try:
        kind, size, anchor, wall, *more = text.split("/")
        if not more:
            return Step(kind, int(size), int(anchor), bool(int(wall)))
        week, holidays, cycle, phase = more
        days = tuple(int(day) for day in holidays.split(",") if day)
        return Step(
            kind, int(size), int(anchor), bool(int(wall)), week, days, int(cycle), int(phase)
        )
    except ValueError as error:
        raise DataError(f"step={text!r} is not a step: pass panel.clock.step") from error


@lru_cache
def _days(week: str, holidays: tuple[int, ...]) -> np.busdaycalendar:
    return np.busdaycalendar(week, np.array(holidays, dtype=np.int64).view("M8[D]"))


def duration(nanoseconds: int) -> str:
    """A duration as a person would write it: ``7 days``, ``1 hour``, ``0.04 seconds``."""
    for name in ("day", "hour", "minute", "second"):
        number = nanoseconds / pd.Timedelta(1, name).value
        if number == int(number) or name == "second":
            return plural(number, name)
    raise AssertionError("seconds are the last resort")


def plural(number: float, name: str) -> str:
    """``1 day``, ``2 days``."""
    return f"{number:.12g} {name}{'' if number == 1 else 's'}"


def per_day(unit: str | None) -> int:
    """How many `unit` make a day."""
    return DAY // NANOSECONDS[str(unit)]


def split_days(times: np.ndarray, unit: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970-01-01 and the rest of each day, both (n,) int64."""
    days = times // per_day(unit)
    return days, times - days * per_day(unit)


def weekday(days: np.ndarray) -> np.ndarray:
    """0 for Monday .. 6 for Sunday; 1970-01-01 was a Thursday."""
    return (days + 3) % 7


def month_of(days: np.ndarray) -> np.ndarray:
    """Months since 1970-01, (n,) int64."""
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def day_in_month(months: np.ndarray, anchor: int) -> np.ndarray:
    """Days since 1970-01-01 of one day in each month (n,); anchor 31 is the month's last day."""
    end = anchor == END_OF_MONTH
    first = (months + end).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return first - 1 if end else first + (anchor - 1)


def season_of(step: str) -> int | None:
    """Steps of the usual season: a day of hours, a week of days, a year of weeks or months.

    Args:
        step: what `Clock.step` says.

    Returns:
        None where there is none: integers, steps that do not divide a season.
    """
    known = Step.parse(step)
    if known.kind == "int":
        return None
    if known.kind == "M":
        steps = 12 / known.size
    elif known.kind == "B":
        week = known.week.count("1") or 5
        steps = week / known.size if week > 1 else 52 / known.size
    elif known.size < DAY:
        steps = DAY / known.size
    else:
        steps = 7 * DAY / known.size if known.size < 7 * DAY else 52 * 7 * DAY / known.size
    return int(steps) if steps >= 1 and steps == int(steps) else None


def seasons_of(step: str, given: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """Steps of every usual season, or those given: of steps below a day, a day and a week."""
    if given is not None:
        return (given,) if isinstance(given, int) else tuple(given)
    season, known = season_of(step), Step.parse(step)
    if season is None or season < 2:
        return ()
    return (season, 7 * season) if known.kind not in "MB" and known.size < DAY else (season,)
