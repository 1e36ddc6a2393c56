"""Joint distributions over packed rows: what the heads return and the loss is made of.

A batch packs the series of several independent scenes into P rows; `scene` says which scene a row
belongs to, in any order. Each row is an (H, D) forecast: H steps ahead, D targets. Different scenes
are independent; within a scene everything may depend on everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor
from torch.distributions import Cauchy, Distribution, Laplace, Normal, StudentT, biject_to

from hierforecast.distributions.base import (
    SceneDistribution,
    check_finite,
    no_autocast,
    promote,
)

_SYMMETRIC_LOCATION_SCALE = (Normal, StudentT, Laplace, Cauchy)


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
    the families that are symmetric about a location: Normal, StudentT, Laplace, Cauchy.

    Args:
        base: the law of every cell, batch_shape (P, H, D), event_shape ().
        scene: (P,) int64, the scene of each row.
        n_scenes: B.
        validate_args: check values (not only shapes); torch's default if None.

    Raises:
        ValueError: if the shapes of `base` and `scene` do not fit, or a parameter is not finite.
    """

    def __init__(
        self, base: Distribution, scene: Tensor, n_scenes: int, validate_args: bool | None = None
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

    def _admit(self, parameter: Tensor) -> Tensor:
        if self._validate_args:
            check_finite("a parameter of the base distribution", parameter)
        return promote(parameter)[0]

    @property
    def mean(self) -> Tensor:
        """(P, H, D)."""
        return self.base.mean

    @property
    def variance(self) -> Tensor:
        """(P, H, D)."""
        return self.base.variance

    def _draw(self, shape: torch.Size) -> Tensor:
        return self.base.rsample(shape) if self.has_rsample else self.base.sample(shape)

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        # A point inside the support: both branches of a `where` need finite gradients.
        inside = biject_to(self.base.support)(value.new_zeros(seen.shape)).detach()
        cells = self.base.log_prob(torch.where(seen, value, inside))
        per_row = torch.where(seen, cells, 0).sum((-2, -1))
        return self._sum_by_scene(per_row.movedim(-1, 0)).movedim(0, -1)

    def _quantile(self, level: Tensor) -> Tensor:
        base = self.base
        if not isinstance(base, StudentT):
            return base.icdf(level.to(base.mean))
        df = base.df.detach().double().cpu().numpy()
        standard = torch.from_numpy(np.asarray(stdtrit(df, level.numpy())))
        return base.loc.detach() + base.scale.detach() * standard.to(base.loc)

    def _affine(self, loc: Tensor, scale: Tensor) -> IndependentScenes:
        base = self.base
        if type(base) not in _SYMMETRIC_LOCATION_SCALE:
            raise NotImplementedError(
                f"affine does not know {type(base).__name__}: use Normal, StudentT, Laplace, Cauchy"
            )
        moved = {"loc": loc + scale * base.loc, "scale": scale.abs() * base.scale}
        if isinstance(base, StudentT):
            moved["df"] = base.df
        moved_base = type(base)(**moved, validate_args=False)
        return IndependentScenes(moved_base, self.scene, self.n_scenes, self._validate_args)

    def rows(self, index: Tensor) -> IndependentScenes:
        """As `SceneDistribution.rows`."""
        base = _rebuild(self.base, lambda parameter: parameter[index])
        return IndependentScenes(base, self.scene[index], self.n_scenes, self._validate_args)

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`: diagonal."""
        return self.variance[self._rows_of(scene_index)].flatten().diag()

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`: the identity."""
        return self.mean.new_ones(len(self._rows_of(scene_index))).diag()


class LowRankNormal(SceneDistribution):
    """Joint Gaussian of a scene: factors shared by its rows, factors private to each row, noise.

    Row i of a scene, flattened over steps and targets to m = H*D cells, is

        y_i = loc_i + W_i z + V_i v_i + scale_i * eps_i,    z ~ N(0, I_R), v_i ~ N(0, I_Q),

    z common to the scene, v_i private to the row (a trajectory's own correlation over steps and
    targets). Every parameter belongs to one row, so permuting rows permutes the law, and dropping
    rows or cells marginalises exactly.

    bfloat16 and float16 parameters are cast to float32; the likelihood itself is worked out in
    float64 where the device has it and returned in the parameters' type. In float32 the Cholesky
    factor fails, or its gradients are wrong, once factors become collinear at a small `scale`.

    Args:
        loc: (P, H, D), mean.
        scale: (P, H, D), > 0, standard deviation of the noise.
        scene_factor: (P, H, D, R), W.
        series_factor: (P, H, D, Q), V; None for none.
        scene: (P,) int64, the scene of each row, in any order.
        n_scenes: B.
        validate_args: check values (not only shapes); torch's default if None.

    Raises:
        ValueError: if shapes do not fit, a parameter is not finite, or a scale is not positive.
    """

    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        scene_factor: Tensor,
        series_factor: Tensor | None,
        scene: Tensor,
        n_scenes: int,
        validate_args: bool | None = None,
    ) -> None:
        if series_factor is None:
            series_factor = scale[..., None][..., :0]
        cast = promote(loc, scale, scene_factor, series_factor)
        self.loc, self.scale, self.scene_factor, self.series_factor = cast
        if loc.ndim != 3:
            raise ValueError(f"loc must be (P, H, D), got {tuple(loc.shape)}")
        super().__init__(scene, n_scenes, loc.shape[1], loc.shape[2], validate_args)
        for name in ("loc", "scale", "scene_factor", "series_factor"):
            parameter = getattr(self, name)
            if parameter.shape[:3] != self.event_shape or parameter.ndim != 3 + ("factor" in name):
                raise ValueError(
                    f"{name} has shape {tuple(parameter.shape)}, must start with (P, H, D) = "
                    f"{tuple(self.event_shape)}; factors have one axis more"
                )
            if self._validate_args:
                check_finite(name, parameter)
        if self._validate_args and bool((self.scale <= 0).any()):
            raise ValueError("scale must be > 0: end the head in a softplus plus a small floor")

    @property
    def mean(self) -> Tensor:
        """(P, H, D)."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """(P, H, D): noise, private and shared factors together."""
        shared, private = (factor.square().sum(-1) for factor in self._factors)
        return self.scale.square() + shared + private

    @property
    def _factors(self) -> tuple[Tensor, Tensor]:
        return self.scene_factor, self.series_factor

    def _draw(self, shape: torch.Size) -> Tensor:
        rows = len(self.scene)
        new = self.loc.new_empty
        shared = new(*shape, self.n_scenes, self.scene_factor.shape[-1]).normal_()
        private = new(*shape, rows, self.series_factor.shape[-1]).normal_()
        noise = new(*shape, *self.event_shape).normal_()
        with no_autocast(self.loc):
            common = shared.index_select(-2, self.scene)
            y = torch.einsum("phdr,...pr->...phd", self.scene_factor, common)
            y = y + torch.einsum("phdq,...pq->...phd", self.series_factor, private)
        return self.loc + y + self.scale * noise

    def _whiten(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """V (P, m, Q) and [W | residual] (P, m, R+S) over scale, and log|scale| (P,), seen cells.

        A cell that is not seen gets zero factors, zero residual and scale 1: it adds nothing.
        """
        work = torch.float32 if self.loc.is_mps else torch.float64  # mps has no float64
        residual = torch.where(seen, value.to(work) - self.loc.to(work), 0)
        residual = residual.reshape(math.prod(value.shape[:-3]), *seen.shape).movedim(0, -1)
        columns = torch.cat([self.scene_factor.to(work), residual], -1)
        scale = self.scale.to(work)
        weight = torch.where(seen, 1 / scale, 0)[..., None]
        log_scale = torch.where(seen, scale.log(), 0).sum((1, 2))
        private = (self.series_factor.to(work) * weight).flatten(1, 2)
        return private, (columns * weight).flatten(1, 2), log_scale

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        """Nested Woodbury identity: rows through Q x Q, scenes through R x R capacitances.

        With the latents at their optimum, the Mahalanobis term is |remaining residual|^2 + |z|^2 +
        sum |v|^2, a sum of squares: no large numbers are subtracted. Cost O(P m (R + Q)^2).
        """
        rank, shape = self.scene_factor.shape[-1], value.shape[:-3]
        private, columns, log_scale = self._whiten(value, seen)
        # Rows: the best v_i for each column; what it leaves and v_i itself are stacked, so that
        # products of stacked columns are products in the metric of the row's own covariance.
        row_root, row_volume = _root(private.mT @ private)
        latent = torch.cholesky_solve(private.mT @ columns, row_root)
        stacked = torch.cat([columns - private @ latent, latent], 1)  # (P, m + Q, R + S)
        factor, residual = stacked.split([rank, columns.shape[-1] - rank], -1)
        # Scenes: the best z, (B, R, S), and what it leaves.
        gram, load = self._sum_by_scene(factor.mT @ stacked).split([rank, residual.shape[-1]], -1)
        scene_root, scene_volume = _root(gram)
        z = torch.cholesky_solve(load, scene_root)
        rest = residual - factor @ z.index_select(0, self.scene)
        cells = seen.sum((1, 2)).to(log_scale.dtype)
        row_volume = row_volume + 2 * log_scale + cells * math.log(2 * math.pi)
        per_scene = self._sum_by_scene(rest.square().sum(1) + row_volume[:, None])
        per_scene = per_scene + z.square().sum(1) + scene_volume[:, None]
        out = torch.promote_types(value.dtype, self.loc.dtype)
        return (-0.5 * per_scene).mT.reshape(*shape, self.n_scenes).to(out)

    def _quantile(self, level: Tensor) -> Tensor:
        return self.loc + self.stddev * torch.special.ndtri(level).to(self.loc)

    def _affine(self, loc: Tensor, scale: Tensor) -> LowRankNormal:
        each = scale * torch.ones_like(self.loc)
        shared, private = (each[..., None] * factor for factor in self._factors)
        moved = (loc + scale * self.loc, scale.abs() * self.scale, shared, private)
        return LowRankNormal(*moved, self.scene, self.n_scenes, self._validate_args)

    def rows(self, index: Tensor) -> LowRankNormal:
        """As `SceneDistribution.rows`."""
        shared, private = (factor[index] for factor in self._factors)
        kept = (self.loc[index], self.scale[index], shared, private, self.scene[index])
        return LowRankNormal(*kept, self.n_scenes, self._validate_args)

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`."""
        rows = self._rows_of(scene_index)
        shared, private = (factor[rows].flatten(1, 2) for factor in self._factors)
        own = private @ private.mT + self.scale[rows].flatten(1).square().diag_embed()
        i = torch.arange(len(rows), device=rows.device)
        blocks = torch.einsum("iar,jbr->ijab", shared, shared).index_put((i, i), own, True)
        return blocks.transpose(1, 2).flatten(0, 1).flatten(1)

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`, without the dense covariance."""
        rows = self._rows_of(scene_index)
        shared = self.scene_factor[rows].flatten(1)
        own = self.variance[rows].flatten(1).sum(1)
        across = shared @ shared.mT / (own[:, None] * own).sqrt()
        return across - across.diag().diag() + torch.ones_like(own).diag()


def _root(gram: Tensor) -> tuple[Tensor, Tensor]:
    """(..., n, n) -> Cholesky factor of I + gram, and its log determinant (...,)."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    root = torch.linalg.cholesky(gram + eye)
    return root, 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
