"""Public holidays of a country, counted in steps of time, by the library `holidays`."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np

from hierforecast.errors import DataError, import_extra
from hierforecast.frame.step import DAY, Step, day_in_month, month_of, weekday

# A holiday has a column of its own if so many steps of the training frame hold it.
SEEN = 2
OBSERVED = " (observed)"


def spans_of(step: Step, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First day of each step and the day after its last, both (m,).

    A week ends on the day that names it, as in pandas, unless that is a Monday: then it begins.
    Months that are named by a day of their first half begin with it, others end.

    Args:
        step: of the frame.
        days: (m,) the days that name the steps.
    """
    if step.kind == "M":
        month = month_of(days) - (step.size - 1 if step.anchor > 15 else 0)
        return day_in_month(month, 1), day_in_month(month + step.size, 1)
    length = max(step.length // DAY, 1)
    if length % 7:
        return days, days + length
    first = np.where(weekday(days) == 0, days, days - length + 1)
    return first, first + length


def learn_holidays(country: str, first: np.ndarray, after: np.ndarray) -> list[str]:
    """Names of a country's features: ``"US"`` for all together, ``"US: Labor Day"`` for one.

    Args:
        country: code of ISO 3166, with a subdivision if need be: ``"US"``, ``"DE-BY"``.
        first, after: (m,) days that the training frame spans.

    Raises:
        DataError: if the library knows no such country.
    """
    start, stop = int(first.min()), int(after.max())
    seen = Counter(name for day, name in _holidays(country, start, stop) if start <= day < stop)
    return [country, *(f"{country}: {name}" for name, n in sorted(seen.items()) if n >= SEEN)]


def count_holidays(feature: str, first: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How many days of a feature's holidays lie in each span of days (m,)."""
    if not len(first):
        return np.zeros(0)
    country, _, name = feature.partition(": ")
    every = _holidays(country, int(first.min()), int(after.max()))
    days = np.unique([day for day, each in every if name in ("", each)]).astype(np.int64)
    return np.searchsorted(days, after) - np.searchsorted(days, first).astype(np.float64)


def _holidays(country: str, start: int, stop: int) -> list[tuple[int, str]]:
    """Days and names of all holidays of the years of some days."""
    years = np.array([start, stop - 1]).astype("M8[D]").astype("M8[Y]").astype(int) + 1970
    return [each for year in range(years[0], years[1] + 1) for each in _in_year(country, year)]


@lru_cache(maxsize=10_000)
def _in_year(country: str, year: int) -> tuple[tuple[int, str], ...]:
    """A day on which a holiday is observed counts as the holiday itself does."""
    library = import_extra("holidays", "calendar", f"for holidays={country!r}")
    code, _, part = country.partition("-")
    try:
        found = library.country_holidays(code, subdiv=part or None, years=year)
    except NotImplementedError as error:
        raise DataError(
            f"holidays={country!r} is no country that the library 'holidays' knows, or no "
            "subdivision of it: give a code of ISO 3166, such as 'US', 'DE-BY' or 'JP'"
        ) from error
    return tuple(
        (int(np.datetime64(day, "D").astype(np.int64)), name.removesuffix(OBSERVED))
        for day, names in sorted(found.items())
        for name in names.split("; ")
    )
