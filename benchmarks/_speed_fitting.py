"""Fit and predict: what they add to the model's own arithmetic, and where a training step goes."""

from __future__ import annotations

import copy
from statistics import median
from time import process_time
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from benchmarks._scenes import COLUMNS, CONTEXT, HORIZON
from benchmarks.timing import Timings, interleave, training_step
from hierforecast import Forecaster, HiPerformer
from hierforecast.datasets import simulate_basketball
from hierforecast.frame import read_frame
from hierforecast.task import Task
from hierforecast.training.optim import Muon, matrices_and_others
from hierforecast.windows import Window, WindowDataset, sample_windows
from hierforecast.windows.cutoffs import cutoffs_of, last_cutoffs

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


PARTS = ("scaler", "embedding", "encoder", "decoder", "linear")


class Stopwatch:
    """Seconds by part; a lap ends the part that was running."""

    def __init__(self) -> None:
        self.parts: dict[str, list[float]] = {}
        self.began: float | None = None

    def lap(self, part: str) -> None:
        """What has passed since the last lap belongs to a part."""
        now = process_time()
        if self.began is not None:
            self.parts.setdefault(part, [0.0])[-1] += now - self.began
        self.began = now

    def next_step(self) -> None:
        """Begin a new count in every part."""
        for seconds in self.parts.values():
            seconds.append(0.0)
        self.began = process_time()


def watch(model: HiPerformer, clock: Stopwatch) -> None:
    """Lap at the end of every part of the forward pass, and where the backward pass enters them."""

    def leave(name: str) -> Any:
        return lambda module, inputs, output: clock.lap(name)

    def mark(module: Any, inputs: Any, output: Any) -> None:
        for tensor in output:
            if tensor.requires_grad:
                tensor.register_hook(lambda gradient: clock.lap("likelihood, backward"))

    for name in PARTS:
        part = getattr(model, name)
        part.register_forward_pre_hook(lambda module, inputs: clock.lap("other"))
        part.register_forward_hook(leave(name))
    model.decoder.register_forward_hook(mark)


def step(
    rounds: int, width: int = 128, patches: tuple[int, ...] = (20, 10, 5), scenes: int = 40
) -> pd.DataFrame:
    """Share of a training step's time by part, for tokens of different lengths."""
    frame = simulate_basketball(n_scenes=scenes, n_steps=CONTEXT + HORIZON + 10, seed=0)
    panel = read_frame(frame, COLUMNS)
    windows = WindowDataset(panel, cutoffs_of(panel, CONTEXT, HORIZON), CONTEXT, HORIZON)
    columns = {}
    for patch in patches:
        model = HiPerformer(
            width, depth=2, dropout=0.0, patch=patch, task=Task.of(panel, CONTEXT, HORIZON)
        )
        model.fit_statistics(*sample_windows(windows, 2000, 0))
        clock = Stopwatch()
        watch(model, clock)
        optimizer = Muon(*matrices_and_others(model), lr=1e-4, fused=True)
        for _ in range(rounds + 1):
            clock.next_step()
            pick = torch.randint(len(windows), (SCENES_PER_BATCH,))
            window = windows.__getitems__(pick.tolist())
            clock.lap("data")
            loss = model.loss(*window)
            clock.lap("likelihood, forward")
            loss.backward()
            clock.lap("backward of the rest")
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            clock.lap("clipping and optimizer")
        seconds = {name: median(laps[-rounds:]) for name, laps in clock.parts.items()}
        whole = sum(seconds.values())
        columns[f"{patch} steps a token"] = {k: f"{v / whole:.0%}" for k, v in seconds.items()}
    return pd.DataFrame(columns)
