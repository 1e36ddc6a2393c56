"""What a training learns from: windows of a panel, or of one pool of shards after another."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from hierforecast.errors import NothingToForecastError
from hierforecast.frame import Panel
from hierforecast.models import Model
from hierforecast.shards.pools import Pools
from hierforecast.training.plan import Plan
from hierforecast.windows import WindowDataset
from hierforecast.windows.cutoffs import cutoffs_of, early_cutoffs
from hierforecast.windows.hiding import SeriesDropout
from hierforecast.windows.history import History, settled, thin

# How often each row of a pool is looked at before the next pool is read, about.
VISITS = 4


def as_seen(model: Model) -> dict[str, Any]:
    """Options of `WindowDataset` by which a model wants its windows."""
    return {"origin": model.origin, "calendar": model.uses_calendar}


def windows_of(plan: Plan, model: Model, panel: Panel, cutoffs: np.ndarray) -> WindowDataset:
    """Training windows that end at cutoffs (W, 2)."""
    hide = SeriesDropout(plan.series_dropout) if plan.series_dropout else None
    how = {"hide": hide, "max_rows": plan.max_rows, **as_seen(model)}
    return WindowDataset(panel, cutoffs, *plan.lengths, **how)


def settled_cutoffs(plan: Plan, panel: Panel, cutoffs: np.ndarray) -> np.ndarray:
    """The cutoffs (W, 2) of which there is something to learn where series are smoothed."""
    assert panel.vocabulary.smoothing is not None
    late = settled(panel, cutoffs, panel.vocabulary.smoothing.seasons)
    return thin(panel, late, plan.prediction_length)


def with_early(plan: Plan, windows: WindowDataset) -> WindowDataset:
    """The windows, and those that begin before their scene does, if the plan asks for them.

    Units and the linear forecast are learned without these: none of theirs is better for them.
    """
    if plan.min_context is None:
        return windows
    panel, every = windows.panel, copy(windows)
    early = early_cutoffs(panel, *plan.lengths, plan.min_context, windows.cutoffs)
    every.cutoffs = np.concatenate([windows.cutoffs, early])
    if windows.origin == "history":
        assert panel.vocabulary.smoothing is not None
        every.cutoffs = settled(panel, every.cutoffs, panel.vocabulary.smoothing.seasons)
        every.history = History(panel, every.cutoffs, plan.prediction_length)
    return every


@dataclass
class PooledWindows:
    """Training windows of pool after pool; see `Pools`.

    Which pool a batch is of follows from its number: each gives batches in proportion to its rows.

    Args:
        pools: of shards.
        plan: with the batch size.
        model: that is trained; how it wants its windows is what counts.
        first: windows of the first pool, which stay in memory.
    """

    pools: Pools
    plan: Plan
    model: Model
    first: WindowDataset

    def __post_init__(self) -> None:
        rows = float(self.first.sizes.mean())
        self.cells = self.plan.batch * rows * sum(self.plan.lengths)  # of a batch

    def span_of(self, batch: int) -> tuple[int, float, list[int]]:
        """The first batch of the same pool, the first one after it, and the pool."""
        start, number = 0, 0
        while True:
            for pool in self.pools.of_pass(number):
                stop = start + max(1, round(VISITS * self.pools.rows(pool) / self.cells))
                if batch < stop:
                    return start, stop, pool
                start = stop
            number += 1

    def at(self, batch: int) -> WindowDataset:
        """The windows of a batch."""
        start, _, pool = self.span_of(batch)
        if not start:
            return self.first
        panel, plan = self.pools.panel(pool), self.plan
        panel.vocabulary = self.first.panel.vocabulary
        try:
            cutoffs = self.pools.allowed(panel, cutoffs_of(panel, *plan.lengths))
        except NothingToForecastError:
            return self.first
        if self.model.origin == "history" and len(cutoffs):
            cutoffs = settled_cutoffs(plan, panel, cutoffs)
        if not len(cutoffs):
            return self.first
        return with_early(plan, windows_of(plan, self.model, panel, cutoffs))
