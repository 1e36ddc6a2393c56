"""The joint Gaussian of a scene: latents shared by its rows, latents of each row, and noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hierforecast.distributions.base import SceneDistribution, check_finite, no_autocast, promote
from hierforecast.distributions.noise import DiagonalNoise, RowNoise
from hierforecast.distributions.sums import Sums, root_of
from hierforecast.distributions.totals import coherent


class LowRankNormal(SceneDistribution):
    """Joint Gaussian of a scene: factors shared by its rows, factors private to each row, noise.

    Row i of a scene, flattened over steps and targets to m = H*D cells, is

        y_i = loc_i + T_i (W_i z + V_i v_i + S_i e_i),    z ~ N(0, I_R), v_i ~ N(0, I_Q),

    z common to the scene, v_i private to the row (a trajectory's own correlation over steps and
    targets), S_i = diag(scale_i), and T_i what the noise says of the dependence along time: the
    identity for a plain `scale`, see `RowNoise` for others. Every parameter belongs to one row, so
    permuting rows permutes the distribution, and dropping rows or cells marginalises exactly.

    bfloat16 and float16 parameters are cast to float32; the likelihood itself is worked out in
    float64 where the device has it and returned in the parameters' type. In float32 the Cholesky
    factor fails, or its gradients are wrong, once factors become collinear at a small `scale`.

    Args:
        loc: (P, H, D), mean.
        scale: (P, H, D), > 0, standard deviation of independent noise; or a `RowNoise`.
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
        scale: Tensor | RowNoise,
        scene_factor: Tensor,
        series_factor: Tensor | None,
        scene: Tensor,
        n_scenes: int,
        validate_args: bool | None = None,
    ) -> None:
        noise = scale if isinstance(scale, RowNoise) else DiagonalNoise(scale)
        if series_factor is None:
            series_factor = scene_factor[..., :0]
        cast = promote(loc, noise.scale, scene_factor, series_factor)
        self.loc, _, self.scene_factor, self.series_factor = cast
        self.noise = noise.change(_to(self.loc.dtype))
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
        certain = 0 if self.noise.known is None else self.noise.known
        if self._validate_args and bool(((self.scale <= 0) > certain).any()):
            raise ValueError("scale must be > 0: end the head in a softplus plus a small floor")

    @property
    def scale(self) -> Tensor:
        """(P, H, D), that of the noise in each cell."""
        return self.noise.scale

    @property
    def mean(self) -> Tensor:
        """(P, H, D)."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """(P, H, D): noise, private and shared factors together."""
        return self.noise.variance + sum(x.square().sum(-1) for x in self.loadings)

    @property
    def loadings(self) -> tuple[Tensor, Tensor]:
        """(P, H, D, R) and (P, H, D, Q): what a latent moves in each cell, along time too."""
        both = self.noise.carry(torch.cat(self._factors, -1))
        shared, private = both.split([factor.shape[-1] for factor in self._factors], -1)
        return shared, private

    @property
    def _factors(self) -> tuple[Tensor, Tensor]:
        return self.scene_factor, self.series_factor

    def _draw(self, shape: torch.Size) -> Tensor:
        rows = len(self.scene)
        new = self.loc.new_empty
        shared = new(*shape, self.n_scenes, self.scene_factor.shape[-1]).normal_()
        private = new(*shape, rows, self.series_factor.shape[-1]).normal_()
        white = new(*shape, *self.event_shape).normal_()
        with no_autocast(self.loc):
            common = shared.index_select(-2, self.scene)
            y = torch.einsum("phdr,...pr->...phd", self.scene_factor, common)
            y = y + torch.einsum("phdq,...pq->...phd", self.series_factor, private)
            return self.loc + self.noise.draw(y, white)

    def _whiten(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """V (P, m, Q), [W | residual] (P, m, R+S), whitened by the noise, and its log volume (P,).

        A cell that is not seen gets zeros and volume 1: it adds nothing.
        """
        work = _to(torch.float32 if self.loc.is_mps else torch.float64)  # mps has no float64
        residual = torch.where(seen, work(value) - work(self.loc), 0)
        residual = residual.reshape(math.prod(value.shape[:-3]), *seen.shape).movedim(0, -1)
        shocks = torch.cat([work(self.series_factor), work(self.scene_factor)], -1)
        columns, volume = self.noise.change(work).whiten(shocks, residual, seen)
        rank = self.series_factor.shape[-1]
        private, others = columns.flatten(1, 2).tensor_split((rank,), -1)
        return private, others, volume

    def _infer(self, value: Tensor, seen: Tensor) -> _Inferred:
        """What the seen cells say of the latents, by nested Woodbury identities.

        Rows go through Q x Q, scenes through R x R capacitances. Cost O(P m (R + Q)^2).
        """
        rank = self.scene_factor.shape[-1]
        private, columns, volume = self._whiten(value, seen)
        # Rows: the best v_i for each column; what it leaves and v_i itself are stacked, so that
        # products of stacked columns are products in the metric of the row's own covariance.
        row_root = _root(private.mT @ private)
        latent = torch.cholesky_solve(private.mT @ columns, row_root)
        stacked = torch.cat([columns - private @ latent, latent], 1)  # (P, m + Q, R + S)
        factor, residual = stacked.tensor_split((rank,), -1)
        # Scenes: the best z, (B, R, S), and what it leaves.
        gram, load = self._sum_by_scene(factor.mT @ stacked).tensor_split((rank,), -1)
        scene_root = _root(gram)
        z = torch.cholesky_solve(load, scene_root)
        rest = residual - factor @ z.index_select(0, self.scene)
        return _Inferred(latent, row_root, z, scene_root, rest, volume)

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        """With the latents at their optimum, a sum of squares: no large numbers are subtracted.

        The Mahalanobis term is |remaining residual|^2 + |z|^2 + sum |v|^2.
        """
        seen = seen if self.noise.known is None else seen & ~self.noise.known
        found = self._infer(value, seen)
        cells = seen.sum((1, 2)).to(found.volume.dtype)
        volume = _volume(found.row_root) + 2 * found.volume + cells * math.log(2 * math.pi)
        per_scene = self._sum_by_scene(found.rest.square().sum(1) + volume[:, None])
        per_scene = per_scene + found.z.square().sum(1) + _volume(found.scene_root)[:, None]
        out = torch.promote_types(value.dtype, self.loc.dtype)
        return (-0.5 * per_scene).mT.reshape(*value.shape[:-3], self.n_scenes).to(out)

    def _condition(self, value: Tensor, seen: Tensor) -> LowRankNormal:
        moved, left = self._given(value[None], seen)
        loc = torch.where(seen, value, self.loc + moved[0])
        return LowRankNormal(loc, *left, self.scene, self.n_scenes, self._validate_args)

    def stretched(self, factor: Tensor) -> LowRankNormal:
        """The same about the same mean, all deviations times a factor (B,) of their scene."""
        each = factor.to(self.loc)[self.scene, None, None]
        shared, private = (each[..., None] * factor for factor in self._factors)
        left = self.noise.times(each), shared, private
        return LowRankNormal(self.loc, *left, self.scene, self.n_scenes, self._validate_args)

    def _given(self, value: Tensor, seen: Tensor) -> tuple[Tensor, tuple[RowNoise, Tensor, Tensor]]:
        """How the mean moves (S, P, H, D) once cells are seen, and the noise and factors left.

        Args:
            value: (S, P, H, D), where seen.
            seen: (P, H, D).
        """
        fresh = seen if self.noise.known is None else seen & ~self.noise.known
        found = self._infer(value, fresh)
        work = _to(found.z.dtype)
        noise, predict = self.noise.change(work).given(fresh)
        residual = torch.where(fresh, work(value) - work(self.loc), 0).movedim(0, -1)
        shared, private = (work(factor) for factor in self.loadings)
        explained, shared, private = predict(residual), *(x - predict(x) for x in (shared, private))
        # v = latent of the residual - latent of W z + what is left of v; z likewise.
        ours, theirs = found.latent.tensor_split((self.scene_factor.shape[-1],), -1)
        shared = shared - torch.einsum("phdq,pqr->phdr", private, ours)
        moved = explained + torch.einsum("phdq,pqs->phds", private, theirs)
        moved = moved + torch.einsum("phdr,prs->phds", shared, found.z[self.scene])
        shared = _left(shared, found.scene_root[self.scene])
        out = _to(self.loc.dtype)
        left = (noise.change(out), out(shared), out(_left(private, found.row_root)))
        return out(moved.movedim(-1, 0)), left

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        return coherent(self, sums, self.totals(sums))

    def totals(self, sums: Sums) -> LowRankNormal:
        """Each total's own distribution; their joint one where they share no row.

        What rows have for themselves adds up to a covariance over the cells of a total, whose
        latents are as many at most.
        """
        shared, private = self.loadings
        flat = (private[sums.row] * sums.weight.to(private)[:, None, None, None]).flatten(1, 2)
        own = flat.new_zeros(sums.count, *flat.shape[1:2] * 2)
        own = own.index_add(0, sums.total, flat @ flat.mT)
        own = root_of(own).unflatten(1, self.event_shape[1:])
        left = self.noise.total(sums), sums.add(shared), own if flat.shape[-1] else None
        scene = sums.scenes(self.scene)
        return LowRankNormal(sums.add(self.loc), *left, scene, self.n_scenes, self._validate_args)

    def _quantile(self, level: Tensor) -> Tensor:
        return self.loc + self.stddev * torch.special.ndtri(level).to(self.loc)

    def _affine(self, loc: Tensor, scale: Tensor) -> LowRankNormal:
        each = scale * torch.ones_like(self.loc)
        shared, private = (each[..., None] * factor for factor in self._factors)
        moved = (loc + scale * self.loc, self.noise.times(each), shared, private)
        return LowRankNormal(*moved, self.scene, self.n_scenes, self._validate_args)

    def rows(self, index: Tensor) -> LowRankNormal:
        """As `SceneDistribution.rows`."""
        shared, private = (factor[index] for factor in self._factors)
        noise = self.noise.change(lambda x: x[index])
        kept = (self.loc[index], noise, shared, private, self.scene[index])
        return LowRankNormal(*kept, self.n_scenes, self._validate_args)

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`."""
        rows = self._rows_of(scene_index)
        shared, private = (factor[rows].flatten(1, 2) for factor in self.loadings)
        noise = self.noise.change(lambda x: x[rows]).covariance  # (n, D, H, H)
        own = private @ private.mT
        own = own + noise.movedim(1, -1).diag_embed().transpose(2, 3).flatten(3).flatten(1, 2)
        i = torch.arange(len(rows), device=rows.device)
        blocks = torch.einsum("iar,jbr->ijab", shared, shared).index_put((i, i), own, True)
        return blocks.transpose(1, 2).flatten(0, 1).flatten(1)

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`, without the dense covariance."""
        rows = self._rows_of(scene_index)
        shared = self.loadings[0][rows].flatten(1)
        own = self.variance[rows].flatten(1).sum(1)
        across = shared @ shared.mT / (own[:, None] * own).sqrt()
        return across - across.diag().diag() + torch.ones_like(own).diag()


class _Inferred(NamedTuple):
    """What seen cells say of the latents, for R columns of W and S of residuals.

    Attributes:
        latent: (P, Q, R + S), the best v of each row for each column.
        row_root: (P, Q, Q), Cholesky factor of the precision of v.
        z: (B, R, S), the best z.
        scene_root: (B, R, R), Cholesky factor of the precision of z.
        rest: (P, m + Q, S), what they leave of the residuals, and v.
        volume: (P,), log determinant of what whitens the noise.
    """

    latent: Tensor
    row_root: Tensor
    z: Tensor
    scene_root: Tensor
    rest: Tensor
    volume: Tensor


def _root(gram: Tensor) -> Tensor:
    """(..., n, n) -> Cholesky factor of I + gram."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky(gram + eye)


def _volume(root: Tensor) -> Tensor:
    """Log determinant (...,) of the matrix of a Cholesky factor (..., n, n)."""
    return 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _left(loads: Tensor, root: Tensor) -> Tensor:
    """Loads (P, H, D, n) of latents whose precision has the Cholesky factor (P, n, n)."""
    flat = torch.linalg.solve_triangular(root, loads.flatten(1, 2).mT, upper=False)
    return flat.mT.unflatten(1, loads.shape[1:3])


def _to(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """A cast that leaves masks as they are."""
    return lambda x: x if x.dtype == torch.bool else x.to(dtype)
