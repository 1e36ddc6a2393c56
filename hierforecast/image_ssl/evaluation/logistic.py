"""The linear probe: logistic regression on frozen features, its penalty chosen on training data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation.features import Features
from hierforecast.image_ssl.evaluation.probe import (
    Score,
    Summary,
    area,
    check_pair,
    check_penalties,
    class_score,
    hold_out_classes,
    learnable,
    linear_models,
)
from hierforecast.image_ssl.evaluation.targets import standardization

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Where nothing can be held out: one image of each class.
DEFAULT_PENALTY = 1e-2
# Enough to rank penalties, each fit starting from the last; the refit on all takes what it needs.
SEARCH_STEPS, MAX_STEPS = 100, 1000


@dataclass
class LogisticProbe:
    """scikit-learn's logistic regression of standardized features.

    It minimizes the mean negative log-likelihood + penalty / 2 * sum of squared weights, biases
    excepted. With one class an image, that is a multinomial model over the classes that are there;
    with several, one binary model for each class on the images in which it is known.

    The penalty is chosen on a held-out fifth of the training features, then all of them are
    fitted. The fifth is drawn from each class: at least one image, never the class's last. Of
    equally good penalties the strongest is taken. If nothing can be held out, the penalty is 0.01,
    or the nearest to it that is offered.

    Args:
        penalties: to choose from; one alone is taken as it is.

    Attributes:
        penalty: chosen.
        held_out: penalty -> accuracy or mean AP on the held-out fifth; empty if none was chosen.
        weight: (d, classes), of standardized features.
        bias: (classes,); minus infinity for classes that training did not show.
        mean, scale: (d,), of the training features.
        steps: of L-BFGS, all fits together.
    """

    penalties: Sequence[float] = PENALTIES
    summary: Summary = area
    seed: int = 0

    def fit(self, train: Features) -> Self:
        """Choose the penalty and fit; float32 or float64 is the precision of the fit.

        Raises:
            DataError: if there is one class only, or no penalty, or one that is not positive.
        """
        check_penalties(self.penalties)
        learnable(train)
        self.train, self.steps, self.held_out = train, 0, dict[float, float]()
        self._choose()
        if self.held_out:
            self.penalty = max(self.held_out, key=lambda one: (self.held_out[one], one))
        else:
            self.penalty = min(self.penalties, key=lambda p: abs(math.log(p / DEFAULT_PENALTY)))
        self._take(_Models(train, MAX_STEPS), self.penalty)
        return self

    def scores(self, x: Tensor) -> Tensor:
        """Class scores (n, classes) of features (n, d): logits."""
        # The features stay as they are: a standardized copy of a large set would not fit.
        weight = self.weight / self.scale[:, None]
        return x.to(weight) @ weight + (self.bias - self.mean @ weight)

    def score(self, test: Features) -> Score:
        """Accuracy or mean AP."""
        check_pair(self.train, test)
        return class_score(self.scores(test.x), test, self.summary, penalty=self.penalty)

    def _choose(self) -> None:
        """Fill `held_out`, from strong to weak penalties, each fit starting from the last."""
        held = hold_out_classes(self.train, self.seed)
        if len(self.penalties) == 1 or not held.any():
            return
        try:
            models = _Models(self.train[~held], SEARCH_STEPS)
        except DataError:  # what is left shows one class only
            return
        for penalty in sorted(self.penalties, reverse=True):
            self._take(models, penalty)
            value = class_score(self.scores(self.train.x[held]), self.train[held], self.summary)
            if not math.isnan(value.value):  # it is where no held-out image shows any class
                self.held_out[penalty] = value.value

    def _take(self, models: _Models, penalty: float) -> None:
        self.mean, self.scale = models.mean, models.scale
        self.weight, self.bias, steps = models.fit(penalty)
        self.steps += steps


class _Models:
    """scikit-learn's models of one set, each fit starting from where the last one ended."""

    def __init__(self, train: Features, max_steps: int) -> None:
        self.columns = learnable(train)
        self.classes = max(len(train.classes), int(self.columns.max()) + 1)
        self.mean, self.scale = standardization(train.x)
        self.x = (train.x - self.mean) / self.scale
        self.targets = [train.y]
        if train.multi_label:
            self.classes = train.y.shape[1]
            self.targets = list(train.y[:, self.columns].T)
        make = linear_models().LogisticRegression
        tolerance = 1e-5 if self.x.dtype == torch.float32 else 1e-8
        options = {"tol": tolerance, "max_iter": max_steps, "warm_start": True}
        self.models = [make(**options) for _ in self.targets]

    def fit(self, penalty: float) -> tuple[Tensor, Tensor, int]:
        """Weights (d, classes) and biases (classes,) of standardized features, and steps."""
        weight = self.x.new_zeros(self.x.shape[1], self.classes)
        bias = self.x.new_full((self.classes,), -torch.inf)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the search stops early
            for model, targets in zip(self.models, self.targets, strict=True):
                known = ~targets.isnan()
                # Two classes have one column of weights there, and half a penalty in a softmax.
                halves = len(self.targets) == 1 and len(self.columns) == 2
                model.C = (2 if halves else 1) / (int(known.sum()) * penalty)
                x = self.x if known.all() else self.x[known]
                model.fit(x.numpy(), targets[known].numpy())
        found = torch.cat([torch.from_numpy(model.coef_) for model in self.models])
        shift = torch.cat([torch.from_numpy(model.intercept_) for model in self.models])
        if halves:
            found, shift = torch.cat([-found, found]) / 2, torch.cat([-shift, shift]) / 2
        weight[:, self.columns], bias[self.columns] = found.T.to(weight), shift.to(bias)
        return weight, bias, sum(int(model.n_iter_.max()) for model in self.models)
