"""Overheads of fit and predict: what they add to the model's own arithmetic."""

from __future__ import annotations

import copy
from time import process_time
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from benchmarks._scenes import COLUMNS, CONTEXT, HORIZON
from benchmarks.timing import Timings, interleave, training_step
from hierforecast import Forecaster, HiPerformer
from hierforecast.cutoffs import last_cutoffs
from hierforecast.datasets import simulate_basketball
from hierforecast.optim import Muon, matrices_and_others
from hierforecast.windows import Window

SCENES_PER_BATCH = 64


class Pace(Callback):
    """After each block of a fit's steps, takes the same steps in a bare loop, and times both.

    A block of the fit lasts from the end of the bare one before it to the last of its own steps, so
    it holds everything that the fit does: fetching windows, hooks, progress, validation.

    Args:
        blocks: how many to time; the fit then ends, as if stopped early.
        steps: in a block.
    """

    def __init__(self, blocks: int, steps: int) -> None:
        self.blocks, self.steps = blocks, steps
        self.seconds: dict[str, list[float]] = {"fit": [], "bare": []}
        self.batches: list[Window] = []
        self.started: float | None = None

    @property
    def timings(self) -> Timings:
        """Of the blocks so far."""
        return Timings(self.seconds)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take a copy of the model, and an optimizer of the fit's kind."""
        model: Any = pl_module.model
        self.model = copy.deepcopy(model)
        self.optimizer = Muon(*matrices_and_others(self.model), lr=1e-4, fused=True)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Window, batch_idx: int
    ) -> None:
        """Keep the batch for the bare loop."""
        self.batches.append(batch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """At the end of a block, run the bare loop over its batches."""
        if len(self.batches) < self.steps:
            return
        start = process_time()
        for ready in self.batches:
            training_step(self.model, ready, self.optimizer)()
        end = process_time()
        if self.started is not None:  # the first block warms up
            self.seconds["fit"].append(start - self.started)
            self.seconds["bare"].append(end - start)
        trainer.should_stop = len(self.seconds["fit"]) >= self.blocks
        self.batches.clear()
        self.started = process_time()


def forecaster(width: int, **options: Any) -> Forecaster:
    """A forecaster at the size of an NBA scene."""
    trainer = {"accelerator": "cpu", **options.pop("trainer", {})}
    lengths = {"context_length": CONTEXT, "prediction_length": HORIZON}
    model = HiPerformer(width=width)
    return Forecaster(model, **lengths, columns=COLUMNS, trainer=trainer, **options)


def fit(
    rounds: int, widths: tuple[int, ...] = (64, 128), steps: int = 5, scenes: int = 100
) -> pd.DataFrame:
    """Share of a bare loop's windows per second that a fit reaches."""
    frame = simulate_basketball(n_scenes=scenes, n_steps=60, seed=0)
    rows = {}
    for width in widths:
        for bar in (False, True):
            pace = Pace(rounds, steps)
            trainer = {"callbacks": [pace], "enable_progress_bar": bar}
            forecaster(width, trainer=trainer, batch_size=SCENES_PER_BATCH).fit(frame)
            seconds = pace.timings.seconds
            rows[f"width {width}, progress bar {'on' if bar else 'off'}"] = {
                "median of blocks": f"{pace.timings.ratio('bare', 'fit'):.1%}",
                "all blocks together": f"{sum(seconds['bare']) / sum(seconds['fit']):.1%}",
            }
    return pd.DataFrame(rows).T


def predict(
    rounds: int, widths: tuple[int, ...] = (64, 128), scenes: int = 4 * SCENES_PER_BATCH
) -> pd.DataFrame:
    """Share of a bare forward pass's windows per second that predict reaches, frame to frame."""
    train = simulate_basketball(n_scenes=20, n_steps=CONTEXT + HORIZON, seed=0)
    history = simulate_basketball(n_scenes=scenes, n_steps=CONTEXT, seed=1)
    rows = {}
    for width in widths:
        fitted = forecaster(width, max_steps=1, trainer={"enable_progress_bar": False}).fit(train)
        ready = _batches(fitted, history)

        def bare(model: Any = fitted.model_, ready: list[Window] = ready) -> None:
            with torch.no_grad():
                for window in ready:
                    model(window.batch)

        arms = {
            "bare": bare,
            "predict": lambda fitted=fitted: fitted.predict(history),
            "level=[90]": lambda fitted=fitted: fitted.predict(history, level=[90]),
        }
        timings = interleave(arms, rounds)
        rows[f"width {width}"] = {k: f"{timings.ratio('bare', k):.1%}" for k in arms if k != "bare"}
    return pd.DataFrame(rows).T


def _batches(fitted: Forecaster, history: pd.DataFrame) -> list[Window]:
    """What predict hands to the model, made beforehand."""
    panel = fitted._read(history, horizon=HORIZON)
    windows = fitted._forecasts(panel, last_cutoffs(panel, CONTEXT)).windows
    starts = range(0, len(windows), fitted._plan().batch)
    stop = len(windows)
    return [
        windows.__getitems__(list(range(start, min(start + fitted._plan().batch, stop))))
        for start in starts
    ]
