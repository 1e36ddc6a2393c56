"""Joint distributions over packed rows: what the heads return and the loss is made of.

A batch packs the series of several independent scenes into P rows; `scene` says which scene a row
belongs to, in any order. Each row is an (H, D) forecast: H steps ahead, D targets. Different scenes
are independent; within a scene everything may depend on everything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Cauchy, Chi2, Distribution, Laplace, Normal, StudentT, biject_to
from torch.distributions.utils import broadcast_all

from hierforecast._random import by_scene
from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.checks import check_finite
from hierforecast.distributions.precision import promote
from hierforecast.distributions.student import student_cdf
from hierforecast.distributions.sums import Sums
from hierforecast.distributions.totals import coherent


class LazyStudentT(StudentT):
    """`StudentT` whose chi-square is made when it draws: it looks at the degrees of freedom."""

    def __init__(
        self, df: Tensor, loc: Tensor, scale: Tensor, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        Distribution.__init__(self, self.df.size(), validate_args=validate_args)

    @cached_property
    def _chi2(self) -> Chi2:  # type: ignore[override]
        return Chi2(self.df)


_SYMMETRIC_LOCATION_SCALE = (Normal, StudentT, LazyStudentT, Laplace, Cauchy)


def _rebuild(base: Distribution, change: Callable[[Tensor], Tensor]) -> Any:
    """The same family with every parameter changed, e.g. cast or indexed."""
    names = [n for n in base.arg_constraints if n in vars(base)] or list(base.arg_constraints)
    if not names:
        raise ValueError(
            f"{type(base).__name__} does not name its parameters: use a family such as Normal, "
            "StudentT or Laplace, whose constructor takes the names in its arg_constraints"
        )
    family: Any = type(base)
    return family(**{name: change(getattr(base, name)) for name in names}, validate_args=False)


class IndependentScenes(SceneDistribution):
    """Independent cells: a univariate, continuous torch distribution of batch_shape (P, H, D).

    `Normal` is the Gaussian head, `StudentT` the one for heavy tails (its mean exists for df > 1,
    its variance for df > 2; its quantiles come from scipy and carry no gradient). `affine` knows
    the families that are symmetric about a loc: Normal, StudentT, Laplace, Cauchy.

    Args:
        base: the distribution of every cell, batch_shape (P, H, D), event_shape ().
        scene: (P,) int64, the scene of each row.
        n_scenes: B.
        validate_args: check values (not only shapes); None: as `SceneDistribution`.
        known: (P, H, D) values of cells that are certain, NaN for the others; None for none.

    Raises:
        ValueError: if the shapes of `base` and `scene` do not fit, or a parameter is not finite.
    """

    def __init__(
        self,
        base: Distribution,
        scene: Tensor,
        n_scenes: int,
        validate_args: bool | None = None,
        known: Tensor | None = None,
    ) -> None:
        shape = base.batch_shape
        if len(shape) != 3 or base.event_shape or shape[0] != len(scene):
            raise ValueError(
                f"base must be univariate with batch_shape ({len(scene)}, H, D), "
                f"got batch_shape {tuple(shape)}, event_shape {tuple(base.event_shape)}"
            )
        self.has_rsample = base.has_rsample
        super().__init__(scene, n_scenes, shape[1], shape[2], validate_args)
        self.base = _rebuild(base, self._admit)
        self.known = known

    def _admit(self, parameter: Tensor) -> Tensor:
        if self._validate_args:
            check_finite("a parameter of the base distribution", parameter)
        return promote(parameter)[0]

    @property
    def mean(self) -> Tensor:
        """(P, H, D)."""
        return self._overlaid(self.base.mean)

    @property
    def variance(self) -> Tensor:
        """(P, H, D)."""
        base = self.base
        if isinstance(base, StudentT):  # moved by float64, only loc and scale are of that type
            base = _rebuild(base, lambda x: x.to(self.base.loc))
        variance = base.variance
        return variance if self.known is None else torch.where(self.known.isnan(), variance, 0)

    def _overlaid(self, x: Tensor) -> Tensor:
        """(*s, P, H, D) with the values of certain cells put in."""
        return x if self.known is None else torch.where(self.known.isnan(), x, self.known.to(x))

    def _draw(self, shape: torch.Size) -> Tensor:
        def some(rows: Tensor) -> Tensor:
            base = _rebuild(self.base, lambda x: x.expand(self.event_shape)[rows])
            return base.rsample(shape) if self.has_rsample else base.sample(shape)

        return self._overlaid(by_scene(some, self.scene, -3))

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        per_row = self._conditional_log_prob(value, seen).sum(-1)
        return self._sum_by_scene(per_row.movedim(-1, 0)).movedim(0, -1)

    has_conditionals = True

    def _conditional_log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        """Cells are independent: (*s, P, H), of each step by itself."""
        seen = seen if self.known is None else seen & self.known.isnan()
        # A point inside the support: both branches of a `where` need finite gradients.
        inside = biject_to(self.base.support)(value.new_zeros(seen.shape)).detach()
        cells = self.base.log_prob(torch.where(seen, value, inside))
        return torch.where(seen, cells, 0).sum(-1)

    def _quantile(self, level: Tensor) -> Tensor:
        base = self.base
        if not isinstance(base, StudentT):
            return self._overlaid(base.icdf(level.to(base.mean)))
        from scipy.special import stdtrit  # late: scipy makes every import slower

        df = base.df.detach().double().cpu().numpy()
        standard = torch.from_numpy(np.asarray(stdtrit(df, level.numpy())))
        return self._overlaid(base.loc.detach() + base.scale.detach() * standard.to(base.loc))

    def _cdf(self, value: Tensor) -> Tensor:
        base = self.base
        if not isinstance(base, StudentT):
            return base.cdf(value)
        return student_cdf((value - base.loc) / base.scale, base.df)

    def _condition(self, value: Tensor, seen: Tensor) -> IndependentScenes:
        known = torch.where(seen, value, torch.nan if self.known is None else self.known)
        return self._with(self.base, known)

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        if not isinstance(self.base, Normal):
            return coherent(self, sums, None)
        scale = sums.add(self.variance, power=2).sqrt()
        known = None
        if self.known is not None:
            known = torch.where(scale > 0, torch.nan, sums.add(self.mean))
            scale = torch.where(scale > 0, scale, 1)  # of a cell that is certain, any will do
        base = Normal(sums.add(self.mean), scale, validate_args=False)
        scenes = sums.scenes(self.scene), self.n_scenes, self._validate_args
        return coherent(self, sums, IndependentScenes(base, *scenes, known))

    def _with(self, base: Distribution, known: Tensor | None) -> IndependentScenes:
        return IndependentScenes(base, self.scene, self.n_scenes, self._validate_args, known)

    def _affine(self, loc: Tensor, scale: Tensor) -> IndependentScenes:
        base = self.base
        if type(base) not in _SYMMETRIC_LOCATION_SCALE:
            raise NotImplementedError(
                f"affine does not know {type(base).__name__}: use Normal, StudentT, Laplace, Cauchy"
            )
        moved = {"loc": loc + scale * base.loc, "scale": scale.abs() * base.scale}
        if isinstance(base, StudentT):
            moved["df"] = base.df
        known = None if self.known is None else loc + scale * self.known
        return self._with(type(base)(**moved, validate_args=False), known)

    def rows(self, index: Tensor) -> IndependentScenes:
        """As `SceneDistribution.rows`."""
        base = _rebuild(self.base, lambda parameter: parameter[index])
        known = None if self.known is None else self.known[index]
        scenes = (self.scene[index], self.n_scenes, self._validate_args)
        return IndependentScenes(base, *scenes, known)

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`: diagonal."""
        return self.variance[self._rows_of(scene_index)].flatten().diag()

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`: the identity."""
        return self.mean.new_ones(len(self._rows_of(scene_index))).diag()
