"""The command line: ``hierforecast demo | fit | predict | evaluate | download | ssl``."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from hierforecast import Columns, Forecaster, __version__, datasets, models
from hierforecast._console import Commands, LateCommands, Names, option, read_settings, say
from hierforecast._files import check_kind, read_table, write_table
from hierforecast.errors import DataError

DEFAULTS: dict[str, Any] = Forecaster.__init__.__kwdefaults__ or {}
LOADERS: dict[str, Callable[..., pd.DataFrame]] = {
    "basketball": datasets.simulate_basketball,
    "nba": datasets.load_nba,
    "soccer": datasets.load_soccer,
    "stocks": datasets.load_stocks,
}
COURT = "--scene scene --group team --group-type kind --target x --target y"
ROLES = {"basketball": COURT, "nba": COURT, "soccer": COURT, "stocks": "--group sector"}


class ModelName(StrEnum):
    """The models, as the command line calls them."""

    HiPerformer = "hiperformer"
    Ridge = "ridge"
    ConstantVelocity = "constant-velocity"
    LastValue = "last-value"
    SeasonalNaive = "seasonal-naive"


class ImageCommands(LateCommands):
    """Commands of the image room, which loads nothing as long as none of them is asked for."""

    module = "hierforecast.image_ssl.cli"


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.add_typer(
    typer.Typer(cls=ImageCommands, no_args_is_help=True, rich_markup_mode=None),
    name="ssl",
    help="Learn from images alone, and judge what was learned.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


TableFile = Annotated[Path, typer.Argument(help="Long table: .csv, .csv.gz or .parquet.")]
Folder = Annotated[Path, typer.Argument(help="Folder of a fitted forecaster.")]
NewFolder = Annotated[Path, typer.Argument(help="Folder to save the forecaster in.")]
Version = option("--version", "Print the version.", is_eager=True, callback=_print_version)

Target = Annotated[Names, option("--target", "Column to forecast; repeat for several. [y]")]
Group = Annotated[Names, option("--group", "Column of groups; repeat, coarse to fine. [none]")]
GroupType = Annotated[str | None, option("--group-type", "Column of the kinds of groups.")]
Scene = Annotated[str | None, option("--scene", "Column of independent scenes.")]
Id = Annotated[str, option("--id", "Column that names the series.")]
Time = Annotated[str, option("--time", "Column of whole steps or of dates.")]
Past = Annotated[Names, option("--past", "Covariate known up to the cutoff; repeat.")]
Known = Annotated[Names, option("--known", "Covariate known ahead too; repeat.")]
Static = Annotated[Names, option("--static", "Covariate that stays the same; repeat.")]

Settings = Annotated[Names, option("--set", "Option KEY=VALUE, see above; repeat.")]
Seed = Annotated[int, option("--seed", "Of everything random.")]
Steps = Annotated[int, option("--steps", "Training steps at most.")]
Stride = Annotated[int | None, option("--stride", "Steps between cutoffs. [the horizon]")]
Levels = Annotated[list[float] | None, option("--level", "Interval in percent; repeat.")]


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


@app.command()
def fit(
    table: TableFile,
    folder: NewFolder,
    context: Annotated[int, option("--context", "Observed steps given to the model.")],
    horizon: Annotated[int, option("--horizon", "Steps to forecast.")],
    target: Target = None,
    group: Group = None,
    group_type: GroupType = None,
    scene: Scene = None,
    id_: Id = "unique_id",
    time: Time = "ds",
    past: Past = None,
    known: Known = None,
    static: Static = None,
    val: Annotated[Path | None, option("--val", "Table to stop early by.")] = None,
    model: Annotated[ModelName, option("--model", "Model.")] = ModelName.HiPerformer,
    settings: Settings = None,
    steps: Steps = DEFAULTS["max_steps"],
    batch_size: Annotated[int, option("--batch-size", "Windows in a step.")] = DEFAULTS[
        "batch_size"
    ],
    learning_rate: Annotated[float, option("--learning-rate", "At its peak.")] = DEFAULTS[
        "learning_rate"
    ],
    seed: Seed = DEFAULTS["seed"],
    checkpoints: Annotated[Path | None, option("--checkpoints", "Folder to keep them in.")] = None,
    resume: Annotated[bool, option("--resume", "Go on from those in --checkpoints.")] = False,
) -> None:
    """Fit a model to a long table and save the forecaster.

    --set gives an option of the model: for hiperformer width=64, depth=2, heads=4, head=student,
    patch=10 and so on, for seasonal-naive season=7.
    """
    if resume and checkpoints is None:
        raise DataError("--resume needs --checkpoints: the folder of the fit to go on with")
    roles = (
        target or ["y"],
        group or None,
        scene,
        group_type,
        past or (),
        known or (),
        static or (),
    )
    columns = Columns(id_, time, *roles)
    kind = getattr(models, model.name)
    forecaster = Forecaster(
        kind(**read_settings(settings, kind().get_params())),
        context_length=context,
        prediction_length=horizon,
        columns=columns,
        learning_rate=learning_rate,
        batch_size=batch_size,
        max_steps=steps,
        seed=seed,
        trainer={"default_root_dir": str(checkpoints)} if checkpoints else None,
    )
    frame = read_table(table, columns)
    try:
        forecaster.fit(frame, read_table(val, columns) if val else None, resume=resume)
    except KeyboardInterrupt as stop:
        if not hasattr(forecaster, "model_"):
            raise
        say(str(stop))
    forecaster.save(folder)
    say(f"saved {folder}")


@app.command()
def predict(
    table: TableFile,
    folder: Folder,
    out: Annotated[Path | None, option("--out", "Table to write. [CSV on the screen]")] = None,
    level: Levels = None,
    samples: Annotated[int | None, option("--samples", "Joint draws, not one forecast.")] = None,
    known: Annotated[Path | None, option("--known", "Table: covariates known ahead.")] = None,
    seed: Annotated[int | None, option("--seed", "Of the draws. [that of the fit]")] = None,
) -> None:
    """Forecast the steps that follow a table."""
    if samples is not None and level:
        raise DataError("--samples and --level exclude each other: draws have no intervals")
    if out is not None:
        check_kind(out)
    forecaster = Forecaster.load(folder)
    history = read_table(table, forecaster.columns)
    ahead = read_table(known, forecaster.columns) if known else None
    if samples is None:
        forecast = forecaster.predict(history, level=level, known=ahead)
    else:
        forecast = forecaster.sample(history, samples, seed=seed, known=ahead)
    _deliver(forecast, out)


@app.command()
def evaluate(
    table: TableFile,
    folders: Annotated[list[Path], typer.Argument(help="Folders of fitted forecasters.")],
    metric: Annotated[Names, option("--metric", "Metric by name; repeat.")] = None,
    stride: Stride = None,
    samples: Annotated[int, option("--samples", "Joint draws for metrics of draws.")] = 20,
    level: Annotated[float, option("--level", "Interval to measure, percent.")] = 90,
    out: Annotated[Path | None, option("--out", "Table to write the figures to.")] = None,
) -> None:
    """Measure fitted forecasters on a table with the outcome."""
    if out is not None:
        check_kind(out)
    parts = []
    for folder in folders:
        forecaster = Forecaster.load(folder)
        frame = read_table(table, forecaster.columns)
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
        _deliver(scores[["forecaster", "model", "part", "metric", "value"]], out)


@app.command()
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
    from inspect import signature

    from hierforecast._fetch import ENVIRONMENT_VARIABLE, cache_folder

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
    _deliver(LOADERS[name](**options), out)
    say(f"roles for fit: {ROLES[name]}")


def _deliver(frame: pd.DataFrame, out: Path | None) -> None:
    """Write a table, and say so; without a file it goes to the screen as CSV."""
    if out is None:
        typer.echo(frame.to_csv(index=False), nl=False)
        return
    write_table(frame, out)
    say(f"wrote {out}: {len(frame):,} rows, columns {', '.join(frame.columns)}")
