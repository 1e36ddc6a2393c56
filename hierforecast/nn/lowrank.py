"""The joint Gaussian as a head: latents of scene, groups and series, and errors that carry on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.distributions import CoupledNormal, LowRankNormal, RecursiveNoise
from hierforecast.nn.head import Head, Scenes, check_options, latents, widen
from hierforecast.nn.scaled import numbers


@dataclass(frozen=True)
class LowRankHead(Head):
    """A joint Gaussian: latents shared by the scene, latents private to a series, and a diagonal.

    The factors are outputs of each series, so the distribution is equivariant by construction; a
    missing series is marginalised exactly by leaving its rows out.

    Args:
        rank: latents shared by all series of a scene: how series move together.
        series_rank: latents of one series: how its own steps and targets move together.
        memory: steps from which an error carries on, see `RecursiveNoise`: 2 for what has a
            velocity, so that draws move as the data do; 0 for none.
        group_rank: latents shared by the series of a group, on every level of every way of
            grouping.
    """

    rank: int = 8
    series_rank: int = 4
    memory: int = 0
    group_rank: int = 0

    def __post_init__(self) -> None:
        check_options(self)

    def features(self, n_targets: int, n_levels: int = 1) -> int:
        """See `Head`."""
        ranks = self.rank + self.series_rank + self.memory + n_levels * self.group_rank
        return n_targets * (1 + ranks)

    def path(self, moved: Tensor) -> Tensor:
        """See `Head`: as errors that start with these shocks, each number as large as before."""
        if not self.memory:
            return moved
        way = self._way(moved)
        way = way / torch.linalg.vector_norm(way, dim=1, keepdim=True)
        return torch.einsum("hk,...kd->...hd", way, moved)

    @property
    def _start(self) -> tuple[float, ...]:
        return _CARRY[min(self.memory, 2)] + (0.0,) * (self.memory - 2)

    def _way(self, like: Tensor) -> Tensor:
        """From shocks to errors (H, H), as they carry on at first along the steps of (.., H, D)."""
        steps = like.shape[-2]
        memory = numbers(like, *self._start).expand(1, steps, 1, -1)
        noise = RecursiveNoise(like.new_ones(1, steps, 1), memory)
        eye = torch.eye(steps, dtype=like.dtype, device=like.device)
        return noise.carry(eye[None, :, None])[0, :, 0]

    def __call__(self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes) -> LowRankNormal:
        """See `Head`."""
        if self.memory:
            return self._recursive(loc, scale, shape, scenes)
        noise, rest = widen(scale, shape)
        ranks = (self.rank, self.series_rank, *(self.group_rank for _ in scenes.owners))
        factors = 0.5 * rest.unflatten(-1, (scale.shape[-1], sum(ranks)))
        shared, private, *of_groups = factors.split(ranks, dim=-1)
        # Errors of one series drift: it starts with one latent a target that pulls all its steps
        # the same way, in units that grow with the horizon, and little noise on top.
        drift = torch.eye(*private.shape[-2:], dtype=rest.dtype, device=rest.device)
        shared, private = scale[..., None] * shared, scale[..., None] * (private + 0.9 * drift)
        if self.series_rank:
            noise = 0.3 * noise
        shared, groups = latents(shared, [scale[..., None] * x for x in of_groups], scenes)
        rows = scenes.scene, scenes.n_scenes
        return LowRankNormal(loc, noise, shared, private, *rows, group_factors=groups)

    def _recursive(
        self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes
    ) -> LowRankNormal:
        """Shocks that carry on: the errors' velocity decays slowly, and they stay where they are.

        At first the errors are as large at each step as the scale says: those of a series out of
        view move as in view, about a path that is somewhere else and moves on otherwise.
        """
        own = (self.rank, self.series_rank, self.memory)
        ranks = (*own, *(self.group_rank for _ in scenes.owners))
        start = numbers(scale, *self._start)
        calm = scale if scenes.in_view is None else scale * scenes.in_view
        unit = calm / torch.linalg.vector_norm(self._way(scale), dim=1)[:, None]
        wider, rest = widen(torch.ones_like(scale), shape)
        rest = rest.unflatten(-1, (scale.shape[-1], sum(ranks)))
        shared, private, memory, *of_groups = rest.split(ranks, dim=-1)
        recursive = RecursiveNoise(wider, start + 0.3 * memory).times(unit)
        noise = 0.5 * recursive.scale
        shared, private = noise[..., None] * shared, noise[..., None] * private
        if scenes.in_view is not None:
            steady = 1 / (1 / wider).mean(1, keepdim=True)[..., None]  # near the narrowest step
            lost = steady * elsewhere(scale, calm)
            private = _added(private, RecursiveNoise(unit, start).times(unit).shocks(lost))
        shared, groups = latents(shared, [noise[..., None] * x for x in of_groups], scenes)
        rows = scenes.scene, scenes.n_scenes
        return LowRankNormal(loc, recursive, shared, private, *rows, group_factors=groups)


@dataclass(frozen=True)
class CoupledHead(Head):
    """A joint Gaussian in which series are linked pair by pair: one tells where another goes.

    Each series has errors of its own, as `LowRankHead` without shared latents; `PairNetwork` says
    how much the slow part of two series' errors has in common, see `CoupledNormal`. For agents that
    watch one another. Cost and memory grow with the square of a scene's series.

    Args:
        series_rank, memory: of each series' own errors, see `LowRankHead`.
        components: of a series' errors that are linked: where it is at so many instants, evenly
            apart.
        places: False in what was saved by earlier versions, which linked the slowest components of
            shocks along time.
    """

    series_rank: int = 8
    memory: int = 2
    components: int = 3
    places: bool = True

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def _apart(self) -> LowRankHead:
        return LowRankHead(0, self.series_rank, self.memory)

    def features(self, n_targets: int, n_levels: int = 1) -> int:
        """See `Head`."""
        return self._apart.features(n_targets, n_levels)

    def path(self, moved: Tensor) -> Tensor:
        """See `Head`."""
        return self._apart.path(moved)

    def __call__(self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes) -> LowRankNormal:
        """See `Head`; series are independent where there are no links."""
        apart = self._apart(loc, scale, shape, scenes)
        if scenes.links is None:
            return apart
        return CoupledNormal.of(apart, scenes.links, self.places)


def elsewhere(scale: Tensor, calm: Tensor) -> Tensor:
    """How far off a path may be that starts somewhere else, and moves on otherwise (P, H, D, 2).

    Squares of both make up for what scales (P, H, D) lack in theirs, as nearly as two numbers of
    zero or more can.
    """
    lack = (scale.square() - calm.square()).clamp(min=0)
    steps = torch.arange(scale.shape[1], device=scale.device).to(scale)[:, None]
    time = steps.square()
    about = (time - time.mean(0)) / (time - time.mean(0)).square().sum(0).clamp(min=1)
    pace = (about * lack).sum(1).clamp(min=0)
    place = lack.mean(1) - pace * time.mean(0)
    most = (time * lack).sum(1) / time.square().sum(0).clamp(min=1)
    pace = torch.where(place < 0, most, pace)
    place = place.clamp(min=0)
    both = place.sqrt()[:, None].expand_as(scale), steps * pace.sqrt()[:, None]
    return torch.stack(both, dim=-1)


def _added(factor: Tensor, more: Tensor) -> Tensor:
    """A factor (P, H, D, R) and one of its own for each target (P, H, D, C), latent by latent."""
    eye = torch.eye(more.shape[2], dtype=more.dtype, device=more.device)
    apart = (eye[..., None] * more[..., None, :]).flatten(-2)
    lack = apart.shape[-1] - factor.shape[-1]
    return F.pad(factor, (0, max(lack, 0))) + F.pad(apart, (0, max(-lack, 0)))


# What an error carries on of itself at first: it stays, or goes on with .6 of its velocity.
_CARRY = {1: (1.0,), 2: (1.6, -0.6)}
