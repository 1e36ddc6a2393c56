"""The heads: Gaussian, Student-t, joint by latents, heavy-tailed rows or steps, several futures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from hierforecast._options import show
from hierforecast.distributions import (
    IndependentRows,
    IndependentScenes,
    IndependentSteps,
    ModeMixture,
    SceneDistribution,
)
from hierforecast.distributions.families import LazyStudentT
from hierforecast.distributions.quadrature import precise
from hierforecast.errors import DataError
from hierforecast.nn.head import Head, Scenes, check_options, distances, latents, widen
from hierforecast.nn.lowrank import CoupledHead, LowRankHead
from hierforecast.nn.padding import PAIRED
from hierforecast.nn.returns import ReturnsHead
from hierforecast.nn.scaled import numbers
from hierforecast.nn.tails import TailsHead


@dataclass(frozen=True)
class GaussianHead(Head):
    """Independent Gaussians: every series, step and target on its own."""

    def features(self, n_targets: int, n_levels: int = 1) -> int:
        """See `Head`."""
        return n_targets

    def __call__(
        self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes
    ) -> SceneDistribution:
        """See `Head`."""
        scale, _ = widen(scale, shape)
        return IndependentScenes(
            Normal(loc, scale, validate_args=False), scenes.scene, scenes.n_scenes
        )


@dataclass(frozen=True)
class StudentTHead(Head):
    """Independent Student-t distributions for heavy tails, of more than two degrees of freedom."""

    def features(self, n_targets: int, n_levels: int = 1) -> int:
        """See `Head`."""
        return 2 * n_targets

    def __call__(
        self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes
    ) -> SceneDistribution:
        """See `Head`."""
        scale, degrees = widen(scale, shape)
        df = 2.05 + F.softplus(degrees + 2.0)
        cells = LazyStudentT(df, loc, scale, validate_args=False)
        return IndependentScenes(cells, scenes.scene, scenes.n_scenes)


@dataclass(frozen=True)
class StepsHead(Head):
    """For returns: a step's series are joint and heavy-tailed; steps are independent.

    Args:
        rank: latents of a step that all series of a scene share.
        group_rank: those that the series of a group share, on every level of the hierarchy, so
            that the shock of a group is not taken for everybody's.
    """

    rank: int = 8
    group_rank: int = 2
    pooled = 1

    def __post_init__(self) -> None:
        check_options(self)

    def features(self, n_targets: int, n_levels: int = 1) -> int:
        """See `Head`."""
        return n_targets * (1 + self.rank + n_levels * self.group_rank) + self.pooled

    def __call__(
        self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes
    ) -> IndependentSteps:
        """See `Head`; ten degrees of freedom at first."""
        shape, tail = shape.tensor_split((-self.pooled,), dim=-1)
        noise, rest = widen(scale, shape)
        ranks = (self.rank, *(self.group_rank for _ in scenes.owners))
        factors = rest.unflatten(-1, (scale.shape[-1], sum(ranks)))
        factor, *of_groups = factors.split(ranks, dim=-1)
        df = 2.5 + F.softplus(tail.squeeze(-1) + 7.5)
        half = 0.5 * scale
        of_groups = [half[..., None] * x for x in of_groups]
        factor, groups = latents(0.5 * scale[..., None] * factor, of_groups, scenes)
        return IndependentSteps.student(
            loc, noise, factor, df, scenes.scene, scenes.n_scenes, groups
        )


@dataclass(frozen=True)
class RowsHead(Head):
    """For tracks that jump: a row's steps are joint and heavy-tailed together; rows independent.

    Args:
        series_rank: latents of one series.
        memory: of the errors, see `LowRankHead`.
    """

    series_rank: int = 8
    memory: int = 2

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def _noise(self) -> LowRankHead:
        return LowRankHead(0, self.series_rank, self.memory)

    def features(self, n_targets: int, n_levels: int = 1) -> int:
        """See `Head`."""
        return self._noise.features(n_targets) + 1

    def path(self, moved: Tensor) -> Tensor:
        """See `Head`."""
        return self._noise.path(moved)

    def __call__(
        self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes
    ) -> IndependentRows:
        """See `Head`; eight degrees of freedom at first."""
        shape, tail = shape.tensor_split((-1,), dim=-1)
        normal = self._noise(loc, scale, shape, scenes)
        df = 2.1 + F.softplus(tail.mean((1, 2)) + 6)
        parts = normal.noise, normal.series_factor, df
        return IndependentRows.student(loc, *parts, scenes.scene, scenes.n_scenes)


@dataclass(frozen=True)
class MixtureHead(Head):
    """K joint futures of a scene, their probabilities, and one joint Gaussian of the errors.

    A mode is known by its number, the same in all rows of a scene, so the distribution stays the
    same when rows change places. Only the best mode learns from a truth (winner takes all): the
    modes spread over what may happen instead of standing in its middle together. minADE asks for
    the best of each series on its own; minJADE and the likelihood ask for the best of the scene as
    a whole.

    Args:
        modes: K.
        rank: latents of the errors shared by all series of a scene.
        series_rank: latents of the errors of one series.
        memory, group_rank: of the errors, see `LowRankHead`.
        joint: weight of the scene's best mode in training, between 0 and 1; the rest is the weight
            of each series' own.
    """

    modes: int = 20
    rank: int = 8
    series_rank: int = 4
    joint: float = 0.5
    memory: int = 0
    group_rank: int = 0

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def loc_shape(self) -> tuple[int, ...]:
        """See `Head`."""
        return (self.modes,)

    @property
    def pooled(self) -> int:
        """See `Head`: the log weights of the modes."""
        return self.modes

    @property
    def _noise(self) -> LowRankHead:
        ranks = self.rank, self.series_rank, self.memory, self.group_rank
        return LowRankHead(*ranks)

    def features(self, n_targets: int, n_levels: int = 1) -> int:
        """See `Head`."""
        return self._noise.features(n_targets, n_levels) + self.pooled

    def start(self, loc: Tensor, scale: Tensor) -> Tensor:
        """See `Head`: the modes lie about the linear forecast as its errors do."""
        away = _scatter(self.modes, scale.shape[-1], scale)
        return loc + scale * away[:, None, None]

    def path(self, moved: Tensor) -> Tensor:
        """See `Head`."""
        return self._noise.path(moved)

    def distance(self, loc: Tensor, truth: Tensor, present: Tensor, scenes: Scenes) -> Tensor:
        """See `Head`: that of the winners."""
        rows = distances(loc, truth, present).sum(-1)
        joint = rows.new_zeros(self.modes, scenes.n_scenes).index_add(1, scenes.scene, rows)
        own, shared = (x.min(0).values.sum() for x in (rows, joint))
        return torch.lerp(own, shared, self.joint) / present.sum().clamp(min=1)

    def __call__(self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes) -> ModeMixture:
        """See `Head`."""
        scene, n_scenes, *_ = scenes
        shape, votes = shape.tensor_split((-self.pooled,), dim=-1)
        total = votes.new_zeros(n_scenes, self.modes).index_add(0, scene, votes.mean(1))
        count = votes.new_zeros(n_scenes, 1).index_add(0, scene, torch.ones_like(votes[:, 0, :1]))
        # Around the best of several futures the errors are smaller than around the only one.
        noise = self._noise(torch.zeros_like(scale), 0.5 * scale, shape, scenes)
        return ModeMixture(loc, total / count.clamp(min=1), noise)


def _scatter(count: int, dims: int, like: Tensor) -> Tensor:
    """Points (count, dims) that lie as those of a standard Gaussian do, but evenly; none random.

    The Kronecker sequence of the roots of x^(dims + 1) = x + 1 (Roberts, "The unreasonable
    effectiveness of quasirandom sequences", 2018) through the Gaussian quantile function.
    """
    root = 2.0
    for _ in range(60):  # a contraction: it has long arrived
        root = (1 + root) ** (1 / (dims + 1))
    wide = precise(like.new_empty(0))
    stride = numbers(wide, *(root ** -(d + 1) for d in range(dims)))
    at = torch.arange(count, device=like.device)[:, None] * stride
    return torch.special.ndtri((0.5 + at) % 1).to(like)


HEADS: dict[str, type[Any]] = {
    "coupled": CoupledHead,
    "gaussian": GaussianHead,
    "lowrank": LowRankHead,
    "mixture": MixtureHead,
    "returns": ReturnsHead,
    "rows": RowsHead,
    "steps": StepsHead,
    "student": StudentTHead,
    "tails": TailsHead,
}


# What options were before files named them: heads whose default has changed since.
UNNAMED: dict[str, dict[str, Any]] = {
    "steps": {"group_rank": 0},
    "coupled": {"places": False},
    "returns": {"groups_last": False},
}


def former_head(head: Any) -> Any:
    """A head as a file has it, with what the file of an earlier version does not say."""
    name = head.get("name") if isinstance(head, Mapping) else head
    if not isinstance(name, str) or name not in UNNAMED:
        return head
    options = head.get("options", {}) if isinstance(head, Mapping) else {}
    return {"name": name, "options": {**UNNAMED[name], **options}}


def make_head(head: str | Head | Mapping[str, Any]) -> Head:
    """A head by its name, as it is, or from what `head_to_dict` wrote."""
    if isinstance(head, Head):
        return head
    options = head.get("options", {}) if isinstance(head, Mapping) else {}
    name = head.get("name") if isinstance(head, Mapping) else head
    if not isinstance(name, str) or name not in HEADS:
        raise DataError(f"head={show(head)} is not one of {sorted(HEADS)}, nor a Head")
    return HEADS[name](**options)


def usual_head(scale: str | None, n_series: int | None) -> Head:
    """The head where none is chosen; benchmarks/results/draws.md has the measurements.

    Args:
        scale: the head that the scale names, see `Scale.head`. None: targets are coordinates, whose
            errors have a velocity, and agents watch others.
        n_series: of the largest scene, if that is known: pairs are too many in a large one.
    """
    if scale is not None:
        return make_head(scale)
    return CoupledHead() if (n_series or 0) <= PAIRED else LowRankHead(0, 8, memory=2)


def head_to_dict(head: str | Head | Mapping[str, Any]) -> str | dict[str, Any]:
    """A head as plain JSON values, for saving."""
    if isinstance(head, str):
        return head_to_dict(HEADS[head]()) if head in UNNAMED else head
    if isinstance(head, Mapping):
        return dict(head)
    for name, kind in HEADS.items():
        if type(head) is kind:
            return {"name": name, "options": asdict(head)}  # type: ignore[call-overload]
    raise TypeError(f"{type(head).__name__} cannot be saved: register it in nn.heads.HEADS")
