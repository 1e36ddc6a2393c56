"""A joint Gaussian whose scenes are calm or wild: one of several scales for all of a scene."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.checks import check_finite
from hierforecast.distributions.lowrank import LowRankNormal
from hierforecast.distributions.precision import promote
from hierforecast.distributions.student import distance
from hierforecast.distributions.sums import Sums
from hierforecast.distributions.totals import coherent

# Halvings of an interval that holds a standard quantile: to the last digit of float64.
_HALVINGS = 70


class ScaleMixture(SceneDistribution):
    """y = mean + s (x - mean): x of a joint Gaussian, s one of K scales, the same for a scene.

    As a `JointStudent`, whose scale may be any, but with tails that a map such as `Sinh` can
    stretch again without losing the mean and the variance: the largest scale bounds them. With
    several hundred cells the scales should lie a tenth apart, for their likelihood is sharp.

    Args:
        base: the joint Gaussian.
        scales: (K,), > 0.
        logits: (B, K), log weights of each scene, up to a constant.
        validate_args: check values (not only shapes); None: as `SceneDistribution`.

    Raises:
        ValueError: if the shapes do not fit, a scale is not positive or a logit not finite.
    """

    has_rsample = has_conditionals = True

    def __init__(
        self,
        base: LowRankNormal,
        scales: Tensor,
        logits: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        _, steps, targets = base.event_shape
        if scales.ndim != 1 or logits.shape != (base.n_scenes, len(scales)):
            raise ValueError(
                f"scales must be (K,) and logits (B, K) with B = {base.n_scenes}, "
                f"got {tuple(scales.shape)} and {tuple(logits.shape)}"
            )
        self.base, (self.scales, self.logits) = base, promote(scales, logits)
        super().__init__(base.scene, base.n_scenes, steps, targets, validate_args)
        if self._validate_args:
            check_finite("logits", self.logits)
            if not bool((self.scales > 0).all()):
                raise ValueError("scales must be > 0")

    @classmethod
    def student(cls, base: LowRankNormal, df: Tensor, count: int = 24, widest: float = 4.0) -> Self:
        """Scales between 1 / widest and widest, weighed as those of a `JointStudent` of df (B,)."""
        scales = torch.linspace(-1, 1, count, dtype=df.dtype, device=df.device)
        scales = (scales * torch.tensor(widest).log().to(df)).exp()
        # The density of log s where (df - 2) / s^2 is chi-square of df degrees of freedom.
        half = (df[:, None] - 2) / (2 * scales.square())
        return cls(base, scales, 0.5 * df[:, None] * half.log() - half)

    @property
    def weights(self) -> Tensor:
        """(B, K), of sum one."""
        return self.logits.softmax(-1)

    @property
    def mean(self) -> Tensor:
        """(P, H, D)."""
        return self.base.mean

    @property
    def _square(self) -> Tensor:
        """(B,), mean of squared scales."""
        return (self.weights * self.scales.square()).sum(-1)

    @property
    def variance(self) -> Tensor:
        """(P, H, D)."""
        return self._square[self.scene, None, None].to(self.base.mean) * self.base.variance

    def _draw(self, shape: torch.Size) -> Tensor:
        edges = self.weights.detach().cumsum(-1)
        dart = self._darts(shape, edges)
        chosen = (dart > edges).sum(-1).clamp(max=len(self.scales) - 1)
        stretch = self.scales[chosen][..., self.scene, None, None].to(self.base.mean)
        return self.mean + stretch * (self.base._draw(shape) - self.mean)

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        joint, cells = self._joint(value, seen)
        out = torch.promote_types(value.dtype, self.base.loc.dtype)
        # The weights sum to one but for rounding; of nothing observed, the density is one.
        return torch.where(cells > 0, joint.logsumexp(-1), 0).to(out)

    def _joint(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Log densities of values and of each scale (*s, B, K), and cells seen (B,)."""
        top, square, cells = distance(self.base, value, seen)
        scales = self.scales.to(top)
        logits = self.logits.to(top).log_softmax(-1)
        return top[:, None] + _radial(scales, logits, cells, square), cells

    def _conditional_log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        _, square, cells = (x[..., self.scene] for x in distance(self.base, value, seen))
        logits = self.logits.to(cells).log_softmax(-1)[self.scene, None]

        def radial(cells: Tensor, square: Tensor) -> Tensor:
            return _radial(self.scales.to(cells), logits, cells, square).logsumexp(-1)

        white = self.base.given_others(value, seen)
        return white.radial(radial, cells, square, self.base.noise.uncertain(seen))

    def _condition(self, value: Tensor, seen: Tensor) -> ScaleMixture:
        joint, _ = self._joint(value, seen)
        logits = (joint - joint.logsumexp(-1, keepdim=True)).to(self.logits)
        base = self.base._condition(value, seen)
        return ScaleMixture(base, self.scales, logits, self._validate_args)

    def entangled(self, sums: Sums) -> bool:
        """As `SceneDistribution.entangled`."""
        return self.base.entangled(sums)

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        return coherent(self, sums, self._with(self.base.totals(sums)))

    def _with(self, base: LowRankNormal) -> ScaleMixture:
        return ScaleMixture(base, self.scales, self.logits, self._validate_args)

    @torch.no_grad()
    def _quantile(self, level: Tensor) -> Tensor:
        """That of the standard mixture of each scene, by bisection."""
        work = torch.float32 if self.scales.is_mps else torch.float64
        scales, weights = self.scales.to(work), self.weights.to(work)
        level = level[..., 0, 0].to(scales)
        # Of each scale, and so of their mixture.
        each = torch.special.ndtri(level)[..., None] * scales
        low, high = (
            x.expand(*level.shape[:-1], self.n_scenes) for x in (each.amin(-1), each.amax(-1))
        )
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            short = self._below(middle, scales, weights) < level
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)
        found = torch.where(low.isinf(), low, 0.5 * (low + high)).to(self.base.mean)
        found = found[..., self.scene, None, None]
        return self.mean + torch.where(self.base.stddev > 0, self.base.stddev * found, 0)

    @staticmethod
    def _below(x: Tensor, scales: Tensor, weights: Tensor) -> Tensor:
        """P(standard mixture <= x (*s, B))."""
        return (weights * torch.special.ndtr(x[..., None] / scales)).sum(-1)

    def _cdf(self, value: Tensor) -> Tensor:
        away = (value - self.mean) / self.base.stddev
        weights = self.weights[self.scene, None, None].to(away)
        pairs = zip(self.scales.to(away), weights.unbind(-1), strict=True)
        return sum(
            (weight * torch.special.ndtr(away / scale) for scale, weight in pairs),
            start=torch.zeros_like(away),
        )

    def _affine(self, loc: Tensor, scale: Tensor) -> ScaleMixture:
        return self._with(self.base._affine(loc, scale))

    def rows(self, index: Tensor) -> ScaleMixture:
        """As `SceneDistribution.rows`."""
        return self._with(self.base.rows(index))

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`."""
        return self._square[scene_index] * self.base.covariance(scene_index)

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`."""
        return self.base.series_correlation(scene_index)


def _radial(scales: Tensor, logits: Tensor, cells: Tensor, square: Tensor) -> Tensor:
    """Log densities of each scale less that at the mean of the Gaussian, its weight in them."""
    each = -cells[..., None] * scales.log() - 0.5 * square[..., None] / scales.square()
    return each + logits
