"""A frame as arrays, and back: for each scene a regular grid of steps, for each series a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np

from hierforecast.frame.calendar import learn_calendar
from hierforecast.frame.clock import Clock
from hierforecast.frame.columns import Columns
from hierforecast.frame.grid import Grid
from hierforecast.frame.labels import Labels, Rows
from hierforecast.frame.table import show
from hierforecast.frame.times import column_like
from hierforecast.frame.values import Values
from hierforecast.frame.vocabulary import Covariate, Units, Vocabulary


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
        crossed: the same for each further way of grouping, see `Columns`.
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
    crossed: tuple[np.ndarray, ...]
    types: np.ndarray
    static: np.ndarray
    cell_offset: np.ndarray
    values: np.ndarray
    present: np.ndarray
    past: np.ndarray
    known: np.ndarray
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, rows: Rows, grid: Grid, values: Values, dtype: Any) -> Panel:
        """Put what was read of a frame into its cells; models are given numbers of `dtype`."""
        targets = np.zeros((grid.n_cells, len(values.targets)))
        for d, column in enumerate(values.targets):
            targets[grid.cell, d] = column
        present = np.zeros(grid.n_cells, dtype=bool)
        present[grid.cell] = values.observed
        targets[~present] = 0  # assigned, because 0 times NaN would stay NaN
        begin, cutoff = grid.history(values.observed)
        return cls(
            columns=rows.table.columns,
            vocabulary=values.vocabulary,
            clock=grid.clock,
            labels=rows.labels,
            scene_labels=rows.scene_labels,
            length=grid.length,
            begin=begin,
            cutoff=cutoff,
            row_offset=np.searchsorted(rows.row_scene, np.arange(len(grid.length) + 1)),
            ids=rows.labels.ids[rows.labels.row_id],
            row_scene=rows.row_scene,
            groups=values.groups,
            crossed=values.crossed,
            types=values.types,
            static=values.static,
            cell_offset=grid.cell_offset,
            values=targets,
            present=present,
            past=_cells(values.past, values.vocabulary.of("past"), grid),
            known=_cells(values.known, values.vocabulary.of("known"), grid),
            dtype=np.dtype(dtype),
        )

    def rows_of(self, scenes: np.ndarray) -> np.ndarray:
        """Rows (m,) of each of some scenes (m,)."""
        return self.row_offset[scenes + 1] - self.row_offset[scenes]

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
        return self.assemble(out, scene, steps, data)

    def assemble(
        self,
        labels: list[nw.Series[Any]],
        scene: np.ndarray,
        steps: np.ndarray,
        data: Mapping[str, Any],
    ) -> Any:
        """A frame of label columns, the times of steps (m,) in scenes (m,), and the data."""
        out = [*labels, self.time_column(self.columns.time, scene, steps)]
        for name, column in data.items():
            if not isinstance(column, nw.Series):
                backend = self.labels.time.implementation
                column = nw.new_series(name, np.asarray(column), backend=backend)
            out.append(column.alias(name))
        return out[0].to_frame().with_columns(*out[1:]).to_native()

    def learn(self, end: np.ndarray) -> Vocabulary:
        """The vocabulary with the units of the numbers and the features of the calendar.

        Args:
            end: (S,) only the first so many steps of each scene are looked at.
        """
        stop = np.minimum(end, self.length)[self.row_scene]
        edge = np.zeros(len(self.present) + 1, dtype=np.int8)
        np.add.at(edge, self.cell_offset, 1)
        np.add.at(edge, self.cell_offset + stop, -1)
        cells = edge[:-1].cumsum(dtype=np.int8).astype(bool)
        covariates = []
        for role, kept in {"past": cells, "known": cells, "static": stop > 0}.items():
            for c, covariate in enumerate(self.vocabulary.of(role)):
                if covariate.categories is None:
                    numbers = getattr(self, role)[kept, c]
                    units = Units.of(numbers[~np.isnan(numbers)])
                    covariate = replace(covariate, units=units)
                covariates.append(covariate)
        observed = self.values[cells & self.present]
        targets = tuple(map(Units.of, observed.T))
        calendar = learn_calendar(self.columns, self.clock, np.minimum(end, self.length))
        learned: dict[str, Any] = {"targets": targets, "calendar": calendar}
        return replace(self.vocabulary, covariates=tuple(covariates), **learned)


def _cells(columns: list[np.ndarray], covariates: tuple[Covariate, ...], grid: Grid) -> np.ndarray:
    """Covariates (cells, C) of columns (n,); missing where there is no row."""
    out = np.empty((grid.n_cells, len(columns)))
    # A vocabulary may know covariates that these roles leave out.
    for c, (values, covariate) in enumerate(zip(columns, covariates, strict=False)):
        out[:, c] = covariate.missing
        out[grid.cell, c] = values
    return out


def _name(columns: tuple[str, ...], label: Any) -> str:
    """``store 1, item 'a'`` of a label, for messages."""
    parts = label if len(columns) > 1 else (label,)
    return ", ".join(f"{name} {show(part)}" for name, part in zip(columns, parts, strict=True))
