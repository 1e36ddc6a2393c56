"""From a model's laws to frames and metrics: the last stretch of every verb of `Forecaster`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import torch
from torch import Tensor, nn

from hierforecast._options import levels, whole
from hierforecast.batch import Future, SceneBatch
from hierforecast.distributions import SceneDistribution
from hierforecast.errors import DataError
from hierforecast.metrics import Evaluation, Metric, MetricTable
from hierforecast.windows import WindowDataset

POINT_METRICS = ("mae", "rmse", "nll_per_coordinate", "crps", "energy_score", "coverage")
TRAJECTORY_METRICS = ("ade", "fde", "min_ade", "min_fde", "nll_per_coordinate", "coverage")


class Forecast(NamedTuple):
    """The law of a batch of windows, what it was made from, and what came after."""

    law: SceneDistribution
    batch: SceneBatch
    future: Future


@dataclass
class Forecasts:
    """A model's forecasts of windows, batch after batch.

    Args:
        model: gives a `SceneDistribution` for a `SceneBatch`.
        windows: what to forecast.
        batch_size: windows at a time.
    """

    model: nn.Module
    windows: WindowDataset
    batch_size: int

    def __iter__(self) -> Iterator[Forecast]:
        device = next(iter((*self.model.parameters(), *self.model.buffers()))).device
        for start in range(0, len(self.windows), self.batch_size):
            stop = min(start + self.batch_size, len(self.windows))
            batch, future = self.windows.__getitems__(list(range(start, stop)))
            with torch.no_grad():
                yield Forecast(self.model(batch.to(device)), batch, future)

    @property
    def columns(self) -> list[str]:
        """Columns of the point forecast: the model's name, with the target if there are several."""
        name, targets = type(self.model).__name__, self.windows.panel.columns.targets
        return [name] if len(targets) == 1 else [f"{name}_{target}" for target in targets]

    def to_frame(self, level: Sequence[float] | None = None, truth: bool = False) -> Any:
        """Point forecasts, intervals, and the truth if asked: a row per series, cutoff, step."""
        percents = levels(level)
        tables = []
        for law, _, future in self:
            cells = {"mean": law.mean}
            for percent in percents:
                for side, share in (("lo", 50 - percent / 2), ("hi", 50 + percent / 2)):
                    cells[f"-{side}-{percent:g}"] = law.quantile(share / 100)
            if truth:
                seen = future.present[..., None]
                cells["truth"] = torch.where(seen, future.values, torch.nan)
            tables.append((future, {k: v.detach().cpu().numpy() for k, v in cells.items()}))
        return self._assemble(tables, truth=truth)

    def draws_to_frame(self, n: int) -> Any:
        """Joint draws: the rows of `to_frame` once per draw, with a ``sample_id``."""
        n = whole("n", n)
        tables = []
        for law, _, future in self:
            tables.append((future, {"mean": law.sample((n,)).detach().cpu().numpy()}))
        return self._assemble(tables, draws=n)

    def joint(self) -> tuple[SceneDistribution, Any]:
        """The law of all windows (one batch of them), rows in the order of its index frame."""
        law, _, future = next(iter(self))
        order = np.argsort(future.rows.numpy(), kind="stable")
        panel = self.windows.panel
        rows, cutoff = future.rows.numpy()[order], future.cutoff.numpy()[order]
        return law.rows(torch.from_numpy(order)), panel.to_frame(rows, cutoff, {})

    def _assemble(
        self,
        tables: list[tuple[Future, dict[str, np.ndarray]]],
        draws: int | None = None,
        truth: bool = False,
    ) -> Any:
        """One frame of all batches, sorted by (draw,) scene, series, cutoff and step."""
        self._check_names(["sample_id"] * (draws is not None) + ["cutoff"] * truth, truth)
        panel, steps = self.windows.panel, self.windows.prediction_length
        rows = np.concatenate([future.rows.numpy() for future, _ in tables])
        cutoff = np.concatenate([future.cutoff.numpy() for future, _ in tables])
        order = np.lexsort((cutoff, rows))
        rows, cutoff = rows[order], cutoff[order]
        cells = {
            name: np.concatenate([table[name] for _, table in tables], axis=-3)[..., order, :, :]
            for name in tables[0][1]
        }
        copies = 1 if draws is None else draws
        at = np.tile(np.repeat(rows, steps), copies)
        when = np.tile((cutoff[:, None] + np.arange(steps)).reshape(-1), copies)
        data: dict[str, Any] = {}
        if draws is not None:
            data["sample_id"] = np.repeat(np.arange(copies), len(rows) * steps)
        if truth:
            before = np.repeat(cutoff - 1, steps)
            data["cutoff"] = panel.time_column("cutoff", panel.row_scene[at], before)
            outcome = cells.pop("truth")
            for target, name in enumerate(panel.columns.targets):
                data[name] = outcome[..., target].reshape(-1)
        for target, column in enumerate(self.columns):
            for name, values in cells.items():
                suffix = "" if name == "mean" else name
                data[column + suffix] = values[..., target].reshape(-1)
        return panel.to_frame(at, when, data)

    def _check_names(self, added: Sequence[str], truth: bool) -> None:
        """Refuse an answer in which one column would overwrite another."""
        roles = self.windows.panel.columns
        names = [*roles.keys, *(roles.targets if truth else ()), *added, *self.columns]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(
                f"the answer would have two columns {twice!r}: rename that column of the frame, "
                "and in Columns(...) too"
            )


def evaluate_windows(
    forecasts: Forecasts,
    metrics: str | Sequence[str | Metric] | None,
    n_samples: int,
    level: float,
    like: Any,
) -> Any:
    """Metrics over all windows, for all series and for each group type, as a tidy frame.

    Args:
        forecasts: what to measure.
        metrics: names or metrics; None: a set that fits the number of targets.
        n_samples: joint draws for the metrics that need them.
        level: coverage in percent of the interval measured.
        like: a frame of the library to answer in.
    """
    panel = forecasts.windows.panel
    if isinstance(metrics, str):
        metrics = [metrics]
    if metrics is None:
        metrics = POINT_METRICS if len(panel.columns.targets) == 1 else TRAJECTORY_METRICS
    table = MetricTable(metrics)
    n_samples, (level,) = whole("n_samples", n_samples), levels([level])
    for law, batch, future in forecasts:
        evaluation = _evaluation(law, batch, future, table.needs, n_samples, level)
        table.update(evaluation)
        for code, kind in enumerate(panel.vocabulary.types):
            rows = batch.types == code
            if rows.any():
                table.update(_part(evaluation, law, rows), part=str(kind))
    name = type(forecasts.model).__name__
    rows_ = [r for r in table.rows() if np.isfinite(r["value"]) or r["part"] == "all"]
    backend = nw.get_native_namespace(nw.from_native(like))
    columns = {
        "model": [name] * len(rows_),
        **{key: [row[key] for row in rows_] for key in ("part", "metric", "value")},
    }
    return nw.from_dict(columns, backend=backend).to_native()


def _part(evaluation: Evaluation, law: SceneDistribution, rows: Tensor) -> Evaluation:
    """The same for some of the rows (P,) only; their likelihood is the exact marginal."""
    rows = rows.to(law.mean.device)
    part = evaluation.subset(rows)
    if evaluation.log_prob is None:
        return part
    return replace(
        part, log_prob=law.log_prob(evaluation.truth, evaluation.present & rows[:, None])
    )


def _evaluation(
    law: SceneDistribution,
    batch: SceneBatch,
    future: Future,
    needs: Any,
    n_samples: int,
    level: float,
) -> Evaluation:
    """What the metrics at hand need to know of one batch."""
    future = future.to(law.mean.device)
    given: dict[str, Tensor] = {"point": law.mean}
    if "samples" in needs:
        given["samples"] = law.sample((n_samples,))
    if "distribution" in needs:
        given["log_prob"] = law.log_prob(future.values, future.present)
    if "interval" in needs:
        given["lower"] = law.quantile(0.5 - level / 200)
        given["upper"] = law.quantile(0.5 + level / 200)
    scene = batch.scene.to(law.mean.device)
    return Evaluation(future.values, future.present, scene, batch.n_scenes, **given)
