"""Split conformal intervals: as wide as errors of held-out windows say, whatever the model says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.inference.forecast import Forecast
from hierforecast.inference.forecasts import Forecasts


@dataclass(frozen=True, eq=False)
class Conformal:
    """By how many deviations truths of held-out windows missed their means.

    An interval of mean ± q deviations, with q the ceil((n + 1) level)-th of n such scores, holds
    the truth of a new window with at least its level, on average over windows, if these and the
    held-out ones are exchangeable (Lei et al., "Distribution-free predictive inference for
    regression", 2018, sections 2.2 and 5.2). That is marginal: a statement about one number at a
    time, not about a path or a scene. Scores are pooled by group type, step and target, and by
    nothing that tells the series of a type apart.

    Attributes:
        scores: (T, H, D, n), sorted, infinite beyond those that there are.
        types: T names.
    """

    scores: Tensor
    types: tuple[str, ...]

    @classmethod
    def of(cls, forecasts: Forecasts) -> Conformal:
        """The scores of forecasts of windows with an outcome."""
        scores, codes = [], []
        for forecast in forecasts:
            future = forecast.future.to(forecast.raw.mean.device)
            apart = (future.values - forecast.raw.mean).abs().double()
            score = apart / forecast.raw.stddev.double()
            scores.append(torch.where(future.present[..., None], score, torch.inf).cpu())
            codes.append(forecast.batch.types)
        types = tuple(map(str, forecasts.windows.panel.vocabulary.types or ("all",)))
        each, code = torch.cat(scores), torch.cat(codes)
        count = int(torch.bincount(code, minlength=1).max())
        pooled = each.new_full((len(types), *each.shape[1:], count), torch.inf)
        for number in range(len(types)):
            own = each[code == number]
            pooled[number, ..., : len(own)] = own.movedim(0, -1)
        return cls(pooled.sort(-1).values, types)

    def __call__(self, forecast: Forecast, percent: float) -> list[Tensor]:
        """Lower and upper ends (P, H, D) of the intervals of a forecast.

        Raises:
            DataError: if there are too few scores of a type that is forecast.
        """
        factor, code = self._factor(percent), forecast.batch.types
        for number in code.unique().tolist():
            short = factor[number].isinf().any(-1).nonzero()[:, 0]
            if len(short):
                self._too_few(number, int(short[0]), percent)
        mean, stddev = forecast.raw.mean, forecast.raw.stddev
        half = factor[code.cpu()].to(stddev) * stddev
        return [mean - half, mean + half]

    def _factor(self, percent: float) -> Tensor:
        """(T, H, D), the score of the right rank, infinite where there is none."""
        count = self.scores.isfinite().sum(-1)
        # The product of a level and n + 1 may be a rounding error above a whole number.
        rank = ((count + 1) * percent / 100 - 1e-9).ceil().long()
        beyond = torch.cat([self.scores, torch.full_like(self.scores[..., :1], torch.inf)], -1)
        found = beyond.gather(-1, (rank - 1).clamp(min=0)[..., None])[..., 0]
        return torch.where(rank <= count, found, torch.inf)

    def _too_few(self, number: int, step: int, percent: float) -> None:
        needed = math.ceil(percent / (100 - percent) - 1e-9)
        count = int(self.scores[number, step].isfinite().sum(-1).min())
        whose = f" of {self.types[number]!r}" if len(self.types) > 1 else ""
        raise DataError(
            f"conformal: an interval of {percent:.10g} % needs {needed} held-out numbers of each "
            f"step, there are {count}{whose} at step {step + 1}: give more windows or a lower level"
        )


def check_conformal(level: Any, given: Any, totals: Any, newcomers: bool = False) -> None:
    """Refuse what held-out errors of single numbers say nothing of.

    Raises:
        DataError: without levels, or for totals, for newcomers, or with something given.
    """
    if newcomers:
        raise DataError(
            "conformal= has no errors of newcomers, whose intervals come from the fit: leave one "
            "of the two out"
        )
    if level is None or given is not None or totals is not None:
        raise DataError(
            "conformal= makes intervals of series: give level=, and leave given= and by= out"
        )
