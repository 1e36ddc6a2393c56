"""Saving and loading: weights as safetensors, everything else as JSON. Loading runs no code."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from hierforecast import models
from hierforecast.errors import DataError
from hierforecast.frame import Columns, Vocabulary
from hierforecast.frame.calendar import check_calendar
from hierforecast.frame.step import Step
from hierforecast.frame.vocabulary import Units
from hierforecast.inference.gap_widths import GapWidths
from hierforecast.inference.newcomers import Newcomers
from hierforecast.inference.scores import HeldOutScores
from hierforecast.io.folders import Saved, check_place, read_folder, write_folder
from hierforecast.io.typed import typed
from hierforecast.io.weights import read_dtype
from hierforecast.models import Model
from hierforecast.models.former import current_options, current_weights
from hierforecast.task import Task
from hierforecast.training.plan import NO_STEPS, Fitted, Plan
from hierforecast.training.report import Report

T = TypeVar("T")
OPTIONS, WHAT = "forecaster.json", "forecaster"
# Beside the weights, by names that no module gives one.
SCORES, WIDTHS = "*held_out_scores", "*gap_widths"
NEWCOMERS = "*newcomers_effect", "*newcomers_root", "*newcomers_unit"


def save(plan: Plan, fitted: Fitted, path: Path) -> None:
    """Write a fitted forecaster into the folder `path`: a reader sees the old one or the new.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
        TypeError: if an option of the model cannot be written.
    """
    model = fitted.model
    assert model.task is not None
    document = {
        "model": {"class": type(model).__name__, "options": model.to_dict()},
        "task": model.task.to_dict(),
        "dtype": str(next(iter(model.state_dict().values())).dtype).removeprefix("torch."),
        "columns": plan.columns.to_dict(),
        "vocabulary": fitted.vocabulary.to_dict(),
        "step": fitted.step,
        "options": plan.options,
        "trainer": _plain(plan.trainer),
        "report": fitted.report.to_dict(),
    }
    beside = {} if fitted.scores is None else {SCORES: fitted.scores.values}
    beside |= {} if fitted.gaps is None else {WIDTHS: fitted.gaps.factor}
    if fitted.newcomers is not None:
        own = fitted.newcomers
        beside |= dict(zip(NEWCOMERS, (own.effect, own.root, own.usual), strict=True))
    write_folder(path, OPTIONS, document, model, WHAT, beside)


def load(path: Path, model: Model | type[Model] | None) -> tuple[Plan, Fitted]:
    """Read a forecaster from the folder `path`; everything is checked before a network is built.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it is damaged, was edited, is of another version or of a model class that is
            not known here; the message names the file and the key.
    """
    saved = read_folder(path, OPTIONS, WHAT)
    planned = saved.part("model", lambda entry: _planned(entry, model))
    columns = saved.part("columns", Columns.from_dict)
    trainer = saved.part("trainer", _plain)
    parts: dict[str, Any] = {"model": planned, "columns": columns, "trainer": trainer}
    plan = saved.part("options", lambda given: Plan(**parts, **given))
    vocabulary = saved.part("vocabulary", lambda given: _vocabulary(given, columns))
    step = saved.part("step", _step)
    task = saved.part("task", lambda given: typed(Task.from_dict(given)))
    _check_task(saved, task, plan, vocabulary)
    dtype = saved.part("dtype", read_dtype)
    report = saved.part("report", Report.from_dict) if "report" in saved.document else Report()
    saved.check()
    shape = len(vocabulary.types), plan.prediction_length
    scores = _beside(saved, SCORES, lambda x: HeldOutScores.check(x, *shape))
    gaps = _beside(saved, WIDTHS, lambda x: GapWidths.check(x, len(vocabulary.types)))
    newcomers = _newcomers(saved, vocabulary, plan)
    apart = SCORES, WIDTHS, *NEWCOMERS
    others = {k: v for k, v in saved.weights.items() if k not in apart}
    saved = replace(saved, weights=others)
    if model is None:
        saved = replace(saved, weights=current_weights(saved.weights))
    given = isinstance(model, Model)
    keys = "the model given" if given else "its keys 'model' and 'task'"
    built: Any = saved.fill(lambda: planned.for_task(task).to(dtype), keys, ours=not given)
    horizons = {len(each) for each in vocabulary.smoothing.growth} if vocabulary.smoothing else {0}
    if built.origin == "history" and horizons != {plan.prediction_length}:
        raise saved.error(
            f"has smoothing for {horizons.pop()} steps in its key 'vocabulary', and "
            f"prediction_length={plan.prediction_length}"
        )
    return plan, Fitted(built, vocabulary, step, NO_STEPS.copy(), report, scores, gaps, newcomers)


def check_folder(path: Path) -> None:
    """Whether a forecaster can be saved there; worth asking before hours of training.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
    """
    check_place(Path(os.path.realpath(path)), OPTIONS, WHAT)


def _planned(entry: dict[str, Any], model: Model | type[Model] | None) -> Model:
    """The model that the file names, not yet built: one of ours, or the one that the user gave."""
    name, options = entry["class"], entry["options"]
    known = {each: getattr(models, each) for each in models.__all__ if each != Model.__name__}
    kind = known.get(name) if model is None else model
    if kind is None:
        raise DataError(
            f"the saved model is a {name!r}, which this package does not hold: give its class, "
            f"Forecaster.load(path, model={name})"
        )
    if isinstance(kind, Model):
        found, kind = kind, type(kind)
    elif isinstance(kind, type) and issubclass(kind, Model):
        found = None
    else:
        raise TypeError(f"model={kind!r} is neither a subclass of Model nor an instance of one")
    if kind.__name__ != name:
        raise DataError(f"the file holds a {name}, but model is a {kind.__name__}")
    return found or kind(**current_options(options))


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
    check_calendar(found.calendar)
    if found.smoothing is not None:
        found.smoothing.check(len(columns.targets))
    return found


def _beside(saved: Saved, name: str, check: Callable[[Tensor], T]) -> T | None:
    """What lies beside the weights by a name; earlier versions kept none."""
    if name not in saved.weights:
        return None
    try:
        return check(saved.weights[name])
    except ValueError as error:
        what = name.strip("*").replace("held_out", "held-out").replace("_", " ")
        raise saved.error(f"has {what} that cannot be used ({error})") from error


def _newcomers(saved: Saved, vocabulary: Vocabulary, plan: Plan) -> Newcomers | None:
    """Those beside the weights; earlier versions kept none."""
    if NEWCOMERS[0] not in saved.weights:
        return None
    try:
        parts = [saved.weights[name] for name in NEWCOMERS]
        sizes = plan.prediction_length, len(plan.columns.targets)
        return Newcomers.check(parts, vocabulary, *sizes)
    except (KeyError, ValueError) as error:
        raise saved.error(f"has newcomers that cannot be used ({error})") from error


def _step(text: str) -> str:
    Step.parse(text)
    return text


def _check_task(saved: Saved, task: Task, plan: Plan, vocabulary: Vocabulary) -> None:
    """Refuse shapes that do not fit the columns and options beside them."""
    columns = plan.columns
    expected = {
        "context_length": plan.context_length,
        "prediction_length": plan.prediction_length,
        "n_targets": len(columns.targets),
        "n_levels": max(1, len(columns.levels)),
        "crossed": tuple(map(len, columns.partitions[1:])),
        "calendar": vocabulary.calendar,
        "calendar_stated": columns.states_calendar,
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
