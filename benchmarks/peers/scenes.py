"""Packed rows laid out scene by scene, for peers that want a rectangle."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hierforecast.batch import SceneBatch


@dataclass(frozen=True)
class Rectangle:
    """The rows of each scene side by side; slots of smaller scenes stay empty.

    Rows keep the order of the batch: the ball, then one team after the other, each by its names.

    Args:
        scene: (P,) scene of each row.
        slot: (P,) place of each row in its scene.
        rows: (B, N) row in each slot; the first one of the batch in empty slots.
        there: (B, N) whether a slot holds a row.
    """

    scene: Tensor
    slot: Tensor
    rows: Tensor
    there: Tensor

    @classmethod
    def of(cls, batch: SceneBatch) -> Rectangle:
        """Lay out a batch."""
        order = torch.argsort(batch.scene, stable=True)
        count = torch.bincount(batch.scene, minlength=batch.n_scenes)
        first = count.cumsum(0) - count
        slot = torch.empty_like(order)
        slot[order] = torch.arange(len(order), device=order.device) - first[batch.scene[order]]
        shape = batch.n_scenes, int(count.max())
        rows, there = order.new_zeros(shape), torch.zeros(shape, dtype=torch.bool)
        rows[batch.scene, slot] = torch.arange(len(order), device=order.device)
        there = there.to(order.device)
        there[batch.scene, slot] = True
        return cls(batch.scene, slot, rows, there)

    def forth(self, x: Tensor) -> Tensor:
        """Rows (P, ...) -> (B, N, ...)."""
        return x[self.rows]

    def back(self, x: Tensor) -> Tensor:
        """Slots (B, N, ...) -> rows (P, ...)."""
        return x[self.scene, self.slot]


def of_one_size(batch: SceneBatch) -> list[Tensor]:
    """The rows of scenes with equally many of them, a (b, n) index for each size, common first."""
    layout = Rectangle.of(batch)
    size = layout.there.sum(1)
    sizes, count = size.unique(return_counts=True)
    common = sizes[count.argsort(descending=True)]
    return [layout.rows[size == n, : int(n)] for n in common if n]
