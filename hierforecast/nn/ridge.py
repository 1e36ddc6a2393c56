"""Ridge regression from sums over rows, so that halves of them and penalties can be compared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor


def steps_alike(present: Tensor) -> list[Tensor]:
    """Steps (H,) in sets that are observed at the same rows of present (P, H)."""
    if not len(present):
        return [torch.arange(present.shape[1])]
    columns = np.packbits(present.cpu().numpy(), axis=0).T
    _, inverse = np.unique(columns, axis=0, return_inverse=True)
    pattern = torch.from_numpy(inverse.reshape(-1))
    return [(pattern == one).nonzero()[:, 0] for one in range(int(pattern.max()) + 1)]


class Moments(NamedTuple):
    """What ridge regression needs to know of rows x (n, i) and y (n, D), the last input being one.

    Several steps may stand side by side in y; then D counts all of them.

    Args:
        gram: (i, i), cross: (i, D), square: (D,), rows: sums over the rows.
    """

    gram: Tensor
    cross: Tensor
    square: Tensor
    rows: int

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Moments:
        """The moments of rows."""
        return cls(x.T @ x, x.T @ y, y.square().sum(0), len(x))

    def plus(self, other: Moments) -> Moments:
        """The moments of both."""
        return Moments(
            self.gram + other.gram,
            self.cross + other.cross,
            self.square + other.square,
            self.rows + other.rows,
        )

    def solve(self, penalty: float) -> Tensor:
        """Ridge solution (i, D).

        Args:
            penalty: for each row, in units of the inputs' mean square. It counts at least as much
                as ten rows do, which keeps a fit to few windows from running wild. Infinite: zero.
        """
        if math.isinf(penalty):
            return torch.zeros_like(self.cross)
        ridge = _ridge(self.gram.diagonal()[:-1].mean(), self.rows, penalty)
        return torch.linalg.solve(
            self.gram + ridge * torch.eye(len(self.gram)).to(self.gram), self.cross
        )

    def error(self, solution: Tensor) -> Tensor:
        """Sum of squared errors (D,) of a solution on these rows."""
        fitted = (solution * (self.gram @ solution - 2 * self.cross)).sum(0)
        return (self.square + fitted).clamp(min=0)


@dataclass(frozen=True)
class Stepwise:
    """Moments of s steps that have inputs of their own beside those that all of them share.

    One decomposition of what is shared serves all steps and penalties; the matrix of a step's
    inputs is never formed.

    Args:
        same: of the shared inputs x (n, i) and of all steps y (n, s * D).
        side: (s, i, E), own: (s, E, E), cross: (s, E, D), sums over the rows: a step's own inputs
            by the shared ones, by each other and by its y.
    """

    same: Moments
    side: Tensor
    own: Tensor
    cross: Tensor

    @classmethod
    def of(cls, x: Tensor, each: Tensor, y: Tensor) -> Stepwise:
        """The moments of rows x (n, i) and y (n, s * D) with inputs (n, s, E) of each step."""
        steps, extra = each.shape[1:]
        side = (x.T @ each.flatten(1)).unflatten(1, (steps, extra)).transpose(0, 1)
        each, own_y = each.transpose(0, 1), y.unflatten(1, (steps, -1)).transpose(0, 1)
        return cls(Moments.of(x, y), side, each.mT @ each, each.mT @ own_y)

    def plus(self, other: Stepwise) -> Stepwise:
        """The moments of both."""
        sums = self.side + other.side, self.own + other.own, self.cross + other.cross
        return Stepwise(self.same.plus(other.same), *sums)

    def solve(self, penalty: float) -> Tensor:
        """Ridge solutions (s, i + E, D), a step's own inputs before the one; see `Moments.solve`.

        By the complement of the shared inputs' block in each step's matrix.
        """
        side, cross = self._turned
        inputs = side.shape[1] + side.shape[2]
        if math.isinf(penalty):
            return side.new_zeros(len(side), inputs, cross.shape[2])
        values, vectors = self._spectrum
        own = self.own.diagonal(dim1=1, dim2=2).sum(1)
        size = (self.same.gram.diagonal()[:-1].sum() + own) / (inputs - 1)
        ridge = _ridge(size, self.same.rows, penalty)
        shared = values + ridge[:, None]
        held = (side / shared[..., None]).mT
        left = self.own + torch.diag_embed(ridge[:, None].expand(-1, side.shape[2])) - held @ side
        mine = torch.linalg.solve(left, self.cross - held @ cross)
        rest = vectors @ ((cross - side @ mine) / shared[..., None])
        return torch.cat([rest[:, :-1], mine, rest[:, -1:]], dim=1)

    def error(self, solution: Tensor) -> Tensor:
        """Sum of squared errors (s * D,) of solutions on these rows."""
        last = solution.shape[1] - 1
        shared = len(self.same.gram) - 1
        rest = torch.cat([solution[:, :shared], solution[:, last:]], dim=1)
        mine = solution[:, shared:last]
        fitted = (rest * (self.same.gram @ rest + 2 * (self.side @ mine - self._cross))).sum(1)
        fitted += (mine * (self.own @ mine - 2 * self.cross)).sum(1)
        return (self.same.square + fitted.flatten()).clamp(min=0)

    @property
    def rows(self) -> int:
        """See `Moments`."""
        return self.same.rows

    @property
    def _cross(self) -> Tensor:
        """The shared inputs by each step's y (s, i, D)."""
        return self.same.cross.unflatten(1, (len(self.side), -1)).transpose(0, 1)

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (i,) and vectors (i, i) of what the shared inputs are among themselves."""
        values, vectors = torch.linalg.eigh(self.same.gram)
        return values.clamp(min=0), vectors

    @cached_property
    def _turned(self) -> tuple[Tensor, Tensor]:
        """`side` and `_cross`, the shared inputs in terms of those vectors."""
        vectors = self._spectrum[1]
        return vectors.T @ self.side, vectors.T @ self._cross


M = TypeVar("M", Moments, Stepwise)


def _ridge(size: Tensor, rows: int, penalty: float) -> Tensor:
    """What is added to the squares of inputs whose mean square, summed over rows, is `size`."""
    return (size / max(rows, 1)).clamp(min=1e-6) * max(penalty * rows, 10.0)


def held_out_error(one: M, other: M, penalty: float) -> Tensor:
    """Squared errors (D,) of each half under the solution of the other."""
    return one.error(other.solve(penalty)) + other.error(one.solve(penalty))
