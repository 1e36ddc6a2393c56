"""The head for returns: heavy tails of each series, joint in each step, from a market's loads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hierforecast.distributions import IndependentSteps, ScaleMixture, Sinh, Warped
from hierforecast.nn.head import Head, Scenes, check_options, latents
from hierforecast.nn.market import MarketStart


@dataclass(frozen=True)
class ReturnsHead(Head):
    """For returns: a step's series are joint, each with tails of its own; steps are independent.

    Through `Sinh` of each series, a normal whose latents are those of the market, of its principal
    factors and of its groups, and whose days are calm or wild (`ScaleMixture`). Loads, sizes and
    tails begin as `MarketStart` finds them in the context; the network says by which factor each
    is larger.

    Args:
        rank: principal factors besides the market's.
        groups_last: see `MarketStart`; False in what was saved by earlier versions.
    """

    rank: int = 8
    groups_last: bool = True
    pooled = 1

    def __post_init__(self) -> None:
        check_options(self)

    def market(self, steps: int) -> MarketStart:
        """See `Head`."""
        return MarketStart(steps, self.rank, self.groups_last)

    def features(self, n_targets: int, n_levels: int = 1) -> int:
        """See `Head`."""
        return n_targets * (5 + n_levels) + self.pooled

    def __call__(self, loc: Tensor, scale: Tensor, shape: Tensor, scenes: Scenes) -> Warped:
        """See `Head`."""
        loads = scenes.loads
        assert loads is not None
        shape, calm = shape.tensor_split((-self.pooled,), dim=-1)
        each = shape.unflatten(-1, (scale.shape[-1], -1))
        tail, (size, noise, market, principal, *groups) = (
            (loads.tail + each[..., 0].mean(1, keepdim=True)).clamp(-8, 0.3).exp(),
            each[..., 1:].clamp(-3, 3).exp().unbind(-1),
        )
        grown = torch.cat([market[..., None], principal[..., None].expand(
            *principal.shape, self.rank)], -1)  # fmt: skip
        factor = grown * loads.scene[:, None]
        of_groups = [grow * load[:, None] for grow, load in zip(groups, loads.groups, strict=True)]
        own = noise * loads.noise[:, None]
        total = own.square() + factor.square().sum(-1)
        norm = sum((x.square() for x in of_groups), start=total).sqrt()
        of_groups = [x.div(norm)[..., None] for x in of_groups]
        factor, pairs = latents(factor / norm[..., None], of_groups, scenes)
        df = 3 + 3 * (loads.degrees + calm.squeeze(-1)).clamp(-5, 5).exp()
        steps = IndependentSteps.student(
            torch.zeros_like(loc), own / norm, factor, df,
            scenes.scene, scenes.n_scenes, pairs, ScaleMixture.student,
        )  # fmt: skip
        return Warped(steps, Sinh(loc, scale * loads.size * size, tail))
