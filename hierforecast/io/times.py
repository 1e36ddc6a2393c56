"""A time column of a text file as whole numbers or dates, or an error that says how to read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame import formats
from hierforecast.frame.even import ZERO, counts_evenly, even_clock
from hierforecast.io.text import Reading

Place = Callable[[int], tuple[Path, int]]

# How far from a count of steps a time may lie, in steps: 0.033 is a thirtieth of a second.
NEAR = 0.05


def read_times(column: pd.Series, place: Place, reading: Reading) -> pd.Series:
    """Integers, dates or datetimes of a column of text; anything else stays what it is.

    Args:
        column: (n,) text; empty cells stay missing.
        place: file and line of a row, for messages.
        reading: the date format, the zone and the size of a step.

    Raises:
        DataError: if a cell is no time; the remedy is an option of `reading`.
    """
    if isinstance(column.dtype, pd.PeriodDtype):
        return column.dt.to_timestamp()
    if pd.api.types.is_float_dtype(column):
        column = column.map(repr, na_action="ignore").astype(object)
    if not (column.dtype == object or pd.api.types.is_string_dtype(column)):
        return column
    codes, cells = pd.factorize(column)
    cells = pd.Series(cells, dtype=str, name=column.name).str.strip()
    if not len(cells):
        return column

    def fail(bad: np.ndarray, problem: str, remedy: Any = None) -> DataError:
        row = int((bad[codes] & (codes >= 0)).argmax())
        file, line = place(row)
        words = f"column {column.name!r} of '{file}' has {cells[codes[row]]!r} in line {line}"
        return DataError(f"{words}, {problem}", reading.remedy(**remedy) if remedy else None)

    times = _read(cells, reading, fail)
    missing = codes < 0
    found = times.iloc[np.where(missing, 0, codes)].set_axis(column.index)
    return found.where(~missing) if missing.any() else found


def _read(cells: pd.Series, reading: Reading, fail: Callable[..., DataError]) -> pd.Series:
    """Times of distinct cells (k,)."""
    if reading.date_format is not None:
        return _by_format(cells, reading, fail)
    number = cells.str.replace(reading.decimal, ".", regex=False)
    if number.str.fullmatch(formats.NUMBER).all():
        return _numbers(number.astype(float), cells, reading, fail)
    quarter, week = cells.str.extract(f"^{formats.QUARTER}$"), cells.str.fullmatch(formats.WEEK)
    if quarter.notna().all(axis=None):
        month = 3 * quarter.quarter.astype(int) - 2
        cells = quarter.year + "-" + month.astype(str).str.zfill(2) + "-01"
    elif week.all():
        monday = cells.str.replace("-", "") + "1"
        return pd.to_datetime(monday, format="%GW%V%u")
    return _dates(cells, reading, fail)


def _numbers(
    values: pd.Series, cells: pd.Series, reading: Reading, fail: Callable[..., DataError]
) -> pd.Series:
    """Whole numbers, or counts of `time_step`."""
    every = np.ones(len(cells), dtype=bool)
    if reading.time_step is None and cells.str.fullmatch(r"[+-]?\d+").all():
        try:
            return cells.astype("int64")  # as text: floats lose the last digits of nanoseconds
        except OverflowError as error:
            raise fail(every, "but whole numbers must lie within 2**63") from error
    steps = _counted(values, reading.time_step or 1.0)
    if steps is None:
        found = _step_of(values)
        mend = "give the size of a step"
        if not found:
            mend = "no size of a step counts these, so number the steps of each series instead"
        off = (values / (reading.time_step or 1.0) % 1 != 0).to_numpy()
        problem = f"but times are whole numbers of steps; {mend}"
        raise fail(off if off.any() else every, problem, found)
    return steps


def _counted(values: pd.Series, step: float) -> pd.Series | None:
    """Values as counts of a step, or None if they are not: each its own count."""
    steps = values / step
    whole = steps.round()
    near = (steps - whole).abs().max() <= NEAR and whole.abs().max() < 2**53
    if near and whole.nunique() == values.nunique():
        return whole.astype("int64")
    # Rounded to few digits, or with jitter.
    return whole.astype("int64") if counts_evenly(np.unique(values.to_numpy()), step) else None


def _step_of(values: pd.Series) -> dict[str, float]:
    """The size of a step that counts these values, if there is one."""
    distinct = np.unique(values.to_numpy())
    one = np.zeros(len(distinct), dtype=np.int64)
    clock = even_clock(distinct, one, one)
    if clock is not None and clock.origin == ZERO:
        return {"time_step": clock.period}
    millionths = np.round(distinct * 1e6).astype(np.int64)
    gaps, step = np.diff(millionths), float(np.gcd.reduce(millionths) / 1e6)
    # Smaller steps count anything, but then the times step unevenly.
    even = len(gaps) and not (gaps % gaps.min(initial=2**62)).any()
    return {"time_step": step} if even and _counted(values, step) is not None else {}


def _by_format(cells: pd.Series, reading: Reading, fail: Callable[..., DataError]) -> pd.Series:
    utc = "%z" in str(reading.date_format)
    times = pd.to_datetime(cells, format=reading.date_format, errors="coerce", utc=utc)
    ours = cells.str.fullmatch(r"\d{4}-\d\d-\d\d([ T].*)?") & times.isna()
    if ours.any():  # answers of this program, appended to the table
        times = times.fillna(
            pd.to_datetime(cells.where(ours), format="ISO8601", errors="coerce", utc=utc)
        )
    if times.isna().any():
        words, remedy = _format_of(cells)
        problem = f"which is not written as {reading.date_format!r} says{words}"
        raise fail(times.isna().to_numpy(), problem, remedy)
    return _in_zone(times, reading, fail) if utc else times


def _dates(cells: pd.Series, reading: Reading, fail: Callable[..., DataError]) -> pd.Series:
    """ISO 8601 dates, all of them with an offset from UTC or none."""
    offset = cells.str.fullmatch(formats.OFFSET).to_numpy()
    times = pd.to_datetime(cells, format="ISO8601", errors="coerce", utc=bool(offset.any()))
    number = cells.str.fullmatch(formats.NUMBER).to_numpy()
    bad = times.isna().to_numpy() & ~number
    if bad.any() or number.any():
        words, remedy = _format_of(cells)
        problem = f"which is no date such as 2024-01-31; say how dates are written{words}"
        if not remedy:
            problem = (
                "but all must be whole numbers, or all dates such as 2024-01-31 or "
                "2024-01-31 13:00:00"
            )
        raise fail(bad if bad.any() else number, problem, remedy)
    if not offset.any():
        return times
    if not offset.all():
        raise fail(
            ~offset, "which mixes times: others have an offset from UTC; give all one, or none"
        )
    return _in_zone(times, reading, fail, cells.str.extract(formats.FROM_UTC)[0])


def _in_zone(
    times: pd.Series,
    reading: Reading,
    fail: Callable[..., DataError],
    offsets: pd.Series | None = None,
) -> pd.Series:
    if reading.zone is None:
        if offsets is not None and offsets.nunique() > 1:
            other = (offsets != offsets.iloc[0]).to_numpy()
            problem = (
                f"which mixes times: others are {offsets.iloc[0]} from UTC; name their time zone"
            )
            raise fail(other, problem, {"zone": "UTC"})
        return times
    try:
        return times.dt.tz_convert(reading.zone)
    except (KeyError, ValueError, OSError) as error:
        raise DataError(
            f"zone={reading.zone!r} is no time zone: give one such as 'Europe/Berlin' or 'UTC'"
        ) from error


def _format_of(cells: pd.Series) -> tuple[str, dict[str, str]]:
    """A format that reads all cells, if there is one; where several do, words name them."""
    fits = formats.formats_of(cells, (*formats.ISO, *formats.DATES, *formats.MONTHS))
    if len(fits) > 1:
        return f"; it may be {' or '.join(map(repr, fits))}", {"date_format": fits[0]}
    return "", {"date_format": fits[0]} if fits else {}
