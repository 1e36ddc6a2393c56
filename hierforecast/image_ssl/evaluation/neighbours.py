"""Nearest neighbours by cosine similarity: what features are worth without any training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation.features import Features
from hierforecast.image_ssl.evaluation.metrics import Score, Summary, area
from hierforecast.image_ssl.evaluation.pairs import check_pair, score_of

CELLS = 2**24  # similarities or votes held at a time: 64 MB in float32


def knn(
    train: Features,
    test: Features,
    k: int = 20,
    temperature: float | None = 0.07,
    summary: Summary = area,
) -> Score:
    """Judge test features by the classes of their nearest training features.

    Args:
        train: of at least two classes.
        test: of classes that `train` shows.
        k, temperature: as for `knn_scores`.
        summary: of average precision, where images show several classes.

    Returns:
        Accuracy or mean AP, with k in its settings.

    Raises:
        DataError: if the two do not belong together (see `check_pair`), or as `knn_scores` does.
    """
    check_pair(train, test)
    return score_of(knn_scores(train, test.x, k, temperature), test, summary, k=k)


def knn_scores(train: Features, x: Tensor, k: int = 20, temperature: float | None = 0.07) -> Tensor:
    """The share of the vote that each class gets from the k nearest training features.

    A neighbour of cosine similarity s votes with weight exp(s / temperature) (Wu et al. 2018,
    "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", section 3.4), or
    with weight 1 if the temperature is None: the plain majority.

    Ties: of training features equally near, the one that stands first is taken. Of classes with
    equally many plain votes, the one whose voters are nearer on average has the higher score, by
    less than any vote; then the lower number wins in ``argmax``. A feature that is all zeros has
    similarity 0 to every other. Where images show several classes, a class's share is taken among
    the neighbours in which it is judged, and is 0 if there are none.

    Args:
        train: features (n, d) and labels.
        x: (m, d).
        k: neighbours, at most n.
        temperature: positive, or None.

    Returns:
        (m, classes), in the dtype of `train.x`; the weights of a row's votes add up to 1.

    Raises:
        DataError: if k is not between 1 and n, or the temperature is not positive.
    """
    if not 1 <= k <= len(train):
        raise DataError(f"k is {k} neighbours: give one from 1 to {len(train)}, the training set")
    if temperature is not None and not temperature > 0:
        raise DataError(f"temperature is {temperature}: give a positive one, or None for majority")
    known, asked = F.normalize(train.x, dim=1), F.normalize(x.to(train.x), dim=1)
    shown, judged = _ballots(train)
    found = []
    cells = max(len(known), k * shown.shape[1])  # that one row takes
    for rows in asked.split(max(1, CELLS // cells)):
        similarity, index = _nearest(rows @ known.T, k)
        if temperature is None:
            weight = 1 + similarity / (4 * k)  # the similarities of k voters never make up a vote
        else:  # the largest is taken off: the shares stay, and a small temperature is no overflow
            weight = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = torch.einsum("mk,mkc->mc", weight, shown[index])
        total = torch.einsum("mk,mkc->mc", weight, judged[index])
        found.append(votes / total.clamp_min(torch.finfo(total.dtype).tiny))
    return torch.cat(found)


def _nearest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row and where they stand; of equals, the first."""
    values, index = similarity.topk(k, dim=1)
    # topk takes any of several equals; only rows that have some at its edge need a full sort.
    tied = (similarity >= values[:, -1:]).sum(dim=1) > k
    if tied.any():
        order = similarity[tied].sort(dim=1, descending=True, stable=True).indices
        index[tied] = order[:, :k]
    return values, index


def _ballots(train: Features) -> tuple[Tensor, Tensor]:
    """What each training image says of each class, (n, classes): shows it, and is judged in it."""
    if train.multi_label:
        judged = ~train.y.isnan()
        return train.y.nan_to_num(0.0).to(train.x), judged.to(train.x)
    classes = max(len(train.classes), int(train.y.max()) + 1)
    shown = F.one_hot(train.y, classes).to(train.x)
    return shown, torch.ones_like(shown)
