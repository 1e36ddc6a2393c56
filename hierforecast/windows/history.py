"""What smoothing knows of a panel: forecasts from every cutoff, and the errors of the steps before.

A model that asks for it (`Model.origin`) is shown how far each value lay from the forecast of the
step before, in units of such errors, and forecasts the horizon in the same way. All of the history
that a frame holds goes into that, not the context alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from hierforecast.distributions import LimitedSinh, Log
from hierforecast.frame import Panel
from hierforecast.frame.step import seasons_of
from hierforecast.frame.vocabulary import Smoothing
from hierforecast.nn.tails import STEEPEST, TAIL
from hierforecast.smoothing import Grid, Smoothed

# Sizes, in median ones, below which demand grows by amounts and above which by factors.
SHIFTS = (0.01, 0.1, 1.0, 10.0, 100.0)
# Series from which such a size is chosen, quantiles that forecasts are compared by.
ROWS, LEVELS = 256, np.arange(1, 10) / 10
# How much further off than the best ones means may be, and forecasts in shares of each series' own
# size; deviations to which means look, and their nodes.
WORSE, FAR, NODES = (1.03, 1.25), 8.0, 33
# Steps by the last of which it is chosen, in the longest season and in all.
PERIODS, RECENT = 10, 1_000
# How far smoothing may go beyond the most that a series has shown, in logarithms.
MOST_ABOVE = math.log(4)
# Bytes that forecasts of training cutoffs may take, and numbers that are smoothed at a time.
MOST, AT_ONCE = 2**30, 2**23
_FAR = 10.0
# Losses and errors, in shares of what they are of, that are rounding.
_LEAST, ROUNDING = 1e-12, 1e-10


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
        self.warp, self._offset = warp_of(learned), panel.cell_offset
        # Results are kept for cells after which anything is forecast.
        self._slot = np.full(len(panel.present), -1)
        scene, step = np.unique(cutoffs, axis=0).T
        rows = np.diff(panel.row_offset)[scene]
        first = np.repeat(panel.row_offset[scene] - np.cumsum(rows) + rows, rows)
        after = panel.cell_offset[first + np.arange(len(first))] + np.repeat(step, rows) - 1
        self._slot[after] = np.arange(len(after))
        shape = len(after), horizon, panel.values.shape[1]
        self._loc, self._unit = np.zeros(shape), np.ones(shape)
        self._naive = np.zeros(shape, dtype=np.float32)
        self._top = np.zeros((len(after), shape[2]))
        self.errors = np.zeros(panel.values.shape)
        for cells, values in _grids(panel, self.warp, horizon):
            for target in range(shape[2]):
                z = values[..., target]
                found = Grid(z, learned.seasons, horizon).smooth(learned.usual(target))
                top = np.fmax.accumulate(z, axis=1)
                if self.warp is not None:  # a trend of logarithms leaves all bounds in a few steps
                    most = np.where(np.isnan(top), np.inf, top + MOST_ABOVE)
                    found = found._replace(loc=np.minimum(found.loc, most[..., None]))
                self.errors[cells[cells >= 0], target] = _errors(z, found)[cells >= 0]
                self._keep(cells, found, top, target)

    def _keep(self, cells: np.ndarray, found: Smoothed, top: np.ndarray, target: int) -> None:
        """Keep what is known after those of some cells (n, T) from which anything is forecast."""
        at = np.nonzero((cells >= 0) & (self._slot[cells] >= 0))
        slot, loc, unit = self._slot[cells[at]], found.loc[at], found.unit[at]
        self._loc[slot, :, target], self._unit[slot, :, target] = loc, unit
        away = np.clip((found.naive[at] - loc) / unit, -_FAR, _FAR)
        self._naive[slot, :, target] = np.nan_to_num(away)
        self._top[slot, target] = top[at]

    def ahead(self, rows: np.ndarray, cutoff: np.ndarray) -> Ahead:
        """What is known of the horizons of rows (P,) after their cutoffs (P,)."""
        slot = self._before(rows, cutoff)
        return Ahead(self._loc[slot], self._unit[slot], self._naive[slot])

    def top(self, rows: np.ndarray, cutoff: np.ndarray) -> np.ndarray:
        """The most that rows (P,) have shown before their cutoffs (P,), as smoothed: (P, 1, D)."""
        return self._top[self._before(rows, cutoff), None]

    def _before(self, rows: np.ndarray, cutoff: np.ndarray) -> np.ndarray:
        slot = self._slot[self._offset[rows] + cutoff - 1]
        assert slot.min(initial=0) >= 0, "a cutoff that this history was not made for"
        return slot


def warp_of(smoothing: Smoothing) -> Log | None:
    """The map between demand and what is smoothed; None where that is the values themselves."""
    if not smoothing.shifts:
        return None
    return Log(0.0, torch.tensor(smoothing.shifts, dtype=torch.float64), 1.0)


def as_smoothed(values: np.ndarray, warp: Log | None) -> np.ndarray:
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
    values = _values(panel, _cells(panel, rows, stop[rows]))
    seen = values[~np.isnan(values).any(-1)]
    if len(seen) and (seen >= 0).all():
        shifts = tuple(_best_shift(values[..., d], seasons, horizon) for d in range(seen.shape[1]))
        plain = replace(plain, shifts=shifts)
    warp = warp_of(plain)
    shown = as_smoothed(values, warp)
    usual = [Grid(shown[..., d], seasons, horizon).usual() for d in range(values.shape[2])]
    return replace(
        plain,
        steps=tuple(each.step for each in usual),
        growth=tuple(tuple(each.growth.tolist()) for each in usual),
        scores=tuple(tuple(each.scores.tolist()) for each in usual),
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
    """The size in `SHIFTS` under which series (n, T) are best forecast in their last third.

    Best by quantiles, of those sizes that are sound. Where most days sell nothing, a small size
    makes each sale a jump of many logs; quantiles are then at their best, and a mean that allows
    for as large a jump upward is beyond all sense. And a large size forgets small series beside
    large ones, which is seen in shares of each series' own size. Of a long history the last steps
    are looked at only.
    """
    values = values[:, -max(PERIODS * max(seasons, default=1), RECENT) :]
    positive = values[values > 0]
    middle = float(np.median(positive)) if len(positive) else 1.0
    losses = []
    for share in SHIFTS:
        warp = Log(0.0, share * middle, 1.0)
        grid = Grid(as_smoothed(values, warp), seasons, horizon)
        losses.append(_losses(values, grid.smooth(grid.usual()), warp))
    each = np.array(losses)  # (shifts, of quantiles and means, by amounts and shares)
    ratio = (each + _LEAST) / (each.min(0) + _LEAST)
    worst = np.maximum(ratio[:, 1, 0] / WORSE[0], ratio[:, :, 1].max(1) / WORSE[1])
    sound = worst <= max(1.0, worst.min())
    return SHIFTS[int(np.argmin(np.where(sound, ratio[:, 0, 0], np.inf)))] * middle


def _losses(values: np.ndarray, found: Smoothed, warp: Log) -> np.ndarray:
    """Of forecasts made in the last third of the steps, whose errors have a head's first tails.

    Returns:
        (2, 2): mean pinball loss of quantiles, as if errors were normal, and mean absolute error of
        means; over all cells, and in shares of each series' own size.
    """
    from scipy.special import ndtri  # late: scipy makes every import slower

    steps, horizon = found.loc.shape[1:]
    loss, count, size = np.zeros((2, len(values))), np.zeros(len(values)), np.zeros(len(values))
    for h in sorted({1, horizon}):
        origins = np.arange(max(steps - max(steps // 3, horizon) - h, 0), steps - h)
        loc, unit = found.loc[:, origins, h - 1], found.unit[:, origins, h - 1]
        truth = values[:, origins + h]
        known = ~np.isnan(truth)
        truth = np.where(known, truth, 0.0)
        count, size = count + known.sum(1), size + truth.sum(1)
        mean = sum(share * _user(loc + unit * x, warp) for x, share in _tailed())
        loss[1] += (np.abs(truth - mean) * known).sum(1)
        for level in LEVELS:
            error = truth - _user(loc + unit * ndtri(level), warp)
            pinball = np.maximum(level * error, (level - 1) * error)
            loss[0] += (pinball * known).sum(1) / len(LEVELS)
    sold = size > 0
    shares = (loss[:, sold] / size[sold]).sum(1) / max(sold.sum(), 1)
    return np.stack([loss.sum(1) / max(count.sum(), 1), shares], axis=1)


@cache
def _tailed() -> list[tuple[float, float]]:
    """Errors of unit deviation with a head's first tails: nodes and weights of a quadrature."""
    x = torch.linspace(-FAR, FAR, NODES, dtype=torch.float64)
    errors = LimitedSinh(0.0, 1.0, math.exp(TAIL), STEEPEST)
    share = torch.softmax(-0.5 * x.square(), 0)
    return list(zip((errors.from_base(x) / errors.deviation).tolist(), share.tolist(), strict=True))


def _user(z: np.ndarray, warp: Log) -> np.ndarray:
    """What is smoothed in the user's numbers."""
    return warp.from_base(torch.from_numpy(z)).numpy()


def residual(z: np.ndarray, loc: np.ndarray) -> np.ndarray:
    """Z less its forecast; none that is rounding, of which a constant series would be made."""
    error = z - loc
    return np.where(np.abs(error) <= ROUNDING * np.abs(z), 0.0, error)


def _errors(z: np.ndarray, found: Smoothed) -> np.ndarray:
    """Errors (n, T) of forecasts of one step, in their units; 0 where there is none."""
    error = np.zeros_like(z)
    error[:, 1:] = residual(z[:, 1:], found.loc[:, :-1, 0]) / found.unit[:, :-1, 0]
    known = (~np.isnan(z)).cumsum(1) > 1
    return np.where(known, np.nan_to_num(error), 0.0)


def _grids(panel: Panel, warp: Log | None, horizon: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cells (n, T) of some rows at a time, -1 before their first, and what is smoothed of them."""
    length = panel.length[panel.row_scene]
    order = np.argsort(length, kind="stable")
    size = max(1, AT_ONCE // (int(length.max(initial=1)) * max(64, horizon)))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        cells = _cells(panel, rows, length[rows])
        yield cells, as_smoothed(_values(panel, cells), warp)


def _cells(panel: Panel, rows: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Cells (n, T) of the steps of rows (n,) before their stops (n,), which stand last; or -1."""
    steps = int(stop.max(initial=0))
    at = np.arange(steps) - (steps - stop[:, None])
    return np.where(at < 0, -1, panel.cell_offset[rows, None] + at)


def _values(panel: Panel, cells: np.ndarray) -> np.ndarray:
    """Values (n, T, D) of cells, NaN where missing."""
    seen = (cells >= 0) & panel.present[cells]
    return np.where(seen[..., None], panel.values[cells], np.nan)
