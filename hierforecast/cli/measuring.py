"""``hierforecast evaluate``: fitted forecasters side by side on a table with the outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from hierforecast import Forecaster
from hierforecast._console import Names, option
from hierforecast._files import check_kind, ending_of
from hierforecast.cli.options import Stride, TableFile
from hierforecast.cli.output import deliver
from hierforecast.cli.tables import Tables, reads_tables
from hierforecast.errors import DataError


@reads_tables
def evaluate(
    table: TableFile,
    folders: Annotated[list[Path], typer.Argument(help="Folders of fitted forecasters.")],
    tables: Tables,
    metric: Annotated[Names, option("--metric", "Metric by name; repeat.")] = None,
    stride: Stride = None,
    samples: Annotated[int, option("--samples", "Joint draws for metrics of draws.")] = 20,
    level: Annotated[float, option("--level", "Interval to measure, percent.")] = 90,
    out: Annotated[Path | None, option("--out", "Table to write the figures to.")] = None,
) -> None:
    """Measure fitted forecasters on a table with the outcome."""
    if out is not None:
        check_kind(out)
    for folder in folders:
        if ending_of(folder):
            raise DataError(f"'{folder}' is a table: several are given as one 'pattern' in quotes")
    parts = []
    for folder in folders:
        forecaster = Forecaster.load(folder)
        frame = tables.read(table, forecaster.columns)
        scores = forecaster.evaluate(
            frame, metric or None, stride=stride, n_samples=samples, level=level
        )
        parts.append(scores.assign(forecaster=str(folder)))
    scores = pd.concat(parts, ignore_index=True)
    columns = scores["metric"].unique()
    shown = Table("forecaster", "model", "part", *columns)
    for keys, own in scores.groupby(["forecaster", "model", "part"], sort=False):
        values = own.set_index("metric")["value"]
        shown.add_row(*keys, *(f"{values[c]:.4g}" if c in values else "" for c in columns))
    Console().print(shown)
    if out is not None:
        deliver(scores[["forecaster", "model", "part", "metric", "value"]], out)
