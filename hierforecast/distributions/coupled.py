"""Rows whose errors come together: their slow part is joint, each row's own distribution is kept.

Errors of two players a step ahead hardly correlate, but how two players drift apart over a second
does. So errors are made white row by row, and only the first K components of these along time are
shared out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hierforecast._waiting import at_hand
from hierforecast.distributions.checks import everything, is_everything
from hierforecast.distributions.lowrank import LowRankNormal
from hierforecast.distributions.noise import RowNoise, to_dtype
from hierforecast.distributions.precision import no_autocast, promote
from hierforecast.distributions.roots import cholesky
from hierforecast.distributions.sums import Sums
from hierforecast.distributions.whole import WholeNoise

# Share of a coupled component that stays a row's own, so that the joint covariance has an inverse.
_OWN = 1e-2


class CoupledNoise(RowNoise):
    """What is left to each row of errors whose slow components are shared, see `CoupledNormal`.

    x = L S^-1 (u + S M e), with L a root of the covariance of the whole row by itself, and
    M = I + F (rest - I) F' for each target.

    Args:
        inner: the noise of each row, nothing of it certain.
        own: (P, H, D, Q), loads of latents of each row itself, as shocks of the noise.
        rest: (P, K, K), lower triangular, what is left of the K slow components.
        basis: (P, H, D, K), F: orthonormal along the steps.
        scale: (P, H, D), S: the unit of u.
    """

    def __init__(
        self, inner: RowNoise, own: Tensor, rest: Tensor, basis: Tensor, scale: Tensor
    ) -> None:
        self.inner, self.own, self.rest, self.basis, self.scale = inner, own, rest, basis, scale

    @property
    def _local(self) -> Tensor:
        """A (P, H * D, Q), own loads in units of the noise."""
        return (self.own / self.inner.scale[..., None]).flatten(1, 2)

    def _rooted(self, white: Tensor) -> Tensor:
        """White errors (P, H * D, C) times the root of I + A A', the inverse of `_without`.

        It is I + A (I + B)^-1 A', B B' = I + A' A: X = (I + B')^-1 solves X + X' + X' (A' A) X = I.
        """
        own = self._local
        eye = torch.eye(own.shape[2], dtype=own.dtype, device=own.device)
        root = cholesky(eye + own.mT @ own)
        return white + own @ torch.linalg.solve_triangular(eye + root, own.mT @ white, upper=False)

    @cached_property
    def _root(self) -> Tensor:
        """L (P, H * D, H * D)."""
        cells = math.prod(self.scale.shape[1:])
        eye = torch.eye(cells, dtype=self.own.dtype, device=self.own.device)
        local = self._rooted(eye.expand(len(self.own), -1, -1)).unflatten(1, self.scale.shape[1:])
        return self.inner.carry(self.inner.scale[..., None] * local).flatten(1, 2)

    @cached_property
    def _whole(self) -> Tensor:
        """L M (P, H * D, H * D), a root of the covariance."""
        basis = self.basis.movedim(1, 2)  # (P, D, H, K)
        mixed = basis @ (self.rest - self._eye)[:, None] @ basis.mT
        targets = torch.eye(mixed.shape[1], dtype=mixed.dtype, device=mixed.device)
        mixed = torch.einsum("pdij,de->pidje", mixed, targets).flatten(3).flatten(1, 2)
        return self._root + self._root @ mixed

    @property
    def _eye(self) -> Tensor:
        return torch.eye(self.rest.shape[-1], dtype=self.rest.dtype, device=self.rest.device)

    def carry(self, shocks: Tensor) -> Tensor:
        """See `RowNoise`."""
        white = shocks / self.scale[..., None]
        return (self._root @ white.flatten(1, 2)).unflatten(1, white.shape[1:3])

    def draw(self, shocks: Tensor, white: Tensor) -> Tensor:
        """See `RowNoise`."""
        slow = torch.einsum("phdk,...phd->...pkd", self.basis, white)
        slow = (self.rest - self._eye) @ slow
        white = white + torch.einsum("phdk,...pkd->...phd", self.basis, slow)
        flat = (white + shocks / self.scale).flatten(-2)
        return torch.einsum("pij,...pj->...pi", self._root, flat).reshape(white.shape)

    def whiten(self, shocks: Tensor, errors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowNoise`: white by the inner noise, then less own latents, plus what is shared."""
        inner, eye = self.inner, self._eye
        # The shared part of unit white errors, a column for each component and target.
        left = cholesky(eye - self.rest @ self.rest.mT)
        targets = torch.eye(seen.shape[2], dtype=eye.dtype, device=eye.device)
        slow = torch.einsum("phdk,pkj,de->phdej", self.basis, left, targets).flatten(3)
        white = torch.cat([slow, shocks / self.scale[..., None]], -1).flatten(1, 2)
        white = self._rooted(white).unflatten(1, seen.shape[1:])
        columns = torch.cat([self.own, inner.scale[..., None] * white], -1)
        columns, volume = inner.whiten(columns, errors, seen)
        own, columns = columns.flatten(1, 2).tensor_split((self.own.shape[-1],), -1)
        columns, more = _without(columns, own, -1)
        slow, columns = columns.tensor_split((slow.shape[-1],), -1)
        columns, less = _without(columns, slow, 1)
        return columns.unflatten(1, seen.shape[1:]), volume + more + less

    def alone(self, errors: Tensor) -> tuple[Tensor, Tensor]:
        """Errors (P, H, D, C) made white row by row, without what is shared; log volume (P,)."""
        every = everything(self.scale, self.scale.shape)
        white, volume = self.inner.whiten(errors[..., :0], errors, every)
        white, more = _without(white.flatten(1, 2), self._local, -1)
        return white.unflatten(1, errors.shape[1:3]), volume + more

    @property
    def variance(self) -> Tensor:
        """See `RowNoise`."""
        return self._whole.square().sum(-1).unflatten(1, self.scale.shape[1:])

    @property
    def dense(self) -> Tensor:
        """See `RowNoise`."""
        return self._whole @ self._whole.mT

    def change(self, parameter: Callable[[Tensor], Tensor]) -> CoupledNoise:
        """See `RowNoise`."""
        parts = (parameter(x) for x in (self.own, self.rest, self.basis, self.scale))
        return CoupledNoise(self.inner.change(parameter), *parts)

    def times(self, factor: Tensor) -> CoupledNoise:
        """See `RowNoise`: shocks that change their sign do so in the components too."""
        own, basis = factor[..., None] * self.own, factor.sign()[..., None] * self.basis
        return CoupledNoise(
            self.inner.times(factor), own, self.rest, basis, factor.abs() * self.scale
        )

    def _alone(self) -> WholeNoise:
        return WholeNoise.of(cholesky(self.dense), self.scale.shape[-1])

    def total(self, sums: Sums) -> WholeNoise:
        """See `RowNoise`."""
        return self._alone().total(sums)

    def given(self, known: Tensor) -> tuple[RowNoise, Callable[[Tensor], Tensor]]:
        """See `RowNoise`."""
        return self._alone().given(known)


def _without(columns: Tensor, own: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """Columns (P, m, c) made white of covariance I - sign * A A', A (P, m, Q); log volume (P,).

    The inverse of a root is I + sign * A (B (I + B'))^-1 A', with B B' = I - sign * A' A.
    """
    eye = torch.eye(own.shape[-1], dtype=own.dtype, device=own.device)
    root = cholesky(eye - sign * own.mT @ own)
    part = torch.linalg.solve_triangular(root, own.mT @ columns, upper=False)
    part = torch.linalg.solve_triangular(eye + root.mT, part, upper=True)
    return columns + sign * own @ part, root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class CoupledNormal(LowRankNormal):
    """Joint Gaussian whose rows share the slow components of their errors, pair by pair.

    A row's errors are made white by the Cholesky factor of their covariance. Component k of them
    along time (discrete cosine transform), of each target alike, is a sum over rows j and
    components l of ``links[row, k, j, l]`` times a standard normal number of (j, l), plus a little
    of its own, all brought back to unit covariance within the row: one row may lead another, and
    the distribution of a row by itself is what it was. With the identity in the place of a row
    itself, zero links leave rows independent.

    The numbers (j, l) are latents of the scene: margins, conditions and totals are `LowRankNormal`.
    Where rows are seen whole or not at all, the likelihood takes n * K dimensions a scene only.

    Args:
        loc: (P, H, D), mean.
        noise: of each row, nothing of it certain.
        own: (P, H, D, Q), loads of latents of each row itself, as shocks of the noise.
        links: (P, K, N, K), K at most H, from the N rows of the scene at most, whose order is one
            and the same for all rows of a scene.
        scene: (P,) int64, the scene of each row.
        n_scenes: B.
        validate_args: check values (not only shapes); None: as `SceneDistribution`.
    """

    def __init__(
        self,
        loc: Tensor,
        noise: RowNoise,
        own: Tensor,
        links: Tensor,
        scene: Tensor,
        n_scenes: int,
        validate_args: bool | None = None,
    ) -> None:
        loc, own, self.links = promote(loc, own, links)
        with no_autocast(links):
            flat, root = self._flat(self.links)
            eye = math.sqrt(_OWN) * torch.eye(links.shape[1], dtype=root.dtype, device=root.device)
            mix, rest = (
                torch.linalg.solve_triangular(root, x, upper=False)
                for x in (flat, eye.expand_as(root))
            )
            basis = cosines(links.shape[1], loc.shape[1], loc)
            targets = torch.eye(loc.shape[2], dtype=loc.dtype, device=loc.device)
            loads = torch.einsum("kh,de->hdek", basis, targets).flatten(2)
            mix = torch.einsum("pkn,de->pdken", mix, targets).flatten(1, 2).flatten(2)
        cells = basis.T[:, None].expand(*loc.shape, -1)
        left = CoupledNoise(noise, own, rest, cells, torch.ones_like(loc))
        loads = loads.expand(len(loc), -1, -1, -1)
        super().__init__(
            loc, left, loads, None, scene, n_scenes, validate_args,
            scene_mix=mix, most=links.shape[2],
        )  # fmt: skip

    @classmethod
    def of(cls, apart: LowRankNormal, links: Tensor) -> CoupledNormal:
        """Links between the rows of a distribution that has no latents of groups or scenes."""
        series, *others = apart.levels
        if any(level.rank for level in others):
            raise ValueError("rows that are linked have no other latents in common: give none")
        rows = apart.scene, apart.n_scenes, apart._validate_args
        return cls(apart.loc, apart.noise, series.factor, links, *rows)

    @staticmethod
    def _flat(links: Tensor) -> tuple[Tensor, Tensor]:
        """Links (P, K, N * K), and the Cholesky factor (P, K, K) of what they add up to."""
        flat = links.flatten(2)
        eye = torch.eye(flat.shape[1], dtype=flat.dtype, device=flat.device)
        return flat, cholesky(flat @ flat.mT + _OWN * eye)

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        """In components: their covariance is that of the links, all others are independent."""
        here = seen.any(2).any(1)
        whole = is_everything(seen)
        if not whole and not (at_hand(seen) and bool((here == seen.all(2).all(1)).all())):
            return super()._log_prob(value, seen)
        work = to_dtype(torch.float32 if self.loc.is_mps else torch.float64)
        error = torch.where(seen, work(value) - work(self.loc), 0)
        error = error.reshape(math.prod(value.shape[:-3]), *seen.shape).movedim(0, -1)
        noise = self.noise.change(work)
        assert isinstance(noise, CoupledNoise)
        white, volume = noise.alone(error)
        slow = torch.einsum("phdk,phds->pkds", noise.basis, white)
        links, root = self._flat(work(self.links))
        apart = white.square().sum((1, 2)) - slow.square().sum((1, 2))
        joint, joint_volume = self._joint(links, root @ slow.flatten(2), here)
        volume = 2 * (volume - seen.shape[2] * root.diagonal(dim1=-2, dim2=-1).log().sum(-1))
        volume = (volume + math.log(2 * math.pi) * seen.shape[1] * seen.shape[2]) * here
        per_scene = self._sum_by_scene(apart + volume[:, None])
        per_scene = per_scene + joint.unflatten(1, (seen.shape[2], -1)).sum(1)
        per_scene = per_scene + seen.shape[2] * joint_volume[:, None]
        out = torch.promote_types(value.dtype, self.loc.dtype)
        return (-0.5 * per_scene).mT.reshape(*value.shape[:-3], self.n_scenes).to(out)

    def _joint(self, links: Tensor, slow: Tensor, here: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distances (B, C) and log determinant (B,) of components before their unit.

        Args:
            links: (P, K, N * K).
            slow: (P, K, C).
            here: (P,), rows that count; the others stand aside with unit covariance.
        """
        scenes = self.levels[-1]
        one = here[:, None, None].to(links)
        flat, slow, own = scenes.stacked(
            links * one, slow, (1 + (_OWN - 1) * one).expand(-1, links.shape[1], 1)
        )
        own = torch.where(own > 0, own, 1).squeeze(-1)
        root = cholesky(flat @ flat.mT + own.diag_embed())
        white = torch.linalg.solve_triangular(root, slow, upper=False)
        return white.square().sum(1), 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def cosines(count: int, steps: int, like: Tensor) -> Tensor:
    """The first rows (K, H) of the orthonormal discrete cosine transform (its second type).

    They are worked out in float64 where a device has it, on that of `like`, and have its dtype.
    """
    wide: Any = {"dtype": torch.float64, "device": "cpu" if like.is_mps else like.device}
    step = torch.arange(steps, **wide) + 0.5
    order = torch.arange(count, **wide)[:, None]
    basis = torch.cos(math.pi / steps * order * step)
    return (basis / basis.square().sum(1, keepdim=True).sqrt()).to(like)
