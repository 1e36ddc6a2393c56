"""``hierforecast surprise`` and ``influence``: which series were unexpected, and which matter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from hierforecast._console import Names, option
from hierforecast.cli.forecasting import load_for, read_history
from hierforecast.cli.options import Folder, TableFiles
from hierforecast.cli.output import deliver
from hierforecast.cli.tables import Tables, reads_tables
from hierforecast.cli.windows import Cutoff, Windows, picks_windows

Out = Annotated[Path | None, option("--out", "Table to write. [CSV on the screen]")]


@reads_tables
@picks_windows
def surprise(
    paths: TableFiles,
    folder: Folder,
    tables: Tables,
    windows: Windows,
    out: Out = None,
    held_out: Annotated[
        str | None, option("--held-out", "Table: p-values are ranks in it. [what fit held out]")
    ] = None,
) -> None:
    """Say how unexpected each series of a table with the outcome was, given all others."""
    forecaster = load_for(folder, out)
    columns = forecaster.columns
    frame = tables.read(paths, columns)
    other = tables.read(held_out, columns) if held_out else None
    which = windows.of(frame, columns, tables.options.get("time_step"))
    answer = forecaster.surprise(frame, other, **which)
    deliver(tables.restore(answer, columns), out)
    tables.say_notes()


@reads_tables
def influence(
    paths: TableFiles,
    folder: Folder,
    tables: Tables,
    out: Out = None,
    by: Annotated[Names, option("--by", "Column: without each label; repeat. [series]")] = None,
    cutoff: Cutoff = None,
    known: Annotated[str | None, option("--known", "Table: covariates known ahead.")] = None,
) -> None:
    """Say by how much forecasts change when one series, or one group, is deleted."""
    forecaster = load_for(folder, out)
    columns = forecaster.columns
    history, ahead = read_history(tables, columns, paths, cutoff, known)
    answer = forecaster.influence(history, by, ahead)
    deliver(tables.restore(answer, columns), out)
    tables.say_notes()
