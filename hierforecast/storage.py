"""Saving and loading: weights as safetensors, everything else as JSON. Loading runs no code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hierforecast import models
from hierforecast._saving import read_folder, write_folder
from hierforecast.errors import DataError
from hierforecast.frame import Columns, Vocabulary
from hierforecast.task import Task

if TYPE_CHECKING:
    from hierforecast.forecaster import Forecaster

OPTIONS, VERSION, WHAT = "forecaster.json", 1, "forecaster"


def save(forecaster: Forecaster, path: Path) -> None:
    """Write a fitted forecaster into the folder `path`: a reader sees the old one or the new.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
    """
    model = forecaster.model_
    params = forecaster.get_params(deep=False)
    options = {k: v for k, v in params.items() if k not in ("model", "columns", "trainer")}
    document = {
        "format": VERSION,
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
    """Read a forecaster from the folder `path`.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it is damaged, of another format, or of a model class that is not known here.
    """
    document, weights = read_folder(path, OPTIONS, VERSION, WHAT)
    name = document["model"]["class"]
    plan = _known_model(name)(**document["model"]["options"]) if model is None else model
    if type(plan).__name__ != name:
        raise DataError(f"{path} holds a {name}, but model is a {type(plan).__name__}")
    forecaster = kind(
        plan,
        columns=Columns.from_dict(document["columns"]),
        trainer=document["trainer"],
        **document["options"],
    )
    built = plan.for_task(Task.from_dict(document["task"]))  # type: ignore[operator]
    try:
        built.to(getattr(torch, document["dtype"])).load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(
            f"{path} holds weights of another model ({error}): save the forecaster again, or give "
            "load(path, model=...) the options it was fitted with"
        ) from error
    forecaster.model_ = built.eval()
    forecaster.vocabulary_ = Vocabulary.from_dict(document["vocabulary"])
    forecaster.step_ = document["step"]
    return forecaster


def _known_model(name: str) -> Any:
    if name not in models.__all__:
        raise DataError(
            f"the saved model is a {name!r}, which this package does not hold: give an instance, "
            f"Forecaster.load(path, model={name}())"
        )
    return getattr(models, name)


def _plain(trainer: Any) -> dict[str, Any] | None:
    """The trainer's options that JSON can hold; callbacks and the like live in one session only."""
    if trainer is None:
        return None
    simple = (str, int, float, bool, type(None))
    elsewhere = "default_root_dir"  # a folder of this machine
    return {k: v for k, v in trainer.items() if isinstance(v, simple) and k != elsewhere}
