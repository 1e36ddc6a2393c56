"""From the units of a batch to the network's and back, by what the context alone shows.

A scale commutes with every permutation, a missing series counts as if it had never been there, and
all look at present context cells only, so nothing leaks. Its `origin` says from where it wants
values counted (see `WindowDataset`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.batch import SceneBatch
from hierforecast.errors import DataError
from hierforecast.nn.coordinates import CoordinateScale, MirroredScale
from hierforecast.nn.demand import DemandScale
from hierforecast.nn.scaled import STILL, TINY, Scaled, clip_outliers, fill_gaps, positive
from hierforecast.nn.views import Scale
from hierforecast.task import Task


class SeriesScale(Scale):
    """For prices and counts: each series by its own mean and standard deviation in the context.

    A context that shows no deviation of its own, a constant or a single cell, takes the usual one
    of the training frame. Levels say nothing: 1e8 plus a walk is scaled as the walk is.

    Args:
        n_targets: D.
    """

    added = ("usual",)

    def __init__(self, n_targets: int) -> None:
        super().__init__(n_targets)
        self.n_absolute = 0
        self.usual: Tensor
        self.register_buffer("usual", torch.full((n_targets,), torch.nan))

    def fit(self, batch: SceneBatch) -> None:
        """Learn the usual deviation: the median of those of training windows that show one."""
        for target, std in enumerate(self._moments(batch)[2][:, 0].T):
            shown = std[std > TINY]
            self.usual[target] = shown.median() if len(shown) else STILL

    def forward(self, batch: SceneBatch) -> Scaled:
        """Scale the context of a batch."""
        filled, mean, std = self._moments(batch)
        scale = torch.where(std > TINY, std, self.usual)
        # Saved before there was a usual deviation: then a share of the level counts, as it did.
        count = batch.present.sum(1)[:, None, None].clamp(min=1).to(mean.dtype)
        size = (mean + batch.level).abs() * count.square().reciprocal().clamp(min=0.01)
        scale = positive(torch.where(self.usual.isnan(), torch.maximum(std, size), scale))
        return Scaled((filled - mean) / scale, filled[..., :0], mean, scale)

    def _moments(self, batch: SceneBatch) -> tuple[Tensor, Tensor, Tensor]:
        """The context with gaps filled (P, L, D), mean and standard deviation (P, 1, D)."""
        filled, last = fill_gaps(batch.values, batch.present)
        present = batch.present[..., None]
        count = present.sum(1, keepdim=True).clamp(min=1).to(filled.dtype)
        # From the last cell, so that a constant has no deviation, not even one of roundings.
        shown = torch.where(present, filled - last, filled.new_zeros(()))
        mean = shown.sum(1, keepdim=True) / count
        deviation = torch.where(present, shown - mean, shown.new_zeros(()))
        # Over the largest, so that squares neither overflow nor vanish.
        largest = deviation.abs().amax(1, keepdim=True)
        square = (deviation / positive(largest)).square().sum(1, keepdim=True) / count
        return filled, last + mean, largest * square.sqrt()


class ReturnsScale(Scale):
    """For returns and other changes: their center is zero, their unit the recent size of each.

    The mean of some weeks of returns forecasts nothing, so none is taken away. The unit is the root
    of an exponentially weighted mean of squares over present cells (RiskMetrics, Technical
    Document, 4th ed. 1996, section 5.2, its daily decay), with a few cells of the training frame's
    usual size mixed in: a series listed yesterday has a unit, and a quiet week is no promise. A
    missing cell is shown as zero, the best guess. How large the recent changes were at each step,
    against the unit, is a feature of its own: sizes cluster. What a network finds of the next
    returns' direction in the past is noise, so it forecasts their size and dependence only.

    Args:
        n_targets: D.
        decay: weight of a cell against that of the one after it.
        prior: cells of usual size, of full weight, that are mixed in.
    """

    learns_loc = False
    head = "returns"
    origin = "zero"

    def __init__(self, n_targets: int, decay: float = 0.94, prior: float = 3.0) -> None:
        super().__init__(n_targets)
        self.n_absolute, self.decay, self.prior = n_targets, decay, prior
        self.usual: Tensor
        self.register_buffer("usual", torch.ones(n_targets))

    def fit(self, batch: SceneBatch) -> None:
        """Learn the usual size from the present context cells of training windows."""
        if batch.present.any():
            size = clip_outliers(batch.values[batch.present]).double().square().mean(0).sqrt()
            self.usual.copy_(positive(size))

    def baselines(self, task: Task) -> Tensor:
        """See `Scale`: no change."""
        return torch.zeros(1, task.prediction_length, task.context_length)

    def forward(self, batch: SceneBatch) -> Scaled:
        """Scale the context of a batch."""
        present = batch.present[..., None]
        shown = torch.where(present, batch.values, batch.values.new_zeros(()))
        length = shown.shape[1]
        age = torch.arange(length, device=shown.device, dtype=shown.dtype)
        age = age[:, None] - age
        weight = torch.where(age < 0, 0, self.decay ** age.clamp(min=0))  # (step, earlier step)
        each = (shown / self.usual).clamp(-1e15, 1e15).square()  # finite, for any sizes
        square = torch.einsum("ts,psd->ptd", weight, each) + self.prior
        count = torch.einsum("ts,psd->ptd", weight, present.to(shown.dtype)) + self.prior
        size = self.usual * (square / count).sqrt()
        scale = size[:, -1:]
        return Scaled(shown / scale, (size / scale).log(), torch.zeros_like(scale), scale)


SCALES: dict[str, type[Scale]] = {
    "coordinates": CoordinateScale,
    "demand": DemandScale,
    "mirrored": MirroredScale,
    "returns": ReturnsScale,
    "series": SeriesScale,
}


def make_scale(name: str, n_targets: int, smooth: bool = False) -> Scale:
    """A scale by its name.

    ``"auto"``: demand if `Task.smooth` says so, else coordinates for several targets, or series.
    """
    if name == "auto":
        name = "demand" if smooth else "coordinates" if n_targets > 1 else "series"
    if not isinstance(name, str) or name not in SCALES:
        raise DataError(f"scale={name!r} is not one of {['auto', *SCALES]}")
    return SCALES[name](n_targets)
