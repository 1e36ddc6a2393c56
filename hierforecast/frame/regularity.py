"""Checks of a frame's times against a step: that of the fit, a stated one, or one found in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hierforecast.errors import CoarseSeriesWarning, warn_user
from hierforecast.frame import irregular
from hierforecast.frame.clock import ROWS, Moments, Placed
from hierforecast.frame.infer import EVIDENCE, infer_months, is_evident, most_common
from hierforecast.frame.step import DAY, Step, split_days


def check_stated(moments: Moments, step: Step, placed: Placed) -> None:
    """Check that all times lie on the grid that `Columns` states, and fill it.

    Raises:
        DataError: if one does not, or if they step by far more.
    """
    off = np.flatnonzero(~placed.on_grid)
    if len(off):
        own = moments.infer() if 2 * len(off) >= len(placed.on_grid) else None
        raise irregular.off_stated(moments, step, off, own)
    found = _coarser(moments, step, placed)
    if found is not None:
        raise irregular.other_step(moments, found[1], step, found[0], stated=True)


def check_fitted(moments: Moments, step: Step, placed: Placed, context: int | None) -> None:
    """Check that the times step as those of the fit did.

    Raises:
        DataError: if they do not, with what they do and how much of the context is observed.
    """
    found = None
    if placed.on_grid.all():
        found = _coarser(moments, step, placed)
        if found is not None:
            raise irregular.other_step(moments, found[1], step, found[0], context)
        return
    own = moments.infer()
    regular = moments.place(own).on_grid.all() and moments.same.sum() >= 2
    if regular and (own.length != step.length or own.kind == step.kind == "M"):
        raise irregular.other_step(moments, own, step)
    raise irregular.stray(moments, step, placed)


def _coarser(moments: Moments, step: Step, placed: Placed) -> tuple[int, Step] | None:
    """How many steps the times go at once, if that is evident, and their own step."""
    gaps = np.diff(placed.steps)[moments.same]
    usual = moments.usual_stride(placed)
    if usual > 1:
        return usual, moments.infer()
    if len(gaps) < 2:
        return None
    if step.kind == "ns" and gaps.min() * step.size >= 28 * DAY and not moments.times.duration:
        days, of_day = split_days(moments.times.on(step)[moments.time], moments.times.unit)
        if not np.diff(of_day)[moments.same].any():
            months = infer_months(days, moments.same, step.wall)
            return None if months is None else (most_common(gaps), months)
    return None


def second_try(moments: Moments, step: Step, placed: Placed) -> Placed:
    """All moments on the step of one of their series, where that of all of them does not fit.

    Raises:
        DataError: if that does not help: two series have steps that share no grid, or a series has
            a stray time.
    """
    off = int(np.argmax(~placed.on_grid))
    near = [off, off - 1, off + 1, int(moments.first[moments.scene[off]])]
    near = [at for at in near if 0 <= at < len(moments.scene)]
    near = [at for at in near if moments.scene[at] == moments.scene[off]]
    rows = list(dict.fromkeys(int(moments.row[moments.row_at(at)]) for at in near))
    own = {row: _alone(moments, row) for row in rows}
    steady = {row: found for row, found in own.items() if found is not None}
    for found in steady.values():
        if found != step:
            again = moments.place(found)
            if again.on_grid.all():
                return again
    if rows[0] in steady and len(steady) > 1:
        both = list(steady)[:2]
        raise irregular.two_series(moments, both, [steady[row] for row in both], step)
    raise irregular.stray(moments, step, placed)


def _alone(moments: Moments, row: int) -> Step | None:
    """The step of one series, if it has one."""
    alone = moments.of_series(row)
    if len(alone.time) < ROWS:
        return None
    step = moments.own_step(row)
    return step if alone.place(step).on_grid.all() else None


def check_series(
    moments: Moments,
    observed: np.ndarray,
    step: str,
    row_scene: np.ndarray,
    cell_offset: np.ndarray,
    present: np.ndarray,
) -> None:
    """Check that the grid is the step of some series, and warn of series that are far coarser.

    Args:
        moments: of the frame.
        observed: (n,) bool, rows with all targets.
        step: `Clock.step` of the grid.
        row_scene, cell_offset: (R,) scene and first cell of each panel row.
        present: (cells,) bool.

    Raises:
        DataError: if all series step by more than the grid, so that they share no step.
    """
    count = np.add.reduceat(present, cell_offset, dtype=np.int64)
    seen, cells = np.flatnonzero(count), np.flatnonzero(present)
    ends = np.cumsum(count[seen])
    inside = np.ones(len(cells) - 1, dtype=bool)
    inside[ends[:-1] - 1] = False
    gaps, of_row = np.diff(cells)[inside], np.repeat(seen, count[seen] - 1)
    if not len(gaps):
        return
    one, rows_of = gaps == 1, np.bincount(moments.row)
    if moments.table.columns.freq is None and 20 * int(one.sum()) < len(gaps):
        begin = np.zeros(len(count), dtype=np.int64)
        begin[seen] = cells[ends - count[seen]] - cell_offset[seen]
        if not observed.all():
            moments = replace(moments, row=np.where(observed, moments.row, -1))
        _check_shared(moments, Step.parse(step), gaps, of_row, begin, row_scene)
    quiet = (count > ROWS) & (np.bincount(of_row[one], minlength=len(count)) == 0)
    quiet &= rows_of < 2 * count  # rows without targets say that steps are missing
    if quiet.any():
        slow = quiet[of_row]
        _warn_coarse(moments, Step.parse(step), gaps[slow], of_row[slow], len(count))


def _warn_coarse(
    moments: Moments, step: Step, gaps: np.ndarray, of_row: np.ndarray, n_rows: int
) -> None:
    """See `check_series`: no gap of these series is of one step."""
    edge = np.flatnonzero(np.diff(of_row, prepend=-1))
    size, total = np.gcd.reduceat(gaps, edge), np.diff(edge, append=len(gaps))
    coarse = np.flatnonzero(is_evident(size, total, total, EVIDENCE * n_rows))
    if not len(coarse):
        return
    row, k = int(of_row[edge[coarse[0]]]), int(size[coarse[0]])
    more = f" (and {len(coarse) - 1} more series)" if len(coarse) > 1 else ""
    warn_user(
        f"{moments.name_series(row)}{more} is observed in 1 of {k} steps of {step.describe()}: the "
        "others are missing, and all are forecast; resample the series, or fit it apart",
        CoarseSeriesWarning,
    )


def _check_shared(
    moments: Moments,
    step: Step,
    gaps: np.ndarray,
    of_row: np.ndarray,
    begin: np.ndarray,
    row_scene: np.ndarray,
) -> None:
    """See `check_series`: hardly any gap is of one step; `begin` (R,) is each series' first."""
    pairs, counts = np.unique(np.stack([of_row, gaps]), axis=1, return_counts=True)
    order = np.lexsort((-pairs[1], counts, pairs[0]))
    last = np.append(np.diff(pairs[0, order]) > 0, True)
    rows, usual = pairs[:, order][:, last]
    total = np.bincount(of_row, minlength=len(begin))[rows]
    steady = (2 * counts[order][last] >= total) & (total >= 2)
    if (usual[total >= 2] == 1).any() or 2 * steady.sum() <= (total >= 2).sum():
        return  # a series has this step, or most have none: steps are missing here and there
    rows, usual = rows[steady], usual[steady]
    # Each against the first such series of its scene.
    _, start, which = np.unique(row_scene[rows], return_index=True, return_inverse=True)
    first = start[which]
    apart = (begin[rows] - begin[rows[first]]) % usual[first] != 0
    apart |= usual % usual[first] != 0
    if apart.any():
        at = int(np.argmax(apart))
        both = [int(rows[first[at]]), int(rows[at])]
        own = [moments.own_step(row) for row in both]
        raise irregular.two_series(moments, both, own, step)
