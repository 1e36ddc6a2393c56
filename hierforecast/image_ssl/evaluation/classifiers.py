"""The probes of classes: logistic regression, and nearest neighbors without any training.

The neighbors are not scikit-learn's: here equally near ones have a fixed order, and labels may be
unknown.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

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


CELLS = 2**24  # similarities or votes held at a time: 64 MB in float32


@dataclass
class NeighborsProbe:
    """The share of the vote that each class gets from the k nearest training features.

    A neighbor of cosine similarity s votes with weight exp(s / temperature) (Wu et al. 2018,
    "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", section 3.4), or
    with weight 1 if the temperature is None: the plain majority.

    Ties: of training features equally near, the one that stands first is taken. Of classes with
    equally many plain votes, the one whose voters are nearer on average has the higher score, by
    less than any vote; then the lower number wins in ``argmax``. A feature that is all zeros has
    similarity 0 to every other. Where images show several classes, a class's share is taken among
    the neighbors in which it is known, and is 0 if there are none.

    Args:
        k: neighbors, at most as many as there are training images; None: 20, or all if fewer.
        temperature: positive, or None.
    """

    k: int | None = None
    temperature: float | None = 0.07
    summary: Summary = area

    def fit(self, train: Features) -> Self:
        """Remember the training features.

        Raises:
            DataError: if k is not between 1 and their number, or the temperature not positive.
        """
        self.neighbors = min(20, len(train)) if self.k is None else self.k
        if not 1 <= self.neighbors <= len(train):
            raise DataError(
                f"k is {self.k} neighbors: give one from 1 to {len(train)}, the training set"
            )
        if self.temperature is not None and not self.temperature > 0:
            raise DataError(
                f"temperature is {self.temperature}: give a positive one, or None for majority"
            )
        self.train = train
        return self

    def scores(self, x: Tensor) -> Tensor:
        """Shares (m, classes) of features (m, d), in the dtype of the training features."""
        train, k = self.train, self.neighbors
        gallery, queries = F.normalize(train.x, dim=1), F.normalize(x.to(train.x), dim=1)
        if train.multi_label:  # whether each image shows each class, and whether that is known
            shown, known = (x.to(train.x) for x in (train.y.nan_to_num(0.0), ~train.y.isnan()))
        else:
            classes = max(len(train.classes), int(train.y.max()) + 1)
            shown = F.one_hot(train.y, classes).to(train.x)
            known = torch.ones_like(shown)
        found = []
        cells = max(len(gallery), k * shown.shape[1])  # that one row takes
        for rows in queries.split(max(1, CELLS // cells)):
            similarity, index = _nearest(rows @ gallery.T, k)
            if self.temperature is None:
                weight = 1 + similarity / (4 * k)  # similarities of k voters never make up a vote
            else:  # less the largest: the shares stay, and a small temperature is no overflow
                weight = ((similarity - similarity[:, :1]) / self.temperature).exp()
            votes = torch.einsum("mk,mkc->mc", weight, shown[index])
            total = torch.einsum("mk,mkc->mc", weight, known[index])
            found.append(votes / total.clamp_min(torch.finfo(total.dtype).tiny))
        return torch.cat(found)

    def score(self, test: Features) -> Score:
        """Accuracy or mean AP."""
        check_pair(self.train, test)
        return class_score(self.scores(test.x), test, self.summary, k=self.neighbors)


def _nearest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row and where they stand; of equals, the first."""
    values, index = similarity.topk(k, dim=1)
    # topk takes any of several equals; only rows that have some at its edge need a full sort.
    tied = (similarity >= values[:, -1:]).sum(dim=1) > k
    if tied.any():
        order = similarity[tied].sort(dim=1, descending=True, stable=True).indices
        index[tied] = order[:, :k]
    return values, index
