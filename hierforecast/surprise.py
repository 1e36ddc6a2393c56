"""What was surprising: the joint log density of what happened, split by series and step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hierforecast.backtesting import Rolling, forecasts_of
from hierforecast.errors import DataError
from hierforecast.forecast import Forecast
from hierforecast.inference import Forecasts
from hierforecast.learned import Learned

COLUMNS = ("cutoff", "log_prob", "series_log_prob")
P_VALUES = ("p_value", "series_p_value")


class Surprising(Learned):
    """The verb `surprise` of a forecaster."""

    def surprise(
        self,
        frame: Any,
        held_out: Any = None,
        *,
        n_windows: int | None = None,
        start: Any = None,
        stride: int | None = None,
    ) -> Any:
        """How unexpected each series was, given what all the others of its scene did.

        A series i of a window scores ``log p(y_i | y of all others)``, and its step t the part
        ``log p(y_i,t | y of all others, y_i before t)``: the parts of a series add up to its score
        (chain rule), and no order of the series matters. All are differences of exact marginals of
        the joint distribution, log densities of the frame's numbers: a series in small units has
        higher ones. Several targets of a step are one part.

        Args:
            frame: scenes with their outcome.
            held_out: frame with outcomes that the fit has not seen; adds p-values, the share of
                its scores of the same group type (of steps: and the same step) that are at most as
                high, ``(1 + count) / (1 + n)``, never 0. They are exact if scores of a type are
                exchangeable; series of one window depend on each other, so that they hold on
                average over windows, as in `Conformal`.
            n_windows, start, stride: as in `backtest`; of `held_out` all windows are used.

        Returns:
            ``[scene,] unique_id, ds, cutoff, log_prob, series_log_prob[, p_value,
            series_p_value]``, a row for each step at which a series was observed; what begins with
            ``series_`` is of its whole window. Low values are surprising.

        Raises:
            DataError: if a column of the answer has the name of a key, or `held_out` lacks a group
                type.
        """
        forecasts = forecasts_of(self, frame, Rolling(n_windows, start, stride))
        names = COLUMNS if held_out is None else (*COLUMNS, *P_VALUES)
        twice = [name for name in names if name in self.columns.keys]
        if twice:
            raise DataError(
                f"the answer would have two columns {twice[0]!r}: rename that column of the frame"
            )
        found = _scores(forecasts)
        if held_out is not None:
            _calibrate(found, _scores(forecasts_of(self, held_out, Rolling())), forecasts)
        return _to_frame(forecasts, found)


def contributions(forecast: Forecast) -> Tensor:
    """Log densities (P, H) float64 of each step given all other rows and its row's earlier steps.

    They are NaN where nothing was observed. Rows of different scenes are looked at together: it
    takes as many evaluations of the joint density as the largest scene has cells.
    """
    present, scene = forecast.future.present, forecast.raw.scene.cpu()
    rank = _rank(scene)

    def log_prob(seen: Tensor) -> Tensor:
        future = replace(forecast.future, present=seen)
        return forecast._replace(future=future).log_prob().double().cpu()

    found = torch.full(present.shape, torch.nan, dtype=torch.float64)
    whole = log_prob(present)
    for number in range(int(rank.max()) + 1 if len(rank) else 0):
        own, seen, later = rank == number, present.clone(), whole
        for step in reversed(range(present.shape[1])):
            here = own & present[:, step]
            if here.any():
                seen[:, step] &= ~own
                earlier = log_prob(seen)
                found[here, step] = (later - earlier)[scene[here]]
                later = earlier
    return found


def _rank(scene: Tensor) -> Tensor:
    """The number (P,) of each row among those of its scene."""
    order = scene.argsort(stable=True)
    count = scene.bincount()
    rank = torch.empty_like(scene)
    rank[order] = torch.arange(len(scene)) - (count.cumsum(0) - count)[scene[order]]
    return rank


def _scores(forecasts: Forecasts) -> dict[str, np.ndarray]:
    """Panel rows (R,), cutoffs (R,), types (R,) and contributions (R, H), sorted by row, cutoff."""
    parts: dict[str, list[np.ndarray]] = {"rows": [], "cutoff": [], "types": [], "steps": []}
    for forecast in forecasts:
        parts["rows"].append(forecast.future.rows.numpy())
        parts["cutoff"].append(forecast.future.cutoff.numpy())
        parts["types"].append(forecast.batch.types.cpu().numpy())
        parts["steps"].append(contributions(forecast).numpy())
    found = {name: np.concatenate(each) for name, each in parts.items()}
    order = np.lexsort((found["cutoff"], found["rows"]))
    found = {name: each[order] for name, each in found.items()}
    found["seen"] = ~np.isnan(found["steps"])
    found["series"] = np.nansum(found["steps"], axis=1)
    return found


def p_values(scores: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Shares of held-out scores (n,) that are at most as high, with the score among them."""
    ordered = np.sort(held_out)
    return (1 + np.searchsorted(ordered, scores, side="right")) / (1 + len(ordered))


def _calibrate(
    found: dict[str, np.ndarray], other: Mapping[str, np.ndarray], forecasts: Forecasts
) -> None:
    """Add p-values of series (R,) and of their steps (R, H)."""
    found["series_p"], found["steps_p"] = np.ones(len(found["rows"])), np.ones(found["seen"].shape)
    observed = other["seen"].any(1)
    for code in np.unique(found["types"][found["seen"].any(1)]):
        own, pool = found["types"] == code, (other["types"] == code) & observed
        if not pool.any():
            names = forecasts.windows.panel.vocabulary.types
            whose = f" of group type {str(names[code])!r}" if len(names) else ""
            raise DataError(
                f"held_out has no outcome of a series{whose}, to which those of the frame could "
                "be compared: give a held_out with some, or leave held_out out"
            )
        found["series_p"][own] = p_values(found["series"][own], other["series"][pool])
        for step in range(found["steps"].shape[1]):
            seen = pool & other["seen"][:, step]
            held_out = other["steps"][seen, step]
            found["steps_p"][own, step] = p_values(found["steps"][own, step], held_out)


def _to_frame(forecasts: Forecasts, found: Mapping[str, np.ndarray]) -> Any:
    """The answer of `surprise`, in the library of the user's frame."""
    panel, (row, step) = forecasts.windows.panel, found["seen"].nonzero()
    rows, cutoff = found["rows"][row], found["cutoff"][row]
    data: dict[str, Any] = {
        "cutoff": panel.time_column("cutoff", panel.row_scene[rows], cutoff - 1),
        "log_prob": found["steps"][row, step],
        "series_log_prob": found["series"][row],
    }
    if "series_p" in found:
        data["p_value"] = found["steps_p"][row, step]
        data["series_p_value"] = found["series_p"][row]
    return panel.to_frame(rows, cutoff + step, data)
