"""From forecasts to metrics: the tidy rows of `Forecaster.evaluate` and `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hierforecast._options import levels, whole
from hierforecast.frame import Columns, Panel
from hierforecast.frame.step import season_of
from hierforecast.inference import Forecast, Forecasts
from hierforecast.inference.devices import shared_out
from hierforecast.metrics import Evaluation, Metric, MetricTable
from hierforecast.metrics.probabilistic import DECILES

POINT_METRICS = ("mae", "rmse", "nll_per_coordinate", "crps", "energy_score", "coverage")
TRAJECTORY_METRICS = ("ade", "fde", "min_ade", "min_fde", "nll_per_coordinate", "coverage")


def evaluate_windows(
    forecasts: Forecasts,
    metrics: str | Metric | Sequence[str | Metric] | None,
    n_samples: int,
    level: float,
    seen: int | None = None,
) -> list[dict[str, Any]]:
    """Metrics over all windows, see `measure`, as tidy rows."""
    table = measure(forecasts, metrics, n_samples, level, seen)
    return tidy(forecasts.name, table, forecasts.windows.panel.vocabulary.types)


def measure(
    forecasts: Forecasts,
    metrics: str | Metric | Sequence[str | Metric] | None,
    n_samples: int,
    level: float,
    seen: int | None = None,
) -> MetricTable:
    """Metrics over all windows, for all series and for each group type.

    Args:
        forecasts: what to measure.
        metrics: names or metrics; None: a set that fits the number of targets.
        n_samples: joint draws for the metrics that need them.
        level: coverage in percent of the interval measured.
        seen: only series observed in so many steps before a cutoff count; None: the context.
    """
    table = metric_table(metrics, forecasts.windows.panel.columns)
    (level,) = levels([level])
    asked = table.metrics, whole("n_samples", n_samples), level, seen
    for sums in shared_out(forecasts, _measured, *asked):
        table.merge(sums)
    return table


def _measured(
    forecasts: Forecasts, metrics: Sequence[Metric], n_samples: int, level: float, seen: int | None
) -> list[dict[str, Any]]:
    """Sums over the windows of some forecasts; see `measure`."""
    panel, table = forecasts.windows.panel, MetricTable(metrics)
    evaluated = _Measure(panel, metrics, n_samples, level)
    for forecast in forecasts:
        if seen is not None:
            forecast = _seen_within(forecast, seen)
        evaluation = evaluated(forecast, forecasts.truth(forecast.future))
        table.update(evaluation)
        types = torch.from_numpy(panel.types)[forecast.future.rows]
        for code, kind in enumerate(panel.vocabulary.types):
            rows = types == code
            if rows.any():
                table.update(_part(evaluation, forecast, rows), part=str(kind))
    return table.sums()


def metric_table(
    metrics: str | Metric | Sequence[str | Metric] | None, columns: Columns
) -> MetricTable:
    """An empty table of metrics; of None those that fit the number of targets."""
    if metrics is None:
        metrics = POINT_METRICS if len(columns.targets) == 1 else TRAJECTORY_METRICS
    return MetricTable([metrics] if isinstance(metrics, (str, Metric)) else metrics)


def tidy(name: str, table: MetricTable, types: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows of a model's metrics: of all series, then of each group type."""
    order = ["all", *map(str, types)]
    keys = ("part", "metric", "value")
    return [
        {"model": name, **{key: row[key] for key in keys}}
        for row in sorted(table.rows(), key=lambda row: order.index(str(row["part"])))
        if np.isfinite(row["value"]) or row["part"] == "all"
    ]


def frame_like(frame: Any, rows: Sequence[dict[str, Any]]) -> Any:
    """Rows as a frame of the library of another frame."""
    backend = nw.get_native_namespace(nw.from_native(frame))
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    return nw.from_dict(columns, backend=backend).to_native()


def _seen_within(forecast: Forecast, steps: int) -> Forecast:
    """The same, with an outcome for series observed in the last so many steps only."""
    seen = forecast.batch.present[:, -steps:].any(1, keepdim=True)
    future = replace(forecast.future, present=forecast.future.present & seen, whole=False)
    return forecast._replace(future=future)


def _part(evaluation: Evaluation, forecast: Forecast, rows: Tensor) -> Evaluation:
    """The same for some of the rows (P,) only; their likelihood is the exact marginal."""
    part = evaluation.subset(rows)
    if evaluation.log_prob is None:
        return part
    return replace(part, log_prob=forecast.log_prob(rows))


class _Measure:
    """What the metrics at hand need to know of a batch of forecasts, in the user's numbers."""

    def __init__(
        self, panel: Panel, metrics: Sequence[Metric], n_samples: int, level: float
    ) -> None:
        self.n_samples, self.level = n_samples, level
        self.needs = {metric.needs for metric in metrics}
        self.quantiles = {
            q
            for metric in metrics
            if metric.needs == "quantiles"
            for q in metric.options.get("levels", DECILES)
        }
        seasons = {m.options.get("season") for m in metrics if m.needs == "scale"}
        self.scales = {season: SeasonalScale(panel, season) for season in seasons}

    def __call__(self, forecast: Forecast, truth: Tensor) -> Evaluation:
        distribution, batch, future = forecast.raw, forecast.batch, forecast.future

        def quantile(q: float) -> Tensor:
            return forecast.numbers(distribution.quantile(q))

        given: dict[str, Any] = {"point": forecast.mean}
        if "samples" in self.needs:
            given["samples"] = forecast.draws(self.n_samples)
        if "distribution" in self.needs:
            given["log_prob"] = forecast.log_prob()
        if "interval" in self.needs:
            given["lower"] = quantile(0.5 - self.level / 200)
            given["upper"] = quantile(0.5 + self.level / 200)
        if "quantiles" in self.needs:
            given["quantiles"] = {q: quantile(q) for q in self.quantiles}
        if "scale" in self.needs:
            at = future.rows.numpy(), future.cutoff.numpy()
            given["scale"] = {season: scale(*at) for season, scale in self.scales.items()}
        truth = truth.to(distribution.mean.device)
        return Evaluation(truth, future.present, batch.scene, batch.n_scenes, **given)


class SeasonalScale:
    """How much each series of a panel changed over a season before a cutoff.

    Args:
        panel: the data.
        season: steps of a season; None: that of the step, see `season_of`, or 1.
    """

    def __init__(self, panel: Panel, season: int | None) -> None:
        if season is None:
            season = season_of(panel.clock.step) or 1
        season = whole("season", season)
        self.offset = panel.cell_offset
        # A season before a row's first cell lies another row: nothing is known there.
        row = np.repeat(np.arange(len(self.offset)), panel.length[panel.row_scene])
        known, change = np.zeros(len(row), dtype=bool), np.zeros(panel.values.shape)
        here, before = slice(season, None), slice(None, -season)
        known[here] = panel.present[here] & panel.present[before] & (row[here] == row[before])
        change[here] = np.abs(panel.values[here] - panel.values[before])
        change[~known] = 0
        # Summed within each row: a difference of sums over all rows would lose digits.
        self.count, self.absolute, self.squared = (
            pd.DataFrame(x).groupby(row).cumsum().to_numpy()
            for x in (known.astype(np.int64), change, change**2)
        )

    def __call__(self, rows: np.ndarray, cutoff: np.ndarray) -> np.ndarray:
        """Mean absolute and mean squared change of rows (P,) before their cutoffs: (2, P, D).

        It is nan where no two observed steps lie a season apart.
        """
        last = self.offset[rows] + cutoff - 1
        count = np.where(self.count[last] > 0, self.count[last], np.nan)
        return np.stack([self.absolute[last] / count, self.squared[last] / count])
