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
