"""What the clock says of each step: hour, weekday, time of the month and of the year, holidays.

Such features are known of every step ahead without being told. They are read off the clock on the
wall of the frame's time zone; integer times and durations have none. Cycles are given as sines and
cosines: a few columns that a regression of little data can use as well as a network, without a jump
from the last hour of the day to the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame.clock import Clock
from hierforecast.frame.columns import Columns, is_country
from hierforecast.frame.public_holidays import count_holidays, learn_holidays, spans_of
from hierforecast.frame.step import DAY, Step, day_in_month, month_of, weekday

# A cycle that the history shows less often than this, about, is no cycle yet, but a trend.
SEEN = 1.98
HOLIDAY = "holiday "


@dataclass(frozen=True)
class Cycle:
    """Something that comes again.

    Args:
        days: its length.
        position: days since 1970 and the share of each that has gone, both (m,) -> [0, 1).
        waves: sines and cosines of the position that are features: ``"sin 1"`` turns once.
    """

    days: float
    position: Callable[[np.ndarray, np.ndarray], np.ndarray]
    waves: tuple[str, ...] = ("sin 1", "cos 1", "sin 2", "cos 2", "sin 3", "cos 3")

    def features(self, days: np.ndarray, share: np.ndarray, waves: Sequence[str]) -> np.ndarray:
        """Some of the waves: (m, len(waves))."""
        turn, out = 2 * np.pi * self.position(days, share), np.empty((len(days), len(waves)))
        for column, wave in enumerate(waves):
            kind, number = wave.split(" ")
            out[:, column] = {"sin": np.sin, "cos": np.cos}[kind](int(number) * turn)
        return out


def _of_month(days: np.ndarray, share: np.ndarray) -> np.ndarray:
    month = month_of(days)
    first, after = day_in_month(month, 1), day_in_month(month + 1, 1)
    return (days - first) / (after - first)


def _of_year(days: np.ndarray, share: np.ndarray) -> np.ndarray:
    january = month_of(days) // 12 * 12
    first, after = day_in_month(january, 1), day_in_month(january + 12, 1)
    return (days - first + share) / (after - first)


YEAR = 365.25
_CYCLES = {
    "hour": Cycle(1, lambda days, share: share),
    # Of seven days three waves are all there is: as good as a column for each weekday.
    "weekday": Cycle(7, lambda days, share: weekday(days) / 7),
    "day": Cycle(YEAR / 12, _of_month, ("sin 1", "cos 1", "sin 2", "cos 2")),
    "week": Cycle(YEAR, _of_year),
    "month": Cycle(YEAR, lambda days, share: month_of(days) % 12 / 12),
    # Of four quarters this is all.
    "quarter": Cycle(
        YEAR, lambda days, share: month_of(days) % 12 // 3 / 4, ("sin 1", "cos 1", "cos 2")
    ),
}


def learn_calendar(columns: Columns, clock: Clock, end: np.ndarray) -> tuple[str, ...]:
    """Names of the features that suit a training frame.

    Cycles are those that the user names, or ``"auto"``: those shorter than a step are left out, and
    those that the frame does not show twice from its first time to its last.

    Args:
        columns: of the frame.
        clock: of the frame.
        end: (S,) the first so many steps of each scene are looked at.

    Raises:
        DataError: for a calendar that is asked for where times are no dates, a country that has
            no known holidays.
        MissingExtraError: for holidays without the extra `calendar`.
    """
    if clock.unit is None or clock.duration:
        if columns.states_calendar:
            raise DataError(
                f"column {columns.time!r} holds {'durations' if clock.unit else 'integers'}, which "
                "have no calendar: give dates, or leave out calendar=... and holidays=..."
            )
        return ()
    scene = np.flatnonzero(end > 0)
    if not len(scene):
        return ()
    step = Step.parse(clock.step)
    ends = np.array([[0] * len(scene), end[scene] - 1]).reshape(-1)
    days, share = clock.wall(np.tile(scene, 2), ends)
    span = np.ptp(days + share) + step.length / DAY
    names: Sequence[Any] = columns.calendar or ()
    if columns.calendar == "auto":
        names = [name for name in usual_cycles(step) if span >= SEEN * _CYCLES[name].days]
    found = [f"{name} {wave}" for name in names for wave in _CYCLES[name].waves]
    spans = spans_of(step, np.arange(days.min(), days.max() + 1))
    for country in columns.holidays:
        found += [HOLIDAY + name for name in learn_holidays(country, *spans)]
    return tuple(found)


def usual_cycles(step: Step) -> tuple[str, ...]:
    """The cycles that steps of a length can show."""
    if step.kind == "M":
        if step.size % 12 == 0:
            return ()
        return ("month",) if step.size % 3 else ("quarter",)
    days = step.length / DAY
    if days < 1:
        return ("hour", "weekday", "week")
    if days < 7:
        return ("weekday", "day", "week")
    return ("week",) if days < YEAR / 2 else ()


def check_calendar(names: Sequence[str]) -> None:
    """Refuse names of features that no version has given.

    Raises:
        ValueError: naming the first.
    """
    for name in names:
        word, _, rest = name.partition(" ")
        known = word in _CYCLES and rest in _CYCLES[word].waves
        if not known and not (word == HOLIDAY.strip() and is_country(rest.partition(": ")[0])):
            raise ValueError(f"{name!r} is no feature of the calendar")


class Calendar:
    """Features of the steps of scenes.

    Args:
        clock: of the scenes; of dates.
        names: what `learn_calendar` gave.
    """

    def __init__(self, clock: Clock, names: Sequence[str]) -> None:
        self.clock, self.names = clock, tuple(names)

    def at(self, scene: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Features (W, t, C) float64 of steps (W, t) in scenes (W,); before a scene's first, too.

        Holidays are counted in the step, see `spans_of`.
        """
        # Windows overlap: every step once.
        first = int(steps.min(initial=0))
        span = int(steps.max(initial=0)) - first + 1
        distinct, place = np.unique(scene[:, None] * span + steps - first, return_inverse=True)
        return self._features(distinct // span, distinct % span + first)[place.reshape(steps.shape)]

    def _features(self, scene: np.ndarray, steps: np.ndarray) -> np.ndarray:
        days, share = self.clock.wall(scene, steps)
        out = np.empty((len(days), len(self.names)))
        for name, cycle in _CYCLES.items():
            waves = {n: i for i, n in enumerate(self.names) if n.startswith(f"{name} ")}
            chosen = [n.partition(" ")[2] for n in waves]
            out[:, [*waves.values()]] = cycle.features(days, share, chosen)
        spans = spans_of(Step.parse(self.clock.step), days)
        for column, name in enumerate(self.names):
            if name.startswith(HOLIDAY):
                out[:, column] = count_holidays(name.removeprefix(HOLIDAY), *spans)
        return out
