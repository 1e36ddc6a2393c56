"""Displacement errors, Euclidean, of one forecast or the best of K samples; how samples move.

With e[k, i, t] = ||sample k - truth||_2 of row i at step t, over present cells only:

===========  ====================================================  ===============
metric       value of one unit                                     units averaged
===========  ====================================================  ===============
ADE          mean_t e[i, t]                                        rows
FDE          e[i, H]                                               rows
minADE_K     min_k mean_t e[k, i, t]                               rows
minFDE_K     min_k e[k, i, H]                                      rows
minJADE_K    min_k mean_i mean_t e[k, i, t]  (i in one scene)      scenes
minJFDE_K    min_k mean_i e[k, i, H]         (i in one scene)      scenes
===========  ====================================================  ===============

The minimum of a joint metric is taken after the mean over agents and before the mean over scenes:
one draw must be good for everybody at once. A row counts for the average errors if it is present at
any step and for the final errors if it is present at the last step H of the horizon (never at an
earlier one); its mean over t is over its own present steps. Scenes of different sizes weigh the
same in joint metrics, rows weigh the same in marginal ones. For joint and marginal evaluation
compare Weng et al., "Joint Metrics Matter" (ICCV 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.metrics.evaluation import Evaluation, Totals


def ade(evaluation: Evaluation) -> Totals:
    """Average displacement error of the point forecast, units of the targets. Totals: (P,)."""
    return _over_rows(*_average(evaluation, evaluation.need("point")))


def fde(evaluation: Evaluation) -> Totals:
    """Final displacement error of the point forecast, units of the targets. Totals: (P,)."""
    return _over_rows(*_final(evaluation, evaluation.need("point")))


def min_ade(evaluation: Evaluation, k: int | None = None) -> Totals:
    """Each row's best average displacement error among K samples, units of the targets.

    Args:
        evaluation: with samples (K, P, H, D).
        k: look at the first k samples only; None: all of them. Compare only equal k: the minimum
            falls with k.

    Returns:
        Totals of shape (P,).
    """
    error, counted = _average(evaluation, _first(evaluation, k))
    return _over_rows(error.amin(0), counted)


def min_fde(evaluation: Evaluation, k: int | None = None) -> Totals:
    """Each row's best final displacement error among K samples; see `min_ade`. Totals: (P,)."""
    error, counted = _final(evaluation, _first(evaluation, k))
    return _over_rows(error.amin(0), counted)


def min_jade(evaluation: Evaluation, k: int | None = None) -> Totals:
    """Each scene's best mean over rows of the average displacement error among K joint samples.

    Args:
        evaluation: with samples (K, P, H, D).
        k: look at the first k samples only; None: all of them.

    Returns:
        Totals of shape (B,), units of the targets.
    """
    return _best_joint(evaluation, *_average(evaluation, _first(evaluation, k)))


def min_jfde(evaluation: Evaluation, k: int | None = None) -> Totals:
    """Each scene's best mean over rows of the final displacement error; see `min_jade`.

    Totals: (B,).
    """
    return _best_joint(evaluation, *_final(evaluation, _first(evaluation, k)))


def miss_rate(evaluation: Evaluation, threshold: float = 2.0, k: int | None = None) -> Totals:
    """Share of rows whose best final displacement error among K samples exceeds a threshold.

    Args:
        evaluation: with samples (K, P, H, D).
        threshold: in the units of the targets. The usual 2 m is the default for meters; data in
            feet need 2 / 0.3048 = 6.56.
        k: look at the first k samples only; None: all of them.

    Returns:
        Totals of shape (P,), in 0..1.
    """
    error, counted = _final(evaluation, _first(evaluation, k))
    best = error.amin(0)
    missed = (best > threshold).to(best.dtype)
    # a NaN forecast compares as "no miss": let it show instead
    return _over_rows(torch.where(best.isnan(), best, missed), counted)


def path_length(evaluation: Evaluation) -> Totals:
    """Length of the samples' paths over that of the true ones, no units: 1 is right.

    Args:
        evaluation: with samples (K, P, H, D).

    Returns:
        Totals of shape (P,): mean over samples, and the truth's, over present pairs of neighbors.
    """
    return _movement(evaluation, order=1)


def roughness(evaluation: Evaluation) -> Totals:
    """Size of the samples' second differences along time over the true ones', no units: 1 is right.

    Draws that zig-zag about a good mean score far above 1; means and modes, which are too smooth,
    below. Observed noise of the truth counts as movement.

    Args:
        evaluation: with samples (K, P, H, D).

    Returns:
        Totals of shape (P,): mean over samples, and the truth's, where three steps in a row are
        present.
    """
    return _movement(evaluation, order=2)


def _movement(evaluation: Evaluation, order: int) -> Totals:
    """Sums over time of the norms of differences, of samples (their mean) and of the truth."""
    present = evaluation.present.unfold(1, order + 1, 1).all(-1)

    def size(path: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(path.diff(order, dim=-2), dim=-1)
        return torch.where(present, norm, 0).sum(-1)

    return Totals(size(evaluation.need("samples")).mean(0), size(evaluation.truth))


def _first(evaluation: Evaluation, k: int | None) -> Tensor:
    samples = evaluation.need("samples")
    if k is not None and not 1 <= k <= len(samples):
        raise ValueError(f"k is {k} but there are {len(samples)} samples; give 1 <= k <= samples")
    return samples[:k]


def _displacement(forecast: Tensor, truth: Tensor) -> Tensor:
    return torch.linalg.vector_norm(forecast - truth, dim=-1)


def _average(evaluation: Evaluation, forecast: Tensor) -> tuple[Tensor, Tensor]:
    """((..., P) mean over each row's present steps, (P,) bool rows that have any)."""
    steps = evaluation.present.sum(-1)
    # absent cells are zero in forecast and truth alike, so they add nothing
    error = _displacement(forecast, evaluation.truth).sum(-1) / steps.clamp(min=1)
    return error, steps > 0


def _final(evaluation: Evaluation, forecast: Tensor) -> tuple[Tensor, Tensor]:
    """((..., P) error at the last step, (P,) bool rows present there)."""
    error = _displacement(forecast[..., -1, :], evaluation.truth[:, -1])
    return error, evaluation.present[:, -1]


def _over_rows(error: Tensor, counted: Tensor) -> Totals:
    weight = counted.to(error.dtype)
    return Totals(error * weight, weight)


def _best_joint(evaluation: Evaluation, error: Tensor, counted: Tensor) -> Totals:
    """(K, P) errors -> mean over the counted rows of each scene -> minimum over K."""
    rows = evaluation.scene_sum(counted.to(error.dtype))
    mean = evaluation.scene_sum(error, dim=1) / rows.clamp(min=1)
    return Totals(mean.amin(0), (rows > 0).to(error.dtype))
