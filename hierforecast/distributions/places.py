"""Where a row stands among the rows of its scene or group, and arrays with a place for each."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

# A factor, the group of each row, and how many groups there are where that is known.
GroupFactor: TypeAlias = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, int]


def places(owner: Tensor, count: int, most: int | None = None) -> tuple[Tensor, int]:
    """The place (P,) of each row among the rows of its owner, and how many places there are.

    Args:
        owner: (P,) int64, the owner of each row.
        count: how many owners there are.
        most: rows of an owner at most, where that is known; a GPU that is asked is waited for.
    """
    sizes = owner.new_zeros(count).index_add(0, owner, torch.ones_like(owner))
    order = owner.argsort(stable=True)
    start = (sizes.cumsum(0) - sizes)[owner[order]]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - start
    if most is None:
        most = int(sizes.max()) if len(owner) else 0
    return place, most


def how_many(owner: Tensor) -> int:
    """Owners (P,) that are numbered from 0; a GPU is waited for."""
    return int(owner.max()) + 1 if len(owner) else 0


def side_by_side(
    factor: Tensor,
    group: Tensor,
    scene: Tensor,
    n_scenes: int,
    groups: int | None = None,
    most: int | None = None,
) -> Tensor:
    """The latents of all groups of a scene as latents of the scene, each with columns of its own.

    Args:
        factor: (P, H, D, R), by how much the latents of a row's group move it.
        group: (P,) int64 from 0, numbered over the whole batch; a group lies within one scene.
        scene: (P,) int64.
        n_scenes: B.
        groups, most: how many there are, and K in the largest scene; None: the device is asked.

    Returns:
        (P, H, D, K * R), K groups in the largest scene; zero but for the columns of a row's own.
    """
    groups = how_many(group) if groups is None else groups
    slot, most = places(scene.new_zeros(groups).scatter_(0, group, scene), n_scenes, most)
    own = slot[group][:, None] == torch.arange(most, device=slot.device)
    return (own[:, None, None, :, None] * factor[..., None, :]).flatten(-2)
