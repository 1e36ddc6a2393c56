"""`SceneBatch`: what a model sees. Packed rows, the plan of who meets whom, and all padding.

A *row* is one (scene, series) pair that is present at some context step. Rows are packed: a series
that is missing for a whole window is simply not there, so there is nothing to mask and nothing to
pad. They are sorted once by (size of their group, group), which turns every group of a size into a
contiguous view `(n_sets, size, ...)`; the same holds one level up for groups within their parents.

The only padding of the package is `pad_to_patches`, which lengthens the context on the left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class Partition:
    """Sorted members split into sets: only members of one set attend to one another.

    Args:
        runs: ``(n_sets, size)`` pairs; consecutive members form `n_sets` sets of `size` each.
    """

    runs: tuple[tuple[int, int], ...]

    @property
    def lengths(self) -> list[int]:
        """Members in each run."""
        return [n_sets * size for n_sets, size in self.runs]

    def split(self, x: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield ``(size, x of the run)`` for each run of sorted members `x` (members, ...)."""
        for (_, size), part in zip(self.runs, x.split(self.lengths), strict=True):
            yield size, part


@dataclass
class Level:
    """The sets of one level of the hierarchy, and the parents that hold them.

    Args:
        siblings: the sets, split by parent (the scene, at the coarsest level).
        order: (sets,) gather that sorts the sets into the runs of `siblings`.
        inverse: (sets,) gather that undoes `order`.
        parent: (sets,) index of each set's parent.
        n_parents: how many parents there are.
        most: sets of the largest scene.
    """

    siblings: Partition
    order: Tensor
    inverse: Tensor
    parent: Tensor
    n_parents: int
    most: int


@dataclass
class Hierarchy:
    """Who meets whom in a batch of packed rows.

    Args:
        members: the rows, split into the finest groups.
        group: (P,) index of each row's finest group.
        levels: the groups of every level, fine to coarse.
        most: rows of the largest scene.
        crossed: who else meets whom, by each further way of grouping the same rows.
    """

    members: Partition
    group: Tensor
    levels: tuple[Level, ...]
    most: int
    crossed: tuple[Crossing, ...] = ()

    @property
    def groups(self) -> tuple[Tensor, ...]:
        """(P,) index of each row's group at every level, fine to coarse."""
        group, groups = self.group, []
        for level in self.levels:
            groups.append(group)
            group = level.parent[group]
        return tuple(groups)

    @property
    def crossed_groups(self) -> tuple[tuple[Tensor, ...], ...]:
        """The same of every further way of grouping."""
        return tuple(way.groups for way in self.crossed)


@dataclass
class Crossing:
    """A further way of grouping rows that are packed by another one.

    Args:
        order: (P,) gather that packs the rows by this one.
        inverse: (P,) gather that undoes it.
        hierarchy: who meets whom among the rows so packed.
    """

    order: Tensor
    inverse: Tensor
    hierarchy: Hierarchy

    @property
    def groups(self) -> tuple[Tensor, ...]:
        """(P,) index of each row's group at every level, fine to coarse; rows not packed anew."""
        return tuple(group[self.inverse] for group in self.hierarchy.groups)


@dataclass
class SceneBatch:
    """The context of a batch of scenes as packed rows (P rows, L context steps, H horizon steps).

    Args:
        values: (P, L, D) targets, zero where missing: the user's numbers, or those less an offset,
            over a unit, if the model names its `origin` (see `WindowDataset`).
        present: (P, L) whether the targets are observed at a step.
        past: (P, L, Cp) past covariates; categories are codes, missing numbers are NaN.
        known: (P, L + H, Ck) covariates known in advance.
        static: (P, Cs) covariates of the series.
        types: (P,) code of the group type.
        scene: (P,) index of the scene in the batch.
        n_scenes: scenes in the batch.
        hierarchy: who meets whom.
        level: (P, 1, D), where each row's offset lies: what to add to its values before they can
            be compared with those of other rows; 0.0 where they can be as they are.
        naive: (P, H, D) the season before as smoothing sees it, see `History`; None where the model
            does not ask for it.
    """

    values: Tensor
    present: Tensor
    past: Tensor
    known: Tensor
    static: Tensor
    types: Tensor
    scene: Tensor
    n_scenes: int
    hierarchy: Hierarchy
    level: Tensor | float = 0.0
    naive: Tensor | None = None

    def to(self, *args: Any, **kwargs: Any) -> SceneBatch:
        """Move every tensor to a device, or cast the floating ones to a dtype."""
        return _map_tensors(self, lambda x: _move(x, *args, **kwargs))

    def take(self, scenes: Tensor) -> tuple[SceneBatch, Tensor]:
        """A batch of some scenes, one after the other, each as often as it is named.

        Args:
            scenes: (b,) int64, numbers of scenes of this batch.

        Returns:
            The batch, and the row (p,) of this one that each of its rows is.
        """
        by_scene = self.scene.argsort(stable=True)
        count = torch.bincount(self.scene, minlength=self.n_scenes)
        first, count = (count.cumsum(0) - count)[scenes], count[scenes]
        scene = torch.arange(len(scenes), device=scenes.device).repeat_interleave(count)
        within = torch.arange(len(scene), device=scenes.device) - (count.cumsum(0) - count)[scene]
        row = by_scene[first[scene] + within]
        ways = (self.hierarchy.groups, *self.hierarchy.crossed_groups)
        codes = (torch.stack(groups[::-1], 1)[row].cpu().numpy() for groups in ways)
        packed, hierarchy = hierarchy_of(scene.cpu().numpy(), *codes)
        order = torch.from_numpy(packed).to(row.device)
        row = row[order]
        named = ("values", "present", "past", "known", "static", "types", "level", "naive")
        parts = {name: getattr(self, name) for name in named}
        taken = {name: x[row] if isinstance(x, Tensor) else x for name, x in parts.items()}
        hierarchy = _map_tensors(hierarchy, lambda x: x.to(row.device))
        return SceneBatch(
            **taken, scene=scene[order], n_scenes=len(scenes), hierarchy=hierarchy
        ), row


@dataclass
class Future:
    """What came after the context; never given to a model's `forward`.

    Args:
        values: (P, H, D) targets, zero where missing, in the units of the batch.
        present: (P, H) whether they are observed.
        rows: (P,) row of the panel that each packed row came from.
        cutoff: (P,) step of the scene at which the horizon starts.
        offset: (P, 1, D) float64, or (P, H, D), and
        unit: (D,) float64, or (P, H, D), on the CPU: ``offset + unit * values`` are the user's
            numbers, or what the windows' warp makes those of.
        whole: whether all of it is observed, if that was known where it was made.
    """

    values: Tensor
    present: Tensor
    rows: Tensor
    cutoff: Tensor
    # Arrays: a device may have no float64, and a cast must not reach them.
    offset: np.ndarray | float = 0.0
    unit: np.ndarray | float = 1.0
    whole: bool = False

    def to(self, *args: Any, **kwargs: Any) -> Future:
        """Move every tensor to a device, or cast the floating ones to a dtype."""
        return _map_tensors(self, lambda x: _move(x, *args, **kwargs))


def hierarchy_of(
    scene: np.ndarray, groups: np.ndarray, *crossed: np.ndarray
) -> tuple[np.ndarray, Hierarchy]:
    """Sort rows by (size of their finest group, group) and plan every level's attention.

    Args:
        scene: (P,) index of each row's scene.
        groups: (P, levels) group codes, coarse to fine; the same code in two scenes is two groups,
            and a code belongs to one parent.
        crossed: the same for each further way of grouping the rows.

    Returns:
        order (P,), which packs the rows, and the hierarchy of the rows so packed, whose levels are
        in the order in which the model uses them: fine to coarse.
    """
    order, hierarchy = _nested(scene.astype(np.int64), groups)
    further = []
    for codes in crossed:
        again, own = _nested(scene[order].astype(np.int64), codes[order])
        gathers = torch.from_numpy(again), torch.from_numpy(np.argsort(again, kind="stable"))
        further.append(Crossing(*gathers, own))
    return order, replace(hierarchy, crossed=tuple(further))


def _nested(scene: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, Hierarchy]:
    """The same for one way of grouping."""
    width = groups.max(initial=0) + 1
    members, group, order = _partition(scene * width + groups[:, -1])
    rows = int(np.bincount(scene).max(initial=0))
    scene, groups = scene[order], groups[order]
    levels = []
    # One representative row speaks for each set: a set lies in one scene and one parent.
    first = np.unique(group[order], return_index=True)[1]
    for level in range(groups.shape[1] - 1, -1, -1):
        scene, groups = scene[first], groups[first]
        key = scene * width + groups[:, level - 1] if level else scene
        siblings, parent, by_parent = _partition(key)
        inverse = np.argsort(by_parent, kind="stable")
        gather, scatter = torch.from_numpy(by_parent), torch.from_numpy(inverse)
        n_parents = int(parent.max(initial=-1)) + 1
        parents, most = torch.from_numpy(parent), int(np.bincount(scene).max(initial=0))
        levels.append(Level(siblings, gather, scatter, parents, n_parents, most))
        first = np.unique(parent, return_index=True)[1]
    return order, Hierarchy(members, torch.from_numpy(group[order]), tuple(levels), rows)


def pad_to_patches(x: Tensor, patch: int) -> Tensor:
    """Lengthen time on the left to whole patches, with missing steps: (P, t, d) -> (P, t', d)."""
    # Not by torch's own padding, which refuses tensors without features before torch 2.5.
    return torch.cat([x.new_zeros(len(x), -x.shape[1] % patch, x.shape[2]), x], dim=1)


def pad_to_patches_after(x: Tensor, patch: int) -> Tensor:
    """Lengthen time on the right to whole patches: (P, t, d) -> (P, t', d)."""
    return torch.cat([x, x.new_zeros(len(x), -x.shape[1] % patch, x.shape[2])], dim=1)


def _partition(key: np.ndarray) -> tuple[Partition, np.ndarray, np.ndarray]:
    """Sets of equal `key`: runs, the index of each member's set, and the order that sorts them.

    Sets are numbered in the order in which the sorted members show them.
    """
    _, index, count = np.unique(key, return_inverse=True, return_counts=True)
    by_size = np.argsort(count, kind="stable")
    rank = np.empty_like(by_size)
    rank[by_size] = np.arange(len(by_size))
    index = rank[index.reshape(-1)]
    sizes, n_sets = np.unique(count, return_counts=True)
    runs = tuple((int(n), int(size)) for n, size in zip(n_sets, sizes, strict=True))
    return Partition(runs), index, np.argsort(index, kind="stable")


def _move(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to`, except that a dtype applies to floating tensors only."""
    moved = x.to(*args, **kwargs)
    return moved if x.is_floating_point() else moved.to(x.dtype)


def _map_tensors(node: Any, change: Any) -> Any:
    """Apply `change` to every tensor in nested (frozen) dataclasses and tuples."""
    if isinstance(node, Tensor):
        return change(node)
    if isinstance(node, tuple):
        return tuple(_map_tensors(part, change) for part in node)
    if hasattr(node, "__dataclass_fields__"):
        return replace(
            node, **{f.name: _map_tensors(getattr(node, f.name), change) for f in fields(node)}
        )
    return node
