"""The small network that probes numbers."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from hierforecast._random import drawing, seeded
from hierforecast.image_ssl.evaluation.features import Features
from hierforecast.image_ssl.evaluation.metrics import Score
from hierforecast.image_ssl.evaluation.outcomes import QUANTITIES, Outcome, standardization
from hierforecast.image_ssl.evaluation.probe import check_numbers, hold_out


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
