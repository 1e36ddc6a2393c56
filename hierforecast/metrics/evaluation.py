"""What a metric is given (`Evaluation`) and what it answers (`Totals`).

Arrays are packed: a row is one series of one scene of the batch, so scenes of any sizes stand one
after another (or mixed) along the first axis and there is no padding.
Letters: P rows, H horizon steps, D targets, K joint samples, B scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierforecast._options import levels


class Totals(NamedTuple):
    """A metric before its mean: one numerator and one weight per unit (row, cell, scene, ...).

    The metric is `total.sum() / weight.sum()`, so sums over batches give the same answer as all
    batches at once. Units that hold nothing present have total 0 and weight 0.
    """

    total: Tensor
    weight: Tensor

    @property
    def per_unit(self) -> Tensor:
        """`total / weight` of every unit; nan for units that hold nothing present."""
        return self.total / self.weight

    def sums(self) -> tuple[Tensor, Tensor]:
        """(numerator, weight), two float64 scalars on the CPU."""
        # the CPU because some accelerators have no float64, in which many batches are summed
        return self.total.cpu().sum(dtype=torch.float64), self.weight.cpu().sum(dtype=torch.float64)


def mean_of(totals: Totals) -> Tensor:
    """Weighted mean over all units: a float64 scalar, nan where nothing is present."""
    numerator, weight = totals.sums()
    return numerator / weight


@dataclass(frozen=True, eq=False, repr=False)  # tensors neither compare nor print as a whole
class Evaluation:
    """Truth and forecasts of one batch of scenes, checked and cleaned.

    Every array may be a torch tensor or a numpy array. Whatever stands in cells that are not
    present (NaN included) is replaced by zero here, so no metric ever sees it. A NaN forecast of a
    present cell makes the metrics that read it nan.

    Args:
        truth: (P, H, D), units of the targets.
        present: (P, H) bool, the cells whose truth is known.
        scene: (P,) int64 in 0..n_scenes-1, the scene of each row, in any order. A scene must lie
            in one batch whole: joint metrics look at all its rows together.
        n_scenes: B; scenes without rows are allowed.
        point: (P, H, D) point forecast.
        samples: (K, P, H, D); sample k of all rows of a scene is one joint draw.
        log_prob: (B,) natural log of the joint density of each scene's present cells.
        lower, upper: (P, H, D) bounds of one central interval.
        quantiles: probability -> (P, H, D) quantile of each cell.
        scale: steps of a season -> (2, P, D) mean absolute and mean squared change over a season
            before the cutoff, for each row and target; nan where there is none. The key None is
            the season that metrics take if they name none.

    Raises:
        ValueError: for a wrong shape, a scene index out of range or NaN truth in a present cell.
    """

    truth: Tensor
    present: Tensor
    scene: Tensor
    n_scenes: int
    point: Tensor | None = None
    samples: Tensor | None = None
    log_prob: Tensor | None = None
    lower: Tensor | None = None
    upper: Tensor | None = None
    quantiles: Mapping[float, Tensor] | None = None
    scale: Mapping[int | None, Tensor] | None = None

    def __post_init__(self) -> None:
        truth = _as_float(self.truth)
        present = _as_tensor(self.present).to(truth.device, torch.bool)
        scene = _as_tensor(self.scene).to(truth.device, torch.int64)
        if truth.ndim != 3 or 0 in truth.shape[1:]:
            raise ValueError(
                f"truth has shape {tuple(truth.shape)}; give (rows, steps, targets) with at least "
                "one step and one target (one target: truth[..., None])"
            )
        _check_shape("present", present, truth.shape[:2])
        _check_shape("scene", scene, truth.shape[:1])
        if scene.numel() and not 0 <= int(scene.min()) <= int(scene.max()) < self.n_scenes:
            raise ValueError(
                f"scene runs from {int(scene.min())} to {int(scene.max())}; number the scenes of a "
                f"batch from 0 to n_scenes - 1 = {self.n_scenes - 1}"
            )
        clean: dict[str, Any] = {"present": present, "scene": scene}
        clean["truth"] = _zero_absent(truth, present)
        if clean["truth"].isnan().any():
            raise ValueError("truth is NaN in present cells; mark those cells as not present")
        for name in ("point", "lower", "upper", "samples", "log_prob"):
            value = getattr(self, name)
            if value is not None:
                clean[name] = self._checked(name, _as_float(value).to(truth.device), present)
        for name in ("quantiles", "scale"):
            if getattr(self, name) is not None:
                clean[name] = {
                    key: self._checked(name, _as_float(value).to(truth.device), present)
                    for key, value in getattr(self, name).items()
                }
        for name, tensor in clean.items():
            object.__setattr__(self, name, tensor)

    def _checked(self, name: str, value: Tensor, present: Tensor) -> Tensor:
        if name == "log_prob":
            _check_shape(name, value, (self.n_scenes,))
            return value
        if name == "scale":
            _check_shape(name, value, (2, self.truth.shape[0], self.truth.shape[2]))
            return value
        if name == "samples" and (value.ndim != 4 or value.shape[0] == 0):
            raise ValueError(
                f"samples have shape {tuple(value.shape)}; give (samples, rows, steps, targets) "
                "with at least one sample"
            )
        samples = value.shape[:1] if name == "samples" else ()
        _check_shape(name, value, (*samples, *self.truth.shape))
        return _zero_absent(value, present)

    def __repr__(self) -> str:
        names = ("point", "samples", "log_prob", "lower", "upper", "quantiles", "scale")
        given = [name for name in names if getattr(self, name) is not None]
        rows, steps, targets = self.truth.shape
        return (
            f"Evaluation({rows} rows of {self.n_scenes} scenes, {steps} steps, {targets} targets, "
            f"with {', '.join(given) or 'no forecast'})"
        )

    @property
    def cells(self) -> Tensor:
        """(P, H, D) float: 1 where present, 0 elsewhere, for each target."""
        return self.present[..., None].expand_as(self.truth).to(self.truth.dtype)

    @cached_property
    def sorted_samples(self) -> Tensor:
        """(K, P, H, D) samples in rising order for each cell and target; sorted once, then kept."""
        return self.need("samples").sort(dim=0).values

    def need(self, name: str) -> Any:
        """The optional array (or mapping of arrays) `name`, or a ValueError that asks for it."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"this metric needs '{name}'; give it as Evaluation({name}=...)")
        return value

    def subset(self, rows: Tensor | np.ndarray) -> Evaluation:
        """The same scenes seen through some of their rows, e.g. the players without the ball.

        Args:
            rows: (P,) bool mask or (Q,) int64 row numbers.

        Joint metrics then look at the chosen rows of each scene. `log_prob` belongs to whole scenes
        and is dropped: a marginal has to come from the distribution itself.
        """
        rows = _as_tensor(rows).to(self.truth.device)
        if rows.dtype == torch.bool:
            _check_shape("rows", rows, self.truth.shape[:1])
        cuts: dict[str, Callable[[Any], Any]] = {
            **dict.fromkeys(("point", "lower", "upper"), lambda values: values[rows]),
            "samples": lambda values: values[:, rows],
            "quantiles": lambda values: {key: value[rows] for key, value in values.items()},
            "scale": lambda values: {key: value[:, rows] for key, value in values.items()},
        }
        given = {name: getattr(self, name) for name in cuts}
        optional = {name: cuts[name](value) for name, value in given.items() if value is not None}
        kept = self.truth[rows], self.present[rows], self.scene[rows]
        return Evaluation(*kept, self.n_scenes, **optional)

    def with_interval(self, level: float) -> Evaluation:
        """The same, with `lower` and `upper` the central `level` % interval of the samples.

        Of K samples the k-th smallest counts as the k / (K + 1) quantile: one number more of the
        same kind lies between two of them as often as they say. The ends of K samples are 1 and K
        at most, whatever the level.

        Args:
            level: in percent, between 0 and 100, as in ``predict(level=[90])``.
        """
        (level,) = levels([level])
        count, tail = len(self.sorted_samples), (1 - level / 100) / 2
        first = min(max((tail * (count + 1) - 1) / max(count - 1, 1), 0.0), 0.5)
        lower, upper = sample_quantiles(self.sorted_samples, (first, 1 - first))
        return replace(self, lower=lower, upper=upper)

    def scene_sum(self, values: Tensor, dim: int = 0) -> Tensor:
        """Sum over the rows of each scene: axis `dim` shrinks from P rows to B scenes."""
        shape = list(values.shape)
        shape[dim] = self.n_scenes
        return values.new_zeros(shape).index_add(dim, self.scene, values)


def sample_quantiles(sorted_samples: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Quantiles of sorted samples, interpolated linearly between order statistics.

    Not `torch.quantile`, which refuses more than 16 million elements.

    Args:
        sorted_samples: (K, ...), rising along the first axis (NaN last).
        levels: Q probabilities in [0, 1].

    Returns:
        (Q, ...); nan wherever a sample is NaN.
    """
    if not all(0 <= level <= 1 for level in levels):
        raise ValueError(f"quantile levels are {levels}; give probabilities between 0 and 1")
    last = sorted_samples.shape[0] - 1
    position = torch.tensor(levels, dtype=torch.float64) * last
    below = position.floor().long().clamp(max=max(last - 1, 0))
    share = (position - below).to(sorted_samples).view(-1, *[1] * (sorted_samples.ndim - 1))
    low = sorted_samples[below.to(sorted_samples.device)]
    high = sorted_samples[(below + 1).clamp(max=last).to(sorted_samples.device)]
    # NaN sorts last, so the last order statistic tells of any
    return torch.where(sorted_samples[-1].isnan(), torch.nan, torch.lerp(low, high, share))


def _as_tensor(value: Tensor | np.ndarray) -> Tensor:
    if isinstance(value, np.ndarray):  # frames hand out read-only and reversed views: copy those
        value = np.require(value, requirements=["C", "W"])
    return torch.as_tensor(value)


def _as_float(value: Tensor | np.ndarray) -> Tensor:
    tensor = _as_tensor(value)
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    return tensor.to(torch.float32)  # half precision cannot hold sums, integers cannot hold means


def _check_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(value.shape) != tuple(shape):
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected {tuple(shape)}")


def _zero_absent(value: Tensor, present: Tensor) -> Tensor:
    # where, not a product: 0 x NaN is NaN. Nothing absent: nothing to copy.
    return value if present.all() else torch.where(present[..., None], value, value.new_zeros(()))
