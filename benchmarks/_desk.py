"""A risk desk's day: minimum-variance portfolios, value at risk, expected shortfall."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import xlogy
from scipy.stats import chi2

from benchmarks._risk import Joint, Market, OfNetwork, portfolios
from benchmarks._volatility import Recursion

# Trading days of a year.
YEAR = 252


class Day(NamedTuple):
    """What a model said of a day, and what came.

    Attributes:
        nll, cells: of the tickers.
        minimum: the return of the minimum-variance portfolio.
        books: (K,) returns of sector portfolios.
        at_risk, shortfall: (K,) their value at risk and expected shortfall, as losses.
    """

    nll: float
    cells: int
    minimum: float
    books: np.ndarray
    at_risk: np.ndarray
    shortfall: np.ndarray


def covariance(joint: Joint) -> np.ndarray:
    """Covariance (P, P) of the first day."""
    if isinstance(joint, OfNetwork):
        with torch.no_grad():
            return joint.distribution.covariance(0).double().numpy()
    assert isinstance(joint, Recursion)
    size = np.sqrt(joint.variance)
    return joint.correlation * size[:, None] * size


def minimum_variance(covariance: np.ndarray) -> np.ndarray:
    """Weights (P,) of sum one whose portfolio has the least variance; some may be negative."""
    weight = np.linalg.solve(covariance, np.ones(len(covariance)))
    return weight / weight.sum()


def day(joint: Joint, market: Market, cutoff: int, draws: int, level: float) -> Day:
    """Score a distribution on the day of a cutoff; a ticker without a return has none."""
    path = market.values[cutoff : cutoff + 1, joint.rows].T
    came = np.where(np.isnan(path[:, 0]), 0, path[:, 0])
    books = portfolios(market.sectors[joint.rows])
    weights = np.stack([w for name, w in books.items() if name != "market"], axis=1)
    losses = np.sort(-(joint.sample(draws, cutoff)[:, :, 0] @ weights), axis=0)
    worst = losses[int(np.ceil((1 - level) * draws)) :]
    return Day(
        -joint.log_prob(path, [1])[0],
        int((~np.isnan(path)).sum()),
        float(came @ minimum_variance(covariance(joint))),
        came @ weights,
        worst[0],
        worst.mean(0),
    )


def kupiec(hits: np.ndarray, level: float) -> float:
    """P-value that losses exceed their value at risk as often as they should.

    Kupiec, "Techniques for verifying the accuracy of risk measurement models" (1995).
    """
    return float(chi2.sf(_coverage(hits, level), 1))


def christoffersen(hits: np.ndarray, level: float) -> float:
    """The same, and that one exceedance does not bring the next.

    Christoffersen, "Evaluating interval forecasts" (1998), conditional coverage.
    """
    before, now = hits[:-1], hits[1:]
    count = np.array([[np.sum((before == i) & (now == j)) for j in (0, 1)] for i in (0, 1)])
    apart = sum(_likelihood(row[1], row.sum()) for row in count)
    together = _likelihood(count[:, 1].sum(), count.sum())
    return float(chi2.sf(_coverage(hits, level) + 2 * (apart - together), 2))


def _coverage(hits: np.ndarray, level: float) -> float:
    """Likelihood ratio of the share of hits against a level."""
    n, k = len(hits), int(hits.sum())
    return float(2 * (_likelihood(k, n) - xlogy(k, level) - xlogy(n - k, 1 - level)))


def _likelihood(k: int, n: int) -> float:
    """Log likelihood of k hits of n at their own share."""
    share = k / max(n, 1)
    return float(xlogy(k, share) + xlogy(n - k, 1 - share))


def acerbi(returns: np.ndarray, at_risk: np.ndarray, shortfall: np.ndarray, level: float) -> float:
    """Second statistic of Acerbi and Szekely, "Backtesting expected shortfall" (2014).

    Zero where the shortfall is right on average, below where losses were worse than it says.
    """
    hit = -returns > at_risk
    return float(1 + (returns * hit / (level * shortfall)).mean())


Test = Callable[[np.ndarray, float], float]


def rejected(test: Test, hits: np.ndarray, level: float) -> int:
    """How many of the columns of hits (T, K) a test rejects at 5 %."""
    return sum(test(column.astype(int), level) < 0.05 for column in hits.T)
