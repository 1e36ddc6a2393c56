"""Times that are numbers: the even clock on which every series counts distinct steps, if any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Where counting begins: at 0, at the first time of all, or at the first of each scene.
ZERO, FIRST, SCENE = "zero", "first", "scene"
# Of steps: times are exact but for the digits they are written with, or jitter within this.
EXACT, JITTER = 1e-3, 0.45
SOME = 0.5  # share of gaps that are one step


class Even(NamedTuple):
    """A clock of even steps: ``round((time - origin) / period)``.

    Args:
        period: the length of a step, in the unit of the times.
        origin: `ZERO`, `FIRST` or `SCENE`.
        exact: whether the times lie on it but for their last digits.
    """

    period: float
    origin: str
    exact: bool


class Sequences(NamedTuple):
    """Distinct times of series, one series after another.

    Args:
        times: (m,) float64, increasing within a series.
        scene: (m,) codes.
        same: (m-1,) bool, gaps within a series.
    """

    times: np.ndarray
    scene: np.ndarray
    same: np.ndarray

    @classmethod
    def of(cls, times: np.ndarray, series: np.ndarray, scene: np.ndarray) -> Sequences:
        """Sort rows (n,); a time that a series has twice counts once.

        Where each series has one row, all are taken together.
        """
        if len(np.unique(series)) == len(series):
            series = np.zeros_like(series)
        order = np.lexsort((times, series))
        times, series, scene = times[order], series[order], scene[order]
        gaps, same = np.diff(times), np.diff(series) == 0
        # Gaps of rounding errors alone are none.
        tiny = same & (gaps <= 1e-6 * gaps[same].max(initial=0.0))
        kept = np.append(True, ~tiny)
        return cls(times[kept], scene[kept], np.diff(series[kept]) == 0)

    @property
    def gaps(self) -> np.ndarray:
        """Distances (g,) of the times within series."""
        return np.diff(self.times)[self.same]

    def away(self, origin: str) -> np.ndarray:
        """Times (m,) since the origin."""
        if origin == ZERO:
            return self.times
        if origin == FIRST:
            return self.times - self.times.min()
        first = np.full(int(self.scene.max()) + 1, np.inf)
        np.minimum.at(first, self.scene, self.times)
        return self.times - first[self.scene]

    def distance(self, period: float, origin: str, share: float) -> float:
        """How far off whole steps the times are at most, in steps.

        Infinite if a series would have a step twice, more missing steps than its gaps show, or
        less than this share of its steps one after another.
        """
        count = self.away(origin) / period
        whole = np.round(count)
        steps = np.diff(whole)[self.same]
        missing = np.maximum(np.round(self.gaps / period) - 1, 0).sum()
        good = (steps >= 1).all() and (steps - 1).sum() <= missing
        good &= (steps == 1).mean() >= share if len(steps) else True
        return float(np.abs(count - whole).max()) if good else np.inf


def even_clock(times: np.ndarray, series: np.ndarray, scene: np.ndarray) -> Even | None:
    """The clock that counts times (n,) of series and scenes (n,) int codes, or None."""
    rows = Sequences.of(times, series, scene)
    if not rows.same.any():
        return Even(abs(float(times[0])) or 1.0, ZERO, True)
    fitted = list(dict.fromkeys(_periods(rows)))
    near = [_most_common(rows.gaps), *(short for period in fitted for short in _short(period))]
    return _exact(rows, near) or _jittered(rows, fitted)


def counts_evenly(times: np.ndarray, period: float) -> bool:
    """Whether distinct times (k,) that jitter have distinct steps of this period, none left out."""
    one = np.zeros(len(times), dtype=np.int64)
    return Sequences.of(times, one, one).distance(period, ZERO, SOME) <= JITTER


def _most_common(gaps: np.ndarray) -> float:
    usual, counts = np.unique([float(f"{gap:.4g}") for gap in gaps], return_counts=True)
    return float(usual[counts.argmax()])


def _periods(rows: Sequences) -> Iterator[float]:
    """Periods fitted to the times of whole series, of which each gap is a number of steps."""
    gaps, first = np.diff(rows.times), float(rows.times.min())
    series = np.concatenate([[0], np.cumsum(~rows.same)])
    n_rows = np.bincount(series)
    for most in (1.5, 2.5):  # the usual gap may be of one rounded down
        own = gaps[rows.same]
        period = float(own[own < most * np.median(own)].mean())
        for _ in range(2):
            steps = np.where(rows.same, np.maximum(np.round(gaps / period), 1), 0)
            # Least squares, with an intercept for each series.
            count, time = np.concatenate([[0], np.cumsum(steps)]), rows.times - first
            count -= (np.bincount(series, count) / n_rows)[series]
            time = time - (np.bincount(series, time) / n_rows)[series]
            period = float((count * time).sum() / (count**2).sum())
        yield period


def _short(period: float) -> list[float]:
    """The period, the forms a person would write first: so many a second, few digits."""
    rates = (f"{1 / float(f'{1 / period:.{digits}g}'):.6g}" for digits in (2, 3, 4))
    return [*map(float, rates), *(float(f"{period:.{digits}g}") for digits in (4, 6, 12))]


def _exact(rows: Sequences, periods: list[float]) -> Even | None:
    for period in periods:
        for origin in (ZERO, FIRST, SCENE):
            if rows.distance(period, origin, 0.0) < EXACT:
                return Even(period, origin, True)
    return None


def _jittered(rows: Sequences, periods: list[float]) -> Even | None:
    for period in periods:
        for origin in (ZERO, FIRST, SCENE):
            best = rows.distance(period, origin, SOME)
            for short in _short(period) if best <= JITTER else ():
                if rows.distance(short, origin, SOME) <= min(best + 0.02, JITTER):
                    return Even(short, origin, False)
    return None
