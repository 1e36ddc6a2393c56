"""The linear probe of numbers: ridge regression, its penalty chosen on training data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from hierforecast.image_ssl.evaluation.features import Features
from hierforecast.image_ssl.evaluation.metrics import Score
from hierforecast.image_ssl.evaluation.outcomes import QUANTITIES, Outcome, standardization
from hierforecast.image_ssl.evaluation.probe import (
    check_numbers,
    check_penalties,
    hold_out,
    linear_models,
)

PENALTIES = tuple(10.0**power for power in range(-5, 5))


@dataclass
class RidgeProbe:
    """scikit-learn's ridge regression of standardized features, float64.

    It minimizes the mean squared error + penalty * sum of squared weights, biases excepted. The
    penalty with the least squared error on a held-out fifth is taken, each dimension in units of
    its variance; then all rows are fitted. Yes and no are regressed as 1 and 0.

    Args:
        penalties: to choose from; one alone is taken as it is.

    Attributes:
        penalty: chosen.
        predict: features (m, d) to predictions (m, k), float64.
    """

    outcome: Outcome = QUANTITIES
    seed: int = 0
    penalties: Sequence[float] = PENALTIES

    def fit(self, train: Features) -> Self:
        """Choose the penalty and fit.

        Raises:
            DataError: if there are too few rows, a value is NaN or infinite, no penalty is given,
                or one is not positive.
        """
        check_numbers(train)
        check_penalties(self.penalties)
        self.penalty = max(self.penalties)
        if len(self.penalties) > 1:
            rows, held = hold_out(len(train), self.seed)
            fitted = _ridges(train[rows], self.penalties)
            x, y = train[held].x, train[held].y
            errors = {penalty: _error(predict(x), y) for penalty, predict in fitted.items()}
            self.penalty = min(errors, key=lambda penalty: (errors[penalty], -penalty))
        self.predict = _ridges(train, [self.penalty])[self.penalty]
        return self

    def score(self, test: Features) -> Score:
        """R² or accuracy, as the outcome has it."""
        found = self.outcome.score(self.predict(test.x), test.y)
        return Score(found.metric, found.value, {"penalty": self.penalty}, found.others)


def _ridges(train: Features, penalties: Sequence[float]) -> dict[float, Callable[[Tensor], Tensor]]:
    """A fit for each penalty, as a function of features."""
    mean, scale = standardization(train.x.double())
    rows, y = ((train.x.double() - mean) / scale).numpy(), train.y.double().numpy()
    make = linear_models().Ridge

    def fit(penalty: float) -> Callable[[Tensor], Tensor]:
        model = make(alpha=len(rows) * penalty).fit(rows, y)
        weight = torch.from_numpy(model.coef_).reshape(-1, len(mean)).T / scale[:, None]
        bias = torch.from_numpy(model.intercept_) - mean @ weight
        return lambda x: x.double() @ weight + bias

    return {penalty: fit(penalty) for penalty in penalties}


def _error(predicted: Tensor, wanted: Tensor) -> float:
    """The mean squared error in units of each dimension's variance, for constants defined, too."""
    wanted = wanted.double()
    variance = wanted.var(dim=0).clamp_min(torch.finfo(wanted.dtype).tiny)
    return float(((predicted - wanted).square() / variance).mean())
