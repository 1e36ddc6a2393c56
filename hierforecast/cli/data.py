"""``hierforecast download``: a data set as one long table."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from hierforecast import datasets
from hierforecast._console import option, read_settings, say
from hierforecast._fetch import ENVIRONMENT_VARIABLE, cache_folder
from hierforecast._files import check_kind
from hierforecast.cli.options import Settings
from hierforecast.cli.output import deliver
from hierforecast.errors import DataError

LOADERS: dict[str, Callable[..., pd.DataFrame]] = {
    "basketball": datasets.simulate_basketball,
    "nba": datasets.load_nba,
    "soccer": datasets.load_soccer,
    "stocks": datasets.load_stocks,
}
COURT = "--scene scene --group team --group-type kind --target x --target y"
ROLES = {"basketball": COURT, "nba": COURT, "soccer": COURT, "stocks": "--group sector"}


def download(
    name: Annotated[str, typer.Argument(help=", ".join(LOADERS))],
    out: Annotated[Path | None, option("--out", "Table to write. [NAME.csv]")] = None,
    root: Annotated[Path | None, option("--root", "Folder to look in first.")] = None,
    settings: Settings = None,
) -> None:
    """Find or fetch a data set and write it as one long table.

    --set gives an option of the loader: for nba max_scenes=100, split=train, rate=5, for stocks
    start=2016-01-01, for soccer rate=5, for basketball n_scenes=200.
    """
    if name not in LOADERS:
        raise DataError(f"no data set is called {name!r}: there are {', '.join(LOADERS)}")
    out = out or Path(f"{name}.csv")
    check_kind(out)
    parameters = signature(LOADERS[name]).parameters
    options = read_settings(settings, {key: None for key in parameters if key != "root"})
    if name == "basketball":
        options.setdefault("n_scenes", 200)
    else:
        say(f"looking in {root or f'${ENVIRONMENT_VARIABLE}'}, then in {cache_folder()}")
        options["root"] = root
    deliver(LOADERS[name](**options), out)
    say(f"roles for fit: {ROLES[name]}")
