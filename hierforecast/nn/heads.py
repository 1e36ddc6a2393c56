"""Heads: numbers for each series and step -> a `torch.distributions.Distribution` over scenes.

A head holds no weights: it says how many numbers it needs besides the location, and makes a law.
A new head is a class with `features` and `__call__`, passed to the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Normal, StudentT
from torch.nn import functional as F

from hierforecast.distributions import IndependentScenes, LowRankNormal, SceneDistribution

# Softplus of this is one: a head starts out with the spread it is given.
_ONE = 0.5413
_FLOOR = 1e-3


class Head(Protocol):
    """Turns raw features into a law.

    Everything is in the network's units. The spread that a head is given is that of the linear
    forecast's errors: what a head says is how much wider or narrower the law is.
    """

    def features(self, n_targets: int) -> int:
        """How many numbers the head needs for each series and step, besides the location."""
        ...

    def __call__(
        self, location: Tensor, spread: Tensor, shape: Tensor, scene: Tensor, n_scenes: int
    ) -> SceneDistribution:
        """The law from its location and spread, both (P, H, D), and shape (P, H, features)."""
        ...


def _scale(spread: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """A positive scale, and the numbers not yet used."""
    scale, rest = shape.tensor_split((spread.shape[-1],), dim=-1)
    return spread * (F.softplus(scale + _ONE) + _FLOOR), rest


@dataclass(frozen=True)
class GaussianHead:
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
class StudentTHead:
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
class LowRankHead:
    """A joint Gaussian: latents shared by the scene, latents private to a series, and a diagonal.

    The factors are outputs of each series, so the law is equivariant by construction, and a missing
    series is marginalised exactly by leaving its rows out.

    Args:
        rank: latents shared by all series of a scene: how series move together.
        series_rank: latents of one series: how its own steps and targets move together.
    """

    rank: int = 8
    series_rank: int = 4

    def features(self, n_targets: int) -> int:
        """See `Head`."""
        return n_targets * (1 + self.rank + self.series_rank)

    def __call__(
        self, location: Tensor, spread: Tensor, shape: Tensor, scene: Tensor, n_scenes: int
    ) -> SceneDistribution:
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


HEADS: dict[str, type[Any]] = {
    "gaussian": GaussianHead,
    "lowrank": LowRankHead,
    "student": StudentTHead,
}


def make_head(head: str | Head | Mapping[str, Any]) -> Head:
    """A head by its name, as it is, or from what `head_to_dict` wrote."""
    if isinstance(head, str):
        if head not in HEADS:
            raise ValueError(f"head={head!r} is not one of {sorted(HEADS)}, nor a Head")
        return HEADS[head]()
    if isinstance(head, Mapping):
        return HEADS[head["name"]](**head["options"])
    return head


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
