"""What every peer shares: units, loss and distribution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from hierforecast.batch import Future, SceneBatch
from hierforecast.distributions import IndependentScenes
from hierforecast.models import Model
from hierforecast.nn.coordinates import CoordinateScale
from hierforecast.nn.linear import LinearForecast, type_and_visibility
from hierforecast.nn.scaled import Scaled, clip_outliers
from hierforecast.task import Task


class EvenScale(CoordinateScale):
    """Coordinates in one unit for all of them, so that what rotates before it rotates after it."""

    def fit(self, batch: SceneBatch) -> None:
        """Learn center and scale from the present context cells of training windows."""
        super().fit(batch)
        self.scale.fill_(self.scale.square().mean().sqrt())


class Peer(Model):
    """A point forecast learned by gradient, with Gaussian errors around it, as HiPerformer learns.

    The peers forecast points. Their error is measured by the same distance as HiPerformer's, in
    units of how far series get in each step, and the scale of their errors is one number for each
    type and visibility of series, step and target, learned beside it and never at the cost of the
    point forecast.

    Subclasses name the parts with `hidden` matrices; they make their layers in `build`, after
    those of `Peer`, and forecast in `point`.
    """

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """Displacement from the last position, (P, H, D), in units of `horizon_scale`."""
        raise NotImplementedError

    def build(self, task: Task) -> None:
        """Make units and scales of errors."""
        self.scaler = EvenScale(task.n_targets)
        self.horizon_scale: Tensor
        self.step: Tensor
        self.register_buffer("horizon_scale", torch.ones(task.prediction_length, 1))
        self.register_buffer("step", torch.ones(()))
        shape = 2 * task.n_types, task.prediction_length, task.n_targets
        self.log_scale = nn.Parameter(torch.zeros(shape))

    def codes(self, batch: SceneBatch) -> Tensor:
        """Code of each row (P,), see `type_and_visibility`."""
        return type_and_visibility(batch, len(self.log_scale) // 2)

    @torch.no_grad()
    def fit_statistics(self, batch: SceneBatch, future: Future) -> None:
        """Learn units from training windows: of positions, of a step, of the horizon."""
        self.scaler.fit(batch)
        scaled = self.scaler(batch)
        step = clip_outliers(scaled.relative.diff(dim=1)).square().mean().sqrt()
        self.step.copy_(torch.where(step > 0, step, 1.0))
        ahead = clip_outliers(scaled.apply(future.values), future.present)
        square = ahead.square().mean(-1) * future.present
        size = square.sum(0) / future.present.sum(0).clamp(min=1)
        self.horizon_scale.copy_(torch.where(size > 0, size, 1.0).sqrt()[:, None])

    def forward(self, batch: SceneBatch) -> IndependentScenes:
        """The distribution of the horizon, (P, H, D) in the user's units."""
        scaled = self.scaler(batch)
        scale = self.log_scale[self.codes(batch)].exp()
        cells = Normal(self.point(scaled, batch), scale, validate_args=False)
        scenes = IndependentScenes(cells, batch.scene, batch.n_scenes)
        return scenes.affine(scaled.loc, scaled.scale * self.horizon_scale)

    def loss(self, batch: SceneBatch, future: Future) -> Tensor:
        """Distance of the point forecast from the truth, plus the likelihood of what is left."""
        scaled = self.scaler(batch)
        truth = (future.values - scaled.loc) / (scaled.scale * self.horizon_scale)
        error = (self.point(scaled, batch) - truth) * future.present[..., None]
        log_scale = self.log_scale[self.codes(batch)]
        likelihood = -0.5 * (error.detach() / log_scale.exp()).square() - log_scale
        distance = (error.square().sum(-1) + 1e-6).sqrt() - likelihood.mean(-1)
        cells = future.present.sum().clamp(min=1)
        return (distance * future.present).sum() / cells


class LinearStart(Peer):
    """Another peer beside the ridge solution that HiPerformer starts from.

    Args:
        peer: any peer; it then learns what the linear forecast leaves.
    """

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self.peer, self.hidden = peer, tuple(f"peer.{name}" for name in peer.hidden)

    def to_dict(self) -> dict[str, Any]:
        """Options as plain JSON values."""
        return {"peer": type(self.peer).__name__, **self.peer.to_dict()}

    def build(self, task: Task) -> None:
        """Make the linear forecast, and the peer's own layers."""
        super().build(task)
        self.linear = LinearForecast(task)
        self.peer = self.peer.for_task(task)

    def fit_statistics(self, batch: SceneBatch, future: Future) -> None:
        """Learn units, the peer's too, and solve for the linear forecast."""
        super().fit_statistics(batch, future)
        self.peer.fit_statistics(batch, future)
        with torch.no_grad():
            scaled = self.scaler(batch)
            ahead = clip_outliers(scaled.apply(future.values), future.present)
            inputs = self.linear.inputs(batch, scaled, self.step).clipped()
            codes = self.codes(batch)
            self.linear.fit(inputs, ahead / self.horizon_scale, future.present, codes, batch.scene)

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Peer`."""
        linear = self.linear(self.linear.inputs(batch, scaled, self.step), self.codes(batch))
        return linear + self.peer.point(scaled, batch)
