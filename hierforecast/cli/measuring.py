"""``hierforecast evaluate`` and ``compare``: forecasters side by side on a table with the outcome.

Both are one command: `compare` is what people look for who have several.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from hierforecast import Columns, Forecaster, compare, models
from hierforecast._console import Names, option
from hierforecast.cli.elsewhere import Engine, open_folder
from hierforecast.cli.forecasting import ModelName
from hierforecast.cli.options import TableFile
from hierforecast.cli.output import deliver
from hierforecast.cli.scores import show_scores
from hierforecast.cli.tables import Tables, reads_tables
from hierforecast.cli.windows import Windows, reads_windows
from hierforecast.errors import DataError
from hierforecast.io.files import check_kind, ending_of


@reads_tables
@reads_windows
def evaluate(
    table: TableFile,
    folders: Annotated[list[Path], typer.Argument(help="Folders of fitted forecasters.")],
    tables: Tables,
    windows: Windows,
    metric: Annotated[Names, option("--metric", "Metric by name, mase[season=7]; repeat.")] = None,
    baseline: Annotated[
        list[ModelName] | None, option("--baseline", "Model to fit and compare with; repeat.")
    ] = None,
    train: Annotated[
        str | None, option("--train", "Table to fit it on. [TABLE before the first cutoff]")
    ] = None,
    samples: Annotated[int, option("--samples", "Joint draws for metrics of draws.")] = 20,
    level: Annotated[float, option("--level", "Interval to measure, percent.")] = 90,
    out: Annotated[Path | None, option("--out", "Table to write the figures to.")] = None,
    engine: Engine = None,
) -> None:
    """Measure fitted forecasters on a table with the outcome, side by side.

    All forecast the same windows. The best figure of several is marked by a star. With --engine the
    table is a folder of Parquet, and there is one forecaster.
    """
    if out is not None:
        check_kind(out)
    for folder in folders:
        if ending_of(folder):
            raise DataError(f"'{folder}' is a table: several are given as one 'pattern' in quotes")
    named = {str(folder): Forecaster.load(folder) for folder in folders}
    first = next(iter(named.values()))
    if engine is not None:
        if len(named) > 1 or baseline or train:
            raise DataError("--engine measures one forecaster, without --baseline: give one folder")
        others = {name: windows.options[name] for name in ("cutoff", "start", "refit")}
        frame = open_folder(engine, [table], tables.options | others)
        asked = {name: windows.options[name] for name in ("n_windows", "stride")}
        scores = first.evaluate(frame, metric or None, n_samples=samples, level=level, **asked)
        scores.insert(0, "forecaster", str(folders[0]))
        _show(scores, level, out)
        return
    columns = _all_columns(first.columns, [f.columns for f in named.values()])
    frame = tables.read(table, columns)
    learned = tables.read(train, columns) if train else None
    for name in baseline or []:
        model = Forecaster(
            getattr(models, name.name)(),
            context_length=first.context_length,
            prediction_length=first.prediction_length,
            columns=first.columns,
        )
        own = name.value if name.value not in named else f"{name.value} (baseline)"
        named[own] = model if learned is None else model.fit(learned)
    options = windows.of(frame, first.columns, tables.options.get("time_step"))
    scores = compare(named, frame, metric or None, n_samples=samples, level=level, **options)
    _show(scores, level, out)
    tables.say_notes()


def _show(scores: pd.DataFrame, level: float, out: Path | None) -> None:
    """Figures on the screen, and into a file if there is one."""
    show_scores(scores, level)
    if out is not None:
        deliver(scores, out)


def _all_columns(first: Columns, others: list[Columns]) -> Columns:
    """Every column that one of the forecasters needs, as one reading of the table has them."""
    labels = ("group", "crossed", "group_type")
    groups = [name for c in others for role, name in c.roles() if role in labels]
    roles: dict[str, Any] = {
        role: tuple(dict.fromkeys(name for c in others for name in getattr(c, role)))
        for role in ("past_covariates", "known_covariates", "static")
    }
    roles |= {"group": tuple(dict.fromkeys(groups)) or None, "crossed": (), "group_type": None}
    return replace(first, **roles)
