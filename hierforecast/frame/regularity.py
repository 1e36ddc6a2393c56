"""Checks of a frame's times against a step: that of the fit, a stated one, or one found in them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from hierforecast.errors import CoarseSeriesWarning
from hierforecast.frame import irregular
from hierforecast.frame.infer import infer_months, most_common
from hierforecast.frame.step import DAY, Step, split_days

if TYPE_CHECKING:
    from hierforecast.frame.timeline import Moments, Placed

# Gaps that are all multiples of k are no accident if they have this much against them: where steps
# are missing at random, about one gap in k is a multiple of k.
EVIDENCE = 500
# A series of so many rows shows its step.
ROWS = 4


def check_stated(moments: Moments, step: Step, placed: Placed) -> None:
    """Check that all times lie on the grid that `Columns` states, and fill it.

    Raises:
        DataError: if one does not, or if they step by far more.
    """
    off = np.flatnonzero(~placed.on_grid)
    if len(off):
        own = moments.infer() if 2 * len(off) >= len(placed.on_grid) else None
        raise irregular.off_stated(moments, step, off, own)
    found = coarser(moments, step, placed)
    if found is not None:
        raise irregular.other_step(moments, found[1], step, found[0], stated=True)


def check_fitted(moments: Moments, step: Step, placed: Placed, context: int | None) -> None:
    """Check that the times step as those of the fit did.

    Raises:
        DataError: if they do not, with what they do and how much of the context is observed.
    """
    found = None
    if placed.on_grid.all():
        found = coarser(moments, step, placed)
        if found is not None:
            raise irregular.other_step(moments, found[1], step, found[0], context)
        return
    own = moments.infer()
    regular = moments.place(own).on_grid.all() and moments.same.sum() >= 2
    if regular and (own.length != step.length or own.kind == step.kind == "M"):
        raise irregular.other_step(moments, own, step)
    raise irregular.stray(moments, step, placed)


def coarser(moments: Moments, step: Step, placed: Placed) -> tuple[int, Step] | None:
    """How many steps the times go at once, if that is evident, and their own step."""
    gaps = np.diff(placed.steps)[moments.same]
    usual = usual_stride(moments, placed)
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


def usual_stride(moments: Moments, placed: Placed) -> int:
    """How many steps the times go at once: 1 unless more is evident."""
    gaps = np.diff(placed.steps)[moments.same]
    if len(gaps) < 2:
        return 1
    usual = most_common(gaps)
    fits = int((gaps % usual == 0).sum())
    evident = usual > 1 and _evident(usual, fits, len(gaps))
    return usual if evident and not _some_series_fills(moments, placed) else 1


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


def check_series(
    moments: Moments,
    step: Step,
    row_scene: np.ndarray,
    cell_offset: np.ndarray,
    present: np.ndarray,
    cell: np.ndarray,
) -> None:
    """Check that the grid is the step of some series, and warn of series that are far coarser.

    Args:
        moments: of the frame.
        step: one step of the grid.
        row_scene, cell_offset: (R,) scene and first cell of each panel row.
        present: (cells,) bool.
        cell: (n,) of each row of the frame.

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
    one = gaps == 1
    if moments.table.columns.freq is None and 20 * int(one.sum()) < len(gaps):
        begin = np.zeros(len(count), dtype=np.int64)
        begin[seen] = cells[ends - count[seen]] - cell_offset[seen]
        observed = moments.observed(present[cell])
        _check_shared(observed, step, gaps, of_row, begin, row_scene)
    quiet = (count > ROWS) & (np.bincount(of_row[one], minlength=len(count)) == 0)
    quiet &= np.bincount(moments.row) < 2 * count  # rows without targets say that steps are missing
    if quiet.any():
        _warn_coarse(moments, step, gaps[quiet[of_row]], of_row[quiet[of_row]], len(count))


def _warn_coarse(
    moments: Moments, step: Step, gaps: np.ndarray, of_row: np.ndarray, n_rows: int
) -> None:
    """See `check_series`: no gap of these series is of one step."""
    edge = np.flatnonzero(np.diff(of_row, prepend=-1))
    size, total = np.gcd.reduceat(gaps, edge), np.diff(edge, append=len(gaps))
    coarse = np.flatnonzero(_evident(size, total, total, EVIDENCE * n_rows))
    if not len(coarse):
        return
    row, k = int(of_row[edge[coarse[0]]]), int(size[coarse[0]])
    more = f" (and {len(coarse) - 1} more series)" if len(coarse) > 1 else ""
    warnings.warn(
        f"{moments.name_series(row)}{more} is observed in 1 of {k} steps of {step.describe()}: the "
        "others are missing, and all are forecast; resample the series, or fit it apart",
        CoarseSeriesWarning,
        stacklevel=5,
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
        own = [moments.infer(moments.series(row)) for row in both]
        raise irregular.two_series(moments, both, own, step)


def _alone(moments: Moments, row: int) -> Step | None:
    """The step of one series, if it has one."""
    among = moments.series(row)
    if len(among) < ROWS:
        return None
    step = moments.infer(among)
    return step if moments.place(step, among).on_grid.all() else None


def _some_series_fills(moments: Moments, placed: Placed) -> bool:
    """Whether at least half of the gaps of some series are of one step."""
    order = np.lexsort((moments.of_row, moments.row))
    row, steps = moments.row[order], placed.steps[moments.of_row[order]]
    same = row[1:] == row[:-1]
    one = np.bincount(row[1:][same & (np.diff(steps) == 1)], minlength=row[-1] + 1)
    return bool(((one >= ROWS - 1) & (2 * one >= np.bincount(row) - 1)).any())


def _evident(k: Any, fits: Any, total: Any, enough: int = EVIDENCE) -> Any:
    """Whether it is no accident that so many of all gaps are multiples of k."""
    return np.log(k) * (fits - 3 * (total - fits)) >= np.log(enough)
