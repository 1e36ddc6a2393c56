"""Errors measured in units of what a seasonal naive forecast missed before the cutoff.

With the mean absolute and the mean squared change over one season in the history of each series
and target (Hyndman & Koehler, "Another look at measures of forecast accuracy", 2006; the M4 and M5
competitions):

=======  ==========================================================
metric   value of one series, target and cutoff
=======  ==========================================================
MASE     mean over present steps of |error|, over the first
RMSSE    root of (mean over present steps of error^2 over the second)
=======  ==========================================================

Both average over series, targets and cutoffs, each of which weighs the same. Where the history is
constant, or shorter than a season and a step, there is no such unit: those are left out.
"""

from __future__ import annotations

from torch import Tensor, nan, where

from hierforecast.metrics.evaluation import Evaluation, Totals


def mase(evaluation: Evaluation, season: int | None = None) -> Totals:
    """Mean absolute scaled error of the point forecast, no units; below 1 beats the naive one.

    Args:
        evaluation: with `point` and `scale`.
        season: steps of a season, a key of `Evaluation.scale`; None: that of the data's frequency.

    Returns:
        Totals of shape (P, D), weight 0 where the scale is zero or unknown.
    """
    error = (evaluation.need("point") - evaluation.truth).abs()
    return _scaled(evaluation, _over_steps(evaluation, error), _scale(evaluation, season)[0])


def rmsse(evaluation: Evaluation, season: int | None = None) -> Totals:
    """Root mean squared scaled error of the point forecast, no units; as `mase`.

    Returns:
        Totals of shape (P, D), weight 0 where the scale is zero or unknown.
    """
    error = (evaluation.need("point") - evaluation.truth).square()
    total = _over_steps(evaluation, error).sqrt()
    return _scaled(evaluation, total, _scale(evaluation, season)[1].sqrt())


def _scale(evaluation: Evaluation, season: int | None) -> Tensor:
    scales = evaluation.need("scale")
    if season not in scales:
        raise ValueError(
            f"there is no scale for season={season!r}: give it as Evaluation(scale={{season: ...}})"
        )
    return scales[season]


def _over_steps(evaluation: Evaluation, error: Tensor) -> Tensor:
    """(P, H, D) -> (P, D), the mean over each row's present steps."""
    # absent cells are zero in forecast and truth alike, so they add nothing
    return error.sum(1) / evaluation.present.sum(1).clamp(min=1)[:, None]


def _scaled(evaluation: Evaluation, error: Tensor, scale: Tensor) -> Totals:
    counted = evaluation.present.any(1)[:, None] & (scale > 0)
    return Totals(
        where(counted, error / where(counted, scale, nan), error.new_zeros(())),
        counted.to(error.dtype),
    )
