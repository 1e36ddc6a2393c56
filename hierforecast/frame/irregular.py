"""Errors of irregular times: what the steps are, and the code that mends the frame."""

from __future__ import annotations

import shlex

import numpy as np
import pandas as pd

from hierforecast.errors import DataError, Remedy
from hierforecast.frame.clock import Moments, Placed
from hierforecast.frame.freq import alias
from hierforecast.frame.remedies import Recipe, assign_roles
from hierforecast.frame.step import DAY, Step, month_of, split_days

# So many stray times at most are dropped by a remedy that names them.
STRAY = 20


def other_kind(moments: Moments) -> DataError:
    """The times cannot be counted by the step that `Columns` states."""
    columns, times = moments.table.columns, moments.times
    kind = "integers" if times.unit is None else "durations" if times.duration else "dates"
    return DataError(
        f"column {moments.column!r} of {moments.table.what} holds {kind}, which do not step by "
        f"Columns(freq={_shown(moments)}); leave the frequency out",
        assign_roles(columns, freq=None),
    )


def off_stated(moments: Moments, step: Step, off: np.ndarray, own: Step | None) -> DataError:
    """Moments `off` are not on the stated grid; `own` is the step of all, if most are off."""
    at, columns = int(off[0]), moments.table.columns
    begin, day = int(moments.first[moments.scene[at]]), _day_name(moments, step, at)
    problem = (
        f"{moments.name_scene(at)} has the time {moments.show(at)}{day} in column "
        f"{moments.column!r}, which is not on the grid of Columns(freq={_shown(moments)})"
    )
    if step.kind in ("int", "ns"):
        problem += f", {step.describe()} from {moments.show(begin)}"
    elif not isinstance(columns.freq, str):
        problem += f", {step.describe()}"
    other = None if own is None else alias_of(moments, own)
    if other is None or other == columns.freq:
        remedy = _without(moments, off)
        if remedy is None and moments.place(moments.infer()).on_grid.all():
            remedy = assign_roles(columns, freq=None)
        return DataError(f"{problem}; drop such times, or state another frequency", remedy)
    problem += "; state the step that the times have"
    return DataError(problem, assign_roles(columns, freq=other))


def alias_of(moments: Moments, step: Step) -> object:
    """The frequency that states a step, weeks by their day, or None."""
    times = moments.times
    month = 0
    if times.unit is not None:
        days, _ = split_days(times.on(step), times.unit)
        month = int(month_of(days[:1])[0])
        if step.kind == "ns" and step.size % (7 * DAY) == 0 and not times.duration:
            n = step.size // (7 * DAY)
            name = pd.Timestamp(int(days[0]), unit="D").strftime("%a").upper()
            return f"W-{name}" if n == 1 else f"{n}W-{name}"
    return alias(step, month)


def two_series(moments: Moments, rows: list[int], own: list[Step], step: Step) -> DataError:
    """Two series whose own steps share no grid but a finer one."""
    words = []
    for row, size in zip(rows, own, strict=True):
        alone = moments.of_series(row)
        begin = ", ".join(map(alone.show, range(min(2, len(alone.time)))))
        words.append(f"{moments.name_series(row)} steps by {size.describe()} ({begin}, ...)")
    problem = (
        f"the series share no step in column {moments.column!r}: {' and '.join(words)}; a step of "
        f"{step.describe()} for both would leave most steps of each missing"
    )
    recipe = _rounding(moments, own)
    if recipe is None:
        return DataError(f"{problem}; resample them to one step, or fit them apart")
    problem += "; round their times to one anchor, or fit them apart"
    remedy = moments.table.convert(recipe, moments.column)
    if (moments.row < 0).any():  # rows without targets would take the same place
        for name in moments.table.columns.targets:
            for drop in ("drop_nans", "drop_nulls"):
                if drop == "drop_nulls" or moments.table.frame[name].dtype.is_float():
                    code = moments.table.rebuild(drop, column=name).code
                    remedy = Remedy(f"{code}; {remedy.code}", remedy.options)
    return DataError(problem, remedy)


def _rounding(moments: Moments, own: list[Step]) -> Recipe | None:
    """Code that rounds the times of series of one length of step to one anchor."""
    step, options = own[0], "round the times in the column {column}, or fit the series apart"
    if step.kind != own[1].kind or step.size != own[1].size:
        return None
    naive = ".dt.tz_localize(None)" if moments.times.zone is not None else ""
    if step.kind == "int":
        k = step.size
        arrow = f"pc.multiply(pc.divide({{it}}, {k}), {k})"
        return Recipe(f"{{it}} // {k} * {k}", f"{{it}} // {k} * {k}", options, arrow)
    weeks = step.kind == "ns" and step.size == 7 * DAY
    spans = {1: ("M", "1mo", "month"), 3: ("Q", "1q", "quarter"), 12: ("Y", "1y", "year")}
    if step.kind == "B" or (step.kind == "M" and step.size not in spans):
        return None
    if weeks or step.kind == "M":
        code, span, unit = ("W", "1w", "week") if weeks else spans[step.size]
        pandas = f"{{it}}{naive}.dt.to_period({code!r}).dt.start_time"
        arrow = f"pc.floor_temporal({{it}}, 1, {unit!r})"
        return Recipe(pandas, f"{{it}}.dt.truncate({span!r})", options, arrow)
    name = str(alias(step))
    polars = f"{{it}}.dt.truncate('{step.size}ns')"
    if moments.times.duration:
        polars = f"{{it}}.map_batches(lambda s: pl.Series(s.to_pandas().dt.floor({name!r})))"
    return Recipe(f"{{it}}{naive}.dt.floor({name!r})", polars, options)


def stray(moments: Moments, step: Step, placed: Placed) -> DataError:
    """A time that is not on the grid."""
    off = np.flatnonzero(~placed.on_grid)
    at, name = int(off[0]), moments.name_scene(int(off[0]))
    inside = at > 0 and bool(moments.same[at - 1])
    jump = f"goes from {moments.show(at - 1)} to" if inside else "has the time"
    problem = (
        f"irregular time step in column {moments.column!r}: {name} {jump} {moments.show(at)}, which"
        f" does not fit the step of {step.describe()}; remove or round the stray times, or "
        "resample all series to one regular step; missing steps are fine"
    )
    few = 5 * len(off) <= len(placed.on_grid)
    return DataError(problem, _without(moments, off) if few else None)


def other_step(
    moments: Moments,
    own: Step,
    step: Step,
    k: int | None = None,
    context: int | None = None,
    stated: bool = False,
) -> DataError:
    """The times step otherwise than they should.

    Args:
        moments: of the frame.
        own, step: the step that they have and the one they should have.
        k: how many steps they go at once, None where they are off the grid.
        context: steps of context that the forecaster takes.
        stated: whether the step is that of `Columns`, rather than of the fit.
    """
    here, fit = own.describe(), step.describe()
    by = f"Columns(freq={_shown(moments)})" if stated else "the fit"
    problem = f"{moments.table.what} steps by {here} in column {moments.column!r}, {by} by {fit}"
    if k is not None:
        seen = 1 if context is None else -(-context // k)
        of = f"{k} steps" if context is None else f"{context} context steps"
        problem += f", so {seen} of {of} {'is' if seen == 1 else 'are'} observed"
    columns, other = moments.table.columns, alias_of(moments, own)
    if stated and other is not None:
        problem += "; state the step that the times have"
        return DataError(problem, assign_roles(columns, freq=other))
    size, rest = divmod(step.length, own.length)
    if size > 1 and not rest and own.kind == step.kind and step.kind in ("int", "ns"):
        return DataError(f"{problem}; keep the steps of the fit", _every(moments, step))
    problem += f"; fit at steps of {here}, or resample the frame to steps of {fit}"
    return DataError(problem, _resample(moments, step))


def _resample(moments: Moments, step: Step) -> Remedy | None:
    """Code that brings the frame to a step."""
    freq, frame = alias_of(moments, step), moments.table.variable
    if freq is None or moments.times.stated is not None:
        return None
    code = f"import hierforecast; {frame} = hierforecast.resample({frame}, columns, freq={freq!r})"
    return Remedy(code, f"'hierforecast resample' with --freq {shlex.quote(str(freq))}")


def _every(moments: Moments, step: Step) -> Remedy:
    """Code that keeps the times that lie whole steps after the first one of their scene."""
    columns = moments.table.columns
    scenes, column = list(columns.scenes), columns.time
    over = f".over({scenes!r})" if scenes else ""
    cell = f"{{it}}[{column!r}]"
    begin = f"{cell}.min()"
    if scenes:
        begin = f"{{it}}.groupby({scenes!r})[{column!r}].transform('min')"
    away = f"(pl.col({column!r}) - pl.col({column!r}).min(){over})"
    if step.kind == "ns":
        size, nothing = f"pd.Timedelta({step.size}, 'ns')", "pd.Timedelta(0)"
        polars = f"{away}.dt.total_nanoseconds() % {step.size} == 0"
    else:
        size, nothing = str(step.size), "0"
        polars = f"{away} % {step.size} == 0"
    return moments.table.rebuild(
        Recipe(
            f"{{it}}[({cell} - {begin}) % {size} == {nothing}]",
            f"{{it}}.filter({polars})",
            f"keep the rows of every {step.describe()} of the column {column}",
        )
    )


def _without(moments: Moments, off: np.ndarray) -> Remedy | None:
    """Code that drops the rows at some moments."""
    column, times = moments.column, moments.times
    at = np.unique(moments.time[off])
    if len(at) > STRAY or times.zone is not None or times.duration:
        return None
    shown = [moments.show(int(off[np.argmax(moments.time[off] == i)])) for i in at]
    cell = f"{{it}}[{column!r}]"
    if times.unit is None:
        code = str([int(text) for text in shown])
        polars, pandas = code, f"{cell}.isin({code})"
    else:
        pandas = f"pd.to_datetime({cell}).isin(pd.to_datetime({shown}, format='ISO8601'))"
        polars = f"pl.Series({shown}).str.to_datetime(time_unit='ns')"
    if moments.times.stated is not None:  # periods
        pandas = f"{cell}.dt.start_time.isin(pd.to_datetime({shown}, format='ISO8601'))"
    what = f"pl.col({column!r})" + ("" if times.unit is None else ".cast(pl.Datetime('ns'))")
    return moments.table.rebuild(
        Recipe(
            f"{{it}}[~{pandas}]",
            f"{{it}}.filter(~{what}.is_in({polars}))",
            f"drop the rows with {', '.join(shown)} in the column {column}",
        )
    )


def _day_name(moments: Moments, step: Step, at: int) -> str:
    times = moments.times
    if step.kind != "B":
        return ""
    days, _ = split_days(times.on(step), times.unit)
    return f" (a {pd.Timestamp(int(days[moments.time[at]]), unit='D').day_name()})"


def _shown(moments: Moments) -> str:
    freq = moments.table.columns.freq
    return repr(freq) if isinstance(freq, str | int) else "..."
