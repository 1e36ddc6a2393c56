"""Exponential smoothing of many series at once, over a grid of settings averaged by their errors.

The recursions are those of Holt and Winters in error-correction form, with a damped trend (Hyndman,
Koehler, Ord, Snyder, "Forecasting with Exponential Smoothing", 2008, section 2.5). Nothing is
optimized: every setting runs along the whole history, and at each step they are averaged by how
well they have forecast until then. What is known after a step depends on no later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

# The grid: gains of level, trend and season, and what is left of a trend after a step.
LEVEL, TREND, DAMPED = (0.05, 0.15, 0.35, 0.7, 1.0), (0.0, 0.1), 0.9
SEASON = (0.05, 0.2, 0.5)
# And for the longest season: its last cycle as it was. Of a shorter one (hours, where weeks are
# known) the last says too little.
WHOLE = 1.0
# Steps, or seasons if they are longer, after which an error counts 1/e.
STEPS, SEASONS = 50, 2
# So many errors of usual size are mixed into a series' own; forecasts that settings are chosen by;
# what settings do for other series counts as so many errors of a series' own.
PRIOR, LOOKED_AT, ALIKE = 2.0, 4, 20.0
_TINY, _ALL_ALIKE = 1e-12, np.zeros(1)


class Usual(NamedTuple):
    """What a series without a history of its own is taken to do.

    Attributes:
        step: root mean square of a change from one step to the next.
        growth: (H,) root mean square errors of forecasts, in such changes.
        scores: (G,) of each setting, the log of its mean squared error against other settings'.
    """

    step: float
    growth: np.ndarray
    scores: np.ndarray = _ALL_ALIKE


class Smoothed(NamedTuple):
    """What is known of n series after each of T steps.

    Attributes:
        loc: (n, T, H) forecasts of the next H steps.
        unit: (n, T, H) root mean square errors of such forecasts until then, positive.
        naive: (n, T, H) the season before, the longest if there are several; NaN where it is not
            known.
    """

    loc: np.ndarray
    unit: np.ndarray
    naive: np.ndarray


class Grid:
    """All settings along the histories of series, and how well each has forecast until every step.

    Args:
        values: (n, T) float64, NaN where missing; a series begins with its first number.
        seasons: steps of each season; none for series without one.
        horizon: H.
    """

    def __init__(self, values: np.ndarray, seasons: Sequence[int], horizon: int) -> None:
        self._z = np.ascontiguousarray(values.T)
        self._horizon, self._longest = horizon, max(seasons, default=1)
        self._decay = float(np.exp(-1 / max(STEPS, SEASONS * self._longest)))
        self._runs = [_Run(self._z, season, gains) for season, gains in _gains(seasons).items()]
        self._logs, self._number = _scores(self._z, self._runs, horizon, self._decay)

    def smooth(self, usual: Usual) -> Smoothed:
        """Smooth the series; `usual` is mixed into settings and units of those of short history."""
        loc, unit = self._forecast(usual)
        steps = range(1, self._horizon + 1)
        naive = np.stack([_earlier(self._z, h, self._longest) for h in steps], axis=-1)
        return Smoothed(*(np.moveaxis(x, 1, 0) for x in (loc, unit, naive)))

    def usual(self) -> Usual:
        """What the series usually do: medians over those that do something."""
        step, growth = _typical(_changes(self._z, 0.0)[-1]) or 1.0, np.ones(self._horizon)
        last = np.concatenate([each[-1] for each in self._logs], axis=-1)
        seen = (~np.isnan(self._z)).sum(0) > 2
        if not seen.any():
            return Usual(step, growth, np.zeros(last.shape[-1]))
        scores = np.median(last[seen] - last[seen].mean(-1, keepdims=True), axis=0)
        scores *= min(1.0, seen.sum() / ALIKE)  # a few series say little of others
        _, unit = self._forecast(Usual(step, growth, scores))
        size = np.sqrt(_changes(self._z, step)[-1])[:, None]
        return Usual(step, np.median(unit[-1, seen] / size[seen], axis=0), scores)

    def _forecast(self, usual: Usual) -> tuple[np.ndarray, np.ndarray]:
        """Forecasts (T, n, H) after each step, and the root mean squares of their errors."""
        pairs = zip(_shares(self._logs, self._number, usual), self._runs, strict=True)
        loc: Any = sum(run.mean_ahead(share, self._horizon) for share, run in pairs)
        return loc, _units(self._z, loc, self._decay, usual)


def n_settings(seasons: Sequence[int]) -> int:
    """How many settings there are: G of `Usual`."""
    return len(LEVEL) * len(TREND) * sum(map(len, _gains(seasons).values()))


def _gains(seasons: Sequence[int]) -> dict[int, tuple[float, ...]]:
    """Seasonal gains of the runs of each season, 1 being none."""
    longest = max(seasons, default=0)
    return {1: (0.0,)} | {s: (*SEASON, WHOLE) if s == longest else SEASON for s in seasons}


class _Run:
    """The settings of one season (1: none) along the whole history of series z (T, n).

    In its first season a series has the mean until then as its level; then its deviations from that
    are its first seasonal values.

    Attributes:
        level, trend, cycle: (T, n, G) after each step, the seasonal value being that of the step.
        ready: (T, n) 1.0 where a whole season has been seen, or 0.0.
    """

    def __init__(self, z: np.ndarray, season: int, gains: Sequence[float]) -> None:
        self.season = season
        alpha, beta, gamma = np.array(list(product(LEVEL, TREND, gains))).T
        (steps, n), size = z.shape, len(alpha)
        seen = ~np.isnan(z)
        age = (seen.cumsum(0) > 0).cumsum(0)
        ready = age >= season if season > 1 else np.zeros(z.shape, dtype=bool)
        young, count = ~ready & (season > 1), seen.cumsum(0)
        self.ready = ready.astype(float)
        # Columns beside the settings: what a step brings, and which gains are at work.
        value, known = np.nan_to_num(z)[..., None], seen[..., None].astype(float)
        old, steady = (x[..., None].astype(float) for x in (~young, ~young & (count > 2)))
        least, first = 1 / np.maximum(count, 1)[..., None], age == season
        begins = first.any(1) & (season > 1)
        level, trend, cycle = (np.zeros((m, n, size)) for m in (1, 1, min(season, steps)))
        level, trend = level[0], trend[0]
        self.level, self.trend, self.cycle = (np.empty((steps, n, size)) for _ in range(3))
        for t in range(steps):
            phase = t % season
            carried, trend = level + DAMPED * trend, DAMPED * trend
            error = (value[t] - carried - cycle[phase]) * known[t]
            gain = np.maximum(old[t] * alpha, least[t])
            level = carried + gain * error
            trend += steady[t] * (alpha * beta) * error
            cycle[phase] += old[t] * (gamma * (1 - gain)) * error
            if begins[t]:
                self._begin(z, t, first[t], cycle)
            self.level[t], self.trend[t], self.cycle[t] = level, trend, cycle[phase]

    def _begin(self, z: np.ndarray, t: int, here: np.ndarray, cycle: np.ndarray) -> None:
        """Give series (n,) whose first season is complete their first seasonal values."""
        first = z[t - self.season + 1 : t + 1, here]
        away = np.nan_to_num(first - np.nanmean(first, axis=0))
        for back in range(self.season):
            then = t - back
            cycle[then % self.season, here] = away[self.season - 1 - back][:, None]
            self.cycle[then, here] = away[self.season - 1 - back][:, None]

    def ahead(self, h: int) -> np.ndarray:
        """Forecasts (T, n, G) of the step h after each."""
        found = _carried(h) * self.trend
        found += self.level
        if self.season > 1:
            now, then = _seasons_apart(len(found), h, self.season)
            found[now] += self.cycle[then] * self.ready[now][..., None]
        return found

    def mean_ahead(self, share: np.ndarray, horizon: int) -> np.ndarray:
        """Forecasts (T, n, H) under weights (T, n, G) of the settings."""
        level, trend = (np.einsum("tng,tng->tn", share, x) for x in (self.level, self.trend))
        found = level[..., None] + trend[..., None] * _carried(np.arange(1, horizon + 1))
        # Steps that are whole seasons apart share their seasonal value.
        for h in range(1, min(self.season, horizon) + 1) if self.season > 1 else ():
            now, then = _seasons_apart(len(found), h, self.season)
            cycle = np.einsum("tng,tng->tn", share[now], self.cycle[then])
            found[now, :, h - 1 :: self.season] += (self.ready[now] * cycle)[..., None]
        return found


def _carried(h: Any) -> Any:
    """How many times a damped trend has been added h steps ahead."""
    return DAMPED * (1 - DAMPED**h) / (1 - DAMPED)


def _seasons_apart(steps: int, h: int, season: int) -> tuple[slice, slice]:
    """Steps, and for each the last one up to it that is whole seasons before the one h ahead."""
    back = season * -(-h // season) - h
    return slice(back, None), slice(max(steps - back, 0))


def _earlier(z: np.ndarray, h: int, season: int) -> np.ndarray:
    """The value (T, n) a season before the step h after each; NaN where there is none."""
    found, (now, then) = np.full_like(z, np.nan), _seasons_apart(len(z), h, season)
    found[now] = z[then]
    return found


def _scores(
    z: np.ndarray, runs: list[_Run], horizon: int, decay: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Log of the mean squared error of each run's settings after each step (T, n, G).

    And how many errors that is a mean of: (T, n, 1).
    """
    ahead = np.unique(np.linspace(1, horizon, LOOKED_AT).round().astype(int))
    known = [_known(z, h) for h in ahead]
    count = _faded(np.sum(known, axis=0), decay)[..., None]
    logs = []
    for run in runs:
        square = np.zeros_like(run.level)
        for here, h in zip(known, ahead, strict=True):
            square += _errors(z, run.ahead(h), here, h)
        logs.append(np.log(_faded(square, decay) / np.maximum(count, 1) + _TINY))
    return logs, count / len(ahead)


def _shares(logs: list[np.ndarray], number: np.ndarray, usual: Usual) -> list[np.ndarray]:
    """Weights of the settings (T, n, G) of each run after each step; they sum to one.

    As of normal errors of unknown variance: the likelihood of a setting is its mean squared error
    to the power of minus half the number of errors, those of other series included.
    """
    counts = np.cumsum([each.shape[-1] for each in logs])
    others = np.split(np.broadcast_to(usual.scores, counts[-1]), counts[:-1])
    scores = [-0.5 * (number * x + ALIKE * y) for x, y in zip(logs, others, strict=True)]
    most = np.max([score.max(-1) for score in scores], axis=0)[..., None]
    shares = [np.exp(score - most) for score in scores]
    whole = sum(share.sum(-1, keepdims=True) for share in shares)
    return [share / whole for share in shares]


def _units(z: np.ndarray, loc: np.ndarray, decay: float, usual: Usual) -> np.ndarray:
    """Root mean square errors (T, n, H) of forecasts until each step, see `Smoothed`."""
    horizon = loc.shape[-1]
    size = _changes(z, usual.step)[..., None] * usual.growth**2
    square = np.empty_like(loc)
    for h in range(1, horizon + 1):
        known = _known(z, h)
        total = _faded(_errors(z, loc[..., h - 1, None], known, h)[..., 0], decay)
        square[..., h - 1] = (total + PRIOR * size[..., h - 1]) / (_faded(known, decay) + PRIOR)
    # What was last seen k steps ago is forecast h + k steps ahead.
    steps = np.arange(len(z))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(z), -1, steps), axis=0)
    late = np.arange(horizon) + np.where(last < 0, 0, steps - last)[..., None]
    return np.sqrt(np.take_along_axis(square, np.minimum(late, horizon - 1), axis=-1))


def _known(z: np.ndarray, h: int) -> np.ndarray:
    """Whether there is an error (T, n) of a forecast made h steps before, past one value."""
    earlier = np.zeros(z.shape, dtype=bool)
    earlier[h:] = ((~np.isnan(z)).cumsum(0) > 1)[:-h]
    return earlier & ~np.isnan(z)


def _errors(z: np.ndarray, ahead: np.ndarray, known: np.ndarray, h: int) -> np.ndarray:
    """Squared errors (T, n, G) of forecasts made h steps before; 0 where there is none."""
    square = np.zeros_like(ahead)
    late = square[h:]  # in place: of many series each copy takes longer than the arithmetic
    np.subtract(np.nan_to_num(z[h:, :, None]), ahead[:-h], out=late)
    np.square(late, out=late)
    late *= known[h:, :, None]
    return square


def _changes(z: np.ndarray, usual: float) -> np.ndarray:
    """Mean squares (T, n) of the changes of values z (T, n) until then, and one of usual size."""
    change = np.diff(z, axis=0, prepend=z[:1])
    seen = ~np.isnan(change)
    seen[0] = False
    total = np.where(seen, change, 0.0) ** 2
    return (total.cumsum(0) + usual**2) / np.maximum(seen.cumsum(0) + (usual > 0), 1)


def _faded(x: np.ndarray, decay: float) -> np.ndarray:
    """Sums (T, ...) of all until each step, each step before counting `decay` times less."""
    from scipy.signal import lfilter  # late: takes half as long to load as torch

    return np.asarray(lfilter([1.0], [1.0, -decay], x.astype(np.float64, copy=False), axis=0))


def _typical(square: np.ndarray) -> float:
    """The median root of those that are not zero; 0 if there is none."""
    shown = np.sqrt(square[square > 0])
    return float(np.median(shown)) if len(shown) else 0.0
