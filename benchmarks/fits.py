"""Fits that are made once: loaded when they are done, gone on with when they were cut off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.experiment import Options, stem
from hierforecast import Columns, Forecaster
from hierforecast.frame import read_frame
from hierforecast.io.checkpoints import LAST
from hierforecast.models.baselines import Baseline
from hierforecast.task import Task
from hierforecast.windows import Window, WindowDataset
from hierforecast.windows.cutoffs import cutoffs_of

Frame = Callable[[], pd.DataFrame]


def fit_or_load(
    plan: Forecaster, folder: Path, train: Any, val: Any = None, warm_start: bool = False
) -> Forecaster:
    """The plan fitted, from its folder if it was fitted before.

    Args:
        plan: its trainer options get the folder for checkpoints.
        folder: where checkpoints and the saved forecaster are kept, one fit a folder.
        train: training frame, or a function that makes it, so that a loaded fit need not.
        val: frame for early stopping and the choice of the best weights, or such a function.
        warm_start: as in `Forecaster.fit`.
    """
    saved = folder / "forecaster"
    if saved.exists():
        return Forecaster.load(saved, plan.model)
    plan.set_params(trainer={"default_root_dir": str(folder), **(plan.trainer or {})})
    train, val = (frame() if callable(frame) else frame for frame in (train, val))
    resume = (folder / LAST).exists()
    plan.fit(train, val, resume=resume, warm_start=warm_start).save(saved)
    return plan


def batch_of(
    frame: pd.DataFrame, columns: Columns, *lengths: int, dtype: str = "float32"
) -> tuple[Task, Window]:
    """The task of a frame, and one window of every scene as a batch.

    Args:
        frame: the scenes.
        columns: of it.
        *lengths: of context and horizon.
        dtype: of the numbers.
    """
    context, horizon = lengths
    panel = read_frame(frame, columns, dtype=dtype)
    cutoffs = cutoffs_of(panel, context, horizon, stride=1000)
    windows = WindowDataset(panel, cutoffs, context, horizon)
    return Task.of(panel, context, horizon), windows.__getitems__(list(range(len(windows))))


@dataclass(frozen=True)
class Setting:
    """What every model of a benchmark is fitted to.

    Args:
        columns: of the frames.
        context, horizon: steps.
        train: makes the training frame.
        val: makes the frame to stop by, if there is one.
    """

    columns: Columns
    context: int
    horizon: int
    train: Frame
    val: Frame | None = None

    def fit(self, name: str, given: Options, model: Any, **options: Any) -> Forecaster:
        """A model, fitted once under this name and seed; one without weights is not kept.

        Args:
            name: of the fit in the folder.
            given: folder, seed and steps.
            model: a plan.
            options: of `Forecaster`.
        """
        lengths = {"context_length": self.context, "prediction_length": self.horizon}
        shared = {"columns": self.columns, "max_steps": given.steps, "seed": given.seed}
        plan = Forecaster(model, **{**lengths, **shared, **options})
        if isinstance(model, Baseline):
            return plan.fit(self.train(), self.val and self.val())
        folder = given.folder / "fits" / stem(name, given).name
        return fit_or_load(plan, folder, self.train, self.val)
