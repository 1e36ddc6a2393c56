"""Known covariates of the steps to forecast: from their own frame into the panel."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame.absent import require
from hierforecast.frame.categories import encode
from hierforecast.frame.codes import one_of_each
from hierforecast.frame.columns import Columns
from hierforecast.frame.duplicates import agrees
from hierforecast.frame.panel import Panel
from hierforecast.frame.table import Table, show
from hierforecast.frame.times import Times


def refuse_unused(frame: Any, columns: Columns) -> None:
    """Refuse a known frame, or whatever was given for one, that no column is read from.

    Raises:
        DataError: if `columns` names no known covariates.
    """
    if frame is not None and not columns.known_covariates:
        raise DataError(
            "known= was given, but nothing in Columns uses it: name its columns with "
            "Columns(known_covariates=[...]) and fit again, or leave it out"
        )


def announce(frame: Any, known: Any, columns: Columns) -> Any:
    """The frame, and a row without targets for each series of its scenes that only `known` has.

    Such a row tells the series' labels; its time is one of the scene's, because those of `known`
    may lie off the grid, and its known covariates are read from `known` itself.

    Raises:
        DataError: if `known` lacks the groups or types of such a series.
    """
    if known is None or not columns.known_covariates:
        return frame
    table, ahead = Table.open(frame, columns), Table.open(known, columns, "known")
    require(table, columns.roles())
    require(ahead, [role for role in columns.roles() if role[0] in ("id", "scene")])
    codes, labels = ahead.keys((*columns.scenes, *columns.ids))
    there = table.keys((*columns.scenes, *columns.ids))[1]
    first = one_of_each(codes[::-1], len(labels))  # of the rows from behind
    at = (len(ahead) - 1 - first)[pd.Index(there).get_indexer(pd.Index(labels)) < 0]
    like = np.zeros(len(at), dtype=np.int64)
    if columns.scenes:
        scene, scenes = table.keys(columns.scenes)
        found = _find(ahead, columns.scenes, scenes)[at]
        at, like = at[found >= 0], one_of_each(scene, len(scenes))[found[found >= 0]]
    # Ids of another type are no newcomers; that steps are lacking says it better.
    if not len(at) or {type(x) for x in labels.tolist()} != {type(x) for x in there.tolist()}:
        return frame
    return nw.concat([table.frame, _announced(table, ahead, at, like)], how="diagonal").to_native()


def _announced(table: Table, ahead: Table, at: np.ndarray, like: np.ndarray) -> nw.DataFrame[Any]:
    """Labels of rows (m,) of the known frame, at the times of rows (m,) of the frame."""
    columns = table.columns
    new: list[nw.Series[Any]] = []
    told = ("id", "scene", "group", "crossed", "group_type", "static")
    for role, name in columns.roles():
        if role not in told or name in (column.name for column in new):
            continue
        if name in ahead.frame.columns:
            kind = table.frame.schema[name]
            cells = [ahead.frame[name][int(row)] for row in at]
            given = {"backend": table.frame.implementation}
            new.append(nw.new_series(name, cells, None if kind == nw.Object else kind, **given))
        elif role != "static":
            raise DataError(
                f"{ahead.what} announces {ahead.cells((*columns.scenes, *columns.ids), at[0])}, "
                f"which has no rows in the frame, but has no column {name!r} for the role "
                f"{role!r}: add it to {ahead.what}, or leave newcomers=True out"
            )
    time = nw.maybe_reset_index(table.frame[columns.time][like])
    return new[0].to_frame().with_columns(*new[1:], time)


def fill_known(
    panel: Panel, frame: Any, horizon: int, context: int | None, cell: np.ndarray
) -> None:
    """Write the known covariates of the horizon's cells into the panel.

    They may also stand in the history itself, in rows after the last observed time: what `frame`
    does not tell is taken from there.

    Args:
        panel: read with this horizon; its `known` is written.
        frame: scene, id, time and known covariates, or None; rows of other series and times are
            ignored.
        horizon: steps.
        context: only series observed in the last `context` steps of history need to be there; None
            means observed at any step.
        cell: cells of the panel that the history has rows for.

    Raises:
        DataError: if a step of a series that needs it is in neither frame, or has no number in a
            column that had one in every row of training.
    """
    columns = panel.columns
    filled = np.zeros(len(panel.present), dtype=bool)
    filled[cell] = True
    first = panel.cell_offset + panel.cutoff[panel.row_scene]
    given = filled[first[:, None] + np.arange(horizon)].reshape(-1)
    what = "the frame"
    if frame is not None:
        table = Table.open(frame, columns, "known")
        what = table.what
        given |= _write(panel, table, horizon)
    needed = np.repeat(panel.observed_within(context), horizon)
    lacking = ~given & needed
    if not lacking.any():
        return _refuse_gaps(panel, needed, horizon, what)
    missing = (
        f"{int(lacking.sum())} of the steps to forecast, the first is "
        f"{step_name(panel, lacking, horizon)}"
    )
    if frame is None:
        text = (
            f"the known covariates {list(columns.known_covariates)} need their future values: give "
            f"known=, a frame with the next {horizon} steps of every series, or append these rows "
            f"without targets; there are none for {missing}"
        )
        raise DataError(text, on_command_line=text.replace("known=, a frame", "--known, a table"))
    raise DataError(
        f"{what} lacks {missing}: give the {horizon} steps after the last observed time of each "
        "scene, for every series"
    )


def _refuse_gaps(panel: Panel, needed: np.ndarray, horizon: int, what: str) -> None:
    """Refuse missing numbers at the needed steps (R * horizon,) of columns that never had any."""
    first = panel.cell_offset + panel.cutoff[panel.row_scene]
    ahead = panel.known[first[:, None] + np.arange(horizon)].reshape(len(needed), -1)
    for covariate, values in zip(panel.vocabulary.of("known"), ahead.T, strict=False):
        missing = needed & covariate.lacks(values)
        if not covariate.gaps and missing.any():
            raise DataError(
                f"known covariate {covariate.name!r} of {what} is missing (NaN) in "
                f"{int(missing.sum())} of the steps to forecast, the first is "
                f"{step_name(panel, missing, horizon)}, and was there in every row of training: "
                "give its numbers (a join may have lost them), or fit with such gaps"
            )


def _write(panel: Panel, table: Table, horizon: int) -> np.ndarray:
    """Write what the known frame tells; which steps of which rows it does, (R * horizon,) bool."""
    columns = panel.columns
    needed = ("id", "time", "scene", "known_covariates")
    require(table, [role for role in columns.roles() if role[0] in needed])
    at, row, step = place(panel, table)
    ahead = step - panel.cutoff[panel.row_scene[row]]
    use = (ahead >= 0) & (ahead < horizon)
    at, row, step, ahead = at[use], row[use], step[use], ahead[use]
    cell = row * horizon + ahead
    count = np.bincount(cell, minlength=len(panel.ids) * horizon)
    agree = True
    for c, name in enumerate(columns.known_covariates):
        values, _ = encode(table, name, "known", panel.vocabulary)
        panel.known[panel.cell_offset[row] + step, c] = values[at]
        agree &= agrees(cell, values[at])
    if (count > 1).any():
        twice = f"{table.what} has duplicated rows: {step_name(panel, count > 1, horizon)}"
        if not agree:
            raise DataError(f"{twice}; they tell different values: keep the one that is right")
        remedy = table.rebuild("drop_duplicates", keys=list(columns.keys))
        raise DataError(f"{twice}; they tell the same, keep one row each", remedy)
    return count > 0


def place(panel: Panel, table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the known frame that belong to the panel, (m,) each: index, panel row, step."""
    columns, labels = panel.columns, panel.labels.ids
    scene: np.ndarray = np.zeros(len(table), dtype=np.int64)
    if columns.scenes:
        scene = _find(table, columns.scenes, panel.scene_labels)
    ids = _find(table, columns.ids, labels)
    rows = panel.row_scene * len(labels) + panel.labels.row_id
    key = scene * len(labels) + ids
    row = np.searchsorted(rows, key).clip(max=len(rows) - 1)
    at = np.flatnonzero((scene >= 0) & (ids >= 0) & (rows[row] == key))
    row = row[at]
    counted, held = panel.clock.counted(Times.read(table, columns.time), table.what)
    step, on_grid = panel.clock.steps(panel.row_scene[row], counted[at])
    on_grid &= held[at]
    return at[on_grid], row[on_grid], step[on_grid]


def _find(table: Table, names: tuple[str, ...], among: np.ndarray) -> np.ndarray:
    """Position (n,) of each row's label in `among`, -1 where it is not there."""
    codes, labels = table.keys(names)
    return pd.Index(among).get_indexer(pd.Index(labels))[codes]


def step_name(panel: Panel, which: np.ndarray, horizon: int) -> str:
    """``scene 1, unique_id 'a', ds 12`` of the first marked (row, step ahead)."""
    row, ahead = divmod(int(np.argmax(which)), horizon)
    scene = panel.row_scene[row : row + 1]
    time = panel.times(scene, panel.cutoff[scene] + ahead)[0]
    return f"{panel.series_name(row)}, {panel.columns.time} {show(time)}"
