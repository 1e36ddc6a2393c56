"""Ridge regression from sums over rows, so that halves of them and penalties can be compared."""

from __future__ import annotations

import math
from typing import NamedTuple

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

    def beside(self, x: Tensor, more: Tensor, y: Tensor) -> list[Moments]:
        """The moments of each step by itself, with inputs of its own before the one.

        Args:
            x, y: rows that these are the moments of; y (n, s * D).
            more: (n, s, E) inputs of each step.
        """
        steps, extra = more.shape[1:]
        last = len(self.gram)
        order = torch.tensor([*range(last - 1), *range(last, last + extra), last - 1])
        across = (x.T @ more.flatten(1)).unflatten(1, (steps, extra))
        y, cross = (each.unflatten(1, (steps, -1)) for each in (y, self.cross))
        found = []
        for step, own in enumerate(more.unbind(1)):
            side = across[:, step]
            gram = torch.cat([self.gram, side], dim=1)
            gram = torch.cat([gram, torch.cat([side.T, own.T @ own], dim=1)])
            both = torch.cat([cross[:, step], own.T @ y[:, step]])
            square = self.square.unflatten(0, (steps, -1))[step]
            found.append(Moments(gram[order][:, order], both[order], square, self.rows))
        return found

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
        size = (self.gram.diagonal()[:-1].mean() / max(self.rows, 1)).clamp(min=1e-6)
        ridge = size * max(penalty * self.rows, 10.0)
        return torch.linalg.solve(
            self.gram + ridge * torch.eye(len(self.gram)).to(self.gram), self.cross
        )

    def error(self, solution: Tensor) -> Tensor:
        """Sum of squared errors (D,) of a solution on these rows."""
        fitted = (solution * (self.gram @ solution - 2 * self.cross)).sum(0)
        return (self.square + fitted).clamp(min=0)


def held_out_error(one: Moments, other: Moments, penalty: float) -> Tensor:
    """Squared errors (D,) of each half under the solution of the other."""
    return one.error(other.solve(penalty)) + other.error(one.solve(penalty))
