"""The clock of a frame: which step its times have, and which step of its scene each row is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame import irregular, regularity
from hierforecast.frame.clock import Clock
from hierforecast.frame.codes import pair, rank
from hierforecast.frame.digits import reject_digits
from hierforecast.frame.freq import step_of
from hierforecast.frame.infer import infer_step
from hierforecast.frame.step import Step
from hierforecast.frame.table import Table
from hierforecast.frame.times import Times


@dataclass(frozen=True)
class Placed:
    """Moments on a grid: the clock, the step of each and whether it is on the grid, both (m,)."""

    clock: Clock
    steps: np.ndarray
    on_grid: np.ndarray


@dataclass(frozen=True)
class Moments:
    """The distinct (scene, time) pairs of a frame, sorted.

    Args:
        table: the frame.
        row: (n,) panel row of each row of the frame.
        times: the distinct times (k,), sorted.
        scene, time: (m,) scene and index into `times` of each moment.
        of_row: (n,) moment of each row of the frame.
    """

    table: Table
    row: np.ndarray
    times: Times
    scene: np.ndarray
    time: np.ndarray
    of_row: np.ndarray

    @classmethod
    def read(cls, table: Table, row: np.ndarray, scene: np.ndarray) -> Moments:
        """Read the time column.

        Raises:
            DataError: if it holds no times, or its span is beyond 64 bits.
        """
        name = table.columns.time
        times = Times.read(table, name)
        codes, distinct = rank(times.values)
        if int(distinct[-1]) - int(distinct[0]) >= 2**63:
            raise DataError(
                f"column {name!r} spans more than 2**63: use smaller integers, or a coarser unit "
                "of datetimes"
            )
        of_row, moments = pair(scene, codes, len(distinct))
        at, time = np.divmod(moments, len(distinct))
        return cls(table, row, replace(times, values=distinct), at, time, of_row)

    def observed(self, which: np.ndarray) -> Moments:
        """The same, where only some rows (n,) bool of the frame are of a panel row."""
        return self if which.all() else replace(self, row=np.where(which, self.row, -1))

    @property
    def column(self) -> str:
        """The time column."""
        return self.table.columns.time

    @cached_property
    def first(self) -> np.ndarray:
        """The first moment (S,) of each scene."""
        return np.flatnonzero(np.diff(self.scene, prepend=-1))

    @cached_property
    def same(self) -> np.ndarray:
        """Whether moment i + 1 is of the scene of moment i, (m - 1,)."""
        return self.scene[1:] == self.scene[:-1]

    def place(self, step: Step, among: np.ndarray | None = None) -> Placed:
        """All moments on the grid of a step, or those `among` them alone, as if of one scene."""
        time = self.time if among is None else self.time[among]
        scene = self.scene if among is None else np.zeros_like(time)
        counted = self.times.on(step)[time]
        begin = counted[self.first if among is None else [0]]
        clock = Clock.start_at(replace(self.times, values=begin), step, self.column)
        return Placed(clock, *clock.steps(scene, counted))

    def infer(self, among: np.ndarray | None = None) -> Step:
        """The step of all moments, or of those `among` them alone, as if of one scene."""
        times, stated = self.times, self.times.stated
        if stated is not None:  # of periods, which may still come in every third one only
            if among is not None:
                return stated
            stride = regularity.usual_stride(self, self.place(stated))
            return replace(stated, size=stated.size * stride)
        daily = times.is_daily()
        counted = times.on(Step("", 0, wall=daily))
        time = self.time if among is None else self.time[among]
        scene = self.scene if among is None else np.zeros_like(time)
        return infer_step(scene, counted[time], times.unit, daily, calendars=not times.duration)

    def row_at(self, moment: int) -> int:
        """The first row of the frame at a moment."""
        return int(np.argmax(self.of_row == moment))

    def show(self, moment: int) -> str:
        """The time of a moment as a person would write it."""
        return self.times.show(int(self.time[moment]))

    def name_scene(self, moment: int) -> str:
        """The scene of a moment, for messages."""
        columns = self.table.columns
        return self.table.cells(columns.scenes, self.row_at(moment)) or self.table.what

    def series(self, row: int) -> np.ndarray:
        """The moments of a panel row, sorted."""
        return np.unique(self.of_row[self.row == row])

    def name_series(self, row: int) -> str:
        """A panel row, for messages."""
        columns = self.table.columns
        return self.table.cells([*columns.scenes, *columns.ids], int(np.argmax(self.row == row)))


def lay_time(moments: Moments, given: str | None, context: int | None) -> tuple[Clock, np.ndarray]:
    """The clock of a frame, and the step of each moment (m,).

    Args:
        moments: of the frame.
        given: the step of the fitted panel; None: what `Columns` or the type of the column states,
            or what is found in the times.
        context: steps of context, for messages.

    Raises:
        DataError: if the times are not regular, or step otherwise than the fit.
    """
    if given is not None:
        step = Step.parse(given)
        placed = moments.place(step)
        regularity.check_fitted(moments, step, placed, context)
    elif moments.table.columns.freq is not None:
        step = step_of(moments.table.columns.freq)
        if not moments.times.take(step):
            raise irregular.other_kind(moments)
        placed = moments.place(step)
        regularity.check_stated(moments, step, placed)
    else:
        if moments.times.unit is None:
            reject_digits(moments.table, moments.column, moments.times.values)
        step = moments.infer()
        placed = moments.place(step)
        if not placed.on_grid.all():
            placed = regularity.second_try(moments, step, placed)
    return placed.clock, placed.steps


def check_room(table: Table, clock: Clock, last: np.ndarray) -> None:
    """Check that the last steps (S,) of the scenes have labels.

    Raises:
        DataError: if the type of the time column cannot hold them, nor a wider one.
    """
    try:
        clock.times(np.arange(len(last)), last)
    except DataError as error:
        if clock.unit is not None:
            raise
        remedy = table.convert("from_zero", clock.column)
        raise DataError(f"{error}; count its steps from the first one", remedy) from error
