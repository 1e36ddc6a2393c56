"""What smoothing knows of a panel: forecasts from every cutoff, and the errors of the steps before.

A model that asks for it (`Model.origin`) is shown how far each value lay from the forecast of the
step before, in units of such errors, and forecasts the horizon in the same way. All of the history
that a frame holds goes into that, not the context alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtri

from hierforecast.distributions.warps import Log
from hierforecast.frame import Panel
from hierforecast.frame.step import seasons_of
from hierforecast.frame.vocabulary import Smoothing
from hierforecast.smoothing import learn_usual, smooth

# Sizes, in median ones, below which demand grows by amounts and above which by factors.
SHIFTS = (0.01, 0.1, 1.0, 10.0, 100.0)
# Series from which such a size is chosen, quantiles that forecasts are compared by.
ROWS, LEVELS = 256, np.arange(1, 10) / 10
# Bytes that forecasts of training cutoffs may take, and numbers that are smoothed at a time.
MOST, AT_ONCE = 2**30, 2**24
_FAR = 10.0


class Ahead(NamedTuple):
    """What smoothing says of the horizon of P rows.

    Attributes:
        loc, unit: (P, H, D) float64 forecasts and the sizes of their errors.
        naive: (P, H, D) the season before in these units, 0 where it is not known.
    """

    loc: np.ndarray
    unit: np.ndarray
    naive: np.ndarray


class History:
    """Smoothed series of a panel whose vocabulary says how.

    Args:
        panel: the data.
        cutoffs: (W, 2) pairs (scene, step) from which anything is forecast.
        horizon: H.

    Attributes:
        errors: (cells, D) float64 errors of forecasts one step before, in units of such errors; 0
            where there is none.
    """

    def __init__(self, panel: Panel, cutoffs: np.ndarray, horizon: int) -> None:
        learned = panel.vocabulary.smoothing
        assert learned is not None
        self.warp = warp_of(learned)
        pairs = np.unique(cutoffs, axis=0)
        count = np.bincount(pairs[:, 0], minlength=len(panel.length))
        first = np.cumsum(count) - count
        # Where each scene's cutoffs stand in its rows' results.
        self._begin = np.cumsum(panel.length + 1) - (panel.length + 1)
        self._place = np.zeros(int((panel.length + 1).sum()), dtype=np.int64)
        self._place[self._begin[pairs[:, 0]] + pairs[:, 1]] = (
            np.arange(len(pairs)) - first[pairs[:, 0]]
        )
        per_row = count[panel.row_scene]
        self._row = np.cumsum(per_row) - per_row
        shape = int(per_row.sum()), horizon, panel.values.shape[1]
        self._loc, self._unit = np.zeros(shape), np.ones(shape)
        self._naive = np.zeros(shape, dtype=np.float32)
        self.errors = np.zeros(panel.values.shape)
        self._scene = panel.row_scene
        for rows, values in _grids(panel, learned, horizon):
            steps = values.shape[1]
            shift = steps - panel.length[panel.row_scene[rows]]  # they end together
            own = np.repeat(np.arange(len(rows)), per_row[rows])
            within = np.arange(len(own)) - np.repeat(
                np.cumsum(per_row[rows]) - per_row[rows], per_row[rows]
            )
            cutoff = pairs[first[panel.row_scene[rows]][own] + within, 1]
            slot, column = self._row[rows][own] + within, cutoff - 1 + shift[own]
            for target in range(values.shape[2]):
                z = values[..., target]
                usual = learned.usual(target)
                found = smooth(z, learned.seasons, horizon, usual)
                loc, unit = found.loc[own, column], found.unit[own, column]
                self._loc[slot, :, target], self._unit[slot, :, target] = loc, unit
                away = np.clip((found.naive[own, column] - loc) / unit, -_FAR, _FAR)
                self._naive[slot, :, target] = np.nan_to_num(away)
                self._keep(panel, rows, shift, z, found.loc[..., 0], found.unit[..., 0], target)

    def _keep(
        self,
        panel: Panel,
        rows: np.ndarray,
        shift: np.ndarray,
        z: np.ndarray,
        loc: np.ndarray,
        unit: np.ndarray,
        target: int,
    ) -> None:
        """Put the errors of one step ahead into the cells of rows."""
        error = np.zeros_like(z)
        error[:, 1:] = (z[:, 1:] - loc[:, :-1]) / unit[:, :-1]
        before = (~np.isnan(z)).cumsum(1) > 1
        error = np.where(before, np.nan_to_num(error), 0.0)
        row, column = np.nonzero(np.arange(z.shape[1]) >= shift[:, None])
        cells = panel.cell_offset[rows][row] + column - shift[row]
        self.errors[cells, target] = error[row, column]

    def ahead(self, rows: np.ndarray, cutoff: np.ndarray) -> Ahead:
        """What is known of the horizons of rows (P,) after their cutoffs (P,)."""
        slot = self._row[rows] + self._place[self._begin[self._scene[rows]] + cutoff]
        return Ahead(self._loc[slot], self._unit[slot], self._naive[slot])


def warp_of(smoothing: Smoothing) -> Log | None:
    """The map between demand and what is smoothed; None where that is the values themselves."""
    if not smoothing.shifts:
        return None
    return Log(0.0, torch.tensor(smoothing.shifts, dtype=torch.float64), 1.0)


def show(values: np.ndarray, warp: Log | None) -> np.ndarray:
    """Values (..., D) as they are smoothed; NaN stays NaN."""
    if warp is None:
        return values
    shown = warp.to_base(torch.from_numpy(values)).numpy()
    return np.where(np.isnan(values), np.nan, shown)


def learn_smoothing(panel: Panel, end: np.ndarray, horizon: int) -> Smoothing:
    """How to smooth a panel's series: their seasons, usual errors, and what demand is shown as.

    Targets that are never negative are shown as their logarithm beyond a size, and below it as
    they are; that size is the one under which smoothing alone has the lowest CRPS.

    Args:
        panel: the training frame.
        end: (S,) only the first so many steps of each scene are looked at.
        horizon: H.
    """
    seasons = seasons_of(panel.clock.step, panel.columns.season)
    plain = Smoothing(seasons)
    stop = np.minimum(end, panel.length)[panel.row_scene]
    rows = np.unique(np.linspace(0, len(stop) - 1, ROWS).round().astype(int))
    values = _grid(panel, rows, int(stop[rows].max()), stop[rows])
    seen = values[~np.isnan(values).any(-1)]
    if len(seen) and (seen >= 0).all():
        shifts = tuple(_best_shift(values[..., d], seasons, horizon) for d in range(seen.shape[1]))
        plain = replace(plain, shifts=shifts)
    warp = warp_of(plain)
    shown = show(values, warp)
    usual = [learn_usual(shown[..., d], seasons, horizon) for d in range(values.shape[2])]
    return replace(
        plain,
        steps=tuple(each.step for each in usual),
        growth=tuple(tuple(each.growth.tolist()) for each in usual),
    )


def thin(panel: Panel, cutoffs: np.ndarray, horizon: int) -> np.ndarray:
    """Training cutoffs (W, 2), every n-th if they are too many for the memory."""
    rows = np.diff(panel.row_offset)[cutoffs[:, 0]].sum()
    bytes_each = horizon * panel.values.shape[1] * 20
    return cutoffs[:: max(1, -(-int(rows) * bytes_each // MOST))]


def settled(panel: Panel, cutoffs: np.ndarray, seasons: tuple[int, ...]) -> np.ndarray:
    """Training cutoffs (W, 2) before which two seasons lie, or a third of the scene if it is short.

    Smoothing has learned little before, which is no lesson for later.
    """
    last = np.zeros(len(panel.length), dtype=np.int64)
    np.maximum.at(last, cutoffs[:, 0], cutoffs[:, 1])
    steps = (last - panel.begin)[cutoffs[:, 0]]
    late = cutoffs[:, 1] - panel.begin[cutoffs[:, 0]] >= np.minimum(
        2 * max(seasons, default=1), steps // 3
    )
    return cutoffs[late]


def _best_shift(values: np.ndarray, seasons: tuple[int, ...], horizon: int) -> float:
    """The size in `SHIFTS` under which series (n, T) are best forecast in their last third."""
    positive = values[values > 0]
    middle = float(np.median(positive)) if len(positive) else 1.0
    scores = []
    for share in SHIFTS:
        warp = Log(0.0, share * middle, 1.0)
        z = show(values, warp)
        found = smooth(z, seasons, horizon, learn_usual(z, seasons, horizon))
        scores.append(_pinball(values, found.loc, found.unit, warp))
    return SHIFTS[int(np.argmin(scores))] * middle


def _pinball(values: np.ndarray, loc: np.ndarray, unit: np.ndarray, warp: Log) -> float:
    """Mean pinball loss of normal forecasts made in the last third of the steps."""
    total, count = 0.0, 0
    steps, horizon = loc.shape[1:]
    for h in sorted({1, horizon}):
        origins = np.arange(max(steps - max(steps // 3, horizon) - h, 0), steps - h)
        truth = values[:, origins + h]
        known = ~np.isnan(truth)
        for level in LEVELS:
            z = loc[:, origins, h - 1] + unit[:, origins, h - 1] * ndtri(level)
            error = truth - warp.from_base(torch.from_numpy(z)).numpy()
            loss = np.maximum(level * error, (level - 1) * error)
            total, count = total + float(loss[known].sum()), count + int(known.sum())
    return total / max(count, 1)


def _grids(
    panel: Panel, smoothing: Smoothing, horizon: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows (n,), some at a time, and what is smoothed of them (n, T, D), NaN where missing."""
    warp, length = warp_of(smoothing), panel.length[panel.row_scene]
    order = np.argsort(length, kind="stable")
    size = max(1, AT_ONCE // (int(length.max(initial=1)) * max(64, horizon)))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        values = _grid(panel, rows, int(length[rows].max()), length[rows])
        yield rows, show(values, warp)


def _grid(panel: Panel, rows: np.ndarray, steps: int, stop: np.ndarray) -> np.ndarray:
    """Values (n, T, D) of the steps of rows (n,) before their stops (n,), which stand last."""
    at = np.arange(steps) - (steps - stop[:, None])
    cells = panel.cell_offset[rows, None] + np.maximum(at, 0)
    seen = (at >= 0) & panel.present[cells]
    return np.where(seen[..., None], panel.values[cells], np.nan)
