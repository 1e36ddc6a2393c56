"""Training steps on a device: windows gathered there, loss, gradients and the optimizer's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks._scenes import COLUMNS, CONTEXT, HORIZON
from benchmarks.growth import counter
from hierforecast import HiPerformer
from hierforecast._random import hand_down, seeded
from hierforecast.frame import read_frame
from hierforecast.task import Task
from hierforecast.training.optim import Muon, matrices_and_others
from hierforecast.windows import Window, WindowDataset
from hierforecast.windows.cutoffs import cutoffs_of
from hierforecast.windows.hiding import SeriesDropout
from hierforecast.windows.resident import gather_on

PRECISIONS = {"float32": torch.float32, "bf16-mixed": torch.bfloat16}


class Steps:
    """Steps of training on fresh windows of simulated basketball, series hidden as in a fit.

    Args:
        width: of the default model of a court.
        frame: the scenes.
        count: windows of a batch.
        device: where all of it takes place.
        half: dtype of autocast; float32 for none.
    """

    def __init__(
        self, width: int, frame: pd.DataFrame, count: int, device: str, half: torch.dtype
    ) -> None:
        panel = read_frame(frame, COLUMNS, dtype="float32")
        panel.vocabulary = panel.learn(panel.length)
        plan = HiPerformer(width, 2, 8, dropout=0.0, scale="mirrored", n_frequencies=24)
        task = Task.of(panel, CONTEXT, HORIZON)
        torch.manual_seed(0)
        self.model: Any = plan.for_task(task).float()
        self.windows = WindowDataset(
            panel, cutoffs_of(panel, CONTEXT, HORIZON), CONTEXT, HORIZON,
            hide=SeriesDropout(0.05), origin=self.model.origin,
        )  # fmt: skip
        self.random, self.hidden = np.random.default_rng(0), seeded(0)
        self.device, self.half, self.count = torch.device(device), half, count
        self.model.fit_statistics(*self.windows.__getitems__(self._some(), self.hidden))
        self.model = self.model.to(device).train()
        hand_down(self.model, torch.Generator(device).manual_seed(0))
        self.gather = gather_on(self.device, self.windows)
        whole = half == torch.float32
        self.optimizer = Muon(*matrices_and_others(self.model), lr=1e-4, fused=whole)

    def _some(self) -> np.ndarray:
        return self.random.integers(0, len(self.windows), self.count)

    def batch(self) -> Window:
        """The next windows."""
        return self.gather(self._some(), self.hidden)

    def step(self) -> None:
        """Learn from the next windows."""
        self.learn(self.batch())

    def learn(self, window: Window) -> None:
        """Learn from windows on the device."""
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, self.half, enabled=self.half != torch.float32):
            loss = self.model.loss(*window)
        loss.backward()
        self.optimizer.step()

    def operations(self) -> float:
        """Of the matrix products of a step."""
        with counter() as counted:
            self.step()
        return float(counted.get_total_flops())


def rate(
    device: str, dtype: torch.dtype, per_second: Callable[[Callable[[], Any]], float]
) -> float:
    """Operations a second of large matrix products."""
    side = 8192 if device == "cuda" else 256
    one = torch.ones(side, side, device=device, dtype=dtype)
    return 2.0 * side**3 * per_second(lambda: one @ one)
