"""A joint Gaussian made heavy-tailed: one chi-square latent stretches a whole scene."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from hierforecast._random import by_scene
from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.lowrank import LowRankNormal
from hierforecast.distributions.precision import promote
from hierforecast.distributions.sums import Sums
from hierforecast.distributions.totals import coherent


class JointStudent(SceneDistribution):
    """Multivariate Student-t of a scene, with the mean and covariance of a joint Gaussian.

    y = mean + sqrt((df - 2) / g) (x - mean), x drawn from the Gaussian and g from a chi-square of
    df degrees of freedom, one for the whole scene: a wild day is wild for everybody. Kotz and
    Nadarajah, "Multivariate t distributions and their applications" (2004), equation 1.1, scaled so
    that the covariance is the Gaussian's. Margins, missing cells included, are of the same family.

    Args:
        base: the joint Gaussian.
        df: (B,) degrees of freedom of each scene, above two.
        validate_args: check values (not only shapes); None: as `SceneDistribution`.

    Raises:
        ValueError: if `df` is not (B,) or does not lie above two.
    """

    has_rsample = has_conditionals = True

    def __init__(self, base: LowRankNormal, df: Tensor, validate_args: bool | None = None) -> None:
        _, steps, targets = base.event_shape
        if df.shape != (base.n_scenes,):
            raise ValueError(f"df must be (B,) = ({base.n_scenes},), got {tuple(df.shape)}")
        self.base, (self.df,) = base, promote(df)
        super().__init__(base.scene, base.n_scenes, steps, targets, validate_args)
        if self._validate_args and not bool((self.df > 2).all()):
            raise ValueError("df must lie above 2, where the variance exists: add 2 to a softplus")

    @property
    def mean(self) -> Tensor:
        """(P, H, D)."""
        return self.base.mean

    @property
    def variance(self) -> Tensor:
        """(P, H, D)."""
        return self.base.variance

    def _draw(self, shape: torch.Size) -> Tensor:
        half = (0.5 * self.df.detach()).expand(*shape, self.n_scenes)  # no gradient to `df`
        scenes = torch.arange(self.n_scenes)
        gamma = by_scene(lambda some: torch._standard_gamma(half[..., some]), scenes, -1)
        stretch = ((self.df - 2) / (2 * gamma)).sqrt()
        stretch = stretch.index_select(-1, self.scene)[..., None, None].to(self.base.mean)
        return self.mean + stretch * (self.base._draw(shape) - self.mean)

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        top, square, cells = distance(self.base, value, seen)
        return top + _radial(self.df.to(top), cells, square)

    def _conditional_log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        _, square, cells = (x[..., self.scene] for x in distance(self.base, value, seen))
        df = self.df.to(cells)[self.scene, None]
        white = self.base.given_others(value, seen)
        return white.radial(partial(_radial, df), cells, square, self.base.noise.uncertain(seen))

    def _condition(self, value: Tensor, seen: Tensor) -> JointStudent:
        """Ding, "On the conditional distribution of the multivariate t distribution" (2016)."""
        _, square, cells = distance(self.base, value, seen)
        df = self.df.to(cells)
        stretch = ((df - 2 + square) / (df - 2 + cells)).sqrt()
        base = self.base._condition(value, seen).stretched(stretch)
        return JointStudent(base, (df + cells).to(self.df), self._validate_args)

    def entangled(self, sums: Sums) -> bool:
        """As `SceneDistribution.entangled`."""
        return self.base.entangled(sums)

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        each = JointStudent(self.base.totals(sums), self.df, self._validate_args)
        return coherent(self, sums, each)

    def _quantile(self, level: Tensor) -> Tensor:
        from scipy.special import stdtrit  # late: scipy makes every import slower

        df = self.df.detach().double().cpu()[self.scene.cpu()][:, None, None].numpy()
        standard = np.asarray(stdtrit(df, level.numpy())) * np.sqrt((df - 2) / df)
        return self.mean + self.stddev * torch.from_numpy(standard).to(self.mean)

    def _cdf(self, value: Tensor) -> Tensor:
        df = self.df[self.scene][:, None, None]
        return student_cdf((value - self.mean) / self.stddev * (df / (df - 2)).sqrt(), df)

    def _affine(self, loc: Tensor, scale: Tensor) -> JointStudent:
        return JointStudent(self.base._affine(loc, scale), self.df, self._validate_args)

    def rows(self, index: Tensor) -> JointStudent:
        """As `SceneDistribution.rows`."""
        return JointStudent(self.base.rows(index), self.df, self._validate_args)

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`."""
        return self.base.covariance(scene_index)

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`."""
        return self.base.series_correlation(scene_index)


def distance(base: LowRankNormal, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A Gaussian's log density at its mean (B,), squared distances (*s, B), cells seen (B,).

    The density at the mean knows the volume, and the fall from there the distance.
    """
    seen = base.noise.uncertain(seen)
    top = base._log_prob(torch.where(seen, base.mean, 0), seen)
    square = 2 * (top - base._log_prob(value, seen)).clamp(min=0)
    return top, square, base._sum_by_scene(seen.sum((1, 2))).to(top)


def _radial(df: Tensor, cells: Tensor, square: Tensor) -> Tensor:
    """Log density less that at the mean of the Gaussian, of cells at a squared distance."""
    stretched = -0.5 * (df + cells) * torch.log1p(square / (df - 2))
    volume = torch.lgamma(0.5 * (df + cells)) - torch.lgamma(0.5 * df)
    return volume - 0.5 * cells * (0.5 * (df - 2)).log() + stretched


def student_cdf(value: Tensor, df: Tensor) -> Tensor:
    """The standard Student-t distribution function, by scipy: without gradients."""
    from scipy.special import stdtr

    numbers = (x.detach().double().cpu().numpy() for x in (df, value))
    return torch.from_numpy(np.asarray(stdtr(*numbers))).to(value)
