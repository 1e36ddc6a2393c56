"""Sums and means over the rows of groups and of scenes."""

from __future__ import annotations

import torch
from torch import Tensor


def sums(x: Tensor, owner: Tensor, count: int) -> Tensor:
    """Sums (count, ...) of the rows (P, ...) of each owner (P,)."""
    return x.new_zeros(count, *x.shape[1:]).index_add(0, owner, x)


def means(x: Tensor, present: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Means of each owner over its rows that are present; 0 where none is.

    Args:
        x: (P, t, d), anything where it is not present.
        present: (P, t) bool.
        owner: (P,) int64, from 0.

    Returns:
        (G, t, d), and (G, t) bool, where there is any.
    """
    groups = int(owner.max()) + 1 if len(owner) else 0
    total = sums(torch.where(present[..., None], x, 0), owner, groups)
    count = sums(present.to(x.dtype), owner, groups)
    return total / count.clamp(min=1)[..., None], count > 0
