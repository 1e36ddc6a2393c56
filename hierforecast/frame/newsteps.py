"""Where new steps lie among old times: at even distances, or as a calendar of pandas has them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import Day, Tick

from hierforecast._options import number, whole
from hierforecast.errors import DataError
from hierforecast.frame.clock import Clock
from hierforecast.frame.step import NANOSECONDS

TOLERANCE = 1e-3  # 8.33 steps a second are meant to be 100/12


class Even:
    """New steps of one length, numbered k = ..., -1, 0, 1, ...

    Args:
        length: of a step in old times.
        scale: labels count `scale` a step.
        unit: of the labels, None for integers.
        origin: an old time at which a step begins.
    """

    def __init__(
        self, length: Fraction, scale: int, unit: str | None = None, origin: int = 0
    ) -> None:
        self.length, self.each, self.origin = length.numerator, length.denominator, origin
        self.scale, self.unit = scale, unit
        self.label_origin = int(Fraction(origin) / length * scale)

    def within(self, times: np.ndarray) -> np.ndarray:
        """The new step in which each old time (n,) int64 lies."""
        return (times - self.origin) * self.each // self.length

    def first(self, times: np.ndarray) -> np.ndarray:
        """The first new step that begins at each old time (n,) or later."""
        return -((self.origin - times) * self.each // self.length)

    def time(self, steps: np.ndarray) -> np.ndarray:
        """The old time at which each new step (n,) is: float64 if one may lie in between."""
        away = steps * self.length
        return self.origin + (away if self.each == 1 else away / self.each)

    def label(self, steps: np.ndarray) -> np.ndarray:
        """The label (n,) int64 of each new step."""
        return self.label_origin + steps * self.scale


class Calendar:
    """New steps of a calendar, bounded and labelled as in pandas' ``resample``.

    Args:
        times: (n,) int64 old times that will be asked for.
        clock: their unit and zone.
        offset: of pandas.
    """

    def __init__(self, times: np.ndarray, clock: Clock, offset: Any) -> None:
        self.times, self.unit = np.unique(times), clock.unit
        index = pd.DatetimeIndex(self.times.view(f"M8[{clock.unit}]"))
        if clock.zone is not None:
            index = index.tz_localize("UTC").tz_convert(clock.zone)
        found = pd.Series(1, index).resample(offset).count()
        self.steps, labels = np.repeat(np.arange(len(found)), found), found.index
        if clock.zone is not None:
            labels = labels.tz_convert("UTC").tz_localize(None)
        self.labels = labels.to_numpy().astype(f"M8[{clock.unit}]").view(np.int64)

    def within(self, times: np.ndarray) -> np.ndarray:
        """As in `Even`."""
        return self.steps[np.searchsorted(self.times, times)]

    def first(self, times: np.ndarray) -> np.ndarray:
        """As in `Even`; one more than there are if none begins so late."""
        return np.searchsorted(self.labels, times)

    def time(self, steps: np.ndarray) -> np.ndarray:
        """As in `Even`."""
        return np.append(self.labels, np.iinfo(np.int64).max)[steps]

    label = time


NewSteps = Even | Calendar


def new_steps(
    freq: Any, rate: tuple[float, float] | None, clock: Clock, times: np.ndarray
) -> NewSteps:
    """The new steps that `resample` is asked for.

    Args:
        freq, rate: see `resample`; one of them.
        clock: of the old steps.
        times: (n,) int64 old times.

    Raises:
        DataError: if they are no step, or not one of such times.
    """
    if rate is not None:
        native, wanted = _two(rate)
        if clock.unit is None:
            return Even(stride_of(native, wanted), 1)
        freq = pd.Timedelta(1 / wanted, "s")
    if clock.unit is None:
        size = whole("freq", freq)
        return Even(Fraction(size), size)
    try:
        offset = to_offset(freq)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"freq={freq!r} is no step of dates: give an alias of pandas such as 'D', 'W-SUN', "
            "'MS' or '15min'"
        ) from error
    if isinstance(offset, Day) or not isinstance(offset, Tick):
        return Calendar(times, clock, offset)
    # Labels between two of the old unit, hours of a column of days, need a finer one.
    size, rest = divmod(offset.nanos, NANOSECONDS[clock.unit])
    unit = clock.unit if not rest else "us" if not offset.nanos % 1000 else "ns"
    length = Fraction(offset.nanos, NANOSECONDS[clock.unit])
    return Even(length, offset.nanos // NANOSECONDS[unit], unit, _midnight(clock, times))


def _midnight(clock: Clock, times: np.ndarray) -> int:
    """How far the zone's clock was behind UTC at the first of these times."""
    if clock.zone is None:
        return 0
    first = pd.Timestamp(times.min(), unit=clock.unit, tz="UTC").tz_convert(clock.zone)
    return -int(first.utcoffset() / pd.Timedelta(1, clock.unit))


def stride_of(native: float, rate: float) -> Fraction:
    """Old steps in a new one: a whole number where that is meant, to 0.1 %."""
    stride = native / rate
    near = round(stride)
    if near >= 1 and abs(stride - near) <= TOLERANCE * stride:
        return Fraction(near)
    return Fraction(native).limit_denominator(10_000) / Fraction(rate).limit_denominator(10_000)


def _two(rate: Any) -> tuple[float, float]:
    try:
        native, wanted = rate
    except (TypeError, ValueError):
        raise DataError(f"rate={rate!r} must be (old, new) steps a second, e.g. (25, 5)") from None
    return number("rate", native, 0, ends=False), number("rate", wanted, 0, ends=False)
