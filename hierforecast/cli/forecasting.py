"""``hierforecast fit`` and ``predict``: a table makes a forecaster, a forecaster a table."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from hierforecast import Columns, Forecaster, models
from hierforecast._console import option, read_settings, say
from hierforecast._files import check_kind, read_table
from hierforecast.cli.options import (
    DEFAULTS,
    Folder,
    Group,
    GroupType,
    Id,
    Known,
    Levels,
    NewFolder,
    Past,
    Scene,
    Seed,
    Settings,
    Static,
    Steps,
    TableFile,
    Target,
    Time,
)
from hierforecast.cli.output import deliver
from hierforecast.errors import DataError


class ModelName(StrEnum):
    """The models, as the command line calls them."""

    HiPerformer = "hiperformer"
    Ridge = "ridge"
    ConstantVelocity = "constant-velocity"
    LastValue = "last-value"
    SeasonalNaive = "seasonal-naive"


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
    deliver(forecast, out)
