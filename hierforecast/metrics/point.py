"""Errors of a point forecast, cell by cell."""

from __future__ import annotations

from hierforecast.metrics.evaluation import Evaluation, Totals


def mae(evaluation: Evaluation) -> Totals:
    """Mean absolute error |point - truth| over present cells and targets, units of the targets.

    Returns:
        Totals of shape (P, H, D).
    """
    return Totals((evaluation.need("point") - evaluation.truth).abs(), evaluation.cells)


def mse(evaluation: Evaluation) -> Totals:
    """Mean squared error (point - truth)^2 over present cells and targets, squared units.

    The root is taken last, of the mean over everything: ``METRICS["rmse"]``.

    Returns:
        Totals of shape (P, H, D).
    """
    return Totals((evaluation.need("point") - evaluation.truth).square(), evaluation.cells)


def bias(evaluation: Evaluation) -> Totals:
    """Mean of point - truth over present cells and targets, units of the targets.

    Above zero where the forecast is too high.

    Returns:
        Totals of shape (P, H, D).
    """
    return Totals(evaluation.need("point") - evaluation.truth, evaluation.cells)


def wape(evaluation: Evaluation) -> Totals:
    """Weighted absolute percentage error: summed |point - truth| over summed |truth|, no units.

    A share (0.1 is ten percent), also called ND. It is inf where every truth is zero.

    Returns:
        Totals of shape (P, H, D), weighted by |truth|.
    """
    return Totals((evaluation.need("point") - evaluation.truth).abs(), evaluation.truth.abs())
