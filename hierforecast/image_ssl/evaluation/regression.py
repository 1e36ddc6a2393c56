"""The probes of numbers: ridge regression, and a small network."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from hierforecast._random import drawing, seeded
from hierforecast.image_ssl.evaluation.features import Features
from hierforecast.image_ssl.evaluation.probe import (
    Score,
    check_numbers,
    check_penalties,
    hold_out,
    linear_models,
)
from hierforecast.image_ssl.evaluation.targets import QUANTITIES, Outcome, standardization

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


@dataclass
class MLPProbe:
    """A network of two hidden layers: AdamW, stopped early by a held-out fifth.

    Features are standardized, and so are quantities. It begins at the mean of the targets (at one
    half, for yes and no), and the weights of the best epoch are kept: features that tell nothing
    give an R² near 0. That start, decoupled weight decay and the return to the best epoch are not
    to be had from scikit-learn's `MLPRegressor`. The same seed gives the same probe, whatever was
    drawn before.

    Args:
        seed: of the held-out fifth, the first weights and the batches.
        patience: epochs without a better held-out loss after which it stops.

    Attributes:
        epochs: after which it was best.
        net: the network, of standardized features.
    """

    outcome: Outcome = QUANTITIES
    seed: int = 0
    hidden: int = 256
    max_epochs: int = 200
    patience: int = 30
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2

    def fit(self, train: Features) -> Self:
        """Learn.

        Raises:
            DataError: if there are too few rows, or a value is NaN or infinite.
        """
        check_numbers(train)
        rows, held = hold_out(len(train), self.seed)
        self.mean, self.scale = standardization(train.x[rows])
        self.y_mean, self.y_scale = self.outcome.units(train.y[rows])
        x = ((train.x - self.mean) / self.scale).float()
        y = ((train.y - self.y_mean) / self.y_scale).float()
        self.net = self._network(x.shape[1], y.shape[1])
        optimizer = torch.optim.AdamW(
            self.net.parameters(), self.learning_rate, weight_decay=self.weight_decay
        )
        generator = torch.Generator().manual_seed(self.seed)
        best, least, self.epochs = copy.deepcopy(self.net.state_dict()), math.inf, 0
        for epoch in range(self.max_epochs + 1):
            with torch.no_grad():
                value = float(self.outcome.loss(self.net(x[held]), y[held]))
            if value < least:
                best, least, self.epochs = copy.deepcopy(self.net.state_dict()), value, epoch
            if epoch - self.epochs >= self.patience or epoch == self.max_epochs:
                break
            order = rows[torch.randperm(len(rows), generator=generator)]
            for batch in order.split(self.batch_size):
                optimizer.zero_grad()
                with torch.enable_grad():
                    self.outcome.loss(self.net(x[batch]), y[batch]).backward()
                optimizer.step()
        self.net.load_state_dict(best)
        return self

    def predict(self, x: Tensor) -> Tensor:
        """Quantities (m, k), or probabilities of yes, of features (m, d)."""
        with torch.no_grad():
            output = self.net(((x - self.mean) / self.scale).float())
        return self.outcome.read(output) * self.y_scale + self.y_mean

    def score(self, test: Features) -> Score:
        """R² or accuracy, as the outcome has it."""
        found = self.outcome.score(self.predict(test.x), test.y)
        return Score(found.metric, found.value, {"epochs": self.epochs}, found.others)

    def _network(self, inputs: int, outputs: int) -> nn.Sequential:
        with drawing(seeded(self.seed)):
            first, second = nn.Linear(inputs, self.hidden), nn.Linear(self.hidden, self.hidden)
            last = nn.Linear(self.hidden, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
