"""Masked, marginal and joint metrics of forecasts on packed rows.

Each function takes an `Evaluation` and gives `Totals`, a numerator and a weight per unit; `mean_of`
averages them, `MetricTable` averages over batches, and `METRICS` holds them all by name::

    METRICS["ade"](evaluation)             # a float
    mean_of(ade(evaluation))               # the same
    ade(evaluation).per_unit               # (P,): the error of every row

RMSE is ``METRICS["rmse"]``: the root of the mean of `mse`.
"""

from hierforecast.metrics.evaluation import Evaluation, Totals, mean_of, sample_quantiles
from hierforecast.metrics.point import bias, mae, mse, wape
from hierforecast.metrics.probabilistic import (
    coverage,
    crps,
    crps_sum,
    energy_score,
    mean_weighted_quantile_loss,
    nll,
    nll_per_coordinate,
    quantile_loss,
    weighted_quantile_loss,
    width,
)
from hierforecast.metrics.registry import METRICS, Metric, MetricTable, find_metric
from hierforecast.metrics.scaled import mase, rmsse
from hierforecast.metrics.trajectory import (
    ade,
    fde,
    min_ade,
    min_fde,
    min_jade,
    min_jfde,
    miss_rate,
    path_length,
    roughness,
)

__all__ = [
    "METRICS",
    "Evaluation",
    "Metric",
    "MetricTable",
    "Totals",
    "ade",
    "bias",
    "coverage",
    "crps",
    "crps_sum",
    "energy_score",
    "fde",
    "find_metric",
    "mae",
    "mase",
    "mean_of",
    "mean_weighted_quantile_loss",
    "min_ade",
    "min_fde",
    "min_jade",
    "min_jfde",
    "miss_rate",
    "mse",
    "nll",
    "nll_per_coordinate",
    "path_length",
    "quantile_loss",
    "rmsse",
    "roughness",
    "sample_quantiles",
    "wape",
    "weighted_quantile_loss",
    "width",
]
