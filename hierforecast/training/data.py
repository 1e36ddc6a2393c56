"""What a fit learns from, and what it stops by: the user's frames as panels, split into windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from hierforecast.errors import NoReturnsWarning, warn_user
from hierforecast.frame import Panel, read_frame
from hierforecast.io.checkpoints import digest, trainer_options
from hierforecast.shards import Shards
from hierforecast.shards.pools import Pools, in_memory
from hierforecast.training.examples import settled_cutoffs
from hierforecast.training.plan import Fitted, Plan
from hierforecast.windows.cutoffs import split_cutoffs
from hierforecast.windows.history import learn_smoothing

# Median move from step to step, as a share of the level, below which a target is no return.
STEADY = 0.2


@dataclass
class Data:
    """The frames of a fit.

    Attributes:
        panel: what is learned from; of shards that do not fit in memory, the first pool.
        held_out: the user's own to stop by; None: windows of the panel.
        pools: those shards; None where the panel is everything.
        training: (W, 2) pairs (scene, cutoff) of windows to learn from.
        validation: (V, 2) of windows to stop by, maybe none.
    """

    panel: Panel
    held_out: Panel | None
    pools: Pools | None
    training: np.ndarray
    validation: np.ndarray

    @classmethod
    def read(cls, plan: Plan, frame: Any, val: Any, start: Fitted | None) -> Data:
        """The user's frames, in units of the training windows; those of a warm start stay."""
        panel, held_out, pools = _read(plan, frame, val, start)
        if getattr(plan.model, "scale", None) == "returns":
            _warn_of_levels(panel)
        cutoffs = split_cutoffs(panel, *plan.lengths, plan.seed, held_out)
        data = cls(panel, held_out, pools, *cutoffs)
        if start is None:
            panel.vocabulary = panel.learn(data._end(plan))
        data._share_units()
        return data

    def smooth(self, plan: Plan, learn: bool) -> None:
        """Leave windows out before which smoothing has seen too little.

        Args:
            plan: the options.
            learn: whether how to smooth is learned first; a warm start brings it along.
        """
        panel = self.panel
        if learn:
            smoothing = learn_smoothing(panel, self._end(plan), plan.prediction_length)
            panel.vocabulary = replace(panel.vocabulary, smoothing=smoothing)
        self.training = settled_cutoffs(plan, panel, self.training)
        self._share_units()

    def about(self, plan: Plan, start: nn.Module | None) -> dict[str, Any]:
        """What a fit is, for its checkpoint: options, and digests of what it learns from.

        Args:
            plan: the options.
            start: the model that a warm start goes on with.

        Returns:
            Nothing where no checkpoint is kept.
        """
        trainer = plan.trainer or {}
        if trainer.get("default_root_dir") is None:
            return {}
        found = {
            "the model": type(plan.model).__name__,
            **{f"model {name}": value for name, value in plan.model.to_dict().items()},
            **{f"Columns {name}": value for name, value in plan.columns.to_dict().items()},
            **plan.options,
            **trainer_options(trainer),
            "the training frame": _digest(self.panel),
            "the frame given as val": None if self.held_out is None else _digest(self.held_out),
            "the model that warm_start goes on with": None if start is None else digest(start),
        }
        return found if self.pools is None else {**found, "the shards": self.pools.digest()}

    def _end(self, plan: Plan) -> np.ndarray:
        """The step (S,) after the last one of each scene that a training window shows."""
        end = np.zeros(len(self.panel.length), dtype=np.int64)
        np.maximum.at(end, self.training[:, 0], self.training[:, 1] + plan.prediction_length)
        return end

    def _share_units(self) -> None:
        if self.held_out is not None:
            self.held_out.vocabulary = self.panel.vocabulary


def _read(
    plan: Plan, frame: Any, val: Any, start: Fitted | None
) -> tuple[Panel, Panel | None, Pools | None]:
    """The frame to learn from, the user's own to stop by, and shards that do not fit beside."""
    first: dict[str, Any] = {"dtype": plan.dtype}
    second: dict[str, Any] = {**first, "context": plan.context_length}
    if start is not None:
        first = {**second, "vocabulary": start.vocabulary, "step": start.step}
    pools = None
    if isinstance(frame, Shards) and not frame.fits:
        bar = (plan.trainer or {}).get("enable_progress_bar", True)
        pools = Pools.open(frame, plan.columns, plan.seed, bar, **first)
        panel = pools.panel(pools.of_pass(0)[0])
    else:
        panel = read_frame(in_memory(frame, plan.columns, plan.seed), plan.columns, **first)
    if val is None:
        return panel, None, pools
    val = in_memory(val, plan.columns, plan.seed)
    second |= {"vocabulary": panel.vocabulary, "step": panel.clock.step, "variable": "val"}
    return panel, read_frame(val, plan.columns, **second), pools


def _warn_of_levels(panel: Panel) -> None:
    """Warn of targets that are never negative and move little from step to step, as prices do."""
    both = panel.present[1:] & panel.present[:-1]
    both[panel.cell_offset[1:] - 1] = False  # the next cell is of another row
    for name, values in zip(panel.columns.targets, panel.values.T, strict=True):
        level, move = (values[1:] + values[:-1])[both] / 2, np.abs(np.diff(values)[both])
        if values.min() < 0 or not (level > 0).any():
            continue
        share = float(np.median(move[level > 0] / level[level > 0]))
        if share < STEADY:
            warn_user(
                f"target {name!r} is never negative and moves by {share:.1%} of its size in the "
                "median step, as prices do, but scale='returns' takes it for changes and forecasts "
                f"0: give the changes of each series, np.log({name}).diff(), or fit with "
                "scale='series'",
                NoReturnsWarning,
            )


def _digest(panel: Panel) -> str:
    return digest(*(v for k, v in vars(panel).items() if k not in ("columns", "labels")))
