"""Saving and loading: weights as safetensors, everything else as JSON. Loading runs no code."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from hierforecast import models
from hierforecast.errors import DataError
from hierforecast.fitting import NO_STEPS
from hierforecast.frame import Columns, Vocabulary
from hierforecast.frame.step import Step
from hierforecast.frame.vocabulary import Units
from hierforecast.io.folders import Saved, check_place, read_folder, write_folder
from hierforecast.io.typed import typed
from hierforecast.io.weights import read_dtype
from hierforecast.models.former import current_options, current_weights
from hierforecast.task import Task

if TYPE_CHECKING:
    from hierforecast.forecaster import Forecaster

OPTIONS, WHAT = "forecaster.json", "forecaster"


def save(forecaster: Forecaster, path: Path) -> None:
    """Write a fitted forecaster into the folder `path`: a reader sees the old one or the new.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
    """
    model = forecaster.model_
    params = forecaster.get_params(deep=False)
    options = {k: v for k, v in params.items() if k not in ("model", "columns", "trainer")}
    document = {
        "model": {"class": type(model).__name__, "options": model.to_dict()},  # type: ignore[operator]
        "task": model.task.to_dict(),  # type: ignore[union-attr, operator]
        "dtype": str(next(iter(model.state_dict().values())).dtype).removeprefix("torch."),
        "columns": forecaster.columns.to_dict(),
        "vocabulary": forecaster.vocabulary_.to_dict(),
        "step": forecaster.step_,
        "options": options,
        "trainer": _plain(forecaster.trainer),
    }
    write_folder(path, OPTIONS, document, model, WHAT)


def load(kind: type[Forecaster], path: Path, model: nn.Module | None) -> Forecaster:
    """Read a forecaster from the folder `path`; everything is checked before a network is built.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it is damaged, was edited, is of another version or of a model class that is
            not known here; the message names the file and the key.
    """
    saved = read_folder(path, OPTIONS, WHAT)
    plan = saved.part("model", lambda entry: _plan(entry, model))
    columns = saved.part("columns", Columns.from_dict)
    trainer = saved.part("trainer", _plain)
    forecaster = saved.part(
        "options", lambda given: kind(plan, columns=columns, trainer=trainer, **given)
    )
    saved.part("options", lambda given: forecaster._check_options())
    vocabulary = saved.part("vocabulary", lambda given: _vocabulary(given, columns))
    step = saved.part("step", _step)
    task = saved.part("task", lambda given: typed(Task.from_dict(given)))
    _check_task(saved, task, forecaster, vocabulary)
    dtype = saved.part("dtype", read_dtype)
    saved.check()
    keys = "its keys 'model' and 'task'" if model is None else "the model given"
    if model is None:
        saved = replace(saved, weights=current_weights(saved.weights))
    build = lambda: plan.for_task(task).to(dtype)  # noqa: E731
    built = saved.fill(build, keys, ours=model is None)
    forecaster._learned(built, vocabulary, step, NO_STEPS.copy())
    return forecaster


def check_folder(path: Path) -> None:
    """Whether a forecaster can be saved there; worth asking before hours of training.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
    """
    check_place(Path(os.path.realpath(path)), OPTIONS, WHAT)


def _plan(entry: dict[str, Any], model: nn.Module | None) -> Any:
    """The model that the file names, not yet built, or the instance that the user gave for it."""
    name, options = entry["class"], entry["options"]
    if model is not None:
        if type(model).__name__ != name:
            raise DataError(f"the file holds a {name}, but model is a {type(model).__name__}")
        return model
    if name not in models.__all__:
        raise DataError(
            f"the saved model is a {name!r}, which this package does not hold: give an instance, "
            f"Forecaster.load(path, model={name}())"
        )
    return getattr(models, name)(**current_options(options))


def _vocabulary(given: dict[str, Any], columns: Columns) -> Vocabulary:
    """What the file says of the training frame, which must have had these columns."""
    found = typed(Vocabulary.from_dict(given))
    for role in ("past_covariates", "known_covariates", "static"):
        names = tuple(one.name for one in found.of(role.removesuffix("_covariates")))
        if names != getattr(columns, role):
            raise ValueError(f"it has {role}={names}, the key 'columns' {getattr(columns, role)}")
    if len(found.targets) not in (0, len(columns.targets)):
        raise ValueError(f"it has units of {len(found.targets)} targets: {columns.targets} are")
    if not all(one.unit > 0 for one in (*found.targets, *(c.units for c in found.covariates))):
        raise ValueError("a unit is not above zero")
    if any(c.categories is not None and c.units != Units() for c in found.covariates):
        raise ValueError("categories have units")
    return found


def _step(text: str) -> str:
    Step.parse(text)
    return text


def _check_task(saved: Saved, task: Task, forecaster: Forecaster, vocabulary: Vocabulary) -> None:
    """Refuse shapes that do not fit the columns and options beside them."""
    columns = forecaster.columns
    expected = {
        "context_length": forecaster.context_length,
        "prediction_length": forecaster.prediction_length,
        "n_targets": len(columns.targets),
        "n_levels": max(1, len(columns.levels)),
        **vocabulary.sizes(),
    }
    for name, value in expected.items():
        if getattr(task, name) != value:
            raise saved.error(
                f"has {name}={getattr(task, name)!r} in its key 'task', and {value!r} elsewhere"
            )


def _plain(trainer: Any) -> dict[str, Any] | None:
    """The trainer's options that JSON can hold; callbacks and the like live in one session only."""
    if trainer is None:
        return None
    simple = (str, int, float, bool, type(None))
    elsewhere = "default_root_dir"  # a folder of this machine
    return {k: v for k, v in trainer.items() if isinstance(v, simple) and k != elsewhere}
