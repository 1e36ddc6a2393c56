"""The clock that gives every step of every scene its time, and the times of a frame on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame.codes import pair, rank
from hierforecast.frame.infer import infer_step, is_evident, most_common
from hierforecast.frame.labels import Rows
from hierforecast.frame.step import NANOSECONDS, Step, per_day, split_days
from hierforecast.frame.table import Table
from hierforecast.frame.times import LARGEST, Times, from_wall, local

# A series of so many rows shows its step.
ROWS = 4


@dataclass(frozen=True)
class Clock:
    """The time label of every step of every scene.

    Args:
        step: opaque text, the same for all scenes; give it to `read_frame(step=)`.
        unit: unit of datetimes and durations, None for integers.
        zone: time zone, or None.
        start: (S,) int64 ordinal of each scene's step 0.
        of_day: (S,) int64 time of day in `unit` that a calendar sets aside.
        duration: whether times are durations rather than dates.
        column: the time column, for messages.
    """

    step: str
    unit: str | None
    zone: Any
    start: np.ndarray
    of_day: np.ndarray
    duration: bool = False
    column: str = "ds"

    def times(self, scene: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Labels (m,): int64, datetime64 (UTC where the frame has a time zone) or timedelta64.

        Labels that the unit cannot hold come in a coarser one.

        Raises:
            DataError: if no unit can hold them.
        """
        step = Step.parse(self.step)
        scene, steps = np.asarray(scene, dtype=np.int64), np.asarray(steps, dtype=np.int64)
        try:
            ordinals = _advance(self.start[scene], steps, step.stride(self.unit))
            times = step.times(ordinals, self.of_day[scene], self.unit)
        except OverflowError:
            return self._coarser().times(scene, steps)
        if self.unit is None:
            return times
        if step.wall and self.zone is not None:
            times = from_wall(times, self.unit, self.zone)
        return times.view(f"{'m' if self.duration else 'M'}8[{self.unit}]")

    def wall(self, scene: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Days since 1970 (m,) int64 on the clock on the wall, and the share of each that has gone.

        Of dates only.
        """
        step = Step.parse(self.step)
        try:
            ordinals = _advance(self.start[scene], steps, step.stride(self.unit))
            times = step.times(ordinals, self.of_day[scene], self.unit)
        except OverflowError:
            return self._coarser().wall(scene, steps)
        if self.zone is not None and not step.wall:
            times = local(times, str(self.unit), self.zone)
        days, of_day = split_days(times, self.unit)
        return days, of_day / per_day(self.unit)

    def steps(self, scene: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Step number of each time (m,) int64 within its scene, and whether it is on the grid."""
        step = Step.parse(self.step)
        ordinals, of_day = step.ordinals(times, self.unit)
        away = ordinals - self.start[scene]
        number = away // step.stride(self.unit)
        on_grid = number * step.stride(self.unit) == away
        on_grid &= of_day == self.of_day[scene]
        return number, on_grid & step.valid(times, self.unit)

    def counted(self, times: Times, what: str) -> tuple[np.ndarray, np.ndarray]:
        """Times (n,) of another frame as `steps` takes them, and which of them it can hold.

        Args:
            times: of the other frame; they may count another unit.
            what: how messages call it.

        Raises:
            DataError: if one holds integers, durations or no time zone and the other does not.
        """
        kind = (self.unit is None, self.zone is None, self.duration)
        if (times.unit is None, times.zone is None, times.duration) != kind:
            raise DataError(
                f"the times of {what} are of another kind than those of the frame (integers, "
                "durations, datetimes, or datetimes with a time zone): give both the same"
            )
        held = np.ones(len(times.values), dtype=bool)
        if self.unit is not None:
            given = times.values.view(f"M8[{times.unit}]")
            values = given.astype(f"M8[{self.unit}]")
            held = values.astype(given.dtype) == given
            times = Times(values.view(np.int64), self.unit, self.zone, self.duration)
        return times.on(Step.parse(self.step)), held

    def _coarser(self) -> Clock:
        """The same clock in the next coarser unit of the library's."""
        step = Step.parse(self.step)
        fits = self.unit == "ns" and not (self.of_day % 1000).any()
        if step.kind == "ns":
            fits = fits and not step.size % NANOSECONDS["us"] and not (self.start % 1000).any()
        if not fits:
            what = "64-bit integers" if self.unit is None else f"the unit {self.unit!r}"
            raise DataError(
                f"the times that follow those of column {self.column!r} go beyond {what}"
            )
        start = self.start // 1000 if step.kind == "ns" else self.start
        return replace(self, unit="us", start=start, of_day=self.of_day // 1000)


def _advance(start: np.ndarray, steps: np.ndarray, stride: int) -> np.ndarray:
    """``start + steps * stride``.

    Raises:
        OverflowError: if 64 bits cannot hold it.
    """
    farthest = int(np.abs(steps).max(initial=0)) * stride
    if farthest <= LARGEST:
        away = steps * stride
        out = start + away
        if not ((out < start) != (away < 0)).any():
            return out
    raise OverflowError


def _span(times: Times) -> int:
    """From the first to the last, in Python's own integers."""
    return int(times.values.max()) - int(times.values.min())


@dataclass(frozen=True)
class Placed:
    """Moments on a grid: the clock, the step of each and whether it is on the grid, both (m,)."""

    clock: Clock
    steps: np.ndarray
    on_grid: np.ndarray


@dataclass(frozen=True)
class Moments:
    """The distinct (scene, time) pairs of a frame, sorted.

    Args:
        table: the frame, of n rows.
        row: (n,) panel row of each row of the frame; -1 for rows that do not count.
        times: the distinct times (k,), sorted.
        scene, time: (m,) scene and index into `times` of each moment.
        of_row: (n,) moment of each row of the frame.
    """

    table: Table
    row: np.ndarray
    times: Times
    scene: np.ndarray
    time: np.ndarray
    of_row: np.ndarray

    @classmethod
    def read(cls, rows: Rows) -> Moments:
        """Read the time column.

        Raises:
            DataError: if it holds no times, or its span is beyond 64 bits.
        """
        name = rows.table.columns.time
        times = Times.read(rows.table, name)
        if _span(times) >= 2**63:  # three centuries of nanoseconds
            times = times.coarser() or times
        codes, distinct = rank(times.values)
        if _span(times) >= 2**63:
            raise DataError(
                f"column {name!r} spans more than 2**63: use smaller integers, or a coarser unit "
                "of datetimes"
            )
        of_row, moments = pair(rows.scene, codes, len(distinct))
        scene, time = np.divmod(moments, len(distinct))
        return cls(rows.table, rows.of_row, replace(times, values=distinct), scene, time, of_row)

    @property
    def column(self) -> str:
        """The time column."""
        return self.table.columns.time

    @cached_property
    def first(self) -> np.ndarray:
        """The first moment (S,) of each scene."""
        return np.flatnonzero(np.diff(self.scene, prepend=-1))

    @cached_property
    def same(self) -> np.ndarray:
        """Whether moment i + 1 is of the scene of moment i, (m - 1,)."""
        return self.scene[1:] == self.scene[:-1]

    def of_series(self, row: int) -> Moments:
        """The moments of one panel row alone."""
        kept = np.flatnonzero(self.row == row)
        at, of_row = np.unique(self.of_row[kept], return_inverse=True)
        scene = np.zeros_like(at)
        return replace(self, row=self.row[kept], scene=scene, time=self.time[at], of_row=of_row)

    def place(self, step: Step) -> Placed:
        """The moments on the grid of a step that begins at the first of each scene.

        Raises:
            DataError: if the times are of another kind than the step.
        """
        times = self.times
        step.stride(times.unit)  # raises for times of another kind
        counted = times.on(step)[self.time]
        start, of_day = step.ordinals(counted[self.first], times.unit)
        parts = (str(step), times.unit, times.zone, start, of_day, times.duration, self.column)
        clock = Clock(*parts)
        return Placed(clock, *clock.steps(self.scene, counted))

    def infer(self) -> Step:
        """The step that the moments have."""
        times, stated = self.times, self.times.stated
        if stated is not None:  # of periods, which may still come in every third one only
            return replace(stated, size=stated.size * self.usual_stride(self.place(stated)))
        daily = times.is_daily()
        counted = (times.wall if daily else times.values)[self.time]
        return infer_step(self.scene, counted, times.unit, daily, calendars=not times.duration)

    def own_step(self, row: int) -> Step:
        """The step that the times of one panel row have."""
        return self.times.stated or self.of_series(row).infer()

    def usual_stride(self, placed: Placed) -> int:
        """How many steps the times go at once: 1 unless more is evident."""
        gaps = np.diff(placed.steps)[self.same]
        if len(gaps) < 2:
            return 1
        usual = most_common(gaps)
        fits = int((gaps % usual == 0).sum())
        evident = usual > 1 and is_evident(usual, fits, len(gaps))
        return usual if evident and not self._some_series_fills(placed) else 1

    def _some_series_fills(self, placed: Placed) -> bool:
        """Whether at least half of the gaps of some series are of one step."""
        order = np.lexsort((self.of_row, self.row))
        row, steps = self.row[order], placed.steps[self.of_row[order]]
        same = row[1:] == row[:-1]
        one = np.bincount(row[1:][same & (np.diff(steps) == 1)], minlength=row[-1] + 1)
        return bool(((one >= ROWS - 1) & (2 * one >= np.bincount(row) - 1)).any())

    def row_at(self, moment: int) -> int:
        """The first row of the frame at a moment."""
        return int(np.argmax(self.of_row == moment))

    def show(self, moment: int) -> str:
        """The time of a moment as a person would write it."""
        return self.times.show(int(self.time[moment]))

    def name_scene(self, moment: int) -> str:
        """The scene of a moment, for messages."""
        columns = self.table.columns
        return self.table.cells(columns.scenes, self.row_at(moment)) or self.table.what

    def name_series(self, row: int) -> str:
        """A panel row, for messages."""
        columns = self.table.columns
        return self.table.cells([*columns.scenes, *columns.ids], int(np.argmax(self.row == row)))
