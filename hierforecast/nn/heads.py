"""Heads: numbers for each series and step -> a `torch.distributions.Distribution` over scenes.

A head holds no weights: it says how many numbers it needs besides the location, and makes a law.
A new head is a `Head` with `features` and `__call__` of its own, passed to the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, StudentT
from torch.nn import functional as F

from hierforecast._options import share, show, whole
from hierforecast.distributions import (
    IndependentScenes,
    IndependentSteps,
    LowRankNormal,
    ModeMixture,
    SceneDistribution,
)
from hierforecast.errors import DataError

# Softplus of this is one: a head starts out with the spread it is given.
_ONE = 0.5413
_FLOOR = 1e-3


class Head:
    """Turns raw features into a law.

    Everything is in the network's units. The spread that a head is given is that of the linear
    forecast's errors: what a head says is how much wider or narrower the law is.
    """

    @property
    def locations(self) -> tuple[int, ...]:
        """How many locations a cell has: () for one, (K,) for K that are axis 0 of `location`."""
        return ()

    @property
    def pooled(self) -> int:
        """How many features, the last ones, are to be the mean over the scene's present rows."""
        return 0

    def features(self, n_targets: int) -> int:
        """How many numbers the head needs for each series and step, besides the location."""
        raise NotImplementedError

    def start(self, location: Tensor, spread: Tensor) -> Tensor:
        """Where the locations lie before training: (*locations, P, H, D).

        Args:
            location: (P, H, D), the linear forecast.
            spread: (P, H, D), that of its errors.
        """
        return location

    def distance(
        self, location: Tensor, truth: Tensor, present: Tensor, scene: Tensor, n_scenes: int
    ) -> Tensor:
        """How far the locations lie from the truth, a mean over present cells.

        Args:
            location: (*locations, P, H, D).
            truth: (P, H, D).
            present: (P, H) bool, where the truth is known.
            scene: (P,) scene of each row.
            n_scenes: B.
        """
        return _errors(location, truth, present).sum() / present.sum().clamp(min=1)

    def __call__(
        self, location: Tensor, spread: Tensor, shape: Tensor, scene: Tensor, n_scenes: int
    ) -> SceneDistribution:
        """The law from its location (*locations, P, H, D), its spread (P, H, D) and shape.

        The shape (P, H, features) is made of raw numbers, positive and negative ones.
        """
        raise NotImplementedError


def _check(head: Any) -> None:
    """Keep a head's options as plain numbers: one mode at least, ranks from 0, shares up to 1."""
    for name, value in asdict(head).items():
        kept = share(name, value) if name == "joint" else whole(name, value, int(name == "modes"))
        object.__setattr__(head, name, kept)


def _errors(location: Tensor, truth: Tensor, present: Tensor) -> Tensor:
    """Distances (*locations, P, H), zero where the truth is unknown."""
    square = (torch.where(present[..., None], truth, location) - location).square().sum(-1)
    return (square + 1e-6).sqrt() * present


def _scale(spread: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """A positive scale, and the numbers not yet used."""
    scale, rest = shape.tensor_split((spread.shape[-1],), dim=-1)
    return spread * (F.softplus(scale + _ONE) + _FLOOR), rest


@dataclass(frozen=True)
class GaussianHead(Head):
    """Independent Gaussians: every series, step and target on its own."""

    def features(self, n_targets: int) -> int:
        """See `Head`."""
        return n_targets

    def __call__(
        self, location: Tensor, spread: Tensor, shape: Tensor, scene: Tensor, n_scenes: int
    ) -> SceneDistribution:
        """See `Head`."""
        scale, _ = _scale(spread, shape)
        return IndependentScenes(Normal(location, scale, validate_args=False), scene, n_scenes)


@dataclass(frozen=True)
class StudentTHead(Head):
    """Independent Student-t laws for heavy tails, of more than two degrees of freedom."""

    def features(self, n_targets: int) -> int:
        """See `Head`."""
        return 2 * n_targets

    def __call__(
        self, location: Tensor, spread: Tensor, shape: Tensor, scene: Tensor, n_scenes: int
    ) -> SceneDistribution:
        """See `Head`."""
        scale, degrees = _scale(spread, shape)
        law = StudentT(2.05 + F.softplus(degrees + 2.0), location, scale, validate_args=False)
        return IndependentScenes(law, scene, n_scenes)


@dataclass(frozen=True)
class LowRankHead(Head):
    """A joint Gaussian: latents shared by the scene, latents private to a series, and a diagonal.

    The factors are outputs of each series, so the law is equivariant by construction, and a missing
    series is marginalised exactly by leaving its rows out.

    Args:
        rank: latents shared by all series of a scene: how series move together.
        series_rank: latents of one series: how its own steps and targets move together.
    """

    rank: int = 8
    series_rank: int = 4

    def __post_init__(self) -> None:
        _check(self)

    def features(self, n_targets: int) -> int:
        """See `Head`."""
        return n_targets * (1 + self.rank + self.series_rank)

    def __call__(
        self, location: Tensor, spread: Tensor, shape: Tensor, scene: Tensor, n_scenes: int
    ) -> LowRankNormal:
        """See `Head`."""
        n_targets = location.shape[-1]
        scale, rest = _scale(spread, shape)
        factors = 0.5 * rest.unflatten(-1, (n_targets, self.rank + self.series_rank))
        shared, private = factors.split((self.rank, self.series_rank), dim=-1)
        # Errors of one series drift: it starts with one latent a target that pulls all its steps
        # the same way, in units that grow with the horizon, and little noise on top.
        drift = torch.eye(n_targets, self.series_rank, dtype=rest.dtype, device=rest.device)
        shared, private = spread[..., None] * shared, spread[..., None] * (private + 0.9 * drift)
        if self.series_rank:
            scale = 0.3 * scale
        return LowRankNormal(location, scale, shared, private, scene, n_scenes)


@dataclass(frozen=True)
class StepsHead(Head):
    """For returns: a step's series are joint (`rank` latents), heavy-tailed; steps independent."""

    rank: int = 8
    pooled = 1

    def __post_init__(self) -> None:
        _check(self)

    def features(self, n_targets: int) -> int:
        """See `Head`."""
        return n_targets * (1 + self.rank) + self.pooled

    def __call__(
        self, location: Tensor, spread: Tensor, shape: Tensor, scene: Tensor, n_scenes: int
    ) -> IndependentSteps:
        """See `Head`; ten degrees of freedom at first."""
        shape, tail = shape.tensor_split((-self.pooled,), dim=-1)
        scale, rest = _scale(spread, shape)
        factor = 0.5 * spread[..., None] * rest.unflatten(-1, (spread.shape[-1], self.rank))
        df = 2.5 + F.softplus(tail.squeeze(-1) + 7.5)
        return IndependentSteps.student(location, scale, factor, df, scene, n_scenes)


@dataclass(frozen=True)
class MixtureHead(Head):
    """K joint futures of a scene, their probabilities, and one joint Gaussian of the errors.

    A mode is known by its number, the same in all rows of a scene, so the law does not notice when
    rows change places. Only the best mode learns from a truth (winner takes all): the modes spread
    over what may happen instead of standing in its middle together. minADE asks for the best of
    each series on its own; minJADE and the likelihood ask for the best of the scene as a whole.

    Args:
        modes: K.
        rank: latents of the errors shared by all series of a scene.
        series_rank: latents of the errors of one series.
        joint: weight of the scene's best mode in training, between 0 and 1; the rest is the weight
            of each series' own.
    """

    modes: int = 20
    rank: int = 8
    series_rank: int = 4
    joint: float = 0.5

    def __post_init__(self) -> None:
        _check(self)

    @property
    def locations(self) -> tuple[int, ...]:
        """See `Head`."""
        return (self.modes,)

    @property
    def pooled(self) -> int:
        """See `Head`: the log weights of the modes."""
        return self.modes

    @property
    def _noise(self) -> LowRankHead:
        return LowRankHead(self.rank, self.series_rank)

    def features(self, n_targets: int) -> int:
        """See `Head`."""
        return self._noise.features(n_targets) + self.pooled

    def start(self, location: Tensor, spread: Tensor) -> Tensor:
        """See `Head`: the modes lie about the linear forecast as its errors do."""
        away = _scatter(self.modes, spread.shape[-1]).to(spread)
        return location + spread * away[:, None, None]

    def distance(
        self, location: Tensor, truth: Tensor, present: Tensor, scene: Tensor, n_scenes: int
    ) -> Tensor:
        """See `Head`: that of the winners."""
        rows = _errors(location, truth, present).sum(-1)
        scenes = rows.new_zeros(self.modes, n_scenes).index_add(1, scene, rows)
        own, shared = (x.min(0).values.sum() for x in (rows, scenes))
        return torch.lerp(own, shared, self.joint) / present.sum().clamp(min=1)

    def __call__(
        self, location: Tensor, spread: Tensor, shape: Tensor, scene: Tensor, n_scenes: int
    ) -> ModeMixture:
        """See `Head`."""
        shape, votes = shape.tensor_split((-self.pooled,), dim=-1)
        total = votes.new_zeros(n_scenes, self.modes).index_add(0, scene, votes.mean(1))
        count = votes.new_zeros(n_scenes, 1).index_add(0, scene, torch.ones_like(votes[:, 0, :1]))
        # Around the best of several futures the errors are smaller than around the only one.
        noise = self._noise(torch.zeros_like(spread), 0.5 * spread, shape, scene, n_scenes)
        return ModeMixture(location, total / count.clamp(min=1), noise)


def _scatter(count: int, dims: int) -> Tensor:
    """Points (count, dims) that lie as those of a standard Gaussian do, but evenly; none random.

    The Kronecker sequence of the roots of x^(dims + 1) = x + 1 (Roberts, "The unreasonable
    effectiveness of quasirandom sequences", 2018) through the Gaussian quantile function.
    """
    root = 2.0
    for _ in range(60):  # a contraction: it has long arrived
        root = (1 + root) ** (1 / (dims + 1))
    stride = torch.tensor([root ** -(d + 1) for d in range(dims)], dtype=torch.float64)
    return torch.special.ndtri((0.5 + torch.arange(count)[:, None] * stride) % 1)


HEADS: dict[str, type[Any]] = {
    "gaussian": GaussianHead,
    "lowrank": LowRankHead,
    "mixture": MixtureHead,
    "steps": StepsHead,
    "student": StudentTHead,
}


def make_head(head: str | Head | Mapping[str, Any]) -> Head:
    """A head by its name, as it is, or from what `head_to_dict` wrote."""
    if isinstance(head, Head):
        return head
    options = head.get("options", {}) if isinstance(head, Mapping) else {}
    name = head.get("name") if isinstance(head, Mapping) else head
    if not isinstance(name, str) or name not in HEADS:
        raise DataError(f"head={show(head)} is not one of {sorted(HEADS)}, nor a Head")
    return HEADS[name](**options)


def head_to_dict(head: str | Head | Mapping[str, Any]) -> str | dict[str, Any]:
    """A head as plain JSON values, for saving."""
    if isinstance(head, str):
        return head
    if isinstance(head, Mapping):
        return dict(head)
    for name, kind in HEADS.items():
        if type(head) is kind:
            return {"name": name, "options": asdict(head)}  # type: ignore[call-overload]
    raise TypeError(f"{type(head).__name__} cannot be saved: register it in nn.heads.HEADS")
