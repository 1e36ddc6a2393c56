"""What is left to rows whose slow errors are shared, and the roots that make errors white."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from hierforecast._waiting import at_hand
from hierforecast.distributions.checks import everything, is_everything
from hierforecast.distributions.noise import RowNoise
from hierforecast.distributions.roots import cholesky
from hierforecast.distributions.sums import Sums
from hierforecast.distributions.whole import WholeNoise


class CoupledNoise(RowNoise):
    """What is left to each row of errors whose slow components are shared, see `CoupledNormal`.

    x = L S^-1 (u + S M e), with L a root of the covariance of the whole row by itself, and
    M = I + F (rest - I) F', the same for each target.

    Args:
        inner: the noise of each row, nothing of it certain.
        own: (P, H, D, Q), loads of latents of each row itself, as shocks of the noise.
        rest: (P, K, K), lower triangular, what is left of the K slow components.
        basis: (P, H, D, D, K), F: orthonormal columns, of K components for each target.
        scale: (P, H, D), S: the unit of u.
    """

    def __init__(
        self, inner: RowNoise, own: Tensor, rest: Tensor, basis: Tensor, scale: Tensor
    ) -> None:
        self.inner, self.own, self.rest, self.basis, self.scale = inner, own, rest, basis, scale

    @property
    def _local(self) -> Tensor:
        return local_loads(self.inner, self.own)

    @cached_property
    def _root(self) -> Tensor:
        """L (P, H * D, H * D)."""
        cells = math.prod(self.scale.shape[1:])
        eye = torch.eye(cells, dtype=self.own.dtype, device=self.own.device)
        local = rooted(self._local, eye.expand(len(self.own), -1, -1))
        local = local.unflatten(1, self.scale.shape[1:])
        return self.inner.carry(self.inner.scale[..., None] * local).flatten(1, 2)

    @cached_property
    def _whole(self) -> Tensor:
        """L M (P, H * D, H * D), a root of the covariance."""
        basis = self.basis.flatten(1, 2)  # (P, H * D, D, K)
        less = torch.einsum("piek,pkl->piel", basis, self.rest - self._eye)
        return self._root + self._root @ less.flatten(2) @ basis.flatten(2).mT

    @property
    def _eye(self) -> Tensor:
        return torch.eye(self.rest.shape[-1], dtype=self.rest.dtype, device=self.rest.device)

    def carry(self, shocks: Tensor) -> Tensor:
        """See `RowNoise`."""
        white = shocks / self.scale[..., None]
        return (self._root @ white.flatten(1, 2)).unflatten(1, white.shape[1:3])

    def draw(self, shocks: Tensor, white: Tensor) -> Tensor:
        """See `RowNoise`."""
        slow = torch.einsum("phdek,...phd->...pke", self.basis, white)
        slow = (self.rest - self._eye) @ slow
        white = white + torch.einsum("phdek,...pke->...phd", self.basis, slow)
        flat = (white + shocks / self.scale).flatten(-2)
        return torch.einsum("pij,...pj->...pi", self._root, flat).reshape(white.shape)

    def whiten(self, shocks: Tensor, errors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowNoise`: of rows that are seen whole components are known, others are filtered."""
        if is_everything(seen):
            return self._whitened(shocks, errors)
        gaps = ~seen.all(2).all(1)
        if not at_hand(seen) or bool(gaps.all()):
            return self._filtered(shocks, errors, seen)
        white, volume = self._whitened(shocks, torch.where(gaps[:, None, None, None], 0, errors))
        if bool(gaps.any()):
            some = self.change(lambda x: x[gaps])
            filtered = some._filtered(shocks[gaps], errors[gaps], seen[gaps])
            white, volume = (
                x.index_put((gaps,), y) for x, y in zip((white, volume), filtered, strict=True)
            )
        return white, volume

    def _whitened(self, shocks: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
        """M^-1 of shocks and errors (P, H, D, C) that are white but for what is shared."""
        white, volume = self.alone(errors)
        columns = torch.cat([shocks / self.scale[..., None], white], -1)
        slow = torch.einsum("phdek,phdc->pkec", self.basis, columns)
        less = torch.linalg.solve_triangular(self.rest, slow.flatten(2), upper=False)
        less = less.unflatten(2, slow.shape[2:]) - slow
        columns = columns + torch.einsum("phdek,pkec->phdc", self.basis, less)
        shared = self.rest.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return columns, volume + errors.shape[2] * shared

    def _filtered(self, shocks: Tensor, errors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """White by the inner noise, then less own latents, plus what is shared."""
        inner, eye = self.inner, self._eye
        # The shared part of unit white errors, a column for each component and target.
        left = cholesky(eye - self.rest @ self.rest.mT)
        slow = torch.einsum("phdek,pkj->phdej", self.basis, left).flatten(3)
        white = torch.cat([slow, shocks / self.scale[..., None]], -1).flatten(1, 2)
        white = rooted(self._local, white).unflatten(1, seen.shape[1:])
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
        own, basis = factor[..., None] * self.own, factor.sign()[..., None, None] * self.basis
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


def local_loads(noise: RowNoise, own: Tensor) -> Tensor:
    """A (P, H * D, Q), own loads (P, H, D, Q) in units of the noise."""
    return (own / noise.scale[..., None]).flatten(1, 2)


def rooted(own: Tensor, white: Tensor, transposed: bool = False) -> Tensor:
    """White errors (P, H * D, C) times the root of I + A A', the inverse of `_without`.

    It is I + A (I + B)^-1 A', B B' = I + A' A: X = (I + B')^-1 solves X + X' + X' (A' A) X = I.
    """
    eye = torch.eye(own.shape[2], dtype=own.dtype, device=own.device)
    root = eye + cholesky(eye + own.mT @ own)
    root = root.mT if transposed else root
    return white + own @ torch.linalg.solve_triangular(root, own.mT @ white, upper=transposed)


def _without(columns: Tensor, own: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """Columns (P, m, c) made white of covariance I - sign * A A', A (P, m, Q); log volume (P,).

    The inverse of a root is I + sign * A (B (I + B'))^-1 A', with B B' = I - sign * A' A.
    """
    eye = torch.eye(own.shape[-1], dtype=own.dtype, device=own.device)
    root = cholesky(eye - sign * own.mT @ own)
    part = torch.linalg.solve_triangular(root, own.mT @ columns, upper=False)
    part = torch.linalg.solve_triangular(eye + root.mT, part, upper=True)
    return columns + sign * own @ part, root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
