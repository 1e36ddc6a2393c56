"""The command line: ``hierforecast demo | fit | predict | impute | surprise | evaluate | ssl``, ...

Each module holds commands, and is imported when one of them is called: `forecasting` fits and
predicts, `asking` says what was surprising and who matters, `measuring` evaluates, `data` finds
tables, `drawing` draws, `demo` shows. `options` declares what they share, `output` says how tables
leave.
"""

from __future__ import annotations

from typing import Annotated

import typer

from hierforecast import __version__
from hierforecast._console import Commands, LateCommands, late, option


class ImageCommands(LateCommands):
    """Commands of `image_ssl`, which is imported when one of them is called."""

    module = "hierforecast.image_ssl.cli"


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(
    typer.Typer(cls=ImageCommands, no_args_is_help=True, rich_markup_mode=None),
    name="ssl",
    help="Learn from images alone, and evaluate what was learned.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


Version = option("--version", "Print the version.", is_eager=True, callback=_print_version)


@app.callback()
def main(
    traceback: Annotated[bool, option("--traceback", "Show where an error came from.")] = False,
    version: Annotated[bool, Version] = False,
) -> None:
    """Joint forecasts of grouped time series. Each command has its own --help."""


# Each command with the first line of its help, which `--help` shows without importing it.
MEASURE = "Measure fitted forecasters on a table with the outcome, side by side."
COMMANDS = {
    "demo": ("demo:demo", "Train on simulated basketball, hide players, draw it."),
    "fit": ("forecasting:fit", "Fit a model to long tables and save the forecaster."),
    "predict": ("forecasting:predict", "Forecast the steps that follow a table."),
    "impute": (
        "forecasting:impute",
        "Say where series were at the steps of a table at which they are missing.",
    ),
    "surprise": (
        "asking:surprise",
        "Say how unexpected each series of a table with the outcome was, given all others.",
    ),
    "influence": (
        "asking:influence",
        "Say by how much forecasts change when one series, or one group, is deleted.",
    ),
    "evaluate": ("measuring:evaluate", MEASURE),
    "plot": (
        "drawing:plot",
        "Draw history and forecast: a picture, a film, or a page to play and to point at.",
    ),
    "download": ("data:download", "Find or fetch a data set and write it as one long table."),
    "resample": ("data:resample", "Bring tables to another step; gaps stay gaps."),
    "shard": (
        "sharding:shard",
        "Cut tables between scenes: a folder of Parquet files, for tables larger than memory.",
    ),
    "compare": ("measuring:evaluate", MEASURE),
}
for _name, (_place, _help) in COMMANDS.items():
    app.command(_name, cls=late(f"{__name__}.{_place}"), help=_help)(lambda: None)
