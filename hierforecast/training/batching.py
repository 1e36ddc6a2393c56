"""Batches of a training: endless ones to learn from and those to stop by, shared by processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hierforecast._random import Passes, mixed, seeded
from hierforecast.training.examples import PooledWindows
from hierforecast.training.plan import Plan
from hierforecast.windows import Window, WindowDataset
from hierforecast.windows.resident import Gather, gather_on

# Seeds of their own for what is hidden, dropped, and drawn in a validation.
HIDDEN, DROPPED, CHECKED = range(3)


class Progress(Protocol):
    """A training as far as batches depend on it.

    Attributes:
        plan: its options.
        batches: how many were learned from so far.
        trainer: Lightning's, which knows how many processes train and which one this is.
        device: where it takes place.
    """

    plan: Plan
    batches: int
    trainer: Any

    @property
    def device(self) -> torch.device:
        """See above."""
        ...


class Batches:
    """Endless batches to train on; each follows from the seed and its number.

    A window that begins before its scene does may be an easier one, or one of another kind: half of
    each batch at least has whole contexts, if there are any. Of several processes each takes the
    next batch, so that together they go through the windows as one process with larger ones does.
    """

    def __init__(self, windows: WindowDataset | PooledWindows, training: Progress) -> None:
        self.windows, self.training, self.seed = windows, training, training.plan.seed

    def __iter__(self) -> Iterator[Window]:
        trainer, start, stop = self.training.trainer, 0, 0.0
        windows: WindowDataset | None = None
        gather: Gather | None = None
        pools: list[tuple[np.ndarray, Passes]] = []
        for number in count(self.training.batches):
            own = number * trainer.world_size + trainer.global_rank
            if gather is None or own >= stop:
                windows = gather = None  # before others are read: there is room for some only
                start, stop, windows = self._windows(own)
                gather = gather_on(self.training.device, windows)
                pools = self._pools(windows, mixed(self.seed, start) if start else self.seed)
            hidden = seeded(self.seed, HIDDEN, own)
            chosen = [pool[passes.batch(own - start)] for pool, passes in pools]
            yield gather(np.concatenate(chosen), hidden)

    def _windows(self, batch: int) -> tuple[int, float, WindowDataset]:
        """The windows of a batch, the first batch of the same ones and the first of others."""
        if not isinstance(self.windows, PooledWindows):
            return 0, math.inf, self.windows
        start, stop, _ = self.windows.span_of(batch)
        return start, stop, self.windows.at(batch)

    def _pools(self, windows: WindowDataset, seed: int) -> list[tuple[np.ndarray, Passes]]:
        """Numbers of windows that a batch has some of each, and their order."""
        size = min(self.training.plan.batch, len(windows))
        whole, every = windows.whole, np.arange(len(windows))
        pools = [every]
        if 0 < whole.sum() < len(every) / 2:
            pools = [every[whole], every[~whole]]
        sizes = [size - size // 2, size // 2] if len(pools) > 1 else [size]
        return [
            (pool, Passes(len(pool), n, mixed(seed, k) if k else seed))
            for k, (pool, n) in enumerate(zip(pools, sizes, strict=True))
            if n
        ]


class Checks:
    """Batches to stop by, shared by all processes.

    Each process has as many, for they wait for each other; one too many has no outcome to count.
    """

    def __init__(self, windows: WindowDataset, training: Progress) -> None:
        self.windows, self.training = windows, training
        self.gather: Gather | None = None
        self.starts = range(0, len(windows), windows.at_once(training.plan.batch))

    def __len__(self) -> int:
        return -(-len(self.starts) // self.training.trainer.world_size)

    def __iter__(self) -> Iterator[Window]:
        trainer = self.training.trainer
        self.gather = self.gather or gather_on(self.training.device, self.windows)
        for turn in range(len(self)):
            own = turn * trainer.world_size + trainer.global_rank
            start = self.starts[min(own, len(self.starts) - 1)]
            stop = min(start + self.starts.step, len(self.windows))
            drawing = seeded(self.training.plan.seed, CHECKED, start)
            batch, future = self.gather(np.arange(start, stop), drawing)
            if own >= len(self.starts):
                nothing = future.present.new_zeros(future.present.shape)
                future = replace(future, present=nothing, whole=False)
            yield Window(batch, future)


def sums(loss: Tensor, window: Window) -> Tensor:
    """A loss as a sum over present cells, and their count: (2,)."""
    cells = window.future.present.sum().to(loss)
    return torch.stack([loss * cells, cells])
