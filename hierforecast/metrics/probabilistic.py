"""Scores of a distribution: likelihood, CRPS, energy score, quantiles and intervals.

Sample scores use the energy form E|X - y| - 1/2 E|X - X'| (Gneiting & Raftery, "Strictly proper
scoring rules, prediction, and estimation", 2007) with one of two estimators: ``"fair"`` (default;
Ferro, "Fair scores for ensemble forecasts", 2014) averages |X - X'| over the K (K - 1) ordered
pairs of different samples and is unbiased, so forecasts with different K can be compared; ``"nrg"``
averages over all K^2 pairs and is the exact score of the samples taken as the distribution.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.metrics.evaluation import Evaluation, Totals, sample_quantiles

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def nll(evaluation: Evaluation) -> Totals:
    """Negative log-likelihood -log p of each scene's present cells together, nats per scene.

    The mean is over scenes with anything present. It changes by log(scale) per coordinate with the
    units of the targets: compare only in the same units.

    Returns:
        Totals of shape (B,).
    """
    return _negative_log_prob(evaluation, per_coordinate=False)


def nll_per_coordinate(evaluation: Evaluation) -> Totals:
    """Negative log-likelihood over all scenes divided by the number of present coordinates, nats.

    A coordinate is one target of one present cell. Comparable between scenes of different sizes.

    Returns:
        Totals of shape (B,), weighted by each scene's count of coordinates.
    """
    return _negative_log_prob(evaluation, per_coordinate=True)


def crps(evaluation: Evaluation, estimator: str = "fair") -> Totals:
    """Continuous ranked probability score of the samples over present cells and targets.

    Args:
        evaluation: with samples (K, P, H, D).
        estimator: "fair" or "nrg", see the module.

    Returns:
        Totals of shape (P, H, D), units of the targets.
    """
    return Totals(_crps(evaluation.sorted_samples, evaluation.truth, estimator), evaluation.cells)


def crps_sum(evaluation: Evaluation, estimator: str = "fair") -> Totals:
    """CRPS of the sum over a scene's series, per step and target: it sees their dependence.

    The sum is over the series present at that step; the mean is over (scene, step, target) with any
    present. Units of the targets; not divided by the size of the truth as some tables are.

    Args:
        evaluation: with samples (K, P, H, D).
        estimator: "fair" or "nrg", see the module.

    Returns:
        Totals of shape (B, H, D).
    """
    truth = evaluation.scene_sum(evaluation.truth)
    samples = evaluation.scene_sum(evaluation.need("samples"), dim=1)
    counted = (evaluation.scene_sum(evaluation.cells) > 0).to(truth.dtype)
    return Totals(_crps(samples.sort(dim=0).values, truth, estimator), counted)


def energy_score(evaluation: Evaluation, estimator: str = "fair") -> Totals:
    """Energy score E||X - y|| - 1/2 E||X - X'|| on the vector of a scene's present coordinates.

    The norm is Euclidean over all rows, present steps and targets of the scene and is not divided
    by their number, so larger scenes score higher. The mean is over scenes with anything present.
    Time O(K^2 P H D), memory a few times the samples.

    Args:
        evaluation: with samples (K, P, H, D).
        estimator: "fair" or "nrg", see the module.

    Returns:
        Totals of shape (B,), units of the targets.
    """
    samples = evaluation.need("samples")
    pairs = _pairs(len(samples), estimator)
    accuracy = _scene_norm(evaluation, samples - evaluation.truth).mean(0)
    # Differences rather than a Gram matrix: no cancellation between close samples. Shifting the
    # sample axis by 1..K/2 meets each unordered pair once (at K/2 exactly: twice).
    distances = torch.zeros_like(accuracy)
    for shift in range(1, len(samples) // 2 + 1):
        distance = _scene_norm(evaluation, samples - samples.roll(shift, dims=0)).sum(0)
        distances = distances + (distance / 2 if 2 * shift == len(samples) else distance)
    counted = evaluation.scene_sum(evaluation.present.any(1).to(accuracy.dtype)) > 0
    # distances holds unordered pairs: half the sum over ordered ones, as the 1/2 asks
    return Totals(accuracy - distances / pairs, counted.to(accuracy.dtype))


def quantile_loss(evaluation: Evaluation, levels: tuple[float, ...] = DECILES) -> Totals:
    """Mean over `levels` of twice the pinball loss, over present cells and targets.

    2 (y - q) (tau - 1[y < q]) for the samples' tau-quantile q. The factor makes the 0.5 level the
    absolute error of the median, and the mean over ever more levels tends to the CRPS.

    Args:
        evaluation: with samples (K, P, H, D).
        levels: probabilities in [0, 1].

    Returns:
        Totals of shape (P, H, D), units of the targets.
    """
    truth = evaluation.truth
    loss = torch.zeros_like(truth)
    for level in levels:  # one at a time: a few levels, each as large as the truth
        (quantile,) = sample_quantiles(evaluation.sorted_samples, (level,))
        loss = loss + _twice_pinball(truth, quantile, level)
    return Totals(loss / len(levels), evaluation.cells)


def weighted_quantile_loss(evaluation: Evaluation, levels: tuple[float, ...] = DECILES) -> Totals:
    """Mean weighted quantile loss: summed `quantile_loss` divided by summed |truth|; no units.

    The definition behind GluonTS's "mean_wQuantileLoss" (whose default levels are these deciles;
    the hierarchical-demand literature calls it CRPS and takes 0.05, 0.10, ..., 0.95). Quantiles of
    the samples are interpolated. It is inf where every truth is zero.

    Args:
        evaluation: with samples (K, P, H, D).
        levels: probabilities in [0, 1].

    Returns:
        Totals of shape (P, H, D), weighted by |truth|.
    """
    return Totals(quantile_loss(evaluation, levels).total, evaluation.truth.abs())


def mean_weighted_quantile_loss(
    evaluation: Evaluation, levels: tuple[float, ...] = DECILES
) -> Totals:
    """`weighted_quantile_loss` of the distribution's own quantiles: exact, without samples.

    GluonTS's "mean_weighted_sum_quantile_loss": for each level twice the summed pinball loss over
    summed |truth|, then the mean over levels. It is inf where every truth is zero.

    Args:
        evaluation: with `quantiles` of these levels.
        levels: probabilities in (0, 1).

    Returns:
        Totals of shape (P, H, D), weighted by |truth|.
    """
    quantiles, truth = evaluation.need("quantiles"), evaluation.truth
    lacking = [level for level in levels if level not in quantiles]
    if lacking:
        raise ValueError(f"there is no quantile {lacking[0]}: give it in Evaluation(quantiles=...)")
    loss = torch.zeros_like(truth)
    for level in levels:
        loss = loss + _twice_pinball(truth, quantiles[level], level)
    return Totals(loss / len(levels), truth.abs())


def coverage(evaluation: Evaluation) -> Totals:
    """Share of present cells and targets with lower <= truth <= upper; aim at the level.

    Returns:
        Totals of shape (P, H, D), in 0..1.
    """
    lower, upper, truth = evaluation.need("lower"), evaluation.need("upper"), evaluation.truth
    inside = ((lower <= truth) & (truth <= upper)).to(truth.dtype) * evaluation.cells
    # a NaN bound compares as "outside": let it show instead
    width = upper - lower
    return Totals(torch.where(width.isnan(), width.to(truth.dtype), inside), evaluation.cells)


def width(evaluation: Evaluation) -> Totals:
    """Mean width upper - lower over present cells and targets, units of the targets.

    Returns:
        Totals of shape (P, H, D).
    """
    return Totals(evaluation.need("upper") - evaluation.need("lower"), evaluation.cells)


def _twice_pinball(truth: Tensor, quantile: Tensor, level: float) -> Tensor:
    error = truth - quantile
    return 2 * torch.maximum(level * error, (level - 1) * error)


def _negative_log_prob(evaluation: Evaluation, per_coordinate: bool) -> Totals:
    log_prob = evaluation.need("log_prob")
    coordinates = evaluation.scene_sum(evaluation.cells.sum((1, 2)))
    counted = coordinates > 0
    weight = coordinates if per_coordinate else counted.to(coordinates.dtype)
    return Totals(torch.where(counted, -log_prob, log_prob.new_zeros(())), weight)


def _pairs(k: int, estimator: str) -> int:
    """Number of ordered pairs of K samples over which the estimator averages |X - X'|."""
    if estimator not in ("fair", "nrg"):
        raise ValueError(f"estimator is '{estimator}'; give 'fair' or 'nrg'")
    if estimator == "fair" and k < 2:
        raise ValueError("the 'fair' estimator needs two samples or more; draw more or use 'nrg'")
    return k * (k - 1) if estimator == "fair" else k * k


def _crps(sorted_samples: Tensor, truth: Tensor, estimator: str) -> Tensor:
    """(K, ...) sorted samples against (...) truth -> (...).

    1/2 of the sum of |x_i - x_j| over ordered pairs is sum_i (2 i - K - 1) x_(i), i = 1..K, so that
    sorting costs K log K where pairs cost K^2.
    """
    k = len(sorted_samples)
    pairs = _pairs(k, estimator)
    error = sorted_samples - truth  # the ranks' factors sum to zero: centering only saves digits
    ranks = torch.arange(1 - k, k, 2, dtype=error.dtype, device=error.device)
    return error.abs().mean(0) - torch.tensordot(ranks, error, dims=1) / pairs


def _scene_norm(evaluation: Evaluation, difference: Tensor) -> Tensor:
    """(K, P, H, D) -> (K, B) Euclidean norm over each scene's coordinates (absent ones are 0)."""
    return evaluation.scene_sum(difference.square().sum((2, 3)), dim=1).sqrt()
