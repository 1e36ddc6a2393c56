"""Latents shared by the rows of a group, on every level of a hierarchy, and their inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from hierforecast._random import filled
from hierforecast.distributions.places import places
from hierforecast.distributions.roots import cholesky_plus_one, solve
from hierforecast.distributions.roots import volume as volume_of


@dataclass(frozen=True)
class Latents:
    """Standard normal latents, R for each owner (a series, a group, a scene), and what they move.

    Attributes:
        factor: (P, H, D, C), by how much the owner's latents move each cell of a row.
        owner: (P,) int64, the owner of each row; None: every row is its own.
        count: how many owners there are; some may be without rows.
        mix: (P, C, R), what the columns of a row's factor are of many latents; None: they are the
            latents, C = R.
        most: rows of an owner at most; None: they are counted where that matters.
    """

    factor: Tensor
    owner: Tensor | None
    count: int
    mix: Tensor | None = None
    most: int | None = None

    @classmethod
    def mixed(
        cls,
        factor: Tensor,
        owner: Tensor,
        count: int,
        mix: Tensor | None,
        whole: bool,
        most: int | None,
    ) -> Latents:
        """Those of a factor (P, H, D, C) and a mix (P, C, R) or none; multiplied out where `whole`.

        They are where levels within are eliminated first.

        Raises:
            ValueError: if their shapes do not fit.
        """
        if mix is None:
            return cls(factor, owner, count)
        if mix.ndim != 3 or mix.shape[:2] != (len(factor), factor.shape[-1]):
            raise ValueError(
                f"scene_mix must start with (P, C) = {(len(factor), factor.shape[-1])} and have "
                f"one axis more, got {tuple(mix.shape)}"
            )
        latents = cls(factor, owner, count, mix.to(factor), most)
        return cls(latents.whole, owner, count) if whole else latents

    @property
    def rank(self) -> int:
        """R."""
        return (self.factor if self.mix is None else self.mix).shape[-1]

    @property
    def whole(self) -> Tensor:
        """(P, H, D, R), the factor of the latents themselves."""
        return (
            self.factor
            if self.mix is None
            else torch.einsum("phdc,pcr->phdr", self.factor, self.mix)
        )

    @property
    def variance(self) -> Tensor:
        """(P, H, D), of what the latents move."""
        if self.mix is None:
            return self.factor.square().sum(-1)
        own = self.mix @ self.mix.mT
        return (torch.einsum("phdc,pck->phdk", self.factor, own) * self.factor).sum(-1)

    def columns(self, latents: Tensor) -> Tensor:
        """Latents (P, R, c) of each row's owner -> by what each column is multiplied, (P, C, c)."""
        return latents if self.mix is None else self.mix.to(latents) @ latents

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

    def gather(self, products: Tensor, row: Tensor | None) -> Tensor:
        """Products (n, C, C + c) of columns with themselves and others -> (count, R, R + c)."""
        if self.mix is None:
            return self.add(products, row)
        gram, load = products.tensor_split((self.mix.shape[1],), -1)
        mix = self.mix.to(gram)
        # An owner's rows below one another: one product each, and no (P, R, R) anywhere.
        left, right = self.stacked(mix, torch.cat([gram @ mix, load], -1))
        return left.mT @ right

    def stacked(self, *each: Tensor) -> list[Tensor]:
        """(P, C, r) -> (count, n * C, r): an owner's rows below one another, zero where none is."""
        assert self.owner is not None
        slot, most = places(self.owner, self.count, self.most)
        at = self.owner, slot
        empty = (x.new_zeros(self.count, most, *x.shape[1:]) for x in each)
        return [x.index_put(at, y).flatten(1, 2) for x, y in zip(empty, each, strict=True)]

    def spread(self, x: Tensor, row: Tensor | None = None) -> Tensor:
        """(count, ...) -> (n, ...): that of its owner for each of rows (n,)."""
        owner = self.of(row)
        return x if owner is None else x.index_select(0, owner)

    def rows(self, index: Tensor) -> Latents:
        """Those of some rows; groups that are left without rows are gone."""
        if self.owner is None:
            return Latents(self.factor[index], None, len(self.factor[index]))
        owners, owner = self.owner[index].unique(return_inverse=True)
        return self.take(index, owner, len(owners))

    def take(self, index: Tensor, owner: Tensor, count: int) -> Latents:
        """Those of some rows, whose owners are given."""
        mix = None if self.mix is None else self.mix[index]
        return Latents(self.factor[index], owner, count, mix)

    def shared(self, rows: Tensor) -> Tensor:
        """(n, n) bool, which of some rows (n,) have an owner in common."""
        owner = rows if self.owner is None else self.owner[rows]
        return owner[:, None] == owner

    def draw(self, shape: torch.Size, scene: Tensor) -> Tensor:
        """What drawn latents add, (*shape, P, H, D), to rows of scenes (P,)."""
        sizes = (*shape, self.count, self.rank)
        if self.owner is None:
            latents = filled(Tensor.normal_, self.factor, sizes, scene, -2)
        else:
            whose = scene.new_full((self.count,), -1).scatter(0, self.owner, scene)
            # As many as the largest scene of a batch needs: of others some move nothing.
            loads = (self.factor.flatten(1, 2) if self.mix is None else self.mix) != 0
            moving = self.add(loads.any(1).to(torch.int32)) > 0
            whose = torch.where(moving, whose[:, None], -1).flatten()
            latents = filled(Tensor.normal_, self.factor, (*shape, len(whose)), whose, -1)
            latents = latents.reshape(sizes)
        each = latents if self.owner is None else latents.index_select(-2, self.owner)
        if self.mix is not None:
            each = torch.einsum("pcr,...pr->...pc", self.mix, each)
        return torch.einsum("phdr,...pr->...phd", self.factor, each)

    def given(self, root: Tensor) -> Latents:
        """Those that are left, as standard normal ones, of a precision's Cholesky factors."""
        each = self.spread(root)
        if self.mix is not None:
            left = torch.linalg.solve_triangular(each, self.mix.mT, upper=False)
            return replace(self, mix=left.mT)
        flat = self.factor.flatten(1, 2).mT
        left = torch.linalg.solve_triangular(each, flat, upper=False)
        return replace(self, factor=left.mT.unflatten(1, self.factor.shape[1:3]))


def check_nested(levels: Sequence[Latents], rows: int, values: bool | None) -> None:
    """Raise a ValueError unless owners of levels, fine to coarse, are numbers of rows and nested.

    Args:
        levels: of groups, and that of the scenes at the end.
        rows: P.
        values: whether to look at the numbers as well.
    """
    for i, (fine, coarse) in enumerate(pairwise(levels)):
        group, above = fine.owner, coarse.owner
        assert group is not None and above is not None
        if group.shape != (rows,) or group.dtype != torch.int64:
            raise ValueError(
                f"groups of group_factors[{i}] must be (P,) = ({rows},) int64, got "
                f"{tuple(group.shape)} {group.dtype}"
            )
        if values and bool((group < 0).any()):
            raise ValueError(f"groups of group_factors[{i}] must be numbered from 0")
        if values and bool((above[fine.member][group] != above).any()):
            raise ValueError(
                f"a group of group_factors[{i}] lies in several of the next level, or in "
                "several scenes: give levels fine to coarse, groups numbered over all scenes"
            )


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
        load: (P, k, C), by how much their columns move what is left of each row.
    """

    best: Tensor
    root: Tensor
    load: Tensor


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
        rank = level.factor.shape[-1]
        products = [level.gather(x[..., :rank].mT @ x, row) for x, _, row in pieces]
        gram, load = sum(products[1:], products[0]).tensor_split((level.rank,), -1)
        root = cholesky_plus_one(gram)
        best = solve(load, root)
        found.append(Found(best, root, pieces[0].columns[..., :rank]))
        pieces = [
            Piece(x[..., rank:] - x[..., :rank] @ level.columns(level.spread(best, row)), size, row)
            for x, size, row in pieces
        ]
        own = Piece(best, volume_of(root), level.member)
        if level.owner is None:  # one piece is cheaper than two
            (rows,) = pieces
            stacked = torch.cat([rows.columns, own.columns], 1)
            pieces = [Piece(stacked, rows.volume + own.volume, None)]
        else:
            pieces.append(own)
    return pieces, found
