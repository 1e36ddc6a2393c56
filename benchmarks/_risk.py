"""Scores of joint distributions of returns: tickers, the market as one vector, portfolios."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks._volatility import Recursion
from hierforecast import Forecaster
from hierforecast.distributions import SceneDistribution
from hierforecast.metrics import Evaluation
from hierforecast.metrics.probabilistic import crps, energy_score

HORIZONS = (1, 5, 20)
LEVELS = (50, 80, 90)
CONTEXT, SAMPLES = 60, 200
PAIRED = 100  # samples for the energy score, whose time grows with their square


@dataclass(frozen=True)
class Market:
    """Returns as a matrix.

    Args:
        values: (T, N) daily log returns in percent, NaN where missing.
        dates: (T,).
        tickers: (N,).
        sectors: (N,) sector of each ticker.
    """

    values: np.ndarray
    dates: pd.DatetimeIndex
    tickers: np.ndarray
    sectors: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Market:
        """From a frame of sessions: ds, date, unique_id, sector, y."""
        wide = frame.pivot(index="date", columns="unique_id", values="y").sort_index()
        sector = frame.drop_duplicates("unique_id").set_index("unique_id")["sector"]
        names = wide.columns.to_numpy()
        return cls(wide.to_numpy(), pd.DatetimeIndex(wide.index), names, sector[names].to_numpy())

    def thin(self, every: int) -> Market:
        """Every n-th ticker, for cheap looks."""
        kept = slice(None, None, every)
        return Market(self.values[:, kept], self.dates, self.tickers[kept], self.sectors[kept])

    def long(self, start: int, stop: int, rows: np.ndarray | None = None) -> pd.DataFrame:
        """The frame of some days, and of some tickers."""
        rows = np.arange(len(self.tickers)) if rows is None else rows
        day, ticker = np.nonzero(~np.isnan(self.values[start:stop][:, rows]))
        ticker = rows[ticker]
        return pd.DataFrame(
            {
                "ds": day + start,
                "unique_id": self.tickers[ticker],
                "sector": self.sectors[ticker],
                "y": self.values[day + start, ticker],
            }
        )

    def cutoffs(self, start: str, stop: str, stride: int) -> range:
        """Days before which a forecast is made: all of its days lie in [start, stop)."""
        first, last = self.dates.searchsorted(pd.DatetimeIndex([start, stop]))
        return range(int(first), int(last) - max(HORIZONS) + 1, stride)

    def present(self, cutoff: int) -> np.ndarray:
        """Tickers with a return in the context."""
        return np.flatnonzero((~np.isnan(self.values[cutoff - CONTEXT : cutoff])).any(0))


@dataclass(frozen=True)
class OfNetwork:
    """A fitted network's distribution of the next H days of some tickers."""

    distribution: SceneDistribution
    rows: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """(P, H)."""
        return self.distribution.mean[..., 0].numpy()

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Joint paths (n, P, H)."""
        return self.distribution.sample((n,), torch.Generator().manual_seed(seed))[..., 0].numpy()

    def log_prob(self, values: np.ndarray, horizons: Sequence[int]) -> list[float]:
        """Log density of the first h days; the others are integrated out."""
        truth = torch.from_numpy(values[..., None]).to(self.distribution.mean)
        steps = torch.arange(truth.shape[1])
        seen = ~truth[..., 0].isnan()
        return [float(self.distribution.log_prob(truth, seen & (steps < h))) for h in horizons]


# A distribution of the next H days of P tickers, and what makes it of a cutoff and the tickers that
# are in its context.
Joint = OfNetwork | Recursion
Model = Callable[[int, np.ndarray], Joint]


def network(forecaster: Forecaster, market: Market, context: int = CONTEXT) -> Model:
    """Forecasts of a fitted forecaster, from frames of its context."""

    def forecast(cutoff: int, rows: np.ndarray) -> OfNetwork:
        distribution, index = forecaster.distribution(market.long(cutoff - context, cutoff, rows))
        return OfNetwork(
            distribution, np.searchsorted(market.tickers, index["unique_id"].to_numpy())
        )

    return forecast


class Scores(NamedTuple):
    """Scores of one model, row by row: a ticker, a portfolio or a day, and a horizon.

    Attributes:
        tickers: cutoff, ticker, horizon, error and crps of the return, inside-50, -80, -90.
        portfolios: cutoff, portfolio, horizon, inside-50, -80, -90.
        days: cutoff, horizon, nll and cells of the path, energy of the market and of its sectors.
    """

    tickers: pd.DataFrame
    portfolios: pd.DataFrame
    days: pd.DataFrame


def evaluate(model: Model, market: Market, cutoffs: Iterable[int]) -> Scores:
    """Scores of a model over many cutoffs."""
    joints = ((cutoff, model(cutoff, market.present(cutoff))) for cutoff in cutoffs)
    parts = [part for cutoff, joint in joints for part in scored(joint, market, cutoff)]
    frames = (pd.concat(each, ignore_index=True) for each in zip(*parts, strict=True))
    return Scores(*frames)


def scored(joint: Joint, market: Market, cutoff: int) -> Iterator[Scores]:
    """Those of a distribution on the days from a cutoff, by horizon."""
    path = market.values[cutoff : cutoff + max(HORIZONS), joint.rows].T
    samples, log_probs = joint.sample(SAMPLES, cutoff), joint.log_prob(path, HORIZONS)
    for horizon, log_prob in zip(HORIZONS, log_probs, strict=True):
        # A ticker's return over h days needs all of them.
        whole = ~np.isnan(path[:, :horizon]).any(1)
        rows, truth = joint.rows[whole], path[whole, :horizon].sum(1)
        draws = samples[:, whole, :horizon].sum(2)
        where = {"cutoff": cutoff, "horizon": horizon}
        cells = int((~np.isnan(path[:, :horizon])).sum())
        energy = energies(truth, draws[:PAIRED], market.sectors[rows])
        day = {**where, "nll": -log_prob, "cells": cells, **energy}
        point = joint.mean[whole, :horizon].sum(1)
        error = {"error": np.abs(point - truth), "crps": each_crps(truth, draws)}
        error |= {**inside(truth, draws), "size": np.abs(truth)}
        books = portfolios(market.sectors[rows])
        weights = np.stack(list(books.values()), axis=1)
        held = inside(truth @ weights, draws @ weights)
        yield Scores(
            pd.DataFrame({**where, "ticker": rows, **error}),
            pd.DataFrame({**where, "portfolio": list(books), **held}),
            pd.DataFrame([day]),
        )


def portfolios(sectors: np.ndarray) -> dict[str, np.ndarray]:
    """Equal weights (P,) of the market, and of each sector."""
    books = {"market": np.ones(len(sectors))} | {
        str(sector): (sectors == sector).astype(float) for sector in np.unique(sectors)
    }
    return {name: weight / weight.sum() for name, weight in books.items()}


def inside(truth: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Whether truth (P,) lies in the central intervals of draws (K, P)."""
    found = {}
    for level in LEVELS:
        low, high = np.quantile(draws, [0.5 - level / 200, 0.5 + level / 200], axis=0)
        found[f"inside-{level}"] = (low <= truth) & (truth <= high)
    return found


def each_crps(truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Fair CRPS (P,) of draws (K, P)."""
    return crps(_evaluation(truth, draws, np.zeros(len(truth), dtype=int))).total[:, 0, 0].numpy()


def energies(truth: np.ndarray, draws: np.ndarray, sectors: np.ndarray) -> dict[str, float]:
    """Fair energy scores: of the market as one vector, and the mean over sectors' vectors."""
    codes = np.unique(sectors, return_inverse=True)[1]
    parts = {"energy": np.zeros_like(codes), "energy of sectors": codes}
    return {
        name: float(energy_score(_evaluation(truth, draws, scene)).total.mean())
        for name, scene in parts.items()
    }


def _evaluation(truth: np.ndarray, draws: np.ndarray, scene: np.ndarray) -> Evaluation:
    """One step and one target of P rows, as the metrics like it."""
    return Evaluation(
        truth=torch.from_numpy(truth)[:, None, None],
        present=torch.ones(len(truth), 1, dtype=torch.bool),
        scene=torch.from_numpy(scene),
        n_scenes=int(scene.max(initial=-1)) + 1,
        samples=torch.from_numpy(np.ascontiguousarray(draws))[..., None, None].double(),
    )
