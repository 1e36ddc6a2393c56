"""Nearest neighbors by cosine similarity: what features are worth without any training.

Not scikit-learn's: here equally near neighbors have a fixed order, and labels may be unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation.features import Features
from hierforecast.image_ssl.evaluation.probe import Score, Summary, area, check_pair, class_score

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
