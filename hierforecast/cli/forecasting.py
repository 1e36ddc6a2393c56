"""``hierforecast fit`` and ``predict``: a table makes a forecaster, a forecaster a table."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pandas as pd

from hierforecast import Columns, Forecaster, models
from hierforecast._console import Names, declare, option, read_settings, say
from hierforecast.cli.elsewhere import Engine, EngineName, check_new, open_folder
from hierforecast.cli.options import (
    DEFAULTS,
    FREQ,
    ROLES,
    Folder,
    Levels,
    NewFolder,
    Quantiles,
    Seed,
    Settings,
    Steps,
    TableFiles,
    columns_of,
)
from hierforecast.cli.output import deliver
from hierforecast.cli.tables import Tables, reads_tables
from hierforecast.cli.windows import Cutoff, until
from hierforecast.errors import DataError
from hierforecast.io.files import check_kind, ending_of
from hierforecast.storage import check_folder


class ModelName(StrEnum):
    """The models, as the command line calls them."""

    HiPerformer = "hiperformer"
    Ridge = "ridge"
    ConstantVelocity = "constant-velocity"
    LastValue = "last-value"
    SeasonalNaive = "seasonal-naive"


@reads_tables
@declare("columns", ROLES | FREQ, columns_of)
def fit(
    paths: TableFiles,
    folder: NewFolder,
    columns: Columns,
    tables: Tables,
    context: Annotated[int, option("--context", "Observed steps given to the model.")],
    horizon: Annotated[int, option("--horizon", "Steps to forecast.")],
    val: Annotated[str | None, option("--val", "Table to stop early by.")] = None,
    cutoff: Cutoff = None,
    model: Annotated[ModelName, option("--model", "Model.")] = ModelName.HiPerformer,
    settings: Settings = None,
    steps: Steps = DEFAULTS["max_steps"],
    batch_size: Annotated[
        int | None, option("--batch-size", "Windows in a step. [about 700 rows]")
    ] = None,
    learning_rate: Annotated[float, option("--learning-rate", "At its peak.")] = DEFAULTS[
        "learning_rate"
    ],
    seed: Seed = DEFAULTS["seed"],
    checkpoints: Annotated[Path | None, option("--checkpoints", "Folder to keep them in.")] = None,
    resume: Annotated[bool, option("--resume", "Go on from those in --checkpoints.")] = False,
    engine: Engine = None,
) -> None:
    """Fit a model to long tables and save the forecaster.

    --set gives an option of the model: for hiperformer width=64, depth=2, heads=4, head=student,
    patch=10 and so on, for seasonal-naive season=7. With --engine shards the table is a folder that
    shard wrote, which need not fit in memory.
    """
    if resume and checkpoints is None:
        raise DataError("--resume needs --checkpoints: the folder of the fit to go on with")
    _refuse_tables(folder)
    check_folder(folder)
    forecaster = Forecaster(
        _model(model, settings),
        context_length=context,
        prediction_length=horizon,
        columns=columns,
        learning_rate=learning_rate,
        batch_size=batch_size,
        max_steps=steps,
        seed=seed,
        trainer={"default_root_dir": str(checkpoints)} if checkpoints else None,
    )
    if engine is None:
        frame = tables.read(paths, columns)
        frame = until(frame, columns, cutoff, tables.options.get("time_step"))
    elif engine is EngineName.shards:
        frame = open_folder(engine, paths, tables.options | {"cutoff": cutoff})
    else:
        raise DataError("fit learns here: cut the tables with shard, and give --engine shards")
    try:
        forecaster.fit(frame, tables.read(val, columns) if val else None, resume=resume)
    finally:  # after an interrupt too, if a step was taken: the exit status tells
        if hasattr(forecaster, "model_"):
            forecaster.save(folder)
            tables.say_notes()
            say(f"saved {folder}")
    say(str(forecaster.report_))


def _refuse_tables(folder: Path) -> None:
    if ending_of(folder) or folder.is_file():
        raise DataError(f"'{folder}' is a table: the forecaster's folder comes last")


def load_for(folder: Path, out: Path | None, engine: EngineName | None = None) -> Forecaster:
    """The forecaster of a folder, once it is sure that its answer can be written."""
    _refuse_tables(folder)
    if engine is not None:
        check_new(out)
    elif out is not None:
        check_kind(out)
    return Forecaster.load(folder)


def read_history(
    tables: Tables, columns: Columns, paths: list[str], cutoff: str | None, known: str | None
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """A history up to a cutoff, and what is known of the time after it, both from tables."""
    whole = tables.read(paths, columns)
    history = until(whole, columns, cutoff, tables.options.get("time_step"))
    ahead = tables.read_long(known, columns) if known else None
    if known is None and columns.known_covariates and len(history) < len(whole):
        ahead = whole.drop(history.index)
    return history, ahead


def _model(name: ModelName, settings: Names) -> Any:
    """A model with the options of --set.

    Raises:
        DataError: if one of them cannot be.
    """
    kind = getattr(models, name.name)
    given = read_settings(settings, kind().get_params())
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise DataError(f"--set {error}") from error


@reads_tables
def predict(
    paths: TableFiles,
    folder: Folder,
    tables: Tables,
    out: Annotated[Path | None, option("--out", "Table to write. [CSV on the screen]")] = None,
    level: Levels = None,
    quantile: Quantiles = None,
    samples: Annotated[int | None, option("--samples", "Joint draws, not one forecast.")] = None,
    futures: Annotated[
        int | None, option("--futures", "Representative joint futures, not one forecast.")
    ] = None,
    cutoff: Cutoff = None,
    known: Annotated[str | None, option("--known", "Table: covariates known ahead.")] = None,
    given: Annotated[str | None, option("--given", "Table: targets that are assumed.")] = None,
    by: Annotated[Names, option("--by", "Column: totals by it; '' for the whole scene.")] = None,
    how: Annotated[str, option("--how", "Of totals: sum or mean.")] = "sum",
    weights: Annotated[str | None, option("--weights", "Column: a weight for each series.")] = None,
    conformal: Annotated[
        str | None, option("--conformal", "Table: held out, its errors make --level intervals.")
    ] = None,
    newcomers: Annotated[
        bool, option("--newcomers", "Forecast series without targets too, by their group.")
    ] = False,
    seed: Annotated[int | None, option("--seed", "Of the draws. [that of the fit]")] = None,
    engine: Engine = None,
) -> None:
    """Forecast the steps that follow a table."""
    if newcomers and futures is not None:
        raise DataError("--newcomers and --futures exclude each other: newcomers are no joint ones")
    labels = [name for name in by if name] if by else None
    totals: dict[str, Any] = {"by": labels, "how": how, "weights": weights}
    intervals = {"--level": level, "--quantile": quantile, "--conformal": conformal}
    _check_draws(samples, futures, seed, intervals, totals)
    forecaster = load_for(folder, out, engine)
    columns = forecaster.columns
    if engine is None:
        history, ahead = read_history(tables, columns, paths, cutoff, known)
    else:
        history = open_folder(engine, paths, tables.options | {"cutoff": cutoff})
        ahead = tables.read_long(known, columns) if known else None
    plan = tables.read_long(given, columns) if given else None
    asked: dict[str, Any] = {"known": ahead, "given": plan}
    if futures is not None:
        forecast = forecaster.futures(history, futures, seed=seed, **asked)
    elif samples is not None:
        forecast = forecaster.sample(
            history, samples, seed=seed, newcomers=newcomers, **asked, **totals
        )
    else:
        held_out = tables.read(conformal, columns) if conformal else None
        asked |= {"conformal": held_out, "newcomers": newcomers}
        forecast = forecaster.predict(history, level, quantiles=quantile, **asked, **totals)
    deliver(tables.restore(forecast, columns), out)
    tables.say_notes()


@reads_tables
def impute(
    paths: TableFiles,
    folder: Folder,
    tables: Tables,
    out: Annotated[Path | None, option("--out", "Table to write. [CSV on the screen]")] = None,
    level: Levels = None,
    quantile: Quantiles = None,
    samples: Annotated[int | None, option("--samples", "Joint draws, not one answer.")] = None,
    seed: Annotated[int | None, option("--seed", "Of the draws. [that of the fit]")] = None,
    engine: Engine = None,
) -> None:
    """Say where series were at the steps of a table at which they are missing."""
    plain: dict[str, Any] = {"by": None, "how": "sum", "weights": None}
    _check_draws(samples, None, seed, {"--level": level, "--quantile": quantile}, plain)
    forecaster = load_for(folder, out, engine)
    if engine is None:
        frame = tables.read(paths, forecaster.columns)
    else:
        frame = open_folder(engine, paths, tables.options)
    answer = forecaster.impute(frame, level, samples, seed, quantiles=quantile)
    deliver(tables.restore(answer, forecaster.columns), out)
    tables.say_notes()


def _check_draws(
    samples: int | None,
    futures: int | None,
    seed: int | None,
    others: dict[str, Any],
    totals: dict[str, Any],
) -> None:
    """Refuse draws of two kinds, draws with what they do not have, and their seed without them."""
    draws = {"--samples": samples, "--futures": futures}
    flags = [flag for flag, value in draws.items() if value is not None]
    if futures is not None:
        of_totals = {"--by": totals["by"] is not None, "--how": totals["how"] != "sum"}
        others = others | of_totals | {"--weights": totals["weights"]}
    wrong = [*flags[1:], *(flag for flag, value in others.items() if value)]
    if flags and wrong:
        raise DataError(f"{flags[0]} and {wrong[0]} exclude each other: leave one of them out")
    if seed is not None and not flags:
        raise DataError("--seed is of the draws: give --samples too, or leave it out")
