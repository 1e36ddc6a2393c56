"""Saving and loading: weights as safetensors, everything else as JSON. Loading runs no code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hierforecast import models
from hierforecast.errors import DataError
from hierforecast.frame import Columns, Vocabulary
from hierforecast.task import Task

if TYPE_CHECKING:
    from hierforecast.forecaster import Forecaster

WEIGHTS, OPTIONS, VERSION = "weights.safetensors", "forecaster.json", 1


def save(forecaster: Forecaster, path: Path) -> None:
    """Write a fitted forecaster into the folder `path`: a reader sees the old one or the new.

    Raises:
        DataError: if `path` is a file, or a folder with anything else in it.
    """
    model, path = forecaster.model_, path.resolve()
    _check_place(path)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        save_file(weights, fresh / WEIGHTS)
        (fresh / OPTIONS).write_text(json.dumps(document, indent=2) + "\n")
        fresh.chmod(0o755)
        _replace(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def load(kind: type[Forecaster], path: Path, model: nn.Module | None) -> Forecaster:
    """Read a forecaster from the folder `path`.

    Raises:
        FileNotFoundError: if there is none.
        DataError: if it is damaged, of another format, or of a model class that is not known here.
    """
    document, weights = _read(path)
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


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The document and the weights in a folder, checked to be whole and of this format."""
    for name in (OPTIONS, WEIGHTS):
        if not (path / name).exists():
            raise FileNotFoundError(f"{path} holds no {name}: is it a folder that save() wrote?")
    try:
        document = json.loads((path / OPTIONS).read_text())
        weights = load_file(path / WEIGHTS)
    except (ValueError, SafetensorError) as error:  # ValueError: no JSON, or no text at all
        raise DataError(f"{path} is damaged ({error}): save the forecaster again") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != VERSION:
        raise DataError(
            f"{path} has format {found!r}, this version reads {VERSION}: "
            "load it with the version that saved it"
        )
    return document, weights


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


def _check_place(path: Path) -> None:
    """Refuse a place where saving would remove anything but an earlier save."""
    if not path.exists():
        return
    if not path.is_dir() or {entry.name for entry in path.iterdir()} - {OPTIONS, WEIGHTS}:
        raise DataError(
            f"{path} holds something else than a saved forecaster, which saving would remove: "
            "give a new folder, e.g. one inside it"
        )


def _replace(fresh: Path, path: Path) -> None:
    """Put a folder where another one may stand, so that neither is ever half there."""
    if not path.exists():
        os.replace(fresh, path)
        return
    old = fresh.with_name(f"{fresh.name}-old")
    os.replace(path, old)
    try:
        os.replace(fresh, path)
    except OSError:
        os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
