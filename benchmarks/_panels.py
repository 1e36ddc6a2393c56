"""Panels of demand without a hierarchy: the data, their windows, and scores of quantiles."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit, ndtri

from hierforecast import Columns, Forecaster
from hierforecast.datasets import load_m5_sample, load_pjm, load_walmart

COLUMNS = Columns(group=None)
PANELS = {"Walmart": load_walmart, "PJM": load_pjm, "M5": load_m5_sample}
# Horizon, season, cutoffs and the steps between them; of PJM so that horizons start at all hours.
SIZES = {"Walmart": (8, 52, 10, 3), "PJM": (24, 24, 15, 24 + 7), "M5": (28, 7, 8, 28)}
# Of every cell: hundredths for CRPS and intervals, and far into both tails for probabilities.
EVEN = np.arange(1, 100) / 100
LEVELS = np.unique(np.concatenate([EVEN, [0.05, 0.95], expit(np.linspace(-14, 14, 141))]))
SMALLEST = 1e-7


@dataclass(frozen=True, eq=False)
class Windows:
    """A panel and where it is forecast.

    Args:
        frame: ``unique_id, ds, y``, complete.
        horizon: steps forecast.
        season: steps of a season.
        count: cutoffs, the last a horizon before the end of the frame.
        stride: steps between them.
    """

    frame: pd.DataFrame
    horizon: int
    season: int
    count: int
    stride: int

    @property
    def steps(self) -> int:
        """Of every series."""
        return self.frame["ds"].nunique()

    @property
    def series(self) -> tuple[str, ...]:
        """The ids."""
        return tuple(sorted(self.frame["unique_id"].unique()))

    @property
    def cutoffs(self) -> list[int]:
        """Steps at which horizons start, ascending."""
        last = self.steps - self.horizon
        return [last - self.stride * back for back in range(self.count)][::-1]

    @property
    def train(self) -> pd.DataFrame:
        """All that lies before the first horizon."""
        return self.until(self.cutoffs[0])

    def until(self, step: int) -> pd.DataFrame:
        """The first steps of the frame."""
        times = np.sort(self.frame["ds"].unique())
        return self.frame[self.frame["ds"] <= times[step - 1]]

    def before(self) -> Windows:
        """As many windows of the same kind, whose last horizon ends where the first starts."""
        return Windows(self.train, self.horizon, self.season, self.count, self.stride)

    def last(self) -> Windows:
        """The last window alone."""
        return Windows(self.frame, self.horizon, self.season, 1, self.stride)

    def values(self) -> np.ndarray:
        """The numbers (n, steps) in the order of `series`."""
        wide = self.frame.pivot(index="unique_id", columns="ds", values="y")
        return wide.loc[list(self.series)].to_numpy(np.float64)


@functools.cache
def windows_of(name: str) -> Windows:
    """A panel by its name in `PANELS`, and the windows that it is tested on."""
    wide = PANELS[name]().set_index(["unique_id", "ds"])["y"].unstack(fill_value=0.0)
    return Windows(wide.stack().rename("y").reset_index(), *SIZES[name])


@dataclass(frozen=True, eq=False)
class Found:
    """Forecasts of N cells.

    Args:
        truth: (N,).
        point: (N,).
        quantiles: (len(LEVELS), N).
    """

    truth: np.ndarray
    point: np.ndarray
    quantiles: np.ndarray

    @classmethod
    def of(cls, forecaster: Forecaster, windows: Windows) -> Found:
        """What a fitted forecaster answers after every cutoff."""
        table = forecaster.backtest(
            windows.frame, n_windows=windows.count, stride=windows.stride, quantiles=list(LEVELS)
        )
        name = type(forecaster.model).__name__
        quantiles = table[[f"{name}-q-{100 * level:.10g}" for level in LEVELS]].to_numpy().T
        return cls(table["y"].to_numpy(), table[name].to_numpy(), quantiles)

    @classmethod
    def normal(cls, mean: np.ndarray, scale: np.ndarray, windows: Windows) -> Found:
        """Normal cells: mean and scale (cutoffs, n, h)."""
        values, steps = windows.values(), np.arange(windows.horizon)
        truth = np.stack([values[:, cutoff + steps] for cutoff in windows.cutoffs]).reshape(-1)
        quantiles = mean.reshape(-1) + ndtri(LEVELS)[:, None] * scale.reshape(-1)
        return cls(truth, mean.reshape(-1), quantiles)

    def at(self, level: float) -> np.ndarray:
        """The quantile (N,) of one of the levels."""
        return self.quantiles[np.abs(LEVELS - level).argmin()]

    def scores(self) -> dict[str, float]:
        """Means over all cells, by name."""
        level = EVEN[:, None]
        error = self.truth - np.stack([self.at(each) for each in EVEN])
        pinball = np.maximum(level * error, (level - 1) * error)
        low, high = self.at(0.05), self.at(0.95)
        return {
            "MAE": float(np.abs(self.truth - self.point).mean()),
            "CRPS": float(2 * pinball.mean()),
            "coverage": float(((low <= self.truth) & (self.truth <= high)).mean()),
            "below zero": float((low < 0).mean()),
        }

    def nats(self) -> float:
        """Negative log probability of whole numbers, mean over all cells.

        Of a continuous distribution the probability of y is that of [y - 1/2, y + 1/2], and what
        lies below zero counts as zero.
        """
        above = self._below(self.truth + 0.5)
        under = np.where(self.truth > 0, self._below(self.truth - 0.5), 0.0)
        return float(-np.log(np.maximum(above - under, SMALLEST)).mean())

    def _below(self, x: np.ndarray) -> np.ndarray:
        """Probability (N,) of at most x, interpolated between the quantiles in logits."""
        odds = logit(LEVELS)
        cells = zip(x, self.quantiles.T, strict=True)
        return expit(np.array([np.interp(at, quantiles, odds) for at, quantiles in cells]))
