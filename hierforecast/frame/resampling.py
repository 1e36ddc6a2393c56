"""Frames at another step: the same series, labels carried along, gaps still gaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import narwhals as nw
import numpy as np

from hierforecast._options import show
from hierforecast.errors import DataError
from hierforecast.frame.absent import require
from hierforecast.frame.clock import Clock
from hierforecast.frame.columns import Columns
from hierforecast.frame.grid import Grid
from hierforecast.frame.labels import Rows
from hierforecast.frame.newsteps import NewSteps, new_steps
from hierforecast.frame.step import per_day
from hierforecast.frame.table import Table, zone_of
from hierforecast.frame.times import column_like

POINT = "point"
# What the values (n,) of whole steps amount to; each begins at `starts` and has so many.
WHOLE: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "sum": lambda values, starts, counts: np.add.reduceat(values, starts),
    "mean": lambda values, starts, counts: np.add.reduceat(values, starts) / counts,
    "min": lambda values, starts, counts: np.minimum.reduceat(values, starts),
    "max": lambda values, starts, counts: np.maximum.reduceat(values, starts),
    "first": lambda values, starts, counts: values[starts],
    "last": lambda values, starts, counts: values[starts + counts - 1],
}


def resample(
    frame: Any,
    columns: Columns = Columns(),  # noqa: B008 (immutable)
    *,
    freq: Any = None,
    rate: tuple[float, float] | None = None,
    how: str | Mapping[str, str] | None = None,
) -> Any:
    """The same series at another step.

    Nothing is made up: between two old steps a value is interpolated only if both are there, and a
    mean or a sum is taken only of whole new steps, all of whose old steps are there. Labels
    (groups, types, static columns, categories) are carried along; columns without a role are not.

    Args:
        frame: pandas or polars DataFrame or pyarrow Table; it is not changed.
        columns: the roles.
        freq: the new step: for dates as pandas has it (``"D"``, ``"W-SUN"``, ``"15min"``), which
            also says how steps are labelled; for integers a whole number, whose multiples the new
            labels are.
        rate: instead, steps a second ``(old, new)``, e.g. ``(25, 5)``. Integers are numbered anew:
            step k of 5 a second is step 5 k of 25 a second.
        how: ``"point"`` takes the value at the new time, on a straight line where that lies between
            two old ones; ``"mean"``, ``"sum"``, ``"min"``, ``"max"``, ``"first"`` and ``"last"``
            take all old steps within the new one. One for all numbers, or by column:
            ``{"y": "sum"}`` leaves ``"mean"`` to the others. None: ``"point"`` for `rate` and for
            finer steps, else ``"mean"``.

    Returns:
        A frame of the library that was given: ``[scene,] id, time`` and the other columns with a
        role, sorted by scene, id and time.

    Raises:
        DataError: if the frame cannot be read, or `freq`, `rate` or `how` does not fit it.

    Example:
        >>> slow = resample(tracks, columns, rate=(25, 5))  # doctest: +SKIP
        >>> daily = resample(hourly, freq="D", how="sum")  # doctest: +SKIP
    """
    if (freq is None) == (rate is None):
        raise DataError("give freq=, the new step, or rate=(old, new), steps a second")
    table = Table.open(frame, columns)
    require(table, columns.roles())
    old = _Old.read(table)
    steps = new_steps(freq, rate, old.clock, old.grid_time)
    coarser = len(np.unique(steps.within(old.grid_time))) < len(np.unique(old.grid_time))
    methods = _methods(table, how, "mean" if coarser and rate is None else POINT)
    new = (_Points if POINT in methods.values() else _Wholes).of(old, steps)
    if not len(new.low):
        raise DataError(
            f"no step of freq={freq!r}, rate={rate!r} has all its old steps: the frame is too "
            "short, or has too many gaps"
        )
    return _answer(table, old, new, steps, methods)


@dataclass(frozen=True)
class _Old:
    """The rows of the frame by series and time, and the grid on which they lie.

    Args:
        clock: gives every step its time.
        order: (n,) where each row is in the frame.
        series, scene, step, time: (n,) of each row; times are int64.
        grid_scene, grid_time: (G,) every step of every scene, and one more at either end.
        edge: (G,) bool, which of these are the ones more.
    """

    clock: Clock
    order: np.ndarray
    series: np.ndarray
    scene: np.ndarray
    step: np.ndarray
    time: np.ndarray
    grid_scene: np.ndarray
    grid_time: np.ndarray
    edge: np.ndarray

    @classmethod
    def read(cls, table: Table) -> _Old:
        rows = Rows.read(table)
        grid = Grid.lay(rows)
        clock, length = grid.clock, grid.length
        order = np.argsort(grid.cell)
        series = rows.of_row[order]
        scene, step = rows.scene[order], grid.cell[order] - grid.cell_offset[series]
        grid_scene = np.repeat(np.arange(len(length)), length + 2)
        number = np.arange(len(grid_scene)) - (np.cumsum(length + 2) - length - 2)[grid_scene] - 1
        return cls(
            clock,
            order,
            series,
            scene,
            step,
            clock.times(scene, step).view(np.int64),
            grid_scene,
            clock.times(grid_scene, number).view(np.int64),
            (number < 0) | (number == length[grid_scene]),
        )


@dataclass(frozen=True)
class _Points:
    """New steps at an old one, or between two that follow each other.

    Args:
        step: (k,) new step of each row of the answer.
        low: (k,) old row at it or before it, whose labels it has.
        weight: (k,) how far it is on the way to the old row after that.
    """

    step: np.ndarray
    low: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, old: _Old, steps: NewSteps) -> _Points:
        first = steps.first(old.time)
        follows = np.zeros(len(first), dtype=bool)
        follows[:-1] = (np.diff(old.series) == 0) & (np.diff(old.step) == 1)
        counts = (steps.time(first) == old.time).astype(np.int64)
        counts[follows] = np.diff(first)[follows[:-1]]
        low = np.repeat(np.arange(len(counts)), counts)
        step = first[low] + np.arange(len(low)) - (np.cumsum(counts) - counts)[low]
        gap = np.append(np.diff(old.time), 1)[low]
        return cls(step, low, (steps.time(step) - old.time[low]) / gap)

    def value(self, values: np.ndarray, method: str) -> np.ndarray:
        """What a column (n,) of old rows is at the new steps: (k,)."""
        return blend(values, self.low, self.low + 1, self.weight)


@dataclass(frozen=True)
class _Wholes:
    """New steps all of whose old steps are there, in the scene and in the series.

    Args:
        step, low: (k,) as in `_Points`; the first row within.
        rows: old rows within any, one new step after another.
        starts, counts: (k,) where each begins in `rows`, and how many it has.
    """

    step: np.ndarray
    low: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, old: _Old, steps: NewSteps) -> _Wholes:
        step, of_grid = steps.within(old.time), steps.within(old.grid_time)
        least, span = int(of_grid.min()), int(np.ptp(of_grid)) + 1
        keys, at, needed = np.unique(
            old.grid_scene * span + of_grid - least, return_inverse=True, return_counts=True
        )
        needed[at[old.edge]] = -1  # it goes on beyond the scene
        begins = np.ones(len(step), dtype=bool)
        begins[1:] = (np.diff(old.series) != 0) | (np.diff(step) != 0)
        low = np.flatnonzero(begins)
        counts = np.diff(low, append=len(step))
        own = np.searchsorted(keys, old.scene[low] * span + step[low] - least)
        kept = counts == needed[own]
        rows = np.flatnonzero(np.repeat(kept, counts))
        low, counts = low[kept], counts[kept]
        return cls(step[low], low, rows, np.cumsum(counts) - counts, counts)

    def value(self, values: np.ndarray, method: str) -> np.ndarray:
        """What a column (n,) of old rows amounts to within the new steps: (k,)."""
        return WHOLE[method](values[self.rows], self.starts, self.counts)


def _methods(table: Table, how: str | Mapping[str, str] | None, usual: str) -> dict[str, str]:
    """How each column of numbers is made.

    Raises:
        DataError: if `how` names an unknown method or column, or mixes points with whole steps.
    """
    columns = table.columns
    names = (*columns.targets, *columns.past_covariates, *columns.known_covariates)
    numbers = [name for name in names if table.frame[name].dtype.is_numeric()]
    given = dict(how) if isinstance(how, Mapping) else dict.fromkeys(numbers, how or usual)
    for name, method in given.items():
        if name not in numbers or method not in (POINT, *WHOLE):
            raise DataError(
                f"how={show(how)}: columns are {', '.join(numbers)}, and each may be "
                f"{', '.join((POINT, *WHOLE))}"
            )
    methods = dict.fromkeys(numbers, "mean") | given
    if POINT in methods.values() and set(methods.values()) != {POINT}:
        raise DataError(f"how={show(how)}: points and whole steps do not go together")
    return methods


def _answer(
    table: Table, old: _Old, new: _Points | _Wholes, steps: NewSteps, methods: Mapping[str, str]
) -> Any:
    """The new rows as a frame of the user's library."""
    columns, backend = table.columns, table.frame.implementation
    made = [_time_column(table, steps.label(new.step), steps, old.clock.unit)]
    picked = isinstance(new, _Points) and not new.weight.any()
    for name, method in methods.items() if not picked else ():  # or columns keep their type
        values = table.frame[name].cast(nw.Float64()).to_numpy()[old.order]
        made.append(nw.new_series(name, new.value(values, method), backend=backend))
    roles = columns.roles()
    first = [name for role in ("scene", "id") for r, name in roles if r == role]
    names = dict.fromkeys([*first, columns.time, *(name for _, name in roles)])
    kept = table.frame.select(*names)[old.order[new.low]]
    return nw.maybe_reset_index(kept.with_columns(*made)).to_native()


def _time_column(
    table: Table, labels: np.ndarray, steps: NewSteps, unit: str | None
) -> nw.Series[Any]:
    """Labels (k,) int64 in the type of the time column, or a finer one where they need it."""
    name, template = table.columns.time, table.frame[table.columns.time]
    if steps.unit is None:
        return column_like(name, labels, template, None)
    if template.dtype == nw.Duration:
        return column_like(name, labels.view(f"m8[{steps.unit}]"), template, unit)
    times = labels.view(f"M8[{steps.unit}]")
    if steps.unit != unit or (template.dtype == nw.Date and (labels % per_day(unit)).any()):
        zone = zone_of(template)
        template = template.cast(
            nw.Datetime(cast(Any, steps.unit), None if zone is None else str(zone))
        )
    return column_like(name, times, template, steps.unit)


def blend(values: np.ndarray, low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Values (k, ...) at rows `low`, with a `weight` so far on the way to `high`.

    NaN makes NaN only where it is needed.
    """
    share = weight.reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
    start, end = values[low], values[np.minimum(high, len(values) - 1)]
    return np.where(share > 0, start + share * (end - start), start)
