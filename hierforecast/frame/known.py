"""Known covariates of the steps to forecast: from their own frame into the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame.clock import Times
from hierforecast.frame.roles import encode
from hierforecast.frame.step import Step
from hierforecast.frame.table import Table, show

if TYPE_CHECKING:
    from hierforecast.frame.panel import Panel


def fill_known(panel: Panel, frame: Any, horizon: int, context: int | None) -> None:
    """Write the known covariates of the horizon's cells into the panel.

    Args:
        panel: read with this horizon; its `known` is written.
        frame: scene, id, time and known covariates; rows of other series and times are ignored.
        horizon: steps.
        context: only series observed in the last `context` steps of history need to be there; None
            means observed at any step.

    Raises:
        DataError: if the frame is missing, or lacks a step of a series that needs it.
    """
    columns = panel.columns
    if frame is None:
        raise DataError(
            f"the known covariates {list(columns.known_covariates)} need their future values: give "
            f"known=, a frame with the next {horizon} steps of every series"
        )
    table = Table.open(frame, columns, "known")
    what = table.what
    needed = ("id", "time", "scene", "known_covariates")
    table.require([role for role in columns.roles() if role[0] in needed])
    at, row, step = _place(panel, table)
    ahead = step - panel.cutoff[panel.row_scene[row]]
    use = (ahead >= 0) & (ahead < horizon)
    at, row, step, ahead = at[use], row[use], step[use], ahead[use]
    count = np.bincount(row * horizon + ahead, minlength=len(panel.ids) * horizon)
    if (count > 1).any():
        raise DataError(f"{what} has duplicated rows: {_step_name(panel, count > 1, horizon)}")
    lacking = (count == 0) & np.repeat(_observed(panel, context), horizon)
    if lacking.any():
        raise DataError(
            f"{what} lacks {int(lacking.sum())} of the steps to forecast, the first is "
            f"{_step_name(panel, lacking, horizon)}: give the {horizon} steps after the last time "
            "of each scene, for every series"
        )
    for c, name in enumerate(columns.known_covariates):
        values, _ = encode(table, name, "known", panel.known.dtype, panel.vocabulary)
        panel.known[panel.cell_offset[row] + step, c] = values[at]


def _place(panel: Panel, table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the known frame that belong to the panel, (m,) each: index, panel row, step."""
    columns, labels = panel.columns, panel.labels.id.to_numpy()
    scene: np.ndarray = np.zeros(len(table), dtype=np.int64)
    if columns.scene is not None:
        scene = _find(table, columns.scene, panel.scene_labels)
    ids = _find(table, columns.id, labels)
    rows = panel.row_scene * len(labels) + panel.labels.row_id
    key = scene * len(labels) + ids
    row = np.searchsorted(rows, key).clip(max=len(rows) - 1)
    at = np.flatnonzero((scene >= 0) & (ids >= 0) & (rows[row] == key))
    row = row[at]
    times = Times.read(table, columns.time).as_in(panel.clock, table.what)
    counted = times.on(Step.parse(panel.clock.step))[at]
    step, on_grid = panel.clock.steps(panel.row_scene[row], counted)
    return at[on_grid], row[on_grid], step[on_grid]


def _find(table: Table, name: str, among: np.ndarray) -> np.ndarray:
    """Position (n,) of each row's label in `among`, -1 where it is not there."""
    codes, labels = table.labels(name)
    return pd.Index(among).get_indexer(pd.Index(labels))[codes]


def _observed(panel: Panel, context: int | None) -> np.ndarray:
    """Rows (R,) bool that are observed in the last `context` steps of history."""
    cutoff = panel.cutoff[panel.row_scene]
    begin = np.zeros_like(cutoff) if context is None else (cutoff - context).clip(min=0)
    seen = np.concatenate([[0], np.cumsum(panel.present)])
    return seen[panel.cell_offset + cutoff] > seen[panel.cell_offset + begin]


def _step_name(panel: Panel, which: np.ndarray, horizon: int) -> str:
    """``scene 1, unique_id 'a', ds 12`` of the first marked (row, step ahead)."""
    row, ahead = divmod(int(np.argmax(which)), horizon)
    scene = panel.row_scene[row : row + 1]
    time = panel.times(scene, panel.cutoff[scene] + ahead)[0]
    columns = panel.columns
    first = f"{columns.scene} {show(panel.scene_labels[scene[0]])}, " if columns.scene else ""
    return f"{first}{columns.id} {show(panel.ids[row])}, {columns.time} {show(time)}"
