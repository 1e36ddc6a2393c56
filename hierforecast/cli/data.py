"""``hierforecast download`` and ``resample``: a data set as one long table, at another step."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer

from hierforecast import Columns, datasets
from hierforecast import resample as resampled
from hierforecast._console import Names, declare, option, read_settings, say
from hierforecast.cli.options import ROLES, Settings, TableFiles, columns_of, flags_of
from hierforecast.cli.output import deliver
from hierforecast.cli.tables import Tables, reads_tables
from hierforecast.errors import DataError
from hierforecast.io.fetch import ENVIRONMENT_VARIABLE, cache_folder
from hierforecast.io.files import check_kind

LOADERS: dict[str, Any] = {
    "basketball": datasets.simulate_basketball,
    "m5_sample": datasets.load_m5_sample,
    "nba": datasets.load_nba,
    "nfl": datasets.load_nfl,
    "pedestrians": datasets.load_pedestrians,
    "pjm": datasets.load_pjm,
    "soccer": datasets.load_soccer,
    "stocks": datasets.load_stocks,
    "walmart": datasets.load_walmart,
}


def download(
    name: Annotated[str, typer.Argument(help=", ".join(LOADERS))],
    out: Annotated[Path | None, option("--out", "Table to write. [NAME.csv]")] = None,
    root: Annotated[Path | None, option("--root", "Folder to look in first.")] = None,
    settings: Settings = None,
) -> None:
    """Find or fetch a data set and write it as one long table.

    --set gives an option of the loader: for nba max_scenes=100, split=train, rate=5, for stocks
    start=2016-01-01, for soccer and nfl rate=5, for basketball n_scenes=200.
    """
    if name not in LOADERS:
        raise DataError(f"no data set is called {name!r}: there are {', '.join(LOADERS)}")
    out = out or Path(f"{name}.csv")
    check_kind(out)
    known = {k: p.default for k, p in signature(LOADERS[name]).parameters.items() if k != "root"}
    options = read_settings(settings, known)
    if name == "basketball":
        options.setdefault("n_scenes", 200)
    else:
        say(f"looking in {root or f'${ENVIRONMENT_VARIABLE}'}, then in {cache_folder()}")
        options["root"] = root
    deliver(LOADERS[name](**options), out)
    say(f"roles for fit: {flags_of(LOADERS[name].columns)}")


@reads_tables
@declare("columns", ROLES, columns_of)
def resample(
    paths: TableFiles,
    out: Annotated[Path, typer.Argument(help="Table to write.")],
    columns: Columns,
    tables: Tables,
    freq: Annotated[str | None, option("--freq", "New step: D, W-SUN, 15min, or a number.")] = None,
    rate: Annotated[str | None, option("--rate", "Steps a second OLD:NEW, e.g. 25:5.")] = None,
    how: Annotated[
        Names, option("--how", "point, mean, sum, min, max, first, last; or COLUMN=one; repeat.")
    ] = None,
) -> None:
    """Bring tables to another step; gaps stay gaps."""
    check_kind(out)
    numbers: Any = None if rate is None else [_number("--rate", part) for part in rate.split(":")]
    step: int | str | None = int(freq) if freq is not None and freq.isdecimal() else freq
    methods: str | dict[str, str] | None = None
    if how:
        pairs = [one.partition("=") for one in how]
        methods = {name: method for name, _, method in pairs} if pairs[0][1] else how[0]
    frame = tables.read(paths, columns)
    deliver(resampled(frame, columns, freq=step, rate=numbers, how=methods), out)


def _number(what: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{what} {text}: give a number, e.g. {what} 25:5") from error
