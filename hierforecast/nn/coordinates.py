"""Scales of coordinates: positions of all series in one space, and in one with mirror images."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from hierforecast.batch import SceneBatch
from hierforecast.nn.among import Among
from hierforecast.nn.linear import LinearForecast
from hierforecast.nn.scaled import STILL, Scaled, clip_outliers, fill_gaps, median, positive
from hierforecast.nn.views import Mixed, Scale, Views
from hierforecast.task import Task

# The share of training scenes that lie in the seam between two mirror images, for each target.
NEAR = 0.2


class CoordinateScale(Scale):
    """For coordinates: relative to the last position, in one unit learned from the training frame.

    A foot stays a foot for every series, and where it is stays visible: walls and hoops matter.

    Args:
        n_targets: D.
    """

    head = None

    def __init__(self, n_targets: int) -> None:
        super().__init__(n_targets)
        self.n_absolute = n_targets
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", torch.zeros(n_targets))
        self.register_buffer("scale", torch.ones(n_targets))

    def fit(self, batch: SceneBatch) -> None:
        """Learn center and scale from the present context cells of training windows."""
        if not batch.present.any():
            return
        cells = (batch.values + batch.level)[batch.present].double()
        middle = median(cells)
        cells = middle + clip_outliers(cells - middle)
        self.center.copy_(cells.mean(0))
        self.scale.copy_(positive(cells.std(0, correction=0), STILL))

    def forward(self, batch: SceneBatch) -> Scaled:
        """Scale the context of a batch."""
        filled, last = fill_gaps(batch.values, batch.present)
        scale = self.scale.expand_as(last)
        absolute = (filled + (batch.level - self.center)) / self.scale
        return Scaled((filled - last) / scale, absolute, last, scale)

    def linear(self, task: Task) -> LinearForecast:
        """See `Scale`: who moves among others, and moves on out of view."""
        return Among(task)


class MirroredScale(CoordinateScale):
    """Coordinates in a space that has no preferred end and no preferred side: a court, a pitch.

    Each scene is shown as the one of its mirror images (two for each target) in which its present
    series, where they were last seen, lie on the positive side of the center on average. Forecasts
    are thus exactly equivariant to mirroring, and what is learned at one end holds at the other.
    The center is that of the training frame: the middle of the court, nearly, where play goes both
    ways. This scale looks at the whole scene, and at nothing that tells its series apart.

    No choice of one image is continuous. In a seam along the center, as wide as a fifth of the
    training scenes are near to it in each target, a scene has both images, with weights that go
    linearly from 0 to 1 across it (a weighted frame: Dym et al., arXiv 2402.16077): training draws
    one of them, and the forecast is the mixture of what all of them say, continuous and as
    exactly equivariant. It takes as many runs of the network as a scene has images: one outside.

    Args:
        n_targets: D.

    Attributes:
        seam: (D,) half its width; 0 in what was saved before there was one.
    """

    added = ("seam",)
    generator: torch.Generator | None = None

    def __init__(self, n_targets: int) -> None:
        super().__init__(n_targets)
        self.seam: Tensor
        self.register_buffer("seam", torch.zeros(n_targets))

    def fit(self, batch: SceneBatch) -> None:
        """Learn center, scale and seam from the present context cells of training windows."""
        super().fit(batch)
        middle = self._middle(batch, CoordinateScale.forward(self, batch)).abs()
        middle = middle[middle.isfinite().all(1)]
        if len(middle):
            self.seam.copy_(middle.quantile(NEAR, dim=0))

    def forward(self, batch: SceneBatch) -> Scaled:
        """Scale the context of a batch, each scene in its likeliest image."""
        scaled = super().forward(batch)
        near = self._nearness(batch, scaled)
        return scaled.mirrored(_sign(near)[batch.scene][:, None])

    def drawn(self, batch: SceneBatch) -> Scaled:
        """See `Scale`: mirror images of a scene draw mirrored, from the same random numbers."""
        if not self.training:
            return self(batch)
        scaled = super().forward(batch)
        near = self._nearness(batch, scaled)
        dart = torch.empty_like(near).uniform_(-1, 1, generator=self.generator)
        side = torch.where(dart < near.abs(), _sign(near), -_sign(near))
        return scaled.mirrored(side[batch.scene][:, None])

    def views(self, batch: SceneBatch) -> Views:
        """See `Scale`."""
        scaled = super().forward(batch)
        near = self._nearness(batch, scaled)
        sides = near.new_tensor(list(product((1.0, -1.0), repeat=near.shape[1])))
        weights = (0.5 * (1 + sides * near[:, None])).prod(-1)  # (B, images)
        scene, image = weights.nonzero(as_tuple=True)
        if len(scene) == batch.n_scenes:
            return Views(batch, scaled.mirrored(_sign(near)[batch.scene][:, None]))
        every, row = batch.take(scene)
        side = sides[image][every.scene][:, None]
        mixed = Mixed(batch, scene, row, weights[scene, image].log())
        return Views(every, super().forward(every).mirrored(side), mixed)

    def _nearness(self, batch: SceneBatch, scaled: Scaled) -> Tensor:
        """Where scenes lie across the seam of each target (B, D): from -1 to 1."""
        middle = self._middle(batch, scaled)
        return torch.where(self.seam > 0, (middle / self.seam).clamp(-1, 1), _sign(middle))

    def _middle(self, batch: SceneBatch, scaled: Scaled) -> Tensor:
        """Where the present series of a scene were last seen on average, from the center: (B, D).

        A scene without any lies far off, on the positive side.
        """
        seen = batch.present.any(1, keepdim=True)
        here = (scaled.loc + (batch.level - self.center))[:, 0]
        total, count = (
            x.new_zeros(batch.n_scenes, x.shape[-1]).index_add(0, batch.scene, x)
            for x in (here * seen, seen.to(here))
        )
        return torch.where(count > 0, total / count.clamp(min=1), torch.inf)


def _sign(x: Tensor) -> Tensor:
    """1 or -1; of zero, 1."""
    return torch.where(x < 0, -1.0, 1.0).to(x.dtype)
