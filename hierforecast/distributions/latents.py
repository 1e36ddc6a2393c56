"""Latents shared by the rows of a group, on every level of a hierarchy, and their inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from hierforecast.distributions.sums import Sums


@dataclass(frozen=True)
class Latents:
    """Standard normal latents, R for each owner (a series, a group, a scene), and what they move.

    Attributes:
        factor: (P, H, D, R), by how much the owner's latents move each cell of a row.
        owner: (P,) int64, the owner of each row; None: every row is its own.
        count: how many owners there are; some may be without rows.
    """

    factor: Tensor
    owner: Tensor | None
    count: int

    @property
    def rank(self) -> int:
        """R."""
        return self.factor.shape[-1]

    @property
    def member(self) -> Tensor | None:
        """(count,) a row of each owner, 0 where there is none."""
        if self.owner is None:
            return None
        rows = torch.arange(len(self.owner), device=self.owner.device)
        return rows.new_zeros(self.count).scatter_(0, self.owner, rows)

    def of(self, row: Tensor | None) -> Tensor | None:
        """The owner (n,) of rows (n,), None for all of them in order."""
        return self.owner if row is None or self.owner is None else self.owner[row]

    def add(self, x: Tensor, row: Tensor | None = None) -> Tensor:
        """(n, ...) of rows (n,) -> (count, ...): sums over what is of an owner."""
        owner = self.of(row)
        if owner is None:
            return x
        return x.new_zeros(self.count, *x.shape[1:]).index_add(0, owner, x)

    def spread(self, x: Tensor, row: Tensor | None = None) -> Tensor:
        """(count, ...) -> (n, ...): that of its owner for each of rows (n,)."""
        owner = self.of(row)
        return x if owner is None else x.index_select(0, owner)

    def rows(self, index: Tensor) -> Latents:
        """Those of some rows; groups that are left without rows are gone."""
        if self.owner is None:
            return Latents(self.factor[index], None, len(self.factor[index]))
        owners, owner = self.owner[index].unique(return_inverse=True)
        return Latents(self.factor[index], owner, len(owners))

    def shared(self, rows: Tensor) -> Tensor:
        """(n, n) bool, which of some rows (n,) have an owner in common."""
        owner = rows if self.owner is None else self.owner[rows]
        return owner[:, None] == owner

    def draw(self, shape: torch.Size) -> Tensor:
        """What drawn latents add: (*shape, P, H, D)."""
        latents = self.factor.new_empty(*shape, self.count, self.rank).normal_()
        each = latents if self.owner is None else latents.index_select(-2, self.owner)
        return torch.einsum("phdr,...pr->...phd", self.factor, each)

    def given(self, root: Tensor) -> Latents:
        """Those that are left, as standard normal ones, of a precision's Cholesky factors."""
        flat = self.factor.flatten(1, 2).mT
        left = torch.linalg.solve_triangular(self.spread(root), flat, upper=False)
        return replace(self, factor=left.mT.unflatten(1, self.factor.shape[1:3]))


class Piece(NamedTuple):
    """What is known of rows, or of owners of latents: columns, all orthogonal to those of others.

    Attributes:
        columns: (n, k, C).
        volume: (n,), its part of the log determinant of a covariance.
        row: (n,) a row that each belongs to; None: row n itself.
    """

    columns: Tensor
    volume: Tensor
    row: Tensor | None

    @property
    def energy(self) -> Tensor:
        """(n, C), the squared length of each column, and the volume."""
        return self.columns.square().sum(1) + self.volume[:, None]


class Found(NamedTuple):
    """What seen cells say of the latents of a level.

    Attributes:
        best: (count, R, C), the best latents of each owner for every column that is left.
        root: (count, R, R), Cholesky factor of the precision of the latents.
    """

    best: Tensor
    root: Tensor


def infer(
    columns: Tensor, volume: Tensor, levels: Sequence[Latents]
) -> tuple[list[Piece], list[Found]]:
    """The best latents of all levels, by Woodbury identities, one within the other.

    A level takes its own columns off the front, finds the best latents of each owner for all the
    others, and leaves of them what these do not explain. The best latents themselves are pieces
    too: products of all pieces of an owner, added up, are products in the metric of all that was
    eliminated so far, and nothing large is ever subtracted. Cost O(P k C R).

    Args:
        columns: (P, k, C), whitened by the noise: the loads of all levels in their order, and what
            is to be explained.
        volume: (P,), log determinant of the noise.
        levels: fine to coarse; the owners of a level are nested in those of the next.

    Returns:
        The pieces that are left, those of the last level's owners at the end, and what each level
        has found.
    """
    pieces, found = [Piece(columns, volume, None)], []
    for level in levels:
        rank = level.rank
        products = [level.add(x[..., :rank].mT @ x, row) for x, _, row in pieces]
        gram, load = sum(products[1:], products[0]).tensor_split((rank,), -1)
        root = _root(gram)
        best = torch.cholesky_solve(load, root)
        found.append(Found(best, root))
        pieces = [
            Piece(x[..., rank:] - x[..., :rank] @ level.spread(best, row), size, row)
            for x, size, row in pieces
        ]
        own = Piece(best, _volume(root), level.member)
        if level.owner is None:  # one piece is cheaper than two
            (rows,) = pieces
            stacked = torch.cat([rows.columns, own.columns], 1)
            pieces = [Piece(stacked, rows.volume + own.volume, None)]
        else:
            pieces.append(own)
    return pieces, found


class Within(NamedTuple):
    """What becomes of a level's latents in totals.

    Attributes:
        latents: of the totals whose rows have one owner; nothing of the others, each of which is
            an owner of its own.
        covariance: (G, m, m), what the others have of all their owners, over the m cells of a row.
        mixed: whether an owner's latents are in several totals, of which one has other owners too.
    """

    latents: Latents
    covariance: Tensor
    mixed: bool


def total(level: Latents, sums: Sums) -> Within:
    """The latents of totals: those that move all of a total's rows stay what they are."""
    every = torch.arange(len(level.factor), device=sums.row.device)
    owner = (every if level.owner is None else level.owner)[sums.row]
    one = owner.new_zeros(sums.count).scatter_(0, sums.total, owner)
    several = torch.zeros_like(one, dtype=torch.bool)
    several = several.index_fill(0, sums.total[one[sums.total] != owner], True)
    if level.owner is None:
        several = torch.ones_like(several)
    # Loads of each owner in each total.
    pair, place = (sums.total * max(level.count, 1) + owner).unique(return_inverse=True)
    of, owners = pair // max(level.count, 1), pair % max(level.count, 1)
    flat = level.factor[sums.row].flatten(1, 2) * sums.weight.to(level.factor)[:, None, None]
    each = flat.new_zeros(len(pair), *flat.shape[1:]).index_add(0, place, flat)
    apart = several[of]
    own = each[apart] @ each[apart].mT
    covariance = own.new_zeros(sums.count, *own.shape[1:]).index_add(0, of[apart], own)
    uses = torch.bincount(owners, minlength=level.count)
    mixed = bool((uses[owners[apart]] > 1).any())
    numbers = torch.where(several, level.count + torch.arange(len(one), device=one.device), one)
    load = torch.where(several[:, None, None, None], 0, sums.add(level.factor))
    owners, kept = numbers.unique(return_inverse=True)
    return Within(Latents(load, kept, len(owners)), covariance, mixed)


def _root(gram: Tensor) -> Tensor:
    """(..., n, n) -> Cholesky factor of I + gram."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky(gram + eye)


def _volume(root: Tensor) -> Tensor:
    """Log determinant (...,) of the matrix of a Cholesky factor (..., n, n)."""
    return 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
