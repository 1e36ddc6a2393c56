"""What a user would try first: last value, constant velocity, seasonal naive, ridge.

None has weights to train by gradient: what they need is learned from training windows in
`fit_statistics`, the scale of their errors for each type of series and step included, so that they
too give a distribution.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import Normal

from hierforecast._options import number, whole
from hierforecast.batch import Future, SceneBatch
from hierforecast.distributions import IndependentScenes, SceneDistribution
from hierforecast.errors import DataError, Remedy
from hierforecast.models.base import Model, Origin
from hierforecast.nn.coordinates import CoordinateScale
from hierforecast.nn.linear import LinearForecast, type_and_visibility
from hierforecast.nn.run_on import RunOn
from hierforecast.nn.scale import make_scale
from hierforecast.nn.scaled import Scaled, clip_outliers, fill_gaps
from hierforecast.nn.unseen import Unseen
from hierforecast.task import Task


class Baseline(Model):
    """A point forecast from each series' own context, with independent Gaussian errors around it.

    Subclasses give `point`; those that learn something give `fit_point` too.

    Args:
        scale: as in `HiPerformer`.
    """

    repeats = False  # what stands in the context: then `point` holds in any units

    def __init__(self, scale: str = "auto") -> None:
        super().__init__()
        self.scale = scale
        make_scale(scale, n_targets=1)  # an unknown name is an error here, not at fit

    def build(self, task: Task) -> None:
        """Make units and scales of errors, one for each type and visibility, step and target."""
        self.scaler = make_scale(self.scale, task.n_targets)
        self.error_scale: Tensor
        shape = (2 * task.n_types, task.prediction_length, task.n_targets)
        self.register_buffer("error_scale", torch.ones(shape))
        self.unseen = Unseen(task)

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """The forecast in the network's units: (P, H, D)."""
        raise NotImplementedError

    def fit_point(self, scaled: Scaled, batch: SceneBatch, ahead: Tensor, present: Tensor) -> None:
        """Learn from training windows: ahead (P, H, D) in the network's units, present (P, H)."""

    def codes(self, batch: SceneBatch) -> Tensor:
        """Code of each row (P,), see `type_and_visibility`."""
        return type_and_visibility(batch, len(self.error_scale) // 2)

    @property
    def origin(self) -> Origin:
        """From where the model wants values counted, see `WindowDataset`."""
        return self.scaler.origin

    @property
    def horizon(self) -> int:
        """Steps forecast."""
        return self.error_scale.shape[1]

    @torch.no_grad()
    def fit_statistics(self, batch: SceneBatch, future: Future) -> None:
        """Learn the forecast and the scale of its errors from training windows."""
        self.scaler.fit(batch)
        scaled = self.scaler(batch)
        ahead = clip_outliers(scaled.apply(future.values), future.present)
        self.fit_point(scaled, batch, ahead, future.present)
        error = (ahead - self.point(scaled, batch)).double()
        self.unseen.fit(error, future.present, batch)
        error = error.square()
        codes = self.codes(batch)
        for code in range(len(self.error_scale)):
            seen = future.present & (codes == code)[:, None]
            total = torch.where(seen[..., None], error, error.new_zeros(())).sum(0)
            size = (total / seen.sum(0).clamp(min=1)[:, None]).sqrt()
            self.error_scale[code] = torch.where(size > 0, size, torch.ones_like(size))

    def forward(self, batch: SceneBatch) -> SceneDistribution:
        """The distribution of the horizon, (P, H, D) in the units of the batch."""
        views = self.scaler.views(batch)
        batch, scaled = views.batch, views.scaled
        if self.repeats and self.origin == "row":  # not through other units and back: exactly
            filled, _ = fill_gaps(batch.values, batch.present)
            loc = self.point(replace(scaled, relative=filled), batch)
        else:
            loc = scaled.loc + scaled.scale * self.point(scaled, batch)
        scale = scaled.scale.abs() * self.error_scale[self.codes(batch)] * self.unseen(batch)
        cells = Normal(loc, scale, validate_args=False)
        return views.mix(IndependentScenes(cells, batch.scene, batch.n_scenes))


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

    Raises:
        DataError: if the season is longer than the context, or the step says none.
    """

    repeats = True

    def __init__(self, season: int | None = None, scale: str = "auto") -> None:
        # How long it may be is known when it is built, and then it is found out if it is None.
        if season is not None and not (isinstance(season, int) and season < 1):
            season = whole("season", season)
        super().__init__(scale)
        self.season = season

    def build(self, task: Task) -> None:
        """Find the season, and check that it fits into the context."""
        super().build(task)
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
    """

    def __init__(self, penalty: float | None = None, scale: str = "auto") -> None:
        super().__init__(scale)
        self.penalty = None if penalty is None else number("penalty", penalty, 0)

    def build(self, task: Task) -> None:
        """Make the regression; its weights are solved for, not trained."""
        super().build(task)
        moving = isinstance(self.scaler, CoordinateScale)
        make = RunOn if moving else LinearForecast
        self.linear = make(task).requires_grad_(False)
        self.step: Tensor
        self.register_buffer("step", torch.ones(task.n_targets), persistent=False)

    def fit_point(self, scaled: Scaled, batch: SceneBatch, ahead: Tensor, present: Tensor) -> None:
        """See `Baseline`."""
        self.linear.fit_units(batch, torch.ones_like(self.linear.error_scale[0]))
        history = self.linear.inputs(batch, scaled, self.step).clipped()
        self.linear.fit(history, ahead, present, self.codes(batch), batch.scene, self.penalty)

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Baseline`."""
        inputs = self.linear.inputs(batch, scaled, self.step)
        return self.linear(inputs, self.codes(batch))


def _at(values: Tensor, step: Tensor) -> Tensor:
    """Values (P, L, D) of each row at its step (P, 1): (P, 1, D)."""
    return values.gather(1, step[..., None].expand(-1, -1, values.shape[-1]))
