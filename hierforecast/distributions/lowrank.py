"""The joint Gaussian of a scene: latents of the scene, of its groups and of each row, and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from hierforecast._random import filled
from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.checks import check_parameters
from hierforecast.distributions.conditionals import White, given_others
from hierforecast.distributions.latents import Found, Latents, Piece, check_nested, infer
from hierforecast.distributions.noise import DiagonalNoise, RowNoise, to_dtype
from hierforecast.distributions.places import GroupFactor, how_many
from hierforecast.distributions.precision import no_autocast, promote
from hierforecast.distributions.sums import Sums, root_of
from hierforecast.distributions.totals import coherent, total


class LowRankNormal(SceneDistribution):
    """Joint Gaussian of a scene: factors of its latents, on every level of a hierarchy, and noise.

    Row i of a scene, flattened over steps and targets to m = H*D cells, is

        y_i = loc_i + T_i (W_i z + sum_l G_li u_l,g(i) + V_i v_i + S_i e_i),

    of standard normal z (R) common to the scene, u_l,g (R_l) common to a group g of level l, v_i
    (Q) private to the row (a trajectory's own correlation over steps and targets), S_i =
    diag(scale_i), and T_i what the noise says of the dependence along time: the identity for a
    plain `scale`, see `RowNoise` for others. Every parameter belongs to one row, so permuting rows
    permutes the distribution, and dropping rows or cells marginalises exactly.

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
        validate_args: check values (not only shapes); None: as `SceneDistribution`.
        group_factors: of each level of groups, fine to coarse, G (P, H, D, R_l), the group of each
            row, (P,) int64 from 0, within one of the next level or scene, and how many if known.
        scene_mix: (P, C, R), where the latents of a scene are many and move a row in few ways: its
            part of W is ``scene_factor @ scene_mix``, of a factor (P, H, D, C). None for none.
        most: rows of a scene at most, for the mix; None: they are counted.

    Raises:
        ValueError: if shapes do not fit, a parameter is not finite, a scale is not positive, or
            groups are not nested.
    """

    has_rsample = has_conditionals = True

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor | RowNoise,
        scene_factor: Tensor,
        series_factor: Tensor | None,
        scene: Tensor,
        n_scenes: int,
        validate_args: bool | None = None,
        group_factors: Sequence[GroupFactor] = (),
        scene_mix: Tensor | None = None,
        most: int | None = None,
    ) -> None:
        noise = scale if isinstance(scale, RowNoise) else DiagonalNoise(scale)
        if series_factor is None:
            series_factor = scene_factor[..., :0]
        of_groups = [factor for factor, *_ in group_factors]
        cast = promote(loc, noise.scale, scene_factor, series_factor, *of_groups)
        self.loc, _, self.scene_factor, self.series_factor, *of_groups = cast
        self.noise = noise.change(to_dtype(self.loc.dtype))
        if loc.ndim != 3:
            raise ValueError(f"loc must be (P, H, D), got {tuple(loc.shape)}")
        super().__init__(scene, n_scenes, loc.shape[1], loc.shape[2], validate_args)
        named = {x: getattr(self, x) for x in ("loc", "scale", "scene_factor", "series_factor")}
        named |= {f"group_factors[{i}]": factor for i, factor in enumerate(of_groups)}
        check_parameters(named, self.event_shape, self._validate_args)
        certain = 0 if self.noise.known is None else self.noise.known
        if self._validate_args and bool(((self.scale <= 0) > certain).any()):
            raise ValueError("scale must be > 0: end the head in a softplus plus a small floor")
        scenes = self.scene_factor, scene, self.n_scenes
        self.levels = (
            Latents(self.series_factor, None, len(scene)),
            *(
                Latents(factor, group, count[0] if count else how_many(group))
                for factor, (_, group, *count) in zip(of_groups, group_factors, strict=True)
            ),
            Latents.mixed(*scenes, scene_mix, bool(of_groups), most),
        )
        check_nested(self.levels[1:], len(scene), self._validate_args)

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
        """(P, H, D): noise, and the latents of all levels together."""
        return self._spread() if torch.is_grad_enabled() else self._once

    def _spread(self) -> Tensor:
        return self.noise.variance + sum(x.variance for x in self.loadings)

    # A quantile of a mixture asks many times; without gradients only.
    _once = cached_property(_spread)

    @property
    def loadings(self) -> tuple[Latents, ...]:
        """The levels, fine to coarse, with what a latent moves in each cell, along time too."""
        each = [level.factor for level in self.levels]
        carried = self.noise.carry(torch.cat(each, -1)).split([x.shape[-1] for x in each], -1)
        return tuple(replace(x, factor=y) for x, y in zip(self.levels, carried, strict=True))

    def _with(self, loc: Tensor, noise: RowNoise, levels: Sequence[Latents]) -> LowRankNormal:
        """The same scenes with other parameters, as many levels as there are here."""
        series, *groups, scene = levels
        assert scene.owner is not None
        return LowRankNormal(
            loc, noise, scene.factor, series.factor, scene.owner, self.n_scenes,
            self._validate_args,
            [(x.factor, x.owner, x.count) for x in groups if x.owner is not None],
            scene.mix, scene.most,
        )  # fmt: skip

    def _draw(self, shape: torch.Size) -> Tensor:
        with no_autocast(self.loc):
            first, *finer = (level.draw(shape, self.scene) for level in reversed(self.levels))
            sizes = self._extended_shape(shape)
            white = filled(Tensor.normal_, self.loc, sizes, self.scene, -3)
            return self.loc + self.noise.draw(sum(finer, first), white)

    def _whiten(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Loads of all levels and the residuals, whitened by the noise, and its log volume (P,).

        (P, m, C): a cell that is not seen gets zeros and volume 1, it adds nothing.
        """
        work = to_dtype(torch.float32 if self.loc.is_mps else torch.float64)  # mps has no float64
        residual = torch.where(seen, work(value) - work(self.loc), 0)
        residual = residual.reshape(math.prod(value.shape[:-3]), *seen.shape).movedim(0, -1)
        shocks = torch.cat([work(level.factor) for level in self.levels], -1)
        columns, volume = self.noise.change(work).whiten(shocks, residual, seen)
        return columns.flatten(1, 2), volume

    def _infer(self, value: Tensor, seen: Tensor) -> tuple[list[Piece], list[Found]]:
        """What the seen cells of values (*s, P, H, D) say of the latents, see `infer`."""
        columns, volume = self._whiten(value, seen)
        return infer(columns, 2 * volume, self.levels)

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        """With the latents at their optimum, a sum of squares: no large numbers are subtracted.

        The Mahalanobis term is |remaining residual|^2 + |all latents|^2.
        """
        seen = self.noise.uncertain(seen)
        (*pieces, scenes), _ = self._infer(value, seen)
        each = [self.levels[-1].add(piece.energy, piece.row) for piece in pieces]
        cells = self._sum_by_scene(seen.sum((1, 2))).to(scenes.volume.dtype)
        per_scene = sum(each, scenes.energy) + cells[:, None] * math.log(2 * math.pi)
        out = torch.promote_types(value.dtype, self.loc.dtype)
        return (-0.5 * per_scene).mT.reshape(*value.shape[:-3], self.n_scenes).to(out)

    def _conditional_log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        white = self.given_others(value, seen)
        return white.steps(self.noise.uncertain(seen))[0].to(self.loc)

    def given_others(self, value: Tensor, seen: Tensor) -> White:
        """Errors of values (*s, P, H, D), each row given all others; see `White`."""
        seen = self.noise.uncertain(seen)
        (rows, *_), found = self._infer(value, seen)
        noise = self.noise.change(to_dtype(rows.columns.dtype))
        return given_others(rows.columns, found, self.levels, noise, seen)

    def _condition(self, value: Tensor, seen: Tensor) -> LowRankNormal:
        moved, left = self._given(value[None], seen)
        return self._with(torch.where(seen, value, self.loc + moved[0]), *left)

    def stretched(self, factor: Tensor) -> LowRankNormal:
        """The same about the same mean, all deviations times a factor (B,) of their scene."""
        return self._times(self.loc, factor.to(self.loc)[self.scene, None, None])

    def _times(self, loc: Tensor, each: Tensor) -> LowRankNormal:
        """About another loc, deviations times a factor broadcastable to (P, H, D)."""
        levels = [replace(x, factor=each[..., None] * x.factor) for x in self.levels]
        return self._with(loc, self.noise.times(each), levels)

    def _given(self, value: Tensor, seen: Tensor) -> tuple[Tensor, tuple[RowNoise, list[Latents]]]:
        """How the mean moves (S, P, H, D) once cells are seen, and the noise and latents left.

        Args:
            value: (S, P, H, D), where seen.
            seen: (P, H, D).
        """
        fresh = self.noise.uncertain(seen)
        _, found = self._infer(value, fresh)
        work = to_dtype(found[0].best.dtype)
        noise, predict = self.noise.change(work).given(fresh)
        moved = predict(torch.where(fresh, work(value) - work(self.loc), 0).movedim(0, -1))
        loads = [work(level.factor) for level in self.loadings]
        loads = [load - predict(load) for load in loads]
        left: list[Latents] = []
        # A latent is its best for the residual, less its best for what coarser latents move, and
        # what is left of it: coarser loads lose what this level explains of them.
        while loads:
            load, *coarser = loads
            level = replace(self.levels[len(left)], factor=load)
            best, root, _ = found[len(left)]
            known = level.spread(best).split([*(x.shape[-1] for x in coarser), len(value)], -1)
            *known, explained = (
                torch.einsum("phdr,prc->phdc", load, level.columns(x)) for x in known
            )
            moved = moved + explained
            left.append(level.given(root))
            loads = [x - y for x, y in zip(coarser, known, strict=True)]
        out = to_dtype(self.loc.dtype)
        left = [
            replace(x, factor=out(x.factor), mix=None if x.mix is None else out(x.mix))
            for x in left
        ]
        return out(moved.movedim(-1, 0)), (noise.change(out), left)

    def _aggregate(self, sums: Sums) -> SceneDistribution:
        return coherent(self, sums, self.totals(sums))

    def entangled(self, sums: Sums) -> bool:
        """As `SceneDistribution.entangled`: through latents of a group as well."""
        return sums.overlap or any(total(level, sums).mixed for level in self.levels[1:])

    def totals(self, sums: Sums) -> LowRankNormal:
        """Each total's own distribution; their joint one where they are not entangled.

        The latents of a group remain those of totals within it. What is not common to all rows of
        a total adds up to a covariance over its cells, whose latents are as many at most.
        """
        series, *levels = (total(level, sums) for level in self.loadings)
        own = series.covariance + sum(level.covariance for level in levels)
        factor = (root_of(own) if own.any() else own[..., :0]).unflatten(1, self.event_shape[1:])
        scene = replace(levels[-1].latents, owner=sums.scenes(self.scene))
        kept = replace(series.latents, factor=factor), *(x.latents for x in levels[:-1]), scene
        return self._with(sums.add(self.loc), self.noise.total(sums), kept)

    def _quantile(self, level: Tensor) -> Tensor:
        return self.loc + self.stddev * torch.special.ndtri(level).to(self.loc)

    def _cdf(self, value: Tensor) -> Tensor:
        return torch.special.ndtr((value - self.loc) / self.stddev)

    def _affine(self, loc: Tensor, scale: Tensor) -> LowRankNormal:
        return self._times(loc + scale * self.loc, scale * torch.ones_like(self.loc))

    def rows(self, index: Tensor) -> LowRankNormal:
        """As `SceneDistribution.rows`."""
        noise = self.noise.change(lambda x: x[index])
        *finer, scene = self.levels
        whole = scene.take(index, self.scene[index], self.n_scenes)
        return self._with(self.loc[index], noise, [*(x.rows(index) for x in finer), whole])

    def covariance(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.covariance`."""
        rows = self._rows_of(scene_index)
        own = self.noise.change(lambda x: x[rows]).dense
        blocks = own.new_zeros(len(rows), *own.shape).movedim(1, 0)
        i = torch.arange(len(rows), device=rows.device)
        blocks = blocks.index_put((i, i), own)
        for level in self.loadings:
            load = level.whole[rows].flatten(1, 2)
            common = torch.einsum("iar,jbr->ijab", load, load)
            blocks = blocks + level.shared(rows)[..., None, None] * common
        return blocks.transpose(1, 2).flatten(0, 1).flatten(1)

    def series_correlation(self, scene_index: int) -> Tensor:
        """As `SceneDistribution.series_correlation`, without the dense covariance."""
        rows = self._rows_of(scene_index)
        own = self.variance[rows].flatten(1).sum(1)
        across = self.common(rows) / (own[:, None] * own).sqrt()
        return across - across.diag().diag() + torch.ones_like(own).diag()

    def common(self, rows: Tensor) -> Tensor:
        """(n, n), covariance of like cells of rows (n,) of a scene, through latents of several."""
        across = self.loc.new_zeros(len(rows), len(rows))
        for level in self.loadings[1:]:
            load = level.whole[rows].flatten(1)
            across = across + level.shared(rows) * (load @ load.mT)
        return across
