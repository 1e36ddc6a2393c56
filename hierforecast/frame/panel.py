"""The only door for data frames: frame -> arrays -> frame.

A long frame (one row per series and time) becomes a `Panel`: for each scene a regular grid of
steps, for each series of a scene one row of cells over that grid. No loop runs over series or rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame.absent import require
from hierforecast.frame.clock import Clock
from hierforecast.frame.codes import pair
from hierforecast.frame.columns import Columns, Vocabulary
from hierforecast.frame.duplicates import check_duplicates
from hierforecast.frame.known import fill_known, refuse_unused
from hierforecast.frame.regularity import check_series
from hierforecast.frame.roles import Roles
from hierforecast.frame.step import Step
from hierforecast.frame.table import Table, show
from hierforecast.frame.timeline import Moments, check_room, lay_time
from hierforecast.frame.times import column_like

# A grid this much larger than the frame, and this large, is a mistake rather than missing data.
MAX_FILL, MAX_CELLS = 50, 50_000_000


@dataclass(frozen=True)
class Labels:
    """The label columns of the frame, kept in its own library and types.

    Args:
        scene: (S,) scene labels in order, one column or several; none without a scene column.
        id: (I,) distinct ids in order, one column or several.
        ids: (I,) the same as one array, of tuples if there are several columns.
        row_id: (R,) int64 index of each row's id.
        time: (1,) any time of the frame: its type is what counts.
    """

    scene: tuple[nw.Series[Any], ...]
    id: tuple[nw.Series[Any], ...]
    ids: np.ndarray
    row_id: np.ndarray
    time: nw.Series[Any]


@dataclass
class Panel:
    """A frame as arrays; row = one (scene, series), cell = one step of a row.

    Rows are sorted by scene, then id, whatever the order of the frame. Cells of one row lie one
    after another: step t of row r is cell ``cell_offset[r] + t``.

    Args:
        columns: the roles.
        vocabulary: categories and types behind the codes.
        clock: the time of each step.
        labels: the label columns.
        scene_labels: (S,) labels, tuples if several columns name a scene.
        length: (S,) int64 steps of each scene: up to its last row, and the horizon.
        begin: (S,) int64 first observed step; the rows before it have no targets.
        cutoff: (S,) int64 end of the history: the step after the last observed one. Rows from there
            on have no targets; they may tell known covariates in advance.
        row_offset: (S+1,) int64; scene s has rows ``row_offset[s]:row_offset[s + 1]``.
        ids: (R,) labels, tuples if several columns name a series.
        row_scene: (R,) int64.
        groups: (R, levels) int64 path codes, coarse to fine: a code has one parent. Zeros without
            group columns (one level).
        types: (R,) int64 index into ``vocabulary.types``; zeros without types.
        static: (R, Cs) float64; numbers with NaN for missing, or category codes with 0 for unknown.
        cell_offset: (R,) int64.
        values: (cells, D) float64, the numbers of the frame; 0 where not present.
        present: (cells,) bool, where all targets are observed.
        past, known: (cells, Cp) and (cells, Ck) float64, coded as `static`.
        dtype: of what models are given.
    """

    columns: Columns
    vocabulary: Vocabulary
    clock: Clock
    labels: Labels
    scene_labels: np.ndarray
    length: np.ndarray
    begin: np.ndarray
    cutoff: np.ndarray
    row_offset: np.ndarray
    ids: np.ndarray
    row_scene: np.ndarray
    groups: np.ndarray
    types: np.ndarray
    static: np.ndarray
    cell_offset: np.ndarray
    values: np.ndarray
    present: np.ndarray
    past: np.ndarray
    known: np.ndarray
    dtype: np.dtype[Any]

    def times(self, scene: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Time labels (m,) of steps (m,) in scenes (m,): int64, or datetime64 (UTC if zoned)."""
        return self.clock.times(scene, steps)

    def time_column(self, name: str, scene: np.ndarray, steps: np.ndarray) -> nw.Series[Any]:
        """The same labels as a column of the frame's own time type, for `to_frame`."""
        return column_like(name, self.times(scene, steps), self.labels.time, self.clock.unit)

    def observed_within(self, context: int | None) -> np.ndarray:
        """Rows (R,) bool observed in the last `context` steps of history; None: at any of them."""
        end = self.cell_offset + self.cutoff[self.row_scene]
        begin = self.cell_offset if context is None else np.maximum(self.cell_offset, end - context)
        seen = np.concatenate([[0], np.cumsum(self.present)])
        return seen[end] > seen[begin]

    def scene_name(self, scene: int) -> str:
        """``league 'a', match 3``, for messages; the frame if it is one scene."""
        label = self.scene_labels[scene]
        return _name(self.columns.scenes, label) if self.columns.scenes else "the frame"

    def series_name(self, row: int) -> str:
        """``scene 1, unique_id 'a'``, for messages."""
        own = _name(self.columns.ids, self.ids[row])
        return f"{self.scene_name(self.row_scene[row])}, {own}" if self.columns.scenes else own

    def to_frame(self, rows: np.ndarray, steps: np.ndarray, data: Mapping[str, Any]) -> Any:
        """A long frame of the library that was read, with its types of scene, id and time.

        Args:
            rows, steps: (m,) int64; steps may lie beyond the panel.
            data: (m,) columns by name: arrays, or what `time_column` gives.

        Returns:
            ``[scene,] id, time``, then the data; all columns of a scene and an id.
        """
        rows, labels = np.asarray(rows, dtype=np.int64), self.labels
        scene, ids = self.row_scene[rows], labels.row_id[rows]
        out = [nw.maybe_reset_index(column[scene]) for column in labels.scene]
        out += [nw.maybe_reset_index(column[ids]) for column in labels.id]
        out.append(self.time_column(self.columns.time, scene, steps))
        for name, column in data.items():
            if not isinstance(column, nw.Series):
                backend = labels.time.implementation
                column = nw.new_series(name, np.asarray(column), backend=backend)
            out.append(column.alias(name))
        return out[0].to_frame().with_columns(*out[1:]).to_native()


@dataclass(frozen=True)
class Layout:
    """Where each row of the frame goes.

    Args:
        row, cell: (n,) of the panel.
        n_cells: of the panel.
        moments: the M distinct (scene, time) of the frame.
        step: (M,) of each moment.
    """

    row: np.ndarray
    cell: np.ndarray
    n_cells: int
    moments: Moments
    step: np.ndarray

    def history(self, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First observed step of each scene (S,), and the one after its last.

        Both are the step after its last row if none is observed.
        """
        scene = self.moments.scene
        observed = np.zeros(len(self.step), dtype=bool)
        observed[self.moments.of_row[present[self.cell]]] = True
        end = np.empty(int(scene[-1]) + 1, dtype=np.int64)
        end[scene] = self.step + 1  # of equal scenes the last one stays
        begin = end.copy()
        scene, step = scene[observed], self.step[observed]
        begin[scene[::-1]], end[scene] = step[::-1], step + 1
        return begin, end


def read_frame(
    frame: Any,
    columns: Columns,
    *,
    vocabulary: Vocabulary | None = None,
    known: Any = None,
    horizon: int = 0,
    step: str | None = None,
    context: int | None = None,
    variable: str = "frame",
    dtype: Any = np.float32,
) -> Panel:
    """Read a long frame into arrays; the frame itself is not changed.

    Args:
        frame: pandas or polars DataFrame or pyarrow Table; rows and columns in any order.
        columns: the roles; other columns are ignored.
        vocabulary: of the training panel, so that codes agree; None learns it here.
        known: frame with scene, id, time and the known covariates of the `horizon` steps.
        horizon: empty cells to append to every scene after its last time.
        step: `Clock.step` of the training panel; None takes that of ``columns.freq``, or finds it
            in the times.
        variable: how remedies call the frame: ``frame`` or ``val``.
        context: if given, only series observed in the last `context` steps must be in `known`.
        dtype: of what models are given; the panel itself is float64.

    Raises:
        TypeError: if `frame` is no frame.
        DataError: if the frame cannot be used; the message names the column and the remedy.
    """
    refuse_unused(known, columns)
    if horizon < 0:
        raise DataError(f"horizon={horizon} must be 0 or more steps")
    table = Table.open(frame, columns, variable)
    require(table, columns.roles())
    skeleton, layout = _lay_out(table, horizon, step, context)
    roles = Roles(table, layout.row, len(skeleton["ids"]), vocabulary)
    values, present = roles.targets(layout.cell, layout.n_cells)
    if step is None:
        found, rows = Step.parse(skeleton["clock"].step), skeleton["row_scene"]
        check_series(layout.moments, found, rows, skeleton["cell_offset"], present, layout.cell)
    content: dict[str, Any] = {
        "groups": roles.groups(),
        "types": roles.types(),
        "past": roles.cells("past", layout.cell, layout.n_cells),
        "known": roles.cells("known", layout.cell, layout.n_cells),
        "static": roles.static(),
    }
    begin, cutoff = layout.history(present)
    panel = Panel(
        columns,
        roles.vocabulary(),
        **skeleton,
        **content,
        values=values,
        present=present,
        begin=begin,
        cutoff=cutoff,
        dtype=np.dtype(dtype),
    )
    if horizon and columns.known_covariates:
        fill_known(panel, known, horizon, context, layout.cell)
    return panel


def _lay_out(
    table: Table, horizon: int, step: str | None, context: int | None
) -> tuple[dict[str, Any], Layout]:
    """Scenes, rows and cells of the panel, and the place of each row of the frame."""
    columns = table.columns
    scene, scene_labels = np.zeros(len(table), dtype=np.int32), np.zeros(1, dtype=np.int64)
    if columns.scenes:
        scene, scene_labels = table.keys(columns.scenes)
    ids, id_labels = table.keys(columns.ids)
    row, rows = pair(scene, ids, len(id_labels))
    row_scene, row_id = np.divmod(rows, len(id_labels))
    labels = Labels(
        _sample(table, columns.scenes, scene),
        _sample(table, columns.ids, ids),
        id_labels,
        row_id,
        table.frame[columns.time][:1],
    )
    del ids
    moments = Moments.read(table, row, scene)
    del scene
    clock, steps = lay_time(moments, step, context)
    length = np.empty(len(scene_labels), dtype=np.int64)
    length[moments.scene] = steps + 1 + horizon  # of equal scenes the last one stays
    if horizon:
        check_room(table, clock, length - 1)
    _check_size(table, length, row_scene)
    ends = np.cumsum(length[row_scene])
    cell_offset = ends - length[row_scene]
    skeleton = {
        "clock": clock,
        "labels": labels,
        "scene_labels": scene_labels,
        "length": length,
        "row_offset": np.searchsorted(row_scene, np.arange(len(scene_labels) + 1)),
        "ids": id_labels[row_id],
        "row_scene": row_scene,
        "cell_offset": cell_offset,
    }
    cell = cell_offset[row] + steps[moments.of_row]
    check_duplicates(table, row, cell, int(ends[-1]))
    return skeleton, Layout(row, cell, int(ends[-1]), moments, steps)


def _name(columns: tuple[str, ...], label: Any) -> str:
    """``store 1, item 'a'`` of a label, for messages."""
    parts = label if len(columns) > 1 else (label,)
    return ", ".join(f"{name} {show(part)}" for name, part in zip(columns, parts, strict=True))


def _sample(table: Table, names: tuple[str, ...], codes: np.ndarray) -> tuple[nw.Series[Any], ...]:
    """One value of each column for each code, in their order."""
    at = np.empty(int(codes.max()) + 1, dtype=np.int64)
    at[codes] = np.arange(len(codes))
    return tuple(nw.maybe_reset_index(table.frame[name][at]) for name in names)


def _check_size(table: Table, length: np.ndarray, row_scene: np.ndarray) -> None:
    n_cells = float(length[row_scene].sum(dtype=np.float64))  # int64 might overflow
    if n_cells > MAX_CELLS and n_cells > MAX_FILL * len(table):
        raise DataError(
            f"the regular grid would have {n_cells:,.0f} cells for {len(table):,} rows (the "
            f"longest scene has {int(length.max()):,} steps): column {table.columns.time!r} has a "
            "step too small for its span, or short series stand far apart in one scene; round the "
            "times, resample, or split the frame with Columns(scene=...)"
        )
