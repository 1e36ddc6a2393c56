"""What is assumed of the steps to forecast: a plan in the shape of the answer, into arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame.absent import require
from hierforecast.frame.known import place, step_name
from hierforecast.frame.panel import Panel
from hierforecast.frame.table import Table, show


def read_given(panel: Panel, frame: Any, horizon: int, context: int) -> np.ndarray:
    """Values that are given, (R, horizon, D) float64; NaN where nothing is.

    Args:
        panel: the history.
        frame: scene, id, time and some of the targets; NaN where they are not given.
        horizon: steps forecast.
        context: only series observed in the last `context` steps are forecast.

    Raises:
        DataError: if no target is there or it is not numeric, a row is none of those forecast, or
            two rows are of the same step.
    """
    columns = panel.columns
    table = Table.open(frame, columns, "given")
    require(table, [role for role in columns.roles() if role[0] in ("id", "time", "scene")])
    assumed = [(d, t) for d, t in enumerate(columns.targets) if t in table.frame.columns]
    if not assumed:
        raise DataError(
            f"{table.what} has none of the targets {list(columns.targets)}: give a column of what "
            "is assumed, with NaN where nothing is"
        )
    at, row, step = place(panel, table)
    ahead = step - panel.cutoff[panel.row_scene[row]]
    fits = (ahead >= 0) & (ahead < horizon) & panel.observed_within(context)[row]
    _refuse_others(table, at[fits], horizon)
    cell = row[fits] * horizon + ahead[fits]
    count = np.bincount(cell, minlength=len(panel.ids) * horizon)
    if (count > 1).any():
        raise DataError(
            f"{table.what} has duplicated rows: {step_name(panel, count > 1, horizon)}; keep one"
        )
    found = np.full((len(panel.ids) * horizon, len(columns.targets)), np.nan)
    for d, name in assumed:
        found[cell, d] = table.numbers(name, exact=True)[at[fits]]
    return found.reshape(-1, horizon, len(columns.targets))


def _refuse_others(table: Table, used: np.ndarray, horizon: int) -> None:
    """Refuse rows that would change nothing: those of other series and times."""
    unused = np.setdiff1d(np.arange(len(table)), used)
    if not len(unused):
        return
    columns = table.columns
    names = [*columns.scenes, *columns.ids, columns.time]
    first = ", ".join(f"{name} {show(table.frame[name][int(unused[0])])}" for name in names)
    raise DataError(
        f"{len(unused)} rows of {table.what} are none of those forecast, the first is {first}: "
        f"give series observed in the context, at the {horizon} steps after their scene's last time"
    )
