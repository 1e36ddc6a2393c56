"""Distributions whose steps are independent, while the series of a step are joint: returns.

Returns of different days hardly correlate, but each day moves the whole market. Latents that are
common to the horizon would need one for each day and factor; here each step has its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.lowrank import LowRankNormal
from hierforecast.distributions.student import JointStudent
from hierforecast.distributions.sums import Sums


class IndependentSteps(SceneDistribution):
    """A joint distribution of the series for each step of the horizon; steps are independent.

    Args:
        base: of event_shape (P * H, 1, D) over B * H scenes: its row ``p * H + h`` is step h of row
            p, and its scene ``b * H + h`` is step h of scene b; see `split_steps`.
        scene: (P,) int64, the scene of each row.
        n_scenes: B.
        validate_args: check values (not only shapes); torch's default if None.

    Raises:
        ValueError: if the shapes of `base` and `scene` do not fit.
    """

    def __init__(
        self,
        base: SceneDistribution,
        scene: Tensor,
        n_scenes: int,
        validate_args: bool | None = None,
    ) -> None:
        cells, one, targets = base.event_shape
        steps = base.n_scenes // max(n_scenes, 1)
        if one != 1 or cells != len(scene) * steps or base.n_scenes != n_scenes * steps:
            raise ValueError(
                f"base must have event_shape (P * H, 1, D) over B * H scenes, got {base} for "
                f"P = {len(scene)} rows of B = {n_scenes} scenes"
            )
        self.base, self.has_rsample = base, base.has_rsample
        super().__init__(scene, n_scenes, steps, targets, validate_args)

    @classmethod
    def student(
        cls,
        loc: Tensor,
        scale: Tensor,
        factor: Tensor,
        df: Tensor,
        scene: Tensor,
        n_scenes: int,
        group_factors: Sequence[tuple[Tensor, Tensor]] = (),
    ) -> IndependentSteps:
        """Each step a `JointStudent` about a `LowRankNormal`.

        Args:
            loc: (P, H, D), mean.
            scale: (P, H, D), standard deviation of the noise.
            factor: (P, H, D, R), of the latents that the series of a step share.
            df: (P, H) degrees of freedom; a step's are the mean over the rows of its scene.
            scene: (P,) scene of each row.
            n_scenes: B.
            group_factors: of each level of groups, fine to coarse, (P, H, D, R_l) of the latents
                that a group's series of a step share, and the group (P,) of each row.
        """
        loc_, scale_, factor_ = (x.flatten(0, 1).unsqueeze(1) for x in (loc, scale, factor))
        total, rows = (
            x.new_zeros(n_scenes, loc.shape[1]).index_add(0, scene, x)
            for x in (df, torch.ones_like(df))
        )
        # A scene without rows has no degrees of freedom; any will do.
        each = torch.where(rows > 0, total / rows.clamp(min=1), 3.0)
        cells = split_steps(scene, loc.shape[1])
        groups = [
            (x.flatten(0, 1).unsqueeze(1), split_steps(group, loc.shape[1]))
            for x, group in group_factors
        ]
        base = LowRankNormal(loc_, scale_, factor_, None, cells, each.numel(), group_factors=groups)
        return cls(JointStudent(base, each.flatten()), scene, n_scenes)

    @property
    def mean(self) -> Tensor:
        """(P, H, D)."""
        return self.base.mean.reshape(self.event_shape)

    @property
    def variance(self) -> Tensor:
        """(P, H, D)."""
        return self.base.variance.reshape(self.event_shape)

    def _draw(self, shape: torch.Size) -> Tensor:
        return self.base._draw(shape).reshape(self._extended_shape(shape))

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        flat = value.flatten(-3, -2).unsqueeze(-2)
        each = self.base._log_prob(flat, seen.flatten(0, 1).unsqueeze(-2))
        return each.unflatten(-1, (self.n_scenes, -1)).sum(-1)

    def _condition(self, value: Tensor, seen: Tensor) -> IndependentSteps:
        cells = (x.flatten(0, 1).unsqueeze(1) for x in (value, seen))
        base = self.base._condition(*cells)
        return IndependentSteps(base, self.scene, self.n_scenes, self._validate_args)

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        steps = self.event_shape[1]
        weight = sums.weight.repeat_interleave(steps)
        total, row = (split_steps(x, steps) for x in (sums.total, sums.row))
        base = self.base._aggregate(Sums(total, row, weight, sums.count * steps))
        return IndependentSteps(base, sums.scenes(self.scene), self.n_scenes, self._validate_args)

    def _quantile(self, level: Tensor) -> Tensor:
        found = self.base._quantile(level)
        return found.reshape(*found.shape[:-3], *self.event_shape)

    def _affine(self, loc: Tensor, scale: Tensor) -> IndependentSteps:
        moved = (x.expand(self.event_shape).flatten(0, 1).unsqueeze(1) for x in (loc, scale))
        base = self.base._affine(*moved)
        return IndependentSteps(base, self.scene, self.n_scenes, self._validate_args)

    def rows(self, index: Tensor) -> IndependentSteps:
        """As `SceneDistribution.rows`."""
        chosen = torch.arange(len(self.scene), device=self.scene.device)[index]
        base = self.base.rows(split_steps(chosen, self.event_shape[1]))
        return IndependentSteps(base, self.scene[index], self.n_scenes, self._validate_args)

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`: zero between steps."""
        rows, (_, steps, targets) = len(self._rows_of(scene_index)), self.event_shape
        out = self.mean.new_zeros(rows, steps, targets, rows, steps, targets)
        for step in range(steps):
            block = self.base.covariance(scene_index * steps + step)
            out[:, step, :, :, step] = block.view(rows, targets, rows, targets)
        return out.flatten(3).flatten(0, 2)

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`."""
        own = self.variance[self._rows_of(scene_index)].sum(-1)
        steps = own.shape[1]
        across = own.new_zeros(len(own), len(own))
        for step, size in enumerate(own.T):
            root = (size[:, None] * size).sqrt()
            across = across + root * self.base.series_correlation(scene_index * steps + step)
        total = own.sum(1)
        return across / (total[:, None] * total).sqrt()


def split_steps(index: Tensor, steps: int) -> Tensor:
    """Index (P,) of rows or scenes -> (P * H,) of their steps, a row's steps side by side."""
    return (index[:, None] * steps + torch.arange(steps, device=index.device)).flatten()
