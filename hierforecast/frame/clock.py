"""Time labels: a time column as integers, and the clock that gives every step its label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame.step import Step, split_days
from hierforecast.frame.table import Table, show, zone_of


@dataclass(frozen=True)
class Times:
    """A time column as integers.

    Args:
        values: (n,) int64; UTC where there is a zone.
        unit: what one counts, None for plain integers.
        zone: time zone as pandas takes it, or None.
    """

    values: np.ndarray
    unit: str | None
    zone: Any

    @classmethod
    def read(cls, table: Table, name: str) -> Times:
        """Read integers, dates or datetimes.

        Raises:
            DataError: for any other column, or a null.
        """
        series, zone = table.frame[name], zone_of(table.frame[name])
        if series.null_count():
            table.reject_nulls(name, series.is_null().to_numpy())
        if series.dtype.is_integer():
            return cls(series.to_numpy().astype(np.int64, copy=False), None, None)
        if series.implementation.is_pandas() and zone is not None and series.dtype == nw.Unknown:
            naive = series.to_native().dt.tz_convert("UTC").dt.tz_localize(None)
            series = nw.from_native(naive, series_only=True)
        elif series.dtype not in (nw.Date, nw.Datetime):
            raise DataError(_no_time(table, name, series.dtype))
        values = series.to_numpy()
        if values.dtype.kind != "M":
            values = series.dt.timestamp("us").to_numpy().view("M8[us]")
        return cls(values.view(np.int64), np.datetime_data(values.dtype)[0], zone)

    def is_daily(self) -> bool:
        """Whether the wall's clock shows one time of day only, so that days count, not hours."""
        if self.unit is None or self.zone is None:
            return False
        _, of_day = split_days(to_wall(self.values, self.unit, self.zone), self.unit)
        return bool((of_day == of_day[0]).all())

    def on(self, step: Step) -> np.ndarray:
        """The values (n,) that `step` counts: UTC, or the wall's clock."""
        if step.wall and self.unit is not None and self.zone is not None:
            return to_wall(self.values, self.unit, self.zone)
        return self.values

    def as_in(self, clock: Clock, what: str) -> Times:
        """The same times in the unit and zone of `clock`.

        Raises:
            DataError: if one holds integers or no time zone and the other does not.
        """
        if (self.unit is None, self.zone is None) != (clock.unit is None, clock.zone is None):
            raise DataError(
                f"the times of {what} are of another kind than those of the frame (integers, "
                "datetimes, or datetimes with a time zone): give both the same"
            )
        if self.unit is None or clock.unit is None:
            return self
        values = self.values.view(f"M8[{self.unit}]").astype(f"M8[{clock.unit}]")
        return Times(values.view(np.int64), clock.unit, clock.zone)


def _no_time(table: Table, name: str, dtype: Any) -> str:
    if dtype.is_float():
        hint = f"give whole steps, e.g. frame[{name!r}].astype(int)"
    else:
        hint = f"convert it, e.g. frame[{name!r}] = pd.to_datetime(frame[{name!r}])"
    return (
        f"column {name!r} of {table.what} is no time (its type is {table.type_of(name)}): "
        f"integers, dates and datetimes are; {hint}"
    )


def to_wall(times: np.ndarray, unit: str, zone: Any) -> np.ndarray:
    """UTC times (n,) int64 as the clock on the wall of `zone` shows them."""
    utc = pd.DatetimeIndex(times.view(f"M8[{unit}]")).tz_localize("UTC")
    local = utc.tz_convert(zone).tz_localize(None)
    return local.to_numpy().astype(f"M8[{unit}]").view(np.int64)


def from_wall(times: np.ndarray, unit: str, zone: Any) -> np.ndarray:
    """Inverse of `to_wall`; the first of an hour that comes twice, the end of one left out."""
    wall = pd.DatetimeIndex(times.view(f"M8[{unit}]"))
    first = np.ones(len(wall), dtype=bool)
    local = wall.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    utc = local.tz_convert("UTC").tz_localize(None)
    return utc.to_numpy().astype(f"M8[{unit}]").view(np.int64)


@dataclass(frozen=True)
class Clock:
    """The time label of every step of every scene.

    Args:
        step: opaque text, the same for all scenes; give it to `read_frame(step=)`.
        unit: unit of datetimes, None for integers.
        zone: time zone, or None.
        start: (S,) int64 ordinal of each scene's step 0.
        of_day: (S,) int64 time of day in `unit` that a calendar sets aside.
    """

    step: str
    unit: str | None
    zone: Any
    start: np.ndarray
    of_day: np.ndarray

    def times(self, scene: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Labels (m,): int64, or datetime64 (UTC where the frame has a time zone)."""
        step = Step.parse(self.step)
        scene, steps = np.asarray(scene, dtype=np.int64), np.asarray(steps, dtype=np.int64)
        ordinals = self.start[scene] + steps * step.stride(self.unit)
        times = step.times(ordinals, self.of_day[scene], self.unit)
        if self.unit is None:
            return times
        if step.wall and self.zone is not None:
            times = from_wall(times, self.unit, self.zone)
        return times.view(f"M8[{self.unit}]")

    def steps(self, scene: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Step number of each time (m,) int64 within its scene, and whether it is on the grid."""
        step = Step.parse(self.step)
        ordinals, of_day = step.ordinals(times, self.unit)
        away = ordinals - self.start[scene]
        number = away // step.stride(self.unit)
        on_grid = number * step.stride(self.unit) == away
        on_grid &= of_day == self.of_day[scene]
        return number, on_grid & step.valid(times, self.unit)

    @classmethod
    def read(
        cls,
        scene: np.ndarray,
        times: np.ndarray,
        *,
        unit: str | None,
        zone: Any,
        step: Step,
        name_scene: Callable[[int], str],
        column: str,
    ) -> tuple[Clock, np.ndarray]:
        """The clock of these times, and the step number of each (n,).

        Args:
            scene, times: (n,) distinct pairs, sorted; every scene 0..S-1 is there.
            unit, zone: of the times.
            step: their step.
            name_scene: how messages call a scene.
            column: the time column, for messages.

        Raises:
            DataError: if a time is off the regular grid.
        """
        step.stride(unit)  # says so if the times are of another kind
        first = np.flatnonzero(np.diff(scene, prepend=-1))
        ordinals, of_day = step.ordinals(times[first], unit)
        clock = cls(str(step), unit, zone, ordinals, of_day)
        steps, on_grid = clock.steps(scene, times)
        off = np.flatnonzero(~on_grid)
        if len(off):
            raise DataError(clock._irregular(off[0], scene, times, name_scene, column))
        return clock, steps

    def _irregular(self, at: int, scene: Any, times: Any, name_scene: Any, column: str) -> str:
        before = at - 1 if at and scene[at - 1] == scene[at] else at
        seen = [
            show(t if self.unit is None else t.view(f"M8[{self.unit}]"))
            for t in (times[before], times[at])
        ]
        jump = f"goes from {seen[0]} to {seen[1]}" if before != at else f"has the time {seen[1]}"
        zone = "" if self.zone is None else f" (times in {self.zone} or UTC)"
        return (
            f"irregular time step in column {column!r}: {name_scene(scene[at])} {jump}, which does "
            f"not fit the step of {Step.parse(self.step).describe()}{zone}: remove or round the "
            "stray times, or resample all series to one regular step; missing steps are fine"
        )
