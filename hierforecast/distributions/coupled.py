"""Rows whose errors come together: their slow part is joint, each row's own distribution is kept.

Errors of two players a step ahead hardly correlate, but how two players drift apart over a second
does. So errors are made white row by row, and only K components of these are shared out: those that
say where a row is at K instants.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hierforecast._waiting import at_hand
from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.checks import is_everything
from hierforecast.distributions.coupled_noise import CoupledNoise, local_loads, rooted
from hierforecast.distributions.lowrank import LowRankNormal
from hierforecast.distributions.noise import RowNoise, TargetNoise, to_dtype
from hierforecast.distributions.precision import no_autocast, promote
from hierforecast.distributions.roots import cholesky
from hierforecast.distributions.scene_mixture import SceneMixture

# Share of a coupled component that stays a row's own, so that the joint covariance has an inverse.
_OWN = 1e-2
# How much of the slowest components is added to those of places, all of length one.
_STAND_IN = 1e-3


class CoupledNormal(LowRankNormal):
    """Joint Gaussian whose rows share the slow components of their errors, pair by pair.

    A row's errors are made white by a root of their covariance. Component k of them, of each target
    alike, is a sum over rows j and components l of ``links[row, k, j, l]`` times a standard normal
    number of (j, l), plus a little of its own, all brought back to unit covariance within the row:
    one row may lead another, and the distribution of a row by itself is what it was. With the
    identity in the place of a row itself, zero links leave rows independent.

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
        basis: (P, H, D, D, K), orthonormal columns, the components of each target in errors made
            white; None: the slowest of each target along time (discrete cosine transform).
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
        basis: Tensor | None = None,
    ) -> None:
        loc, own, self.links = promote(loc, own, links)
        with no_autocast(links):
            flat, root = self._flat(self.links)
            eye = math.sqrt(_OWN) * torch.eye(links.shape[1], dtype=root.dtype, device=root.device)
            mix, rest = (
                torch.linalg.solve_triangular(root, x, upper=False)
                for x in (flat, eye.expand_as(root))
            )
            targets = torch.eye(loc.shape[2], dtype=loc.dtype, device=loc.device)
            if basis is None:
                slowest = cosines(links.shape[1], loc.shape[1], loc)
                basis = torch.einsum("kh,de->hdek", slowest, targets).expand(len(loc), *[-1] * 4)
            # Solved columns lie one after the other, which makes the product a slow copy.
            mix = torch.einsum("pkn,de->pdken", mix.contiguous(), targets)
            mix = mix.flatten(1, 2).flatten(2)
        basis = basis.to(loc)
        left = CoupledNoise(noise, own, rest, basis, torch.ones_like(loc))
        super().__init__(
            loc, left, basis.flatten(3), None, scene, n_scenes, validate_args,
            scene_mix=mix, most=links.shape[2],
        )  # fmt: skip

    @classmethod
    def of(cls, apart: LowRankNormal, links: Tensor, places: bool = True) -> CoupledNormal:
        """Links between the rows of a distribution that has no latents of groups or scenes.

        Args:
            apart: it.
            links: see above.
            places: whether components say where rows are at K instants, the last one first; else
                they are the slowest ones along time, which depend on how a covariance is made up.
        """
        series, *others = apart.levels
        if any(level.rank for level in others):
            raise ValueError("rows that are linked have no other latents in common: give none")
        rows = apart.scene, apart.n_scenes, apart._validate_args
        basis = _instants(apart.noise, series.factor, links.shape[1]) if places else None
        return cls(apart.loc, apart.noise, series.factor, links, *rows, basis)

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
        slow = torch.einsum("phdek,phds->pkes", noise.basis, white)
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


def widened(distribution: SceneDistribution, widths: Tensor) -> SceneDistribution:
    """That in which the K components that rows share deviate by widths (P, K) instead of by one.

    Of a `CoupledNormal`, of what became of it in other units, and of a mixture of such; all other
    components and how rows hang together stay as they are. Of no other distribution: it comes back.
    """
    if isinstance(distribution, SceneMixture):
        base = widened(distribution.base, widths[distribution.row_of])
        return distribution._with(base, distribution.logits)
    if not isinstance(distribution, LowRankNormal):
        return distribution
    noise, (*finer, scene) = distribution.noise, distribution.levels
    if not isinstance(noise, CoupledNoise) or scene.mix is None:
        return distribution
    widths = widths.to(distribution.loc)[..., None]
    rest = CoupledNoise(noise.inner, noise.own, widths * noise.rest, noise.basis, noise.scale)
    mix = widths.repeat(1, distribution.event_shape[2], 1) * scene.mix
    return distribution._with(distribution.loc, rest, [*finer, replace(scene, mix=mix)])


def _instants(noise: RowNoise, own: Tensor, count: int) -> Tensor:
    """Components (P, H, D, D, K) of white errors that say where a row is at K instants.

    What the places at earlier instants say beyond those at later ones, and targets beyond those
    before them. Where they say the same but for rounding, the slowest components stand in.
    """
    assert isinstance(noise, TargetNoise)
    steps, targets = noise.scale.shape[1:]
    at = torch.arange(count, 0, -1, device=own.device) * steps // count - 1
    here = (torch.arange(steps, device=own.device)[:, None] == at).to(own)
    shocks = noise.back(here[:, None].expand(*noise.scale.shape, -1))
    places = _of_targets(shocks)
    places = rooted(local_loads(noise, own), places.flatten(3).flatten(1, 2), transposed=True)
    slowest = _of_targets(cosines(count, steps, own).T[:, None].expand(steps, targets, -1))
    places = places / torch.linalg.vector_norm(places, dim=1, keepdim=True)
    columns = places + _STAND_IN * slowest.flatten(2).flatten(0, 1)
    columns = _orthonormal(columns if own.is_mps else columns.double()).to(own)
    return columns.unflatten(1, (steps, targets)).unflatten(3, (count, targets)).mT


def _of_targets(columns: Tensor) -> Tensor:
    """Columns (..., D, K) of each target by itself, among those of all (..., D, K, D)."""
    eye = torch.eye(columns.shape[-2], dtype=columns.dtype, device=columns.device)
    return columns[..., None] * eye[:, None]


def _orthonormal(columns: Tensor) -> Tensor:
    """Orthonormal columns (P, m, c) that span those given, each with those before it.

    By Cholesky factors, for which a GPU is not waited: a first step with a little added, so that
    there is one, and a second that makes up for it (Fukaya et al., arXiv 1809.11085).
    """
    eye = torch.eye(columns.shape[2], dtype=columns.dtype, device=columns.device)
    for little in (torch.finfo(columns.dtype).eps ** 0.625, 0.0):
        root = cholesky(columns.mT @ columns + little * eye)
        columns = torch.linalg.solve_triangular(root.mT, columns, upper=True, left=False)
    return columns.contiguous()  # solved columns lie one after the other


def cosines(count: int, steps: int, like: Tensor) -> Tensor:
    """The first rows (K, H) of the orthonormal discrete cosine transform (its second type).

    They are worked out in float64 where a device has it, on that of `like`, and have its dtype.
    """
    wide: Any = {"dtype": torch.float64, "device": "cpu" if like.is_mps else like.device}
    step = torch.arange(steps, **wide) + 0.5
    order = torch.arange(count, **wide)[:, None]
    basis = torch.cos(math.pi / steps * order * step)
    return (basis / basis.square().sum(1, keepdim=True).sqrt()).to(like)
