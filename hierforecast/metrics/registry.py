"""The metrics by name, and the table that averages them over batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor

from hierforecast.metrics import point, probabilistic, scaled, trajectory
from hierforecast.metrics.evaluation import Evaluation, Totals

Needs = Literal["point", "samples", "distribution", "interval", "quantiles", "scale"]
Best = Literal["lowest", "nearest zero", "nearest one", "nearest level"]


@dataclass(frozen=True)
class Metric:
    """A named metric: how to get its totals from an `Evaluation` and its value from their sums.

    Args:
        name: as in `METRICS`.
        needs: what the forecast must offer: "point" (`Evaluation.point`), "samples", "distribution"
            (`log_prob`), "interval" (`lower` and `upper`), "quantiles" or "scale" (with `point`).
        function: Evaluation -> Totals, one numerator and weight per unit.
        description: one line with units.
        finish: last step, of the mean over everything (a root for RMSE).
        best: which of several values is best; None where none is (a width alone).
    """

    name: str
    needs: Needs
    function: Callable[..., Totals]
    description: str
    finish: Callable[[Tensor], Tensor] | None = None
    best: Best | None = "lowest"

    @property
    def options(self) -> Mapping[str, Any]:
        """What `using` was given."""
        return getattr(self.function, "keywords", {})

    def best_of(self, values: Iterable[float], level: float = 90) -> float:
        """The best of several values of this metric; nan where there is none.

        Args:
            values: of one part, from several forecasters.
            level: in percent, of the interval whose coverage was measured.
        """
        aim = {"nearest zero": 0.0, "nearest one": 1.0, "nearest level": level / 100}.get(
            str(self.best)
        )
        known = [value for value in values if self.best and value == value]  # nan is unlike itself
        return min(known, key=lambda v: v if aim is None else abs(v - aim), default=float("nan"))

    def using(self, **options: Any) -> Metric:
        """The same with options of its function, e.g. ``METRICS["min_ade"].using(k=5)``.

        The name tells them: ``min_ade[k=5]``.

        Raises:
            ValueError: if there is no such option.
        """
        known = list(signature(self.function).parameters)[1:]
        wrong = next((key for key in options if key not in known), None)
        if wrong is not None:
            there = f"its options are {', '.join(known)}" if known else "it has none"
            raise ValueError(f"the metric '{self.name}' has no option {wrong!r}: {there}")
        suffix = ",".join(f"{key}={value}" for key, value in options.items())
        return replace(
            self, name=f"{self.name}[{suffix}]", function=partial(self.function, **options)
        )

    def accumulate(self, evaluation: Evaluation) -> tuple[Tensor, Tensor]:
        """(numerator, weight) of one batch, float64 scalars: add them over batches."""
        return self.function(evaluation).sums()

    def value(self, numerator: Tensor, weight: Tensor) -> float:
        """The metric from the sums over all batches; nan where nothing was present."""
        mean = numerator / weight
        return float(mean if self.finish is None else self.finish(mean))

    def __call__(self, evaluation: Evaluation) -> float:
        """The metric of one batch."""
        return self.value(*self.accumulate(evaluation))


def _of(needs: Needs, function: Callable[..., Totals], description: str, **more: Any) -> Metric:
    """A metric that is called as its function is, if no other name is given."""
    return Metric(more.pop("name", function.__name__), needs, function, description, **more)


_ALL = (
    _of("point", point.mae, "mean absolute error, target units"),
    _of("point", point.mse, "mean squared error, squared target units"),
    _of(
        "point",
        point.mse,
        "root of the mean squared error, target units",
        name="rmse",
        finish=torch.sqrt,
    ),
    _of("point", point.wape, "sum of absolute errors over sum of |truth|, a share"),
    _of("point", point.bias, "mean of forecast - truth, target units", best="nearest zero"),
    _of("scale", scaled.mase, "MAE over that of a seasonal naive forecast before"),
    _of("scale", scaled.rmsse, "RMSE over that of a seasonal naive forecast before"),
    _of("point", trajectory.ade, "average displacement error, target units"),
    _of("point", trajectory.fde, "displacement at the last step, target units"),
    _of("samples", trajectory.min_ade, "ADE of each row's best sample"),
    _of("samples", trajectory.min_fde, "FDE of each row's best sample"),
    _of("samples", trajectory.min_jade, "ADE of each scene's best joint sample"),
    _of("samples", trajectory.min_jfde, "FDE of each scene's best joint sample"),
    _of("samples", trajectory.miss_rate, "share of rows with min_fde > 2 units"),
    _of("samples", trajectory.path_length, "samples' paths over the true", best="nearest one"),
    _of("samples", trajectory.roughness, "second differences over the true", best="nearest one"),
    _of("distribution", probabilistic.nll, "-log p, nats per scene"),
    _of("distribution", probabilistic.nll_per_coordinate, "-log p, nats per present coordinate"),
    _of("samples", probabilistic.crps, "fair CRPS, target units"),
    _of("samples", probabilistic.crps_sum, "fair CRPS of the sum over a scene"),
    _of("samples", probabilistic.energy_score, "fair energy score of a scene"),
    _of("samples", probabilistic.quantile_loss, "2 x pinball loss over the deciles"),
    _of(
        "samples",
        probabilistic.weighted_quantile_loss,
        "quantile loss over the sum of |truth|, no units",
    ),
    _of(
        "quantiles",
        probabilistic.mean_weighted_quantile_loss,
        "the same of exact quantiles, no samples",
    ),
    _of(
        "interval",
        probabilistic.coverage,
        "share of truths inside the interval",
        best="nearest level",
    ),
    _of("interval", probabilistic.width, "mean width, target units", best=None),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
SHORT = {"mwql": "mean_weighted_quantile_loss", "nd": "wape"}


def find_metric(metric: str | Metric) -> Metric:
    """A metric by name; a `Metric` is returned as it is.

    Options may stand behind the name, as tables show them: ``"mase[season=7]"``.

    Raises:
        ValueError: for an unknown name; it lists the names and the closest one.
    """
    if isinstance(metric, Metric):
        return metric
    metric, bracket, options = str(metric).partition("[")
    metric = SHORT.get(metric, metric)
    if metric in METRICS:
        found = METRICS[metric]
        return found.using(**_read_options(metric, options)) if bracket else found
    plain = {name.replace("_", ""): name for name in METRICS}
    wanted = "".join(letter for letter in str(metric).lower() if letter.isalnum())
    close = get_close_matches(wanted, plain, n=1, cutoff=0.5)
    hint = f" Did you mean '{plain[close[0]]}'?" if close else ""
    raise ValueError(f"no metric is called '{metric}'.{hint} There are: {', '.join(METRICS)}")


def _read_options(name: str, text: str) -> dict[str, Any]:
    """``k=5,threshold=6.56]`` as options."""
    pairs = [pair.partition("=") for pair in text.removesuffix("]").split(",")]
    try:
        return {key.strip(): json.loads(value) for key, _, value in pairs}
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"the options of '{name}[{text}' cannot be read: give numbers, {name}[key=1,other=2]"
        ) from error


class MetricTable:
    """Averages metrics over batches exactly as if all batches had come at once.

    A part is a named selection of rows, such as ``"players"``::

        table = MetricTable(["ade", "fde"])
        for evaluation, is_player in batches:
            table.update(evaluation)
            table.update(evaluation.subset(is_player), part="players")
        table.rows()

    Args:
        metrics: names from `METRICS` or `Metric` objects.
    """

    def __init__(self, metrics: Iterable[str | Metric]) -> None:
        self.metrics = [find_metric(metric) for metric in metrics]
        if not self.metrics:
            raise ValueError(f"there are no metrics: name one or more of {', '.join(METRICS)}")
        self._sums: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}

    @property
    def needs(self) -> set[Needs]:
        """What the forecasts must offer for these metrics."""
        return {metric.needs for metric in self.metrics}

    def update(self, evaluation: Evaluation, part: str = "all") -> None:
        """Add one batch of whole scenes to a part."""
        zero = torch.zeros((), dtype=torch.float64)
        for metric in self.metrics:
            numerator, weight = self._sums.get((part, metric.name), (zero, zero))
            more, count = metric.accumulate(evaluation)
            self._sums[part, metric.name] = (numerator + more, weight + count)

    def sums(self) -> list[dict[str, str | float]]:
        """What `merge` takes: rows with keys part, metric, numerator, weight.

        So batches may be measured anywhere: sums of parts add up to those of the whole.
        """
        return [
            {"part": part, "metric": name, "numerator": float(numerator), "weight": float(weight)}
            for (part, name), (numerator, weight) in self._sums.items()
        ]

    def merge(self, sums: Iterable[Mapping[str, Any]]) -> None:
        """Add the `sums` of other tables of the same metrics."""
        for row in sums:
            key = row["part"], row["metric"]
            more = torch.tensor([row["numerator"], row["weight"]], dtype=torch.float64)
            old = torch.stack(self._sums.get(key, (more.new_zeros(()),) * 2))
            numerator, weight = (old + more).unbind()
            self._sums[key] = numerator, weight

    def values(self, part: str = "all") -> dict[str, float]:
        """Metric name -> value over all batches so far of one part; nan where nothing came."""
        nothing = (torch.zeros(()), torch.zeros(()))
        return {m.name: m.value(*self._sums.get((part, m.name), nothing)) for m in self.metrics}

    def rows(self) -> list[dict[str, str | float]]:
        """Tidy rows with keys part, metric, value, weight (the units averaged), in given order."""
        parts = dict.fromkeys(part for part, _ in self._sums)
        return [
            {
                "part": part,
                "metric": metric.name,
                "value": metric.value(*self._sums[part, metric.name]),
                "weight": float(self._sums[part, metric.name][1]),
            }
            for part in parts
            for metric in self.metrics
        ]
