"""What a user would try first: last value, constant velocity, seasonal naive, ridge.

Each has the interface of `HiPerformer`, so `Forecaster` takes it as it is. None has weights to
train by gradient: what they need is learned from training windows in `fit_statistics`, the spread
of their errors for each kind of series and step included, so that they too answer with a law.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from hierforecast._options import number, whole
from hierforecast.batch import Future, SceneBatch
from hierforecast.distributions import IndependentScenes, SceneDistribution
from hierforecast.errors import DataError, Remedy
from hierforecast.nn.linear import LinearForecast, kind_of
from hierforecast.nn.scale import Scaled, fill_gaps, make_scale, tame
from hierforecast.task import Task


class Baseline(nn.Module):
    """A point forecast from each series' own context, with independent Gaussian errors around it.

    Subclasses give `point`; those that learn something give `fit_point` too.

    Args:
        scale: as in `HiPerformer`.
        task: the shapes to build for; `Forecaster.fit` gives it.
    """

    repeats = False  # what stands in the context: then `point` holds in any units

    def __init__(self, scale: str = "auto", task: Task | None = None) -> None:
        super().__init__()
        self.scale, self.task = scale, task
        make_scale(scale, n_targets=1)  # an unknown name is an error here, not at fit
        if task is not None:
            self.scaler = make_scale(scale, task.n_targets)
            self.spread: Tensor
            shape = (2 * task.n_types, task.prediction_length, task.n_targets)
            self.register_buffer("spread", torch.ones(shape))
            self.build(task)

    def build(self, task: Task) -> None:
        """Make what the forecast needs."""

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """The forecast in the network's units: (P, H, D)."""
        raise NotImplementedError

    def fit_point(self, scaled: Scaled, batch: SceneBatch, ahead: Tensor, present: Tensor) -> None:
        """Learn from training windows: ahead (P, H, D) in the network's units, present (P, H)."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options of the constructor, without the task."""
        return {"scale": self.scale}

    def to_dict(self) -> dict[str, Any]:
        """Options as plain JSON values."""
        return self.get_params()

    def for_task(self, task: Task) -> Baseline:
        """A fresh model of the same options, built for a task."""
        return type(self)(**self.get_params(), task=task)

    def kind(self, batch: SceneBatch) -> Tensor:
        """Kind of each row (P,), see `kind_of`."""
        return kind_of(batch, len(self.spread) // 2)

    @property
    def origin(self) -> str:
        """From where the model wants values counted, see `WindowDataset`."""
        return self.scaler.origin

    @property
    def horizon(self) -> int:
        """Steps forecast."""
        return self.spread.shape[1]

    @torch.no_grad()
    def fit_statistics(self, batch: SceneBatch, future: Future) -> None:
        """Learn the forecast and the spread of its errors from training windows."""
        self.scaler.fit(batch)
        scaled = self.scaler(batch)
        ahead = tame((future.values - scaled.location) / scaled.scale, future.present)
        self.fit_point(scaled, batch, ahead, future.present)
        error = (ahead - self.point(scaled, batch)).double().square()
        kind = self.kind(batch)
        for code in range(len(self.spread)):
            seen = future.present & (kind == code)[:, None]
            total = torch.where(seen[..., None], error, error.new_zeros(())).sum(0)
            spread = (total / seen.sum(0).clamp(min=1)[:, None]).sqrt()
            self.spread[code] = torch.where(spread > 0, spread, torch.ones_like(spread))

    def forward(self, batch: SceneBatch) -> SceneDistribution:
        """The law of the horizon, (P, H, D) in the units of the batch."""
        scaled = self.scaler(batch)
        if self.repeats and self.origin == "row":  # not through other units and back: exactly
            filled, _ = fill_gaps(batch.values, batch.present)
            location = self.point(replace(scaled, relative=filled), batch)
        else:
            location = scaled.location + scaled.scale * self.point(scaled, batch)
        spread = scaled.scale.abs() * self.spread[self.kind(batch)]
        law = Normal(location, spread, validate_args=False)
        return IndependentScenes(law, batch.scene, batch.n_scenes)


class LastValue(Baseline):
    """Everything stays where it was last seen."""

    repeats = True

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Baseline`."""
        return scaled.relative[:, -1:].expand(-1, self.horizon, -1)


class ConstantVelocity(Baseline):
    """The last observed step is repeated; a series seen once stays where it is."""

    repeats = True

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Baseline`."""
        steps = torch.arange(batch.present.shape[1], device=batch.present.device)
        seen = torch.where(batch.present, steps, steps.new_tensor(-1))
        last = seen.amax(1, keepdim=True).clamp(min=0)
        before = torch.where(seen < last, seen, seen.new_tensor(-1)).amax(1, keepdim=True)
        before = torch.where(before < 0, last, before)
        move = _at(scaled.relative, last) - _at(scaled.relative, before)
        velocity = move / (last - before).clamp(min=1)[..., None].to(move.dtype)
        ahead = torch.arange(1, self.horizon + 1, device=move.device, dtype=move.dtype)
        return scaled.relative[:, -1:] + velocity * ahead[:, None]


class SeasonalNaive(Baseline):
    """Each step repeats the one a season before.

    Args:
        season: steps of a season, at most the context length; None: what the step of time says, a
            week of days, a day of hours, a year of weeks, months or quarters.
        scale: as in `HiPerformer`.
        task: the shapes to build for.

    Raises:
        DataError: if the season is longer than the context, or the step says none.
    """

    repeats = True

    def __init__(
        self, season: int | None = None, scale: str = "auto", task: Task | None = None
    ) -> None:
        # How long it may be is known when it is built, and then it is found out if it is None.
        if season is not None and not (isinstance(season, int) and season < 1):
            season = whole("season", season)
        self.season = season
        super().__init__(scale, task)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options of the constructor, without the task."""
        return {"season": self.season, "scale": self.scale}

    def build(self, task: Task) -> None:
        """Find the season, and check that it fits into the context."""
        season = task.season if self.season is None else self.season
        if season is None:
            raise DataError(
                "this step of time has no usual season; say how many steps a season has",
                Remedy("forecaster.model = SeasonalNaive(season=7)", "--set season=7"),
            )
        if not 1 <= season <= task.context_length:
            raise DataError(
                f"season={season} must be between 1 and context_length={task.context_length}: "
                "lengthen the context or shorten the season"
            )
        self.lag = season

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Baseline`."""
        ahead = torch.arange(self.horizon, device=scaled.relative.device) % self.lag
        return scaled.relative[:, ahead - self.lag]


class Ridge(Baseline):
    """Ridge regression of the horizon on the series' own context, one for each group type.

    Args:
        penalty: ridge penalty per training row, in units of the inputs' mean square; None: chosen
            on held-out windows.
        scale: as in `HiPerformer`.
        task: the shapes to build for.
    """

    def __init__(
        self, penalty: float | None = None, scale: str = "auto", task: Task | None = None
    ) -> None:
        super().__init__(scale, task)
        self.penalty = None if penalty is None else number("penalty", penalty, 0)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options of the constructor, without the task."""
        return {"penalty": self.penalty, "scale": self.scale}

    def build(self, task: Task) -> None:
        """Make the regression; its weights are solved for, not trained."""
        self.linear = LinearForecast(task).requires_grad_(False)

    def fit_point(self, scaled: Scaled, batch: SceneBatch, ahead: Tensor, present: Tensor) -> None:
        """See `Baseline`."""
        moves, kind = tame(_moves(scaled)), self.kind(batch)
        self.linear.fit(moves, ahead, present, kind, batch.scene, self.penalty)

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Baseline`."""
        return self.linear(_moves(scaled), self.kind(batch))


def _moves(scaled: Scaled) -> Tensor:
    """Where a series is and the differences that brought it there: (P, L, D)."""
    return torch.cat([scaled.relative.diff(dim=1), scaled.relative[:, -1:]], dim=1)


def _at(values: Tensor, step: Tensor) -> Tensor:
    """Values (P, L, D) of each row at its step (P, 1): (P, 1, D)."""
    return values.gather(1, step[..., None].expand(-1, -1, values.shape[-1]))
