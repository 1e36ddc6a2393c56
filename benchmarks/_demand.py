"""Hierarchical demand: cutoffs, the score, naive forecasts, joint draws of sums."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from hierforecast import Columns, Forecaster
from hierforecast._random import seeded
from hierforecast.datasets import Demand

LEVELS = np.arange(1, 20) / 20
# Steps between rolling cutoffs: no divisor of the season, so that all its parts are seen.
STRIDE = {"labour": 5, "traffic": 3, "tourismsmall": 1, "tourismlarge": 5, "wiki2": 3}
CUTOFFS = 10


def cutoffs_before(end: int, horizon: int, stride: int, count: int = CUTOFFS) -> list[int]:
    """Ascending cutoffs, the last of which has its horizon end at `end`."""
    return [end - horizon - stride * back for back in range(count)][::-1]


def pinball(quantiles: np.ndarray, truth: np.ndarray) -> float:
    """Sum over nodes and steps of twice the pinball loss, a mean over `LEVELS`.

    Args:
        quantiles: (19, nodes, h).
        truth: (nodes, h).
    """
    error, level = truth - quantiles, LEVELS[:, None, None]
    return float(2 * np.maximum(level * error, (level - 1) * error).mean(0).sum())


def crps(forecasts: Iterable[tuple[np.ndarray, int]], truth: np.ndarray, horizon: int) -> float:
    """Mean weighted quantile loss over all nodes, steps and cutoffs: GluonTS's mean_wQuantileLoss.

    Args:
        forecasts: quantiles (19, nodes, h) and their cutoff.
        truth: (nodes, steps) of all nodes.
        horizon: h.
    """
    loss = size = 0.0
    for quantiles, cutoff in forecasts:
        seen = truth[:, cutoff : cutoff + horizon]
        loss, size = loss + pinball(quantiles, seen), size + float(np.abs(seen).sum())
    return loss / size


def covered(forecasts: Iterable[tuple[np.ndarray, int]], truth: np.ndarray, horizon: int) -> float:
    """Share of all nodes, steps and cutoffs between the first level and the last; see `crps`."""
    inside = [
        (quantiles[0] <= seen) & (seen <= quantiles[-1])
        for quantiles, cutoff in forecasts
        for seen in [truth[:, cutoff : cutoff + horizon]]
    ]
    return float(np.mean(inside))


def seasonal_naive(
    past: np.ndarray, season: int, horizon: int, empirical: bool = False
) -> np.ndarray:
    """Quantiles (19, nodes, h) around the last season, of past (nodes, steps).

    Args:
        empirical: the errors' own quantiles; otherwise those of a normal distribution of
            their root mean square. Both grow with the square root of the seasons ahead.
    """
    error, ahead = past[:, season:] - past[:, :-season], np.arange(horizon)
    growth = np.sqrt(1 + ahead // season)
    loc = past[:, past.shape[1] - season + ahead % season]
    if empirical:
        width = np.quantile(error, LEVELS, axis=1)[:, :, None]
    else:
        width = ndtri(LEVELS)[:, None, None] * np.sqrt(np.square(error).mean(1))[:, None]
    return loc + width * growth


def bottom_up(mean: np.ndarray, scale: np.ndarray, summing: np.ndarray) -> np.ndarray:
    """Quantiles (19, nodes, h) of sums of independent normal series, mean and scale (n, h)."""
    deviation = np.sqrt(np.square(summing) @ np.square(scale))
    return summing @ mean + ndtri(LEVELS)[:, None, None] * deviation


class Sums:
    """A forecaster of one set of demand: of its series, or of every node.

    Args:
        demand: the set.
        model: a plan, as `Forecaster` takes it.
        every_node: forecast sums as series of their own too, a group for each level.
        options: of `Forecaster`.
    """

    def __init__(
        self, demand: Demand, model: Any, every_node: bool = False, **options: Any
    ) -> None:
        self.demand = demand
        series = demand.values()
        self.values = demand.add_up(series) if every_node else series
        first = demand.frame.drop_duplicates("unique_id").set_index("unique_id")
        roles = {name: getattr(demand.columns, name) for name in ("group", "crossed", "static")}
        names = dict.fromkeys(name for role, name in demand.columns.roles() if role in roles)
        self.labels = first.loc[list(demand.series), [*names]]
        if every_node:
            names = np.concatenate([[k] * len(nodes) for k, nodes in demand.tags.items()])
            roles, self.labels = {"group": "level"}, pd.DataFrame({"level": names})
        self.times = np.sort(demand.frame["ds"].unique())
        self.forecaster = Forecaster(
            model,
            context_length=max(2 * demand.season, demand.horizon),
            prediction_length=demand.horizon,
            columns=Columns(season=demand.season, **roles),
            **options,
        )

    def frame(self, cutoff: int) -> pd.DataFrame:
        """What is known before a cutoff as a long frame."""
        shown = self.values[:, :cutoff]
        rows = np.repeat(np.arange(len(shown)), cutoff)
        labels = self.labels.iloc[rows].reset_index(drop=True)
        times = np.tile(self.times[:cutoff], len(shown))
        return labels.assign(ds=times, unique_id=rows, y=shown.reshape(-1))

    def draws(self, cutoff: int, n: int, seed: int = 0) -> np.ndarray:
        """Joint draws (n, rows, h) after a cutoff."""
        distribution, index = self.forecaster.distribution(self.frame(cutoff))
        ahead = distribution.sample((n,), seeded(seed))[..., 0].double().numpy()
        return ahead[:, np.argsort(index["unique_id"].to_numpy())]


def quantiles_of(draws: np.ndarray) -> np.ndarray:
    """Quantiles (19, nodes, h) of draws (n, nodes, h)."""
    return np.quantile(draws, LEVELS, axis=0)


def reconciled(draws: np.ndarray, demand: Demand) -> np.ndarray:
    """Draws (n, nodes, h) of every node made coherent, one by one.

    MinTrace with structural weights: a node weighs by the inverse of its number of series, and no
    residuals are needed (Wickramasuriya, Athanasopoulos, Hyndman, "Optimal forecast reconciliation
    for hierarchical and grouped time series through trace minimization", 2019, section 2.4.1). What
    falls below zero at the bottom is set to zero before it is summed up again.
    """
    weighted = demand.summing / demand.summing.sum(1, keepdims=True)
    bottom = np.linalg.solve(weighted.T @ demand.summing, weighted.T)
    return demand.add_up(np.einsum("sn,dnh->dsh", bottom, draws).clip(min=0))
