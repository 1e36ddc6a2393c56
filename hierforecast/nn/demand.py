"""Demand: the network sees and forecasts what exponential smoothing has missed; see `History`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hierforecast.batch import SceneBatch
from hierforecast.nn.groups import means
from hierforecast.nn.head import Scenes
from hierforecast.nn.linear import Inputs, LinearForecast
from hierforecast.nn.scaled import Scaled, positive
from hierforecast.nn.views import Scale
from hierforecast.task import Task

# Errors beyond so many of their units count as so many; steps of which groups' means are taken.
_CLIP, _STEPS = 6.0, 8
# Of covariates with more categories the linear start takes none.
_CATEGORIES = 32


class DemandLinear(LinearForecast):
    """What the latest errors of a series, of its groups and of its scene say of the next ones.

    Where they say nothing, smoothing alone is left: a penalty without end is one of the choices.

    Args:
        task: shapes of the data.
    """

    penalties = (0.1, 1.0, 10.0, math.inf)

    def __init__(self, task: Task) -> None:
        # Columns, and of a category its code.
        self.known = [
            (column, code)
            for column, categories in enumerate(task.with_calendar().known)
            for code in _codes(categories, task.one_hot)
        ]
        super().__init__(task)
        self.known_scale: Tensor
        self.register_buffer("known_scale", torch.ones(len(self.known)))

    def n_inputs(self, task: Task) -> int:
        """See `LinearForecast`."""
        steps = min(task.context_length, _STEPS)
        own = task.n_targets * (task.context_length + (task.n_all_levels + 1) * steps + 1)
        return own + len(self.known)

    def inputs(self, batch: SceneBatch, scaled: Scaled, step: Tensor) -> Inputs:
        """Errors of the series, means of its groups'; of each step season before, known numbers."""
        assert batch.naive is not None
        errors = scaled.relative.clamp(-_CLIP, _CLIP)
        horizon = batch.naive.shape[1]
        late, present = errors[:, -_STEPS:], batch.present[:, -_STEPS:]
        parts = [errors]
        for owner, count in _owners(Scenes.of(batch)):
            parts.append(means(late, present, owner, count)[0][owner])
        same = torch.cat([part.flatten(1) for part in parts], dim=1)
        known = [_shown(batch.known[:, -horizon:], *which) for which in self.known]
        each = [x / size for x, size in zip(known, self.known_scale.unbind(), strict=True)]
        return Inputs(same, torch.cat([batch.naive, *(x[..., None] for x in each)], dim=-1))

    def fit(self, inputs: Inputs, ahead: Tensor, *rows: Any, **penalty: Any) -> None:
        """See `LinearForecast`."""
        super().fit(inputs, ahead.clamp(-_CLIP, _CLIP), *rows, **penalty)

    @torch.no_grad()
    def repeat(self, values: Tensor) -> None:
        """See `LinearForecast`: of smoothing, nothing."""
        assert not values.any()
        self.weight.weight.zero_()
        self.weight.bias.zero_()

    @torch.no_grad()
    def fit_units(self, batch: SceneBatch, unit: Tensor) -> None:
        """See `LinearForecast`."""
        # One by one: a copy of all of them is larger than the windows.
        for place, which in enumerate(self.known if len(batch.known) else ()):
            self.known_scale[place] = positive(_shown(batch.known, *which).std(correction=0))


def _codes(categories: int | None, one_hot: bool) -> list[int | None]:
    """What is taken of a covariate: its number, or whether it is each category; of two one."""
    if categories is None:
        return [None]
    if not one_hot or categories > _CATEGORIES:
        return []
    return list(range(2 if categories == 2 else 1, categories + 1))


def _shown(known: Tensor, column: int, code: int | None) -> Tensor:
    """A number known ahead, zero where missing, or whether a category is of this code: (P, T)."""
    x = known[..., column]
    return x.nan_to_num(0.0) if code is None else (x == code).to(x)


class DemandScale(Scale):
    """For sales, visits, loads: smoothing is the loc, and the size of its errors the unit.

    Both come from all of the history, for each step of the horizon; so values are in the network's
    units from the beginning.

    Args:
        n_targets: D.
    """

    origin = "history"
    baseline = "smoothing"
    halfway = True
    head = "tails"
    uses_calendar = True

    def __init__(self, n_targets: int) -> None:
        super().__init__(n_targets)
        self.n_absolute = 0

    def fit(self, batch: SceneBatch) -> None:
        """Nothing is left to learn."""

    def forward(self, batch: SceneBatch) -> Scaled:
        """The context's errors."""
        shown = torch.where(batch.present[..., None], batch.values, 0)
        still = shown.new_zeros(len(shown), 1, shown.shape[-1])
        return Scaled(shown, shown[..., :0], still, still + 1)

    def totals_apart(self, error: Tensor, present: Tensor, scenes: Scenes) -> Tensor:
        """See `Scale`: mean absolute errors of the means of groups, at every level, and of scenes.

        Moves that suit each series may share an error, which totals add up.
        """
        apart = error.new_zeros(())
        for owner, count in _owners(scenes):
            mean, there = means(error, present, owner, count)
            apart = apart + mean.abs().sum() / (there.sum() * mean.shape[-1]).clamp(min=1)
        return apart

    def baselines(self, task: Task) -> Tensor:
        """See `Scale`: smoothing alone."""
        return torch.zeros(1, task.prediction_length, task.context_length)

    def linear(self, task: Task) -> LinearForecast:
        """See `Scale`."""
        return DemandLinear(task)


def _owners(scenes: Scenes) -> list[tuple[Tensor, int]]:
    """Groups of every level, and scenes: that of each row, and how many there are."""
    each = (*scenes.owners, scenes.scene), (*scenes.counts, scenes.n_scenes)
    return [*zip(*each, strict=True)]
