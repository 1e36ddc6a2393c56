"""From a model's distributions to frames: the last stretch of every verb of `Forecaster`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hierforecast import _options
from hierforecast._options import levels, whole
from hierforecast._waiting import at_hand, sent
from hierforecast.batch import Future, _map_tensors
from hierforecast.distributions import SceneDistribution
from hierforecast.distributions.checks import check_finite
from hierforecast.distributions.futures import representatives
from hierforecast.errors import DataError
from hierforecast.frame.totals import Totals
from hierforecast.inference.devices import shared_out
from hierforecast.inference.draws import Draws
from hierforecast.inference.forecast import Forecast
from hierforecast.inference.newcomers import Newcomers
from hierforecast.models import Model
from hierforecast.nn.growth import Growth, below_ceiling
from hierforecast.windows import WindowDataset

# Of each batch: rows (P,) of the panel, cutoffs (P,), and cells (..., P, H, D) by name.
Tables = list[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]
_MOVING = threading.Lock()


def place(model: Model, accelerator: Any) -> Model:
    """A model in evaluation mode, on the GPU if there is one and the user wants it."""
    device = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    with _MOVING:  # the first of several threads; to the others it is there already
        return model.to(device).eval()


def device_of(model: Model) -> torch.device:
    """Where a model is."""
    return next(iter((*model.parameters(), *model.buffers()))).device


def point_columns(model: Model, targets: Sequence[str]) -> list[str]:
    """The model's name, with the target if there are several."""
    name = type(model).__name__
    return [name] if len(targets) == 1 else [f"{name}_{target}" for target in targets]


def suffixes(percents: Sequence[float], shares: Sequence[float]) -> list[str]:
    """What stands behind the name of a point forecast: nothing, then interval ends, quantiles."""
    ends = (f"-{side}-{percent:.10g}" for percent in percents for side in ("lo", "hi"))
    return ["", *ends, *(f"-q-{100 * share:.10g}" for share in shares)]


def central(forecast: Forecast, percent: float) -> list[Tensor]:
    """The interval in the middle of each cell's distribution."""
    return [forecast.raw.quantile((50 + side * percent / 2) / 100) for side in (-1, 1)]


@dataclass
class Forecasts:
    """A model's forecasts of windows, batch after batch.

    Args:
        model: gives a `SceneDistribution` for a `SceneBatch`.
        windows: what to forecast.
        batch_size: windows at a time.
        random: of the joint draws.
        given: (R, H, D) float64 of the panel's rows, what is assumed of the horizon and NaN where
            nothing is; None for nothing. Forecasts are conditioned on it.
        totals: what is added up; None for the series themselves.
        newcomers: what is known of series that are not observed; None: they get no rows.
        interval: lower and upper ends of a forecast's intervals, in the units of the batch.
        damped: whether forecasts of demand are kept from sizes beyond belief.
        devices: that verbs share the batches out to, see `shared_out`; none for this process alone.
        share: the first batch to go through, and the distance from one to the next.
    """

    model: Model
    windows: WindowDataset
    batch_size: int
    random: Draws
    given: np.ndarray | None = field(default=None, kw_only=True)
    totals: Totals | None = field(default=None, kw_only=True)
    newcomers: Newcomers | None = field(default=None, kw_only=True)
    interval: Callable[[Forecast, float], Sequence[Tensor]] = field(default=central, kw_only=True)
    damped: bool = field(default=True, kw_only=True)
    devices: tuple[str, ...] = field(default=(), kw_only=True)
    share: tuple[int, int] = field(default=(0, 1), kw_only=True)

    def __iter__(self) -> Iterator[Forecast]:
        device = device_of(self.model)
        first, every = self.share
        for start in range(0, len(self.windows), self.batch_size)[first::every]:
            stop = min(start + self.batch_size, len(self.windows))
            batch, future = self.windows.__getitems__(list(range(start, stop)))
            with torch.no_grad():
                raw = self.model(_map_tensors(batch, partial(sent, device=device)))
            if not at_hand(raw.scene):  # its parameters were not looked at
                check_finite("the forecast", raw.mean)
            drawing = self.random.generators(self.windows.panel, self.windows.cutoffs[start:stop])
            forecast = Forecast(raw, batch, future, drawing)
            if self.windows.warp is not None:
                warp = self.windows.warp.change(lambda x: x.to(device))
                growth = getattr(self.model, "growth", None)
                raw = self._damped(raw, future) if self.damped else raw
                raw = growth(raw, future.unit) if isinstance(growth, Growth) else raw
                forecast = forecast._replace(raw=raw, warp=warp, truth=self.truth(future))
            if self.given is not None:
                forecast = forecast.condition(self.given[future.rows.numpy()])
            yield forecast if self.totals is None else forecast.add(self.totals)

    def _damped(self, raw: SceneDistribution, future: Future) -> SceneDistribution:
        """A distribution in logarithms, within what its series make believable."""
        history, at = self.windows.history, (future.rows.numpy(), future.cutoff.numpy())
        if history is None or isinstance(future.offset, float) or isinstance(future.unit, float):
            return raw
        return below_ceiling(raw, future.offset, future.unit, history.top(*at))

    @property
    def name(self) -> str:
        """The model's."""
        return type(self.model).__name__

    @property
    def columns(self) -> list[str]:
        """Columns of the point forecast, see `point_columns`."""
        return point_columns(self.model, self.windows.panel.columns.targets)

    def to_frame(self, level: Any = None, quantiles: Any = None, truth: bool = False) -> Any:
        """Points, intervals, quantiles, and the truth if asked: a row per series, cutoff, step."""
        percents, probabilities = levels(level), _options.quantiles(quantiles)
        self._check_names(["cutoff"] * truth, truth)
        return self._assemble(shared_out(self, points, percents, probabilities, truth), truth=truth)

    def draws_to_frame(self, n: int) -> Any:
        """Joint draws: the rows of `to_frame` once per draw, with a ``sample_id``."""
        n = whole("n", n)
        self._check_names(["sample_id"], False)
        return self._assemble(shared_out(self, draws, n), "sample_id")

    def futures_to_frame(self, n: int, n_samples: int, joint: bool = True) -> Any:
        """Representative futures: the rows of `to_frame` once per future; see `representatives`."""
        n, n_samples = whole("n", n), whole("n_samples", n_samples)
        if n > n_samples:
            raise DataError(
                f"n={n} futures need as many draws at least, but n_samples={n_samples}: raise it"
            )
        self._check_names(["future_id", "share"], False)
        return self._assemble(shared_out(self, futures, n, n_samples, joint), "future_id")

    def joint(self) -> tuple[SceneDistribution, Any]:
        """The distribution of all windows (one batch), rows in the order of its index frame."""
        whole = replace(self, batch_size=max(len(self.windows), 1))
        forecast = next(iter(whole))
        future = forecast.future
        order = np.argsort(future.rows.numpy(), kind="stable")
        panel = self.windows.panel
        rows, cutoff = future.rows.numpy()[order], future.cutoff.numpy()[order]
        joint = forecast.distribution().rows(torch.from_numpy(order))
        return joint, panel.to_frame(rows, cutoff, {})

    def truth(self, future: Future) -> Tensor:
        """What came after, as the frame has it: (P, H, D) float64, NaN where missing."""
        panel, ahead = self.windows.panel, np.arange(self.windows.prediction_length)
        start = panel.cell_offset[future.rows.numpy()] + future.cutoff.numpy()
        cells = start[:, None] + ahead
        seen = panel.present[cells][..., None]
        return torch.from_numpy(np.where(seen, panel.values[cells], np.nan))

    def _assemble(
        self,
        shares: list[Tables],
        number: str | None = None,
        truth: bool = False,
    ) -> Any:
        """One frame of all batches, sorted by (draw,) scene, series, cutoff and step.

        Args:
            shares: of each batch, cells ([draws,] P, H, D) by suffix of their column; of futures
                their ``share`` too, 0 where a scene has none.
            number: column that numbers the draws; None where there are none.
            truth: whether there are a cutoff and what came after.
        """
        rows, cutoff, cells = _sorted([table for share in shares for table in share])
        panel, steps = self.windows.panel, self.windows.prediction_length
        copies = 1 if number is None else len(cells["mean"])
        at = np.tile(np.repeat(rows, steps), copies)
        when = np.tile((cutoff[:, None] + np.arange(steps)).reshape(-1), copies)
        data: dict[str, Any] = {}
        if number is not None:
            data[number] = np.repeat(np.arange(copies), len(rows) * steps)
        if truth:
            before = np.repeat(cutoff - 1, steps)
            data["cutoff"] = panel.time_column("cutoff", panel.row_scene[at], before)
            outcome = cells.pop("truth")
            for target, name in enumerate(panel.columns.targets):
                data[name] = outcome[..., target].reshape(-1)
        if "share" in cells:
            data["share"] = cells.pop("share")[..., 0].reshape(-1)
        for target, column in enumerate(self.columns):
            for name, values in cells.items():
                suffix = "" if name == "mean" else name
                data[column + suffix] = values[..., target].reshape(-1)
        if "share" in data:
            kept = data["share"] > 0
            at, when = at[kept], when[kept]
            data = {name: column[kept] for name, column in data.items()}
        return self._label(at, when, data)

    def _label(self, rows: np.ndarray, steps: np.ndarray, data: Mapping[str, Any]) -> Any:
        """A frame of series, or of totals."""
        panel = self.windows.panel
        if self.totals is not None:
            return self.totals.to_frame(panel, rows, steps, data)
        return panel.to_frame(rows, steps, data)

    def _check_names(self, added: Sequence[str], truth: bool) -> None:
        """Refuse an answer in which one column would overwrite another."""
        roles = self.windows.panel.columns
        keys = roles.keys
        if self.totals is not None:
            keys = (*roles.scenes, *self.totals.by, roles.time)
        names = [*keys, *(roles.targets if truth else ()), *added, *self.columns]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(
                f"the answer would have two columns {twice!r}: rename that column of the frame"
            )


def points(
    forecasts: Forecasts, percents: Sequence[float], probabilities: Sequence[float], truth: bool
) -> Tables:
    """Points, ends of intervals, quantiles, and the truth if asked."""
    tables, names = [], ["mean", *suffixes(percents, probabilities)[1:]]
    for forecast in forecasts:
        bounds = [bound for percent in percents for bound in forecasts.interval(forecast, percent)]
        bounds += [forecast.raw.quantile(share) for share in probabilities]
        values = forecast.mean, *map(forecast.numbers, bounds)
        cells = dict(zip(names, values, strict=True))
        if truth:
            cells["truth"] = forecasts.truth(forecast.future)
        tables.append(_here(forecast, **cells))
        if forecasts.newcomers is not None:
            shares = [(50 + side * p / 2) / 100 for p in percents for side in (-1, 1)]
            panel = forecasts.windows.panel
            found = forecasts.newcomers.quantiles(forecast, panel, [*shares, *probabilities])
            tables.append(found.table(names))
    return tables


def draws(forecasts: Forecasts, n: int) -> Tables:
    """Joint draws."""
    tables = []
    for forecast in forecasts:
        tables.append(_here(forecast, mean=forecast.draws(n)))
        if forecasts.newcomers is not None:
            tables.append(forecasts.newcomers.draws(forecast, forecasts.windows.panel, n).table())
    return tables


def futures(forecasts: Forecasts, n: int, n_samples: int, joint: bool) -> Tables:
    """Representative futures, and their shares of the draws."""
    tables = []
    for forecast in forecasts:
        found = representatives(forecast.raw, n, n_samples, forecast.generators, joint)
        share = found.shares[..., None, None].expand_as(found.centers)
        tables.append(_here(forecast, mean=forecast.numbers(found.centers), share=share))
    return tables


def _here(
    forecast: Forecast, **cells: Tensor
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Which rows of a batch are when, and cells of them."""
    future = forecast.future
    found = {name: each.cpu().numpy() for name, each in cells.items()}
    return future.rows.numpy(), future.cutoff.numpy(), found


def _sorted(tables: Tables) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Rows (R,) and cutoffs (R,) of all batches, sorted by them, and cells ([draws,] R, H, D)."""
    found = [cells for _, _, cells in tables]
    rows, cutoff = (np.concatenate([table[k] for table in tables]) for k in (0, 1))
    order = np.lexsort((cutoff, rows))
    cells = {
        name: np.concatenate([each[name] for each in found], axis=-3)[..., order, :, :]
        for name in found[0]
    }
    return rows[order], cutoff[order], cells
