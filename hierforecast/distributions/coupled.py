"""Shocks of several rows that come together: the slow part of their errors is joint.

Errors of two players a step ahead hardly correlate, but how two players drift apart over a second
does. So only the first K components of a row's shocks along time are shared out, and what each row
does by itself is left exactly as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hierforecast.distributions.base import no_autocast
from hierforecast.distributions.noise import RowNoise, whiten_cells

# Share of a coupled shock that stays a row's own, so that the joint covariance has an inverse.
_OWN = 1e-3


class CoupledNoise(RowNoise):
    """What is left to each row of shocks whose slow components are shared, see `couple`.

    x = T (u + S M e), M = I + F' (rest - I) F for each row and target.

    Args:
        inner: T and S, the noise of each row by itself.
        rest: (P, K, K), lower triangular, what is left of the K slow components.
        basis: (P, H, D, K), F: orthonormal along the steps.
    """

    def __init__(self, inner: RowNoise, rest: Tensor, basis: Tensor) -> None:
        self.inner, self.rest, self.basis = inner, rest, basis

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """See `RowNoise`."""
        return self.inner.scale

    def carry(self, shocks: Tensor) -> Tensor:
        """See `RowNoise`."""
        return self.inner.carry(shocks)

    def draw(self, shocks: Tensor, white: Tensor) -> Tensor:
        """See `RowNoise`."""
        slow = torch.einsum("phdk,...phd->...pkd", self.basis, white)
        return self.inner.draw(shocks, white + self._shown(self.rest - self._eye, slow))

    def _shown(self, change: Tensor, slow: Tensor) -> Tensor:
        """F' (change) of slow components (*s, P, K, D): (*s, P, H, D)."""
        return torch.einsum("phdk,...pkd->...phd", self.basis, change @ slow)

    def whiten(self, shocks: Tensor, errors: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowNoise`: components of rows seen whole; rows with gaps by their own covariance."""
        gaps = (seen.any((1, 2)) & ~seen.all(2).all(1)).nonzero()[:, 0]
        white, volume = self.inner.whiten(shocks, errors, seen)
        change = torch.linalg.solve_triangular(self.rest, self._eye, upper=False) - self._eye
        slow = torch.einsum("phdk,phdc->pdkc", self.basis, white)
        white = white + torch.einsum("phdk,pdkc->phdc", self.basis, change[:, None] @ slow)
        rest = self.rest.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        volume = volume + torch.where(seen.any((1, 2)), seen.shape[-1] * rest, 0)
        if len(gaps):
            some = self.change(lambda x: x[gaps])
            columns = torch.cat([some.carry(shocks[gaps]), errors[gaps]], -1)
            own, log_scale = whiten_cells(some.covariance, columns, seen[gaps])
            white, volume = white.index_copy(0, gaps, own), volume.index_copy(0, gaps, log_scale)
        return white, volume

    @property
    def variance(self) -> Tensor:
        """See `RowNoise`."""
        return self._root.square().sum(-1).movedim(1, 2)

    @property
    def covariance(self) -> Tensor:
        """See `RowNoise`."""
        root = self._root
        return root @ root.mT

    def change(self, parameter: Callable[[Tensor], Tensor]) -> CoupledNoise:
        """See `RowNoise`."""
        parts = parameter(self.rest), parameter(self.basis)
        return CoupledNoise(self.inner.change(parameter), *parts)

    def times(self, factor: Tensor) -> CoupledNoise:
        """See `RowNoise`: shocks that change their sign do so in the components too."""
        basis = self.basis * factor.sign()[..., None]
        return CoupledNoise(self.inner.times(factor), self.rest, basis)

    @property
    def _eye(self) -> Tensor:
        return torch.eye(self.rest.shape[-1], dtype=self.rest.dtype, device=self.rest.device)

    @property
    def _root(self) -> Tensor:
        """T S M (P, D, H, H), a root of the covariance."""
        shocks = self.scale.movedim(1, 2).diag_embed().movedim(1, 2)  # (P, H, D, H)
        root, basis = self.inner.carry(shocks).movedim(1, 2), self.basis.movedim(2, 1)
        return root + root @ basis @ (self.rest - self._eye)[:, None] @ basis.mT


def couple(noise: RowNoise, links: Tensor) -> tuple[Tensor, CoupledNoise]:
    """Share the slow components of the rows' shocks out, and leave each row's own noise as it is.

    Component k of a row's shocks, of each target alike, is a sum over rows j and components l of
    ``links[row, k, j, l]`` times a standard normal number of (j, l), plus a little of its own, all
    brought back to unit covariance within the row: one row may lead another. With the identity in
    the place of a row itself, zero links leave rows independent.

    Args:
        noise: of each row by itself, nothing of it certain.
        links: (P, K, N, K), from the N rows of the scene at most, in any order that is one and the
            same for all rows of a scene.

    Returns:
        The loads (P, H, D, N * K * D) of latents shared by the scene, to stand as `scene_factor` of
        a `LowRankNormal`, and the noise that is left.
    """
    with no_autocast(links):
        flat = links.to(noise.scale).flatten(2)  # (P, K, N * K)
        eye = torch.eye(flat.shape[1], dtype=flat.dtype, device=flat.device)
        root = torch.linalg.cholesky(flat @ flat.mT + _OWN * eye)
        flat = torch.linalg.solve_triangular(root, flat, upper=False)
        rest = math.sqrt(_OWN) * torch.linalg.solve_triangular(root, eye, upper=False)
        basis = cosines(flat.shape[1], noise.scale.shape[1]).to(flat)
        slow = torch.einsum("kh,pkn->phn", basis, flat)
        targets = torch.eye(noise.scale.shape[2], dtype=flat.dtype, device=flat.device)
        loads = noise.scale[..., None, None] * torch.einsum("phn,de->phdne", slow, targets)
    cells = basis.T[:, None].expand(*noise.scale.shape, -1)
    return loads.flatten(3), CoupledNoise(noise, rest, cells)


def cosines(count: int, steps: int) -> Tensor:
    """The first rows (K, H) of the orthonormal discrete cosine transform (its second type)."""
    step = torch.arange(steps, dtype=torch.float64) + 0.5
    order = torch.arange(count, dtype=torch.float64)[:, None]
    basis = torch.cos(math.pi / steps * order * step)
    return basis / basis.square().sum(1, keepdim=True).sqrt()
