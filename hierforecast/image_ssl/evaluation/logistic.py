"""The linear probe: logistic regression on frozen features, its penalty chosen on training data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
        held = hold_out_classes(train, self.seed)
        if len(self.penalties) > 1 and held.any():
            falling = sorted(self.penalties, reverse=True)  # each from where the last one ended
            with suppress(DataError):  # where what is left shows one class only
                for penalty in self._fits(train[~held], SEARCH_STEPS, falling):
                    score = class_score(self.scores(train.x[held]), train[held], self.summary)
                    if not math.isnan(score.value):  # it is where no held-out image shows any class
                        self.held_out[penalty] = score.value
        if self.held_out:
            self.penalty = max(self.held_out, key=lambda one: (self.held_out[one], one))
        else:
            self.penalty = min(self.penalties, key=lambda p: abs(math.log(p / DEFAULT_PENALTY)))
        list(self._fits(train, MAX_STEPS, [self.penalty]))
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

    def _fits(self, train: Features, max_steps: int, penalties: Sequence[float]) -> Iterator[float]:
        """Fit scikit-learn's models with one penalty after the other; yields each once it is."""
        columns = learnable(train)
        classes = max(len(train.classes), int(columns.max()) + 1)
        targets = [train.y]
        if train.multi_label:
            classes, targets = train.y.shape[1], list(train.y[:, columns].T)
        self.mean, self.scale = standardization(train.x)
        x = (train.x - self.mean) / self.scale
        options = {"tol": 1e-5 if x.dtype == torch.float32 else 1e-8, "max_iter": max_steps}
        make = linear_models().LogisticRegression
        models = [make(**options, warm_start=True) for _ in targets]
        # Two classes have one column of weights there, and half a penalty in a softmax.
        halves = len(targets) == 1 and len(columns) == 2
        for penalty in penalties:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the search stops early
                for model, target in zip(models, targets, strict=True):
                    known = ~target.isnan()
                    model.C = (2 if halves else 1) / (int(known.sum()) * penalty)
                    model.fit((x if known.all() else x[known]).numpy(), target[known].numpy())
            found = torch.cat([torch.from_numpy(model.coef_) for model in models])
            shift = torch.cat([torch.from_numpy(model.intercept_) for model in models])
            if halves:
                found, shift = torch.cat([-found, found]) / 2, torch.cat([-shift, shift]) / 2
            self.weight = x.new_zeros(x.shape[1], classes)
            self.bias = x.new_full((classes,), -torch.inf)
            self.weight[:, columns] = found.T.to(self.weight)
            self.bias[columns] = shift.to(self.bias)
            self.steps += sum(int(model.n_iter_.max()) for model in models)
            yield penalty
