"""Hierarchical demand: cutoffs, the score, what is chosen before a test, joint draws of sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri

from hierforecast import Columns, Forecaster, Ridge
from hierforecast.batch import SceneBatch
from hierforecast.datasets import Demand
from hierforecast.nn.scale import SCALES, SeriesScale
from hierforecast.nn.scaled import Scaled, fill_gaps

LEVELS = np.arange(1, 20) / 20
# Steps between rolling cutoffs: no divisor of the season, so that all its parts are seen.
STRIDE = {"labour": 5, "traffic": 3, "tourismsmall": 1, "tourismlarge": 5, "wiki2": 3}
CUTOFFS, LEAST_WINDOWS = 10, 10


class Transform(NamedTuple):
    """A monotone map of demand, and the way back."""

    there: Callable[[np.ndarray], np.ndarray]
    back: Callable[[np.ndarray], np.ndarray]


TRANSFORMS = {
    "none": Transform(np.asarray, np.asarray),
    "sqrt": Transform(np.sqrt, lambda x: np.square(np.clip(x, 0, None))),
    "log": Transform(np.log1p, np.expm1),
}


class ChangeScale(SeriesScale):
    """For changes since the season before: nothing is subtracted, the unit is their size.

    A forecast that has learned nothing is then the season before, and not the growth of the
    context carried on.
    """

    origin = "zero"

    def forward(self, batch: SceneBatch) -> Scaled:
        """Scale the context of a batch by the root mean square of each row's present cells."""
        present = batch.present[..., None]
        shown = torch.where(present, batch.values, batch.values.new_zeros(()))
        count = present.sum(1, keepdim=True).clamp(min=1)
        size = (shown.square().sum(1, keepdim=True) / count).sqrt()
        size = torch.where(size > 0, size, torch.ones_like(size))
        filled, _ = fill_gaps(shown, batch.present)
        return Scaled(filled / size, filled[..., :0], torch.zeros_like(size), size)


SCALES["changes"] = ChangeScale


@dataclass(frozen=True)
class Recipe:
    """How demand is shown to a model.

    Args:
        transform: name in `TRANSFORMS`.
        differences: the change since the season before, not the value.
        seasons: the context is so many seasons and one step.
    """

    transform: str = "sqrt"
    differences: bool = True
    seasons: int = 1

    @property
    def scale(self) -> str:
        """The model's scale."""
        return "changes" if self.differences else "series"

    def context(self, season: int) -> int:
        """Steps of context."""
        return self.seasons * season + 1

    def show(self, values: np.ndarray, season: int) -> np.ndarray:
        """Demand (..., steps) as the model sees it; differences lose the first season."""
        shown = TRANSFORMS[self.transform].there(values)
        return shown[..., season:] - shown[..., :-season] if self.differences else shown

    def undo(self, ahead: np.ndarray, past: np.ndarray, season: int) -> np.ndarray:
        """Forecasts (..., h) in the model's eyes as demand, never negative; past (..., steps)."""
        transform, ahead = TRANSFORMS[self.transform], ahead.copy()
        if self.differences:
            last = transform.there(past[..., -season:])
            for step in range(ahead.shape[-1]):
                before = last[..., step] if step < season else ahead[..., step - season]
                ahead[..., step] += before
        return np.clip(transform.back(ahead), 0, None)

    def __str__(self) -> str:
        what = "differences" if self.differences else "levels"
        return f"{self.transform}, {what}, {self.seasons} seasons"


CANDIDATES = [Recipe(*given) for given in product(TRANSFORMS, (False, True), (2, 6))]


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


def crps(forecasts: Iterator[tuple[np.ndarray, int]], truth: np.ndarray, horizon: int) -> float:
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


class Grown:
    """A forecaster of one set of demand under a recipe: of its series, or of every node.

    Args:
        demand: the set.
        recipe: how it is shown.
        model: a plan, as `Forecaster` takes it.
        every_node: forecast sums as series of their own too, a group for each level.
        options: of `Forecaster`.
    """

    def __init__(
        self, demand: Demand, recipe: Recipe, model: Any, every_node: bool = False, **options: Any
    ) -> None:
        self.demand, self.recipe = demand, recipe
        series = demand.values()
        self.values = demand.add_up(series) if every_node else series
        if every_node:
            columns = Columns(group="level", static=["place"])
            names = np.concatenate([[k] * len(nodes) for k, nodes in demand.tags.items()])
            self.labels = pd.DataFrame({"level": names, "place": names})
        else:
            columns = demand.columns
            first = demand.frame.drop_duplicates("unique_id").set_index("unique_id")
            self.labels = first.loc[list(demand.series), [*columns.groups, *columns.static]]
        self.forecaster = Forecaster(
            model,
            context_length=recipe.context(demand.season),
            prediction_length=demand.horizon,
            columns=columns,
            **options,
        )

    def frame(self, cutoff: int, steps: int | None = None) -> pd.DataFrame:
        """What the model sees before a cutoff, or its last steps, as a long frame."""
        shown = self.recipe.show(self.values[:, :cutoff], self.demand.season)
        shown = shown if steps is None else shown[:, -steps:]
        n, length = shown.shape
        labels = self.labels.iloc[np.repeat(np.arange(n), length)].reset_index(drop=True)
        times = np.tile(np.arange(cutoff - length, cutoff), n)
        ids = np.repeat(np.arange(n), length)
        return labels.assign(ds=times, unique_id=ids, y=shown.reshape(-1))

    def draws(self, cutoff: int, n: int, seed: int = 0) -> np.ndarray:
        """Joint draws (n, rows, h) after a cutoff, in units of demand."""
        distribution, index = self.forecaster.distribution(
            self.frame(cutoff, self.forecaster.context_length)
        )
        ahead = (
            distribution.sample((n,), torch.Generator().manual_seed(seed))[..., 0].double().numpy()
        )
        ahead = ahead[:, np.argsort(index["unique_id"].to_numpy())]
        past = np.broadcast_to(self.values[:, :cutoff], (n, *self.values[:, :cutoff].shape))
        return self.recipe.undo(ahead, past, self.demand.season)


def quantiles_of(draws: np.ndarray) -> np.ndarray:
    """Quantiles (19, nodes, h) of draws (n, nodes, h)."""
    return np.quantile(draws, LEVELS, axis=0)


def choose(demand: Demand, cutoffs: Sequence[int], draws: int = 100) -> tuple[Recipe, float]:
    """The recipe under which ridge does best after the cutoffs, fitted before the first of them.

    Without `LEAST_WINDOWS` windows to fit on there is nothing to choose by: the default recipe.
    """
    best = Recipe(), float("nan")
    truth = demand.add_up(demand.values())
    for recipe in CANDIDATES:
        need = recipe.context(demand.season) + demand.horizon + recipe.differences * demand.season
        if cutoffs[0] - need + 1 < LEAST_WINDOWS:
            continue
        grown = Grown(demand, recipe, Ridge(scale=recipe.scale))
        grown.forecaster.fit(grown.frame(cutoffs[0]))
        quantiles = ((quantiles_of(demand.add_up(grown.draws(c, draws))), c) for c in cutoffs)
        found = crps(quantiles, truth, demand.horizon)
        best = best if best[1] <= found else (recipe, found)
    return best
