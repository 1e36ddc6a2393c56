"""The regular grid of a frame: its step, found or stated and checked, and the cell of each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame import irregular
from hierforecast.frame.clock import Clock, Moments
from hierforecast.frame.duplicates import check_duplicates
from hierforecast.frame.freq import step_of
from hierforecast.frame.labels import Rows
from hierforecast.frame.regularity import check_fitted, check_stated, second_try
from hierforecast.frame.spellings import reject_digits
from hierforecast.frame.step import Step

# A grid this much larger than the frame, and this large, is a mistake rather than missing data.
MAX_FILL, MAX_CELLS = 50, 50_000_000


@dataclass(frozen=True)
class Grid:
    """Where each row of the frame goes: cells of one panel row lie one after another.

    Args:
        moments: the M distinct (scene, time) of the frame.
        clock: the time of each step.
        step: (M,) int64 of each moment.
        length: (S,) int64 steps of each scene: up to its last row, and the horizon.
        cell_offset: (R,) int64 first cell of each panel row.
        n_cells: of the panel.
        cell: (n,) int64 of each row of the frame.
    """

    moments: Moments
    clock: Clock
    step: np.ndarray
    length: np.ndarray
    cell_offset: np.ndarray
    n_cells: int
    cell: np.ndarray

    @classmethod
    def lay(
        cls, rows: Rows, step: str | None = None, horizon: int = 0, context: int | None = None
    ) -> Grid:
        """Read the times and lay all rows on their grid.

        Args:
            rows: the series of the frame.
            step: of the fitted panel; None: what `Columns` or the type of the column states, or
                what is found in the times.
            horizon: steps to append to every scene.
            context: steps of context, for messages.

        Raises:
            DataError: if the times are not regular, or step otherwise than the fit, or two rows of
                a series have the same time.
        """
        moments = Moments.read(rows)
        clock, steps = _count_steps(moments, step, context)
        length = np.empty(len(rows.scene_labels), dtype=np.int64)
        length[moments.scene] = steps + 1 + horizon  # of equal scenes the last one stays
        if horizon:
            _check_room(rows, clock, length - 1)
        _check_size(rows, length)
        ends = np.cumsum(length[rows.row_scene])
        offset, n_cells = ends - length[rows.row_scene], int(ends[-1])
        cell = offset[rows.of_row] + steps[moments.of_row]
        check_duplicates(rows.table, rows.of_row, cell, n_cells)
        return cls(moments, clock, steps, length, offset, n_cells, cell)

    def history(self, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First step of each scene (S,) with a row (n,) observed, and the one after its last.

        Both are the step after its last row if none is observed.
        """
        scene, step = self.moments.scene, self.step
        seen = np.zeros(len(step), dtype=bool)
        seen[self.moments.of_row[observed]] = True
        end = self.length.copy()
        end[scene] = step + 1  # of equal scenes the last one stays
        begin = end.copy()
        scene, step = scene[seen], step[seen]
        begin[scene[::-1]], end[scene] = step[::-1], step + 1
        return begin, end


def _count_steps(
    moments: Moments, given: str | None, context: int | None
) -> tuple[Clock, np.ndarray]:
    """The clock of a frame, and the step of each moment (m,); see `Grid.lay`."""
    if given is not None:
        step = Step.parse(given)
        placed = moments.place(step)
        check_fitted(moments, step, placed, context)
    elif moments.table.columns.freq is not None:
        step = step_of(moments.table.columns.freq)
        if not moments.times.take(step):
            raise irregular.other_kind(moments)
        placed = moments.place(step)
        check_stated(moments, step, placed)
    else:
        if moments.times.unit is None:
            reject_digits(moments.table, moments.column, moments.times.values)
        step = moments.infer()
        placed = moments.place(step)
        if not placed.on_grid.all():
            placed = second_try(moments, step, placed)
    return placed.clock, placed.steps


def _check_room(rows: Rows, clock: Clock, last: np.ndarray) -> None:
    """Check that the last steps (S,) of the scenes have labels.

    Raises:
        DataError: if the type of the time column cannot hold them, nor a wider one.
    """
    try:
        clock.times(np.arange(len(last)), last)
    except DataError as error:
        if clock.unit is not None:
            raise
        remedy = rows.table.convert("from_zero", clock.column)
        raise DataError(f"{error}; count its steps from the first one", remedy) from error


def _check_size(rows: Rows, length: np.ndarray) -> None:
    n_rows, n_cells = len(rows.of_row), length[rows.row_scene].sum(dtype=np.float64)
    if n_cells > MAX_CELLS and n_cells > MAX_FILL * n_rows:  # int64 might overflow
        raise DataError(
            f"the regular grid would have {n_cells:,.0f} cells for {n_rows:,} rows (the longest "
            f"scene has {int(length.max()):,} steps): column {rows.table.columns.time!r} has a "
            "step too small for its span, or short series stand far apart in one scene; round the "
            "times, resample, or split the frame with Columns(scene=...)"
        )
