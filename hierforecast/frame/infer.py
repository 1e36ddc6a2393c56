"""The step of data that does not state it: a calendar if one fits, else the most common gap."""

from __future__ import annotations

from typing import Any

import numpy as np

from hierforecast.frame.codes import rank
from hierforecast.frame.step import (
    END_OF_MONTH,
    NANOSECONDS,
    WORKDAYS,
    Step,
    day_in_month,
    month_of,
    split_days,
    weekday,
)

# Gaps that are all multiples of k are no accident if they have this much against them: where steps
# are missing at random, about one gap in k is a multiple of k.
EVIDENCE = 500
# A day of the week is closed if it never came in so many weeks, while so many of the others did.
CLOSED_WEEKS, OPEN_SHARE = 3, 0.9


def most_common(values: np.ndarray) -> int:
    """The most common of these integers (n,), the smallest of equals."""
    codes, distinct = rank(values)
    return int(distinct[np.bincount(codes).argmax()])


def is_evident(k: Any, fits: Any, total: Any, enough: int = EVIDENCE) -> Any:
    """Whether it is no accident that so many of all gaps are multiples of k."""
    return np.log(k) * (fits - 3 * (total - fits)) >= np.log(enough)


def infer_step(
    scene: np.ndarray, times: np.ndarray, unit: str | None, wall: bool, calendars: bool = True
) -> Step:
    """The step of the data.

    Args:
        scene, times: (n,) distinct pairs, sorted; gaps are taken within scenes.
        unit: unit of the times, None for integers.
        wall: kept in the step.
        calendars: whether it may be one of days or months; durations have none.
    """
    same = scene[1:] == scene[:-1]
    gaps = np.diff(times)[same]
    if unit is None:
        return Step("int", most_common(gaps) if len(gaps) else 1)
    if not len(gaps):
        return Step("ns", NANOSECONDS["D" if calendars else "s"], wall=wall)
    days, of_day = split_days(times, unit)
    if calendars and not np.diff(of_day)[same].any():
        calendar = infer_months(days, same, wall) or _infer_week(days, same, wall)
        if calendar is not None:
            return calendar
    return Step("ns", most_common(gaps) * NANOSECONDS[unit], wall=wall)


def infer_months(days: np.ndarray, same: np.ndarray, wall: bool) -> Step | None:
    """Months, if the days (n,) fit; `same` (n-1,) marks gaps within a scene."""
    gaps = np.diff(days)[same]
    if gaps.min() < 28:
        return None
    months = month_of(days)
    size = most_common(np.diff(months)[same])
    day = days - day_in_month(months, 1)
    forms = [("", END_OF_MONTH), ("", int(day.min()) + 1)]
    if len(gaps) >= 3 and ((gaps != gaps[0]).any() or gaps[0] % 7):
        # The first or last business day, the third Friday: too odd to be seen in two gaps.
        only = "".join("01"[i == int(weekday(days[0]))] for i in range(7))
        forms += [(WORKDAYS, END_OF_MONTH), (WORKDAYS, 1), (only, END_OF_MONTH)]
        forms += [(only, int(day[0]) // 7 + 1)] if day[0] < 28 else []
    for week, anchor in forms:
        step = Step("M", size, anchor, wall, week)
        if not 28 < anchor < END_OF_MONTH and step.valid(days, "D").all():
            return step
    return None


def _infer_week(days: np.ndarray, same: np.ndarray, wall: bool) -> Step | None:
    """Business days, or other days of the week, if the days (n,) fit."""
    gaps = np.diff(days)[same]
    usual = most_common(gaps)
    if usual % 7 == 0 or (gaps == usual).all():
        return None
    here = np.bincount(weekday(days), minlength=7) > 0
    week = "".join("01"[day] for day in here.tolist())
    if week != WORKDAYS and _closed(days, same, here):
        step = Step("B", 1, wall=wall, week=week)
    elif here[5:].any():
        return None
    else:
        step = Step("B", 1, wall=wall)
    counts, _ = step.ordinals(days, "D")
    between = np.diff(counts)[same]
    if (between == gaps).all():
        return None
    return Step("B", most_common(between), wall=wall, week=step.week)


def _closed(days: np.ndarray, same: np.ndarray, here: np.ndarray) -> bool:
    """Whether the days of the week that are not `here` (7,) are closed, rather than missing."""
    if here.all():
        return False
    edge = np.flatnonzero(~same)
    first, last = days[np.r_[0, edge + 1]], days[np.r_[edge, len(days) - 1]]
    # How often each day of the week came between the first and the last day of a scene.
    shift = 3 - np.arange(7)[:, None]
    came = ((last + shift) // 7 - (first - 1 + shift) // 7).sum(1)
    return bool((came[~here] >= CLOSED_WEEKS).all() and len(days) >= OPEN_SHARE * came[here].sum())
