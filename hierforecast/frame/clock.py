"""The clock that gives every step of every scene its time label, and every time its step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame.step import NANOSECONDS, Step
from hierforecast.frame.times import LARGEST, Times, from_wall


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

    @classmethod
    def start_at(cls, times: Times, step: Step, column: str) -> Clock:
        """The clock whose scenes start at `times` (S,), counted as `step` counts them.

        Raises:
            DataError: if the times are of another kind than the step.
        """
        step.stride(times.unit)  # says so if they are of another kind
        ordinals, of_day = step.ordinals(times.values, times.unit)
        return cls(str(step), times.unit, times.zone, ordinals, of_day, times.duration, column)

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

    def steps(self, scene: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Step number of each time (m,) int64 within its scene, and whether it is on the grid."""
        step = Step.parse(self.step)
        ordinals, of_day = step.ordinals(times, self.unit)
        away = ordinals - self.start[scene]
        number = away // step.stride(self.unit)
        on_grid = number * step.stride(self.unit) == away
        on_grid &= of_day == self.of_day[scene]
        return number, on_grid & step.valid(times, self.unit)

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
