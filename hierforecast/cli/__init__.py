"""The command line: ``hierforecast demo | fit | predict | impute | evaluate | compare | ssl``, ...

Each module holds commands: `forecasting` fits and predicts, `measuring` evaluates, `data` finds
tables. `options` declares what they share, `output` says how tables leave.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hierforecast import __version__
from hierforecast._console import Commands, LateCommands, option
from hierforecast.cli import data, forecasting, measuring
from hierforecast.cli.options import Seed, Steps


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


@app.command()
def demo(
    out: Annotated[Path, option("--out", "Folder for what is made.")] = Path("demo"),
    seed: Seed = 0,
    scenes: Annotated[int, option("--scenes", "Scenes to train on.")] = 400,
    steps: Steps = 1200,
    quick: Annotated[bool, option("--quick", "Seconds only, to see that it runs.")] = False,
) -> None:
    """Train on simulated basketball, hide players, draw it."""
    from hierforecast.demo import run

    run(out, seed=seed, scenes=scenes, steps=steps, quick=quick)


for command in (
    forecasting.fit,
    forecasting.predict,
    forecasting.impute,
    measuring.evaluate,
    data.download,
    data.resample,
):
    app.command()(command)
app.command("compare")(measuring.evaluate)
