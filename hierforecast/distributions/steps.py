"""Distributions whose steps are independent, while the series of a step are joint: returns.

Returns of different days hardly correlate, but each day moves the whole market. Latents that are
common to the horizon would need one for each day and factor; here each step has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.lowrank import LowRankNormal
from hierforecast.distributions.parts import IndependentParts, split
from hierforecast.distributions.places import GroupFactor
from hierforecast.distributions.student import JointStudent
from hierforecast.distributions.sums import Sums


class IndependentSteps(IndependentParts):
    """A joint distribution of the series for each step of the horizon; steps are independent.

    Its parts are steps: `base` is of event_shape (P * H, 1, D) over B * H scenes, whose scene
    ``b * H + h`` is step h of scene b.
    """

    def _count(self, base: SceneDistribution, n_scenes: int) -> int:
        steps = base.n_scenes // max(n_scenes, 1)
        if base.event_shape[1] != 1 or base.n_scenes != n_scenes * steps:
            raise ValueError(
                f"base must have event_shape (P * H, 1, D) over B * H scenes, B = {n_scenes}, "
                f"got {base}"
            )
        return steps

    @classmethod
    def student(
        cls,
        loc: Tensor,
        scale: Tensor,
        factor: Tensor,
        df: Tensor,
        scene: Tensor,
        n_scenes: int,
        group_factors: Sequence[GroupFactor] = (),
        family: Callable[[LowRankNormal, Tensor], SceneDistribution] = JointStudent,
    ) -> Self:
        """Each step a `JointStudent` about a `LowRankNormal`.

        Args:
            loc: (P, H, D), mean.
            scale: (P, H, D), standard deviation of the noise.
            factor: (P, H, D, R), of the latents that the series of a step share.
            df: (P, H) degrees of freedom; a step's are the mean over the rows of its scene.
            scene: (P,) scene of each row.
            n_scenes: B.
            group_factors: of each level of groups, fine to coarse, (P, H, D, R_l) of the latents
                that a group's series of a step share, and the groups as `LowRankNormal` takes them.
            family: of a step, from its normal and degrees of freedom (B * H,): `JointStudent`, or
                ``ScaleMixture.student``.
        """
        loc_, scale_, factor_ = (x.flatten(0, 1).unsqueeze(1) for x in (loc, scale, factor))
        total, rows = (
            x.new_zeros(n_scenes, loc.shape[1]).index_add(0, scene, x)
            for x in (df, torch.ones_like(df))
        )
        # A scene without rows has no degrees of freedom; any will do.
        each = torch.where(rows > 0, total / rows.clamp(min=1), 3.0)
        cells = split(scene, loc.shape[1])
        steps = loc.shape[1]
        groups: list[Any] = [
            (x.flatten(0, 1).unsqueeze(1), split(group, steps), *(steps * each for each in count))
            for x, group, *count in group_factors
        ]
        base = LowRankNormal(loc_, scale_, factor_, None, cells, each.numel(), group_factors=groups)
        return cls(family(base, each.flatten()), scene, n_scenes)

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        total, row = (split(x, self.shares) for x in (sums.total, sums.row))
        weight = sums.weight.repeat_interleave(self.shares)
        base = self.base._aggregate(Sums(total, row, weight, sums.count * self.shares))
        return self._with(base, sums.scenes(self.scene))
