"""Which rows make a total: a sparse matrix that adds along the axis of rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """A sparse matrix (G, P): which rows go into which total, and with what weight.

    Attributes:
        total: (E,) int64, the total that an entry belongs to.
        row: (E,) int64, the row that it takes.
        weight: (E,) its weight.
        count: G.
    """

    total: Tensor
    row: Tensor
    weight: Tensor
    count: int

    @classmethod
    def of(cls, matrix: Tensor) -> Sums:
        """The entries of a matrix (G, P), dense or sparse, that are not zero."""
        sparse = matrix.to_sparse_coo().coalesce()
        total, row = sparse.indices()
        kept = sparse.values() != 0
        return cls(total[kept], row[kept], sparse.values()[kept], len(matrix))

    def add(self, x: Tensor, axis: int = 0, power: int = 1) -> Tensor:
        """Weighted sums along the axis of rows, the weights raised to a power."""
        weight = self.weight.to(x).pow(power)
        each = x.index_select(axis, self.row).movedim(axis, -1) * weight
        shape = (*each.shape[:-1], self.count)
        return each.new_zeros(shape).index_add(-1, self.total, each).movedim(-1, axis)

    def to(self, device: torch.device) -> Sums:
        """The same on a device."""
        total, row, weight = (x.to(device) for x in (self.total, self.row, self.weight))
        return Sums(total, row, weight, self.count)

    def take(self, index: Tensor) -> Sums:
        """Some totals, in the order given."""
        chosen = torch.arange(self.count, device=self.row.device)[index]
        place, entry = (chosen[:, None] == self.total).nonzero(as_tuple=True)
        return Sums(place, self.row[entry], self.weight[entry], len(chosen))

    def scenes(self, scene: Tensor) -> Tensor:
        """The scene (G,) of each total.

        Raises:
            ValueError: if a total has no rows, or rows of several scenes.
        """
        own = torch.full((self.count,), -1, dtype=torch.int64, device=scene.device)
        own = own.index_put((self.total,), scene[self.row])
        if bool((own < 0).any()):
            raise ValueError("a row of the matrix of totals is zero: leave it out")
        if bool((own[self.total] != scene[self.row]).any()):
            raise ValueError("a total takes rows of several scenes: scenes are independent")
        return own

    @property
    def overlap(self) -> bool:
        """Whether a row goes into several totals."""
        return bool(len(self.row.unique()) < len(self.row))


def root_of(covariance: Tensor) -> Tensor:
    """A root (..., n, n) of a covariance that may be singular: ``root @ root.mT``."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()[..., None, :]
