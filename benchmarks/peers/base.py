"""What every peer shares: units, loss and law; `Forecaster` takes a peer like HiPerformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from hierforecast.batch import Future, SceneBatch
from hierforecast.distributions import IndependentScenes
from hierforecast.nn.linear import LinearForecast, kind_of
from hierforecast.nn.scale import CoordinateScale, Scaled, tame
from hierforecast.task import Task


class EvenScale(CoordinateScale):
    """Coordinates in one unit for all of them, so that what rotates before it rotates after it."""

    def fit(self, batch: SceneBatch) -> None:
        """Learn centre and spread from the present context cells of training windows."""
        super().fit(batch)
        self.spread.fill_(self.spread.square().mean().sqrt())


class Peer(nn.Module):
    """A point forecast learned by gradient, with Gaussian errors around it, as HiPerformer learns.

    The peers forecast points. Their error is measured by the same distance as HiPerformer's, in
    units of how far series get in each step, and the spread of their errors is one number for each
    kind of series, step and target, learned beside it and never at the cost of the point forecast.

    Subclasses name their `options` and the parts with `hidden` matrices, which the optimiser treats
    as it does HiPerformer's; they make their layers in `build` and forecast in `point`.
    """

    options: ClassVar[tuple[str, ...]] = ()
    hidden: ClassVar[tuple[str, ...]] = ()
    task: Task | None = None

    def build(self, task: Task) -> None:
        """Make the layers for a task."""
        raise NotImplementedError

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """Displacement from the last position, (P, H, D), in units of `reach`."""
        raise NotImplementedError

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options of the constructor."""
        return {name: getattr(self, name) for name in self.options}

    def to_dict(self) -> dict[str, Any]:
        """Options as plain JSON values."""
        return self.get_params()

    def for_task(self, task: Task | Mapping[str, Any]) -> Peer:
        """A fresh model of the same options, built for a task."""
        fresh = type(self)(**self.get_params())
        fresh.task = Task.from_dict(dict(task)) if isinstance(task, Mapping) else task
        fresh.prepare(fresh.task)
        return fresh

    def prepare(self, task: Task) -> None:
        """Units and spread, then the peer's own layers."""
        kinds = 2 * task.n_types
        self.scaler = EvenScale(task.n_targets)
        self.reach: Tensor
        self.step: Tensor
        self.register_buffer("reach", torch.ones(task.prediction_length, 1))
        self.register_buffer("step", torch.ones(()))
        shape = kinds, task.prediction_length, task.n_targets
        self.log_spread = nn.Parameter(torch.zeros(shape))
        self.build(task)

    def kind(self, batch: SceneBatch) -> Tensor:
        """Kind of each row (P,), see `kind_of`."""
        return kind_of(batch, len(self.log_spread) // 2)

    @torch.no_grad()
    def fit_statistics(self, batch: SceneBatch, future: Future) -> None:
        """Learn units from training windows: of positions, of a step, of the horizon's reach."""
        self.scaler.fit(batch)
        scaled = self.scaler(batch)
        step = tame(scaled.relative.diff(dim=1)).square().mean().sqrt()
        self.step.copy_(torch.where(step > 0, step, 1.0))
        ahead = tame((future.values - scaled.location) / scaled.scale, future.present)
        square = ahead.square().mean(-1) * future.present
        size = square.sum(0) / future.present.sum(0).clamp(min=1)
        self.reach.copy_(torch.where(size > 0, size, 1.0).sqrt()[:, None])

    def forward(self, batch: SceneBatch) -> IndependentScenes:
        """The law of the horizon, (P, H, D) in the user's units."""
        scaled = self.scaler(batch)
        spread = self.log_spread[self.kind(batch)].exp()
        law = Normal(self.point(scaled, batch), spread, validate_args=False)
        scenes = IndependentScenes(law, batch.scene, batch.n_scenes)
        return scenes.affine(scaled.location, scaled.scale * self.reach)

    def loss(self, batch: SceneBatch, future: Future) -> Tensor:
        """Distance of the point forecast from the truth, plus the likelihood of what is left."""
        scaled = self.scaler(batch)
        truth = (future.values - scaled.location) / (scaled.scale * self.reach)
        error = (self.point(scaled, batch) - truth) * future.present[..., None]
        spread = self.log_spread[self.kind(batch)]
        likelihood = -0.5 * (error.detach() / spread.exp()).square() - spread
        distance = (error.square().sum(-1) + 1e-6).sqrt() - likelihood.mean(-1)
        cells = future.present.sum().clamp(min=1)
        return (distance * future.present).sum() / cells


class LinearStart(Peer):
    """Another peer beside the ridge solution that HiPerformer starts from.

    Args:
        peer: any peer; it then learns what the linear forecast leaves.
    """

    options = ("peer",)

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self.peer, self.hidden = peer, tuple(f"peer.{name}" for name in peer.hidden)

    def to_dict(self) -> dict[str, Any]:
        """Options as plain JSON values."""
        return {"peer": type(self.peer).__name__, **self.peer.to_dict()}

    def build(self, task: Task) -> None:
        """Make the linear forecast, and the peer's own layers."""
        self.linear = LinearForecast(task)
        self.peer = self.peer.for_task(task)

    def fit_statistics(self, batch: SceneBatch, future: Future) -> None:
        """Learn units, hand them to the peer, and solve for the linear forecast."""
        super().fit_statistics(batch, future)
        self.peer.fit_statistics(batch, future)
        with torch.no_grad():
            scaled = self.scaler(batch)
            ahead = tame((future.values - scaled.location) / scaled.scale, future.present)
            moves, kind = tame(self._moves(scaled)), self.kind(batch)
            self.linear.fit(moves, ahead / self.reach, future.present, kind, batch.scene)

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Peer`."""
        linear = self.linear(self._moves(scaled), self.kind(batch))
        return linear + self.peer.point(scaled, batch)

    def _moves(self, scaled: Scaled) -> Tensor:
        """The steps that brought a series where it is, in units of a typical one: (P, L, D)."""
        relative = scaled.relative
        return torch.cat([relative.diff(dim=1), relative[:, -1:]], dim=1) / self.step
