"""A time column as integers, and integers as a column of the same type."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame.freq import period_step
from hierforecast.frame.spellings import no_time
from hierforecast.frame.step import Step, per_day, split_days
from hierforecast.frame.table import Table, show, zone_of

LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Times:
    """A time column as integers.

    Args:
        values: (n,) int64; UTC where there is a zone.
        unit: what one counts, None for plain integers.
        zone: time zone as pandas takes it, or None.
        duration: whether they are durations rather than dates.
        stated: the step that the column's type states: pandas' periods do.
    """

    values: np.ndarray
    unit: str | None
    zone: Any
    duration: bool = False
    stated: Step | None = None

    @classmethod
    def read(cls, table: Table, name: str) -> Times:
        """Read integers, dates, datetimes, durations or pandas' periods.

        Raises:
            DataError: for any other column, or a null.
        """
        series, zone = table.frame[name], zone_of(table.frame[name])
        if series.null_count():
            table.reject_nulls(name, series.is_null().to_numpy())
        if series.dtype.is_integer():
            return cls(_whole(table, name), None, None)
        stated = None
        if _is_period(series):
            stated = period_step(series.to_native().dtype.freq)
            series = _pandas(series.to_native().dt.to_timestamp(how="start"))
        elif series.implementation.is_pandas() and zone is not None and series.dtype == nw.Unknown:
            series = _pandas(series.to_native().dt.tz_convert("UTC").dt.tz_localize(None))
        elif series.dtype not in (nw.Date, nw.Datetime, nw.Duration):
            raise no_time(table, name)
        values = series.to_numpy()
        if values.dtype.kind not in "mM":
            if series.dtype == nw.Duration:
                values = series.dt.total_microseconds().to_numpy().view("m8[us]")
            else:
                values = series.dt.timestamp("us").to_numpy().view("M8[us]")
        unit, kind = np.datetime_data(values.dtype)[0], values.dtype.kind
        return cls(values.view(np.int64), unit, zone, kind == "m", stated)

    def coarser(self) -> Times | None:
        """The same nanoseconds in microseconds; None where these cannot tell them."""
        if self.unit != "ns" or (self.values % 1000).any():
            return None
        return replace(self, values=self.values // 1000, unit="us")

    def as_numpy(self) -> np.ndarray:
        """The values (n,) as numpy knows times: int64, datetime64 (UTC) or timedelta64."""
        kind = "m8" if self.duration else "M8"
        return self.values if self.unit is None else self.values.view(f"{kind}[{self.unit}]")

    def show(self, at: int) -> str:
        """One of the times as a person would write it, in its own zone."""
        if self.unit is None:
            return str(self.values[at])
        value = self.as_numpy()[at]
        if self.zone is None:
            return show(value)
        return pd.Timestamp(value).tz_localize("UTC").tz_convert(self.zone).isoformat()

    def take(self, step: Step) -> bool:
        """Whether a step can count them: one of integers, of durations, of a calendar."""
        if self.unit is None or step.kind == "int":
            return self.unit is None and step.kind == "int"
        return step.kind == "ns" or not self.duration

    def is_daily(self) -> bool:
        """Whether the wall's clock shows one time of day only, so that days count, not hours."""
        if self.unit is None or self.duration:
            return False
        _, of_day = split_days(self.wall, self.unit)
        return bool((of_day == of_day[0]).all())

    @cached_property
    def wall(self) -> np.ndarray:
        """The values (n,) on the wall's clock."""
        if self.unit is None or self.zone is None:
            return self.values
        return to_wall(self.values, self.unit, self.zone)

    def on(self, step: Step) -> np.ndarray:
        """The values (n,) that `step` counts: UTC, or the wall's clock."""
        return self.wall if step.wall else self.values


def _pandas(series: pd.Series) -> nw.Series[Any]:
    return nw.from_native(series, series_only=True)


def _is_period(series: nw.Series[Any]) -> bool:
    return series.implementation.is_pandas() and isinstance(
        series.to_native().dtype, pd.PeriodDtype
    )


def _whole(table: Table, name: str) -> np.ndarray:
    """An integer column (n,) int64."""
    series = table.frame[name]
    if series.dtype in (nw.UInt64, nw.Int128, nw.UInt128):
        if max(abs(int(series.max())), abs(int(series.min()))) > LARGEST:
            raise DataError(
                f"column {name!r} of {table.what} goes beyond 64-bit integers; count from its "
                "first step",
                table.convert("from_zero", name),
            )
        series = series.cast(nw.Int64())
    return series.to_numpy().astype(np.int64, copy=False)


def to_wall(times: np.ndarray, unit: str, zone: Any) -> np.ndarray:
    """UTC times (n,) int64 as the clock on the wall of `zone` shows them.

    Where the clock was put forward over a time of day that all others have (midnight, in some
    zones), the first moment after it stands for that time: it is what `from_wall` gives for it,
    and `resample` of pandas, too.
    """
    wall = local(times, unit, zone)
    gap = wall - local(times - 1, unit, zone) - 1
    late = gap > 0
    if late.any():
        _, of_day = split_days(wall, unit)
        usual = _most_common(of_day[~late]) if not late.all() else 0
        skipped = wall - (of_day - usual) % per_day(unit)
        late &= skipped >= wall - gap
        wall[late] = skipped[late]
    return wall


def _most_common(values: np.ndarray) -> int:
    distinct, counts = np.unique(values, return_counts=True)
    return int(distinct[counts.argmax()])


def local(times: np.ndarray, unit: str, zone: Any) -> np.ndarray:
    """UTC times (n,) int64 on the clock of `zone`, as it is put forward and back."""
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


def column_like(
    name: str, values: np.ndarray, template: nw.Series[Any], unit: str | None
) -> nw.Series[Any]:
    """A column of the library and type of `template`, or of a wider type if the values need it.

    Args:
        name: of the column.
        values: (n,) int64, datetime64 (UTC) or timedelta64.
        template: the time column that was read.
        unit: of its times; values of a coarser one do not fit into its type.
    """
    series = nw.new_series(name, values, backend=template.implementation)
    native, model = series.to_native(), template.to_native()
    coarser = unit is not None and np.datetime_data(values.dtype)[0] != unit
    if unit is None:
        column = _integers(series, template)
    elif template.implementation.is_pandas():
        column = _pandas_dates(native, model.dtype, zone_of(template), coarser)
    elif coarser:
        here: Any = np.datetime_data(values.dtype)[0]
        duration = template.dtype == nw.Duration
        kind = nw.Duration(here) if duration else nw.Datetime(here, zone_of(template))
        column = series.cast(kind).to_native()
    else:
        column = native.cast(model.dtype if template.implementation.is_polars() else model.type)
    return nw.from_native(column, series_only=True).alias(name)  # pyarrow's have no name


def _pandas_dates(native: pd.Series, dtype: Any, zone: Any, coarser: bool) -> pd.Series:
    if isinstance(dtype, pd.PeriodDtype):
        return pd.Series(pd.PeriodIndex(native, freq=dtype.freq))
    if zone is not None:
        native = native.dt.tz_localize("UTC")
    if coarser:
        return native if zone is None else native.dt.tz_convert(zone)
    return native.astype(dtype)


def _integers(series: nw.Series[Any], template: nw.Series[Any]) -> Any:
    """Integers in the type of `template`, or in the smallest wider one that holds them all."""
    signed = not str(template.dtype).startswith("U")
    low, high = (int(series.min()), int(series.max())) if len(series) else (0, 0)
    bits = int(re.sub(r"\D", "", str(template.dtype)))
    while bits < 64 and not -(2 ** (bits - 1)) * signed <= low <= high < 2 ** (bits - signed):
        bits *= 2
    if low < 0 and not signed:
        return series.to_native()
    if template.implementation.is_pandas():
        dtype = re.sub(r"\d+", str(bits), str(template.to_native().dtype), count=1)
        return series.to_native().astype(dtype)
    return series.cast(getattr(nw, f"{'' if signed else 'U'}Int{bits}")()).to_native()
