"""Where a training step of HiPerformer spends its time."""

from __future__ import annotations

from statistics import median
from time import process_time
from typing import Any

import pandas as pd
import torch

from benchmarks._fitting import SCENES_PER_BATCH
from benchmarks._scenes import COLUMNS, CONTEXT, HORIZON
from hierforecast import HiPerformer
from hierforecast.cutoffs import cutoffs_of
from hierforecast.datasets import simulate_basketball
from hierforecast.frame import read_frame
from hierforecast.optim import Muon, matrices_and_others
from hierforecast.task import Task
from hierforecast.windows import WindowDataset, sample_windows

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
