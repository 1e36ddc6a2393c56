"""Losses of two views of the same images, as functions of vectors and scores.

They know nothing of groups: after a projector that averages over the group they do not change when
an image is turned, after an ordinary one they do. Shapes that do not fit, temperatures that are not
above zero and a single sample where statistics are needed raise a ValueError with the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast._options import number, whole


def info_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each query's own key among the negatives (arXiv 1911.05722, eq. 1).

    Args:
        queries: (b, d), of unit length; vectors are compared by their products as they are.
        keys: (b, d), row i belongs to query i.
        negatives: (k, d), the same for all queries; k may be zero.

    Returns:
        The mean over the queries, in nats; chance has ``log(1 + k)``.
    """
    number("temperature", temperature, 0, ends=False)
    _check_pair("(b, d), one key for each query", queries=queries, keys=keys)
    if negatives.ndim != 2 or negatives.shape[1] != queries.shape[1]:
        raise ValueError(
            f"negatives {tuple(negatives.shape)} do not fit queries {tuple(queries.shape)}: give "
            f"(k, {queries.shape[1]}), e.g. from KeyQueue(dim={queries.shape[1]}, ...)"
        )
    own = (queries * keys).sum(1, keepdim=True)
    logits = torch.cat([own, queries @ negatives.T], dim=1) / temperature
    first = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    return F.cross_entropy(logits, first)


def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """Minus the mean cosine of predictions and fixed targets (arXiv 2011.10566, eq. 1 and 3).

    No gradient reaches the targets. Eq. 2 and 4 are the mean of this over both directions.

    Args:
        predictions: (b, d), of any length.
        targets: (b, d), of any length.

    Returns:
        A number from -1, where all directions agree, to 1.
    """
    remedy = "(b, d); a predictor must put out as many numbers as it takes"
    _check_pair(remedy, predictions=predictions, targets=targets)
    return -F.cosine_similarity(predictions, targets.detach(), dim=1).mean()


def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Soft assignments that share the samples evenly among the prototypes.

    Approaches the assignment with the largest total score plus `epsilon` times its entropy, among
    those with equal shares (arXiv 2006.09882, eq. 3 to 5), by scaling columns and rows in turn.
    Works on logarithms, so that no exponential overflows or leaves a column empty.

    Args:
        scores: (b, k) of samples and prototypes.
        epsilon: smoothness, above zero, in units of the scores; smaller is harder.
        iterations: pairs of scalings, one or more.

    Returns:
        (b, k), at least float32: rows sum to one, columns to about b / k (exactly in the limit).
    """
    number("epsilon", epsilon, 0, ends=False), whole("iterations", iterations)
    if scores.ndim != 2:
        raise ValueError(f"scores {tuple(scores.shape)}: give (b, k), samples by prototypes")
    logs = scores.to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    for _ in range(iterations):
        # The shares b / k of a column are the same for all: the rows' scaling takes care of them.
        logs = logs - logs.logsumexp(dim=0, keepdim=True)
        logs = logs - logs.logsumexp(dim=1, keepdim=True)
    return logs.exp()


def swapped_prediction(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of one view's scores and the other view's codes (arXiv 2006.09882, eq. 2).

    No gradient reaches the codes. Eq. 1 is the sum of this over both directions.

    Args:
        scores: (b, k) of samples and prototypes.
        codes: (b, k), rows sum to one; from `sinkhorn`.

    Returns:
        The mean over the samples, in nats; chance has ``log(k)``.
    """
    number("temperature", temperature, 0, ends=False)
    _check_pair("(b, k), of the same samples and prototypes", scores=scores, codes=codes)
    return F.cross_entropy(scores / temperature, codes.detach().to(scores.dtype))


def invariance(one: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference of two views' vectors, over samples and numbers.

    VICReg's eq. 5 (arXiv 2105.04906) sums over the d numbers, where its algorithm 1 takes the mean;
    the weights it gives belong to the mean.

    Args:
        one: (b, d).
        other: (b, d), row i shows the same image as row i of `one`.
    """
    _check_pair("(b, d), of the same images", one=one, other=other)
    return F.mse_loss(one, other)


def variance(vectors: Tensor, target: float = 1.0, epsilon: float = 1e-4) -> Tensor:
    """How far the standard deviations of a batch fall short of a target (arXiv 2105.04906, eq. 1).

    Args:
        vectors: (b, d), two samples or more.
        target: gamma, of each number's standard deviation, ``sqrt(var + epsilon)``.
        epsilon: keeps the gradient finite where all samples are the same.

    Returns:
        The mean of ``max(0, target - deviation)`` over the d numbers, from 0 to `target`.
    """
    deviations = (_several(vectors).var(dim=0) + epsilon).sqrt()
    return F.relu(target - deviations).mean()


def covariance(vectors: Tensor) -> Tensor:
    """Sum of the squared covariances of different numbers, by d (arXiv 2105.04906, eq. 3 and 4).

    Args:
        vectors: (b, d), two samples or more.
    """
    vectors = _several(vectors)
    centered = vectors - vectors.mean(dim=0)
    square = (centered.T @ centered / (len(vectors) - 1)).square()
    return (square.sum() - square.diagonal().sum()) / vectors.shape[1]


def _several(vectors: Tensor) -> Tensor:
    """Vectors in a type that statistics can be taken in."""
    if vectors.ndim != 2 or len(vectors) < 2:
        raise ValueError(f"vectors {tuple(vectors.shape)}: give (b, d) with 2 samples or more")
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


def _check_pair(wanted: str, **pair: Tensor) -> None:
    """Raise a ValueError that names two tensors, unless they are alike and of two axes."""
    first, second = pair.values()
    if first.shape != second.shape or first.ndim != 2:
        shapes = " and ".join(f"{name} {tuple(x.shape)}" for name, x in pair.items())
        raise ValueError(f"{shapes}: give both as {wanted}")


def weights(**given: float) -> dict[str, float]:
    """The weights of a loss's terms by their names, none below zero."""
    return {name: number(name, value, 0) for name, value in given.items()}


def weighted(factors: Mapping[str, float], terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of a loss's terms, each times its weight."""
    return torch.stack([factors[name] * term for name, term in terms.items()]).sum()
