"""From a long frame to a panel: each step of the way once, in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame.absent import require
from hierforecast.frame.columns import Columns
from hierforecast.frame.grid import Grid
from hierforecast.frame.known import fill_known, refuse_unused
from hierforecast.frame.labels import Rows
from hierforecast.frame.panel import Panel
from hierforecast.frame.regularity import check_series
from hierforecast.frame.remedies import ROLES
from hierforecast.frame.table import Table
from hierforecast.frame.values import Values
from hierforecast.frame.vocabulary import Vocabulary


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
    fitted = vocabulary is not None and variable == "frame"
    with _roles_stay(fitted):
        table = Table.open(frame, columns, variable)
        require(table, columns.roles(), fitted)
        rows = Rows.read(table)
        grid = Grid.lay(rows, step, horizon, context)
        values = Values.read(rows, vocabulary)
        panel = Panel.of(rows, grid, values, dtype)
        if step is None:
            series = (panel.row_scene, panel.cell_offset, panel.present)
            check_series(grid.moments, values.observed, panel.clock.step, *series)
        if horizon and columns.known_covariates:
            fill_known(panel, known, horizon, context, grid.cell)
    return panel


@contextmanager
def _roles_stay(fitted: bool) -> Iterator[None]:
    """Leave out remedies that give columns other roles, which a forecaster that is fitted keeps."""
    try:
        yield
    except DataError as error:
        if not fitted or error.remedy is None or ROLES not in error.remedy:
            raise
        problem = str(error).removesuffix(f": {error.remedy}")
        raise type(error)(f"{problem} (columns with other roles need another fit)") from error
