"""Sums and means over the rows of groups and of scenes."""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.batch import SceneBatch


def sums(x: Tensor, owner: Tensor, count: int) -> Tensor:
    """Sums (count, ...) of the rows (P, ...) of each owner (P,)."""
    return x.new_zeros(count, *x.shape[1:]).index_add(0, owner, x)


def means(x: Tensor, present: Tensor, owner: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Means of each owner over its rows that are present; 0 where none is.

    Args:
        x: (P, t, d), anything where it is not present.
        present: (P, t) bool.
        owner: (P,) int64, from 0.
        count: G, how many owners there are.

    Returns:
        (G, t, d), and (G, t) bool, where there is any.
    """
    total = sums(torch.where(present[..., None], x, 0), owner, count)
    cells = sums(present.to(x.dtype), owner, count)
    return total / cells.clamp(min=1)[..., None], cells > 0


def pool(shape: Tensor, count: int, batch: SceneBatch) -> Tensor:
    """The last features (P, H, count) replaced by their mean over the scene's present rows."""
    shape, last = shape.tensor_split((-count,), dim=-1)
    here = batch.present.any(1, keepdim=True).expand(-1, last.shape[1])
    mean, _ = means(last, here, batch.scene, batch.n_scenes)
    return torch.cat([shape, mean[batch.scene]], dim=-1)
