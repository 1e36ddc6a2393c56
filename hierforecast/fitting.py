"""From frames to a fitted model: what `Forecaster.fit` does before anything of it is kept."""

from __future__ import annotations

import threading
import warnings
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from hierforecast._random import drawing, seeded
from hierforecast.cutoffs import split_cutoffs
from hierforecast.errors import DataError
from hierforecast.frame import Panel, Vocabulary, read_frame
from hierforecast.io.checkpoints import digest, trainer_options
from hierforecast.task import Task
from hierforecast.windows import SeriesDropout, WindowDataset, sample_windows

if TYPE_CHECKING:
    from hierforecast.forecaster import Forecaster

# Rows of training windows from which units and baselines are learned.
STATISTICS_ROWS = 50_000
# A row for each training step; of a model that is not trained by steps, none.
NO_STEPS = pd.DataFrame(columns=["step", "loss", "val_loss"], dtype=float).astype({"step": int})
_IMPORTING = threading.Lock()


class Learned(NamedTuple):
    """What a fit has learned.

    Attributes:
        model: in evaluation mode.
        vocabulary, step: of the training frame, for those that follow.
        history: losses by step.
        stopped: what is to be raised once this is kept, or None if the fit came to its end.
    """

    model: Any
    vocabulary: Vocabulary
    step: str
    history: pd.DataFrame
    stopped: BaseException | None = None


def learn(forecaster: Forecaster, frame: Any, val: Any, resume: bool, warm_start: bool) -> Learned:
    """Fit a model to frames; the forecaster gives the options and is left as it is.

    Args:
        forecaster: fitted already for a warm start.
        frame, val, resume, warm_start: as in `Forecaster.fit`.
    """
    panel, held_out = _read(forecaster, frame, val, warm_start)
    lengths = forecaster.context_length, forecaster.prediction_length
    training, validation = split_cutoffs(panel, *lengths, forecaster.seed, held_out)
    if not warm_start:
        end = np.zeros(len(panel.length), dtype=np.int64)
        np.maximum.at(end, training[:, 0], training[:, 1] + forecaster.prediction_length)
        panel.vocabulary = panel.learn_units(end)
    (held_out or panel).vocabulary = panel.vocabulary
    generator = seeded(forecaster.seed)
    fresh, model = _model(forecaster, panel, warm_start, generator)
    origin = getattr(model, "origin", None)
    hide = SeriesDropout(forecaster.series_dropout) if forecaster.series_dropout else None
    windows = WindowDataset(panel, training, *lengths, hide=hide, origin=origin)
    if fresh:
        with drawing(generator):
            some = sample_windows(windows, STATISTICS_ROWS, forecaster.seed, generator)
            model.fit_statistics(*some)
    history, stopped = NO_STEPS.copy(), None
    if any(p.requires_grad for p in model.parameters()):
        checks = None
        if len(validation):
            checks = WindowDataset(held_out or panel, validation, *lengths, origin=origin)
        about = _about(forecaster, panel, held_out, None if fresh else model)
        history, stopped = _train(forecaster, model, windows, checks, about, resume)
    return Learned(model.eval(), panel.vocabulary, panel.clock.step, history, stopped)


def _train(
    forecaster: Forecaster,
    model: Any,
    windows: WindowDataset,
    checks: WindowDataset | None,
    about: dict[str, Any],
    resume: bool,
) -> tuple[pd.DataFrame, BaseException | None]:
    """Losses by step, and what stopped the training if something did."""
    # Lightning takes seconds to import: only those who train pay for it. It brings warning filters
    # along, which are for those who import it themselves.
    with _IMPORTING, warnings.catch_warnings():
        from hierforecast import training
    schedule = training.Schedule(
        forecaster.learning_rate, forecaster.max_steps, forecaster.batch_size, forecaster.seed
    )
    dtype, trainer = next(model.parameters()).dtype, forecaster.trainer or {}
    history, stopped = training.train(model, windows, checks, schedule, trainer, about, resume)
    model.to(dtype)  # a fit in half precision leaves weights that numpy does not know
    return history, stopped


def _read(
    forecaster: Forecaster, frame: Any, val: Any, warm_start: bool
) -> tuple[Panel, Panel | None]:
    """The frame to learn from, and the user's own to stop by."""
    first: dict[str, Any] = {"dtype": forecaster._dtype()}
    second: dict[str, Any] = {**first, "context": forecaster.context_length}
    if warm_start:
        first = {**second, "vocabulary": forecaster.vocabulary_, "step": forecaster.step_}
    panel = read_frame(frame, forecaster.columns, **first)
    if val is None:
        return panel, None
    second |= {"vocabulary": panel.vocabulary, "step": panel.clock.step, "variable": "val"}
    return panel, read_frame(val, forecaster.columns, **second)


def _model(
    forecaster: Forecaster, panel: Panel, warm_start: bool, generator: torch.Generator
) -> tuple[bool, Any]:
    """Whether it is a fresh model without statistics, and the model to train."""
    task = Task.of(panel, forecaster.context_length, forecaster.prediction_length)
    dtype = torch.from_numpy(np.zeros(0, panel.dtype)).dtype
    if warm_start and any(p.requires_grad for p in forecaster.model_.parameters()):
        earlier: Any = forecaster.model_
        _check_alike(earlier, forecaster.model, task)
        return False, deepcopy(earlier).to(dtype).train()
    with drawing(generator):
        return True, forecaster.model.for_task(task).to(dtype)


def _check_alike(earlier: Any, plan: Any, task: Task) -> None:
    """Refuse a warm start that would need weights of other shapes."""
    then = {**earlier.to_dict(), **earlier.task.to_dict()}
    for name, value in {**plan.to_dict(), **task.to_dict()}.items():
        if then.get(name) != value:
            raise DataError(
                f"warm_start=True goes on with a model of {name}={then.get(name)!r}, but "
                f"{name}={value!r} is asked for: set it back, or fit with warm_start=False"
            )


def _about(
    forecaster: Forecaster, panel: Panel, held_out: Panel | None, start: nn.Module | None
) -> dict[str, Any]:
    """What a fit is, for its checkpoint: the options, and digests of what it learns from.

    Args:
        forecaster: gives the options.
        panel: what is learned from.
        held_out: the user's own frame for early stopping.
        start: the model that a warm start goes on with.
    """
    trainer = forecaster.trainer or {}
    if trainer.get("default_root_dir") is None:
        return {}
    options = forecaster.get_params(deep=False)
    columns, model = options.pop("columns"), options.pop("model")
    del options["trainer"]
    return {
        "the model": type(model).__name__,
        **{f"model {name}": value for name, value in model.to_dict().items()},
        **{f"Columns {name}": value for name, value in columns.to_dict().items()},
        **options,
        **trainer_options(trainer),
        "the training frame": _digest(panel),
        "the frame given as val": None if held_out is None else _digest(held_out),
        "the model that warm_start goes on with": None if start is None else digest(start),
    }


def _digest(panel: Panel) -> str:
    return digest(*(v for k, v in vars(panel).items() if k not in ("columns", "labels")))
