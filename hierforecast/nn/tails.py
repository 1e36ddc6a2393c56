"""The head for demand: a joint normal of latents, each series with heavy tails of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.distributions import LimitedSinh, LowRankNormal, Warped
from hierforecast.nn.head import Head, Scenes, check_options, latents
from hierforecast.nn.shared import waves

# Tails at first: excess kurtosis 1.5. Share of a series' own latent in its errors' deviation.
TAIL, _PRIVATE = math.log(0.5), 0.5
# How much wider the ends of the tails are than the middle: demand has a mean in logs too.
STEEPEST = 3.0
# Latents of all series of a scene to begin with, at most.
_WAVES = 8


@dataclass(frozen=True)
class TailsHead(Head):
    """For demand: series are joint by latents, and most days are calmer than a few wild ones.

    A normal of unit variance goes through `LimitedSinh`: latents say how series, and steps of one
    series, depend on one another, the scale how large an error is, the tails how its sizes are
    spread.

    Args:
        rank: latents shared by all series of a scene.
        group_rank: those shared by the series of a group, on every level of every way of grouping.
    """

    rank: int = 4
    group_rank: int = 1

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def shares(self) -> int:
        """See `Head`: what all share may come and go within a horizon, so more than `rank`."""
        return max(self.rank, _WAVES) if self.rank else 0

    def features(self, n_targets: int, n_levels: int = 1) -> int:
        """See `Head`: a tail, a size, and how much each latent counts."""
        return n_targets * (3 + self.rank + n_levels * self.group_rank)

    def __call__(self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes) -> Warped:
        """See `Head`."""
        each = shape.unflatten(-1, (scale.shape[-1], -1))
        tail = (TAIL + each[..., 0].mean(1, keepdim=True)).clamp(-8, 0.3).exp()
        size = each[..., 1].clamp(-3, 3).exp()
        ranks = (1, self.rank, *(self.group_rank for _ in scenes.owners))
        private, shared, *of_groups = (0.5 * each[..., 2:]).split(ranks, dim=-1)
        private = _PRIVATE + private
        if scenes.shared is not None:
            own, levels = scenes.shared.tensor_split((self.shares,))
            start = own * waves(shared.shape[1], self.shares, shared)
            more = start.shape[-1] - self.rank
            shared = F.pad(shared, (0, more)) + start[:, None]
            of_groups = [x + more for x, more in zip(of_groups, levels, strict=True)]
        factors = (private, shared, *of_groups)
        norm = sum((x.square().sum(-1) for x in factors), start=torch.ones_like(scale)).sqrt()
        private, shared, *of_groups = (x / norm[..., None] for x in factors)
        shared, pairs = latents(shared, of_groups, scenes)
        base = LowRankNormal(
            torch.zeros_like(loc), 1 / norm, shared, private, scenes.scene, scenes.n_scenes,
            group_factors=pairs,
        )  # fmt: skip
        # Whatever the tail, the deviation is the scale.
        unit = scale * size / LimitedSinh(0.0, 1.0, tail, STEEPEST).deviation.to(scale)
        return Warped(base, LimitedSinh(loc, unit, tail, STEEPEST))
