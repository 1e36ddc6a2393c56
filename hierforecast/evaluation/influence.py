"""Who matters: how each forecast changes when a series, or a whole group, is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np

from hierforecast._progress import progress
from hierforecast.errors import DataError
from hierforecast.frame import Panel
from hierforecast.frame.totals import Totals
from hierforecast.inference.forecasts import Forecasts, point_columns
from hierforecast.learned import Learned
from hierforecast.windows.cutoffs import last_cutoffs


class _Cells(NamedTuple):
    """Forecasts of all rows of a panel; NaN where there is none.

    Attributes:
        mean, stddev: (R, H, D) float64.
    """

    mean: np.ndarray
    stddev: np.ndarray

    @classmethod
    def of(cls, forecasts: Forecasts) -> _Cells:
        """The forecasts, in the user's numbers."""
        windows = forecasts.windows
        shape = len(windows.panel.ids), windows.prediction_length, len(forecasts.columns)
        found = cls(np.full(shape, np.nan), np.full(shape, np.nan))
        for forecast in forecasts:
            rows = forecast.future.rows.numpy()
            found.mean[rows] = forecast.mean.cpu().numpy()
            found.stddev[rows] = forecast.distribution().stddev.cpu().numpy()
        return found


class Influential(Learned):
    """The verb `influence` of a forecaster."""

    def influence(
        self, frame: Any, by: str | Sequence[str] | None = None, known: Any = None
    ) -> Any:
        """How each forecast changes when one series, or one group, is deleted from its scene.

        A missing series counts as if it had never been there, so this is what `predict` gives
        without its rows, less what it gives with them; forecasts stay at the same times.

        Args:
            frame: history, as for `predict`.
            by: a column, or several, of which each label in turn is deleted; None deletes each
                series.
            known: as in `predict`.

        Returns:
            A row for each label of a scene, other series and future step: ``[scene,] unique_id,
            ds``, what was deleted (``deleted``; of several columns ``deleted_team`` and so on),
            then by how much the point forecast and the standard deviation are larger without:
            ``HiPerformer, HiPerformer-std``, with several targets ``HiPerformer_x`` and so on.
        """
        names = self.columns.ids if by is None else by
        labels = Totals.read(frame, self.columns, names, "sum", None)
        assert labels is not None
        panel = self._read(frame, known=known, horizon=self.prediction_length)
        cutoffs = last_cutoffs(panel, self.context_length)
        seen = panel.observed_within(self.context_length)
        whole, parts = _Cells.of(self._forecasts(panel, cutoffs)), []
        number = _number_in_scene(labels.total, panel.row_scene)
        count = int(number[seen].max()) + 1
        bar = (self.trainer or {}).get("enable_progress_bar", True)
        for at in progress(range(count), "influence", count, bar):
            gone = number == at
            # Scenes in which there is such a label, and somebody else.
            with_label, with_others = (
                np.unique(panel.row_scene[seen & rows]) for rows in (gone, ~gone)
            )
            some = cutoffs[np.intersect1d(with_label, with_others)]
            if len(some):
                rest = _Cells.of(self._forecasts(_without(panel, gone), some))
                parts.append((at, rest))
        if not parts:
            raise DataError("no scene has two of what is deleted: there is nobody to be influenced")
        columns = point_columns(self.model_, panel.columns.targets)
        return _to_frame(panel, columns, labels, number, whole, parts)


def _number_in_scene(total: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """Of each row (R,), the number of its label among those of its scene."""
    found, place = np.unique(total, return_inverse=True)
    first = np.full(scene.max(initial=-1) + 1, len(found))
    np.minimum.at(first, scene, place)
    return place - first[scene]


def _without(panel: Panel, rows: np.ndarray) -> Panel:
    """A panel in which rows (R,) bool are never observed."""
    size = np.diff(panel.cell_offset, append=len(panel.present))
    return replace(panel, present=panel.present & ~np.repeat(rows, size))


def _to_frame(
    panel: Panel,
    columns: Sequence[str],
    labels: Totals,
    number: np.ndarray,
    whole: _Cells,
    parts: Sequence[tuple[int, _Cells]],
) -> Any:
    """The answer of `influence`, by scene, what is deleted, series and step."""
    label_of = np.full((len(panel.length), number.max() + 1), -1)
    label_of[panel.row_scene, number] = labels.total % labels.n_labels
    found = []
    for which, rest in parts:
        others = np.flatnonzero(~np.isnan(rest.mean).any((1, 2)))
        gone = label_of[panel.row_scene[others], which]
        changes = (rest.mean - whole.mean)[others], (rest.stddev - whole.stddev)[others]
        found.append((others, np.full(len(others), which), gone, *changes))
    rows, at, label, mean, stddev = (np.concatenate(x) for x in zip(*found, strict=True))
    order = np.lexsort((rows, at, panel.row_scene[rows]))
    rows, label, mean, stddev = (x[order] for x in (rows, label, mean, stddev))
    steps = mean.shape[1]
    data: dict[str, Any] = {}
    for name, column in zip(labels.by, labels.labels, strict=True):
        key = "deleted" if len(labels.by) == 1 else f"deleted_{name}"
        data[key] = nw.maybe_reset_index(column[np.repeat(label, steps)])
    for d, name in enumerate(columns):
        data[name] = mean[..., d].reshape(-1)
        data[f"{name}-std"] = stddev[..., d].reshape(-1)
    ahead = panel.cutoff[panel.row_scene[rows]][:, None] + np.arange(steps)
    return panel.to_frame(np.repeat(rows, steps), ahead.reshape(-1), data)
