"""The tree of nested groups, in a canonical order that shows which sub-trees are alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial, prod

import numpy as np
import torch


@dataclass(frozen=True)
class GroupNode:
    """A group of groups, a group of series, or a single series.

    Two nodes of one `shape` may take each other's place: their leaves match position by position.
    """

    shape: int
    leaves: tuple[int, ...]  # the series below, in canonical order
    classes: tuple[tuple[GroupNode, ...], ...] = ()  # the children, by shape

    @property
    def holds_series(self) -> bool:
        """Whether the children are single series: a group of the finest level."""
        return bool(self.classes) and not self.classes[0][0].classes

    def order(self, of_series: bool | None = None) -> int:
        """Count the arrangements: of series within their groups, of whole groups, or of both.

        Args:
            of_series: True, False or None, in this order.
        """
        own = of_series is None or of_series == self.holds_series
        return prod(
            (factorial(len(alike)) if own else 1) * prod(child.order(of_series) for child in alike)
            for alike in self.classes
        )

    def shuffled(self, of_series: bool, generator: torch.Generator | None) -> list[int]:
        """Draw one arrangement of the leaves, of series or of groups, evenly among them all."""
        if not self.classes:
            return list(self.leaves)
        arrangement: list[int] = []
        for alike in self.classes:
            slots = list(range(len(alike)))
            if of_series == self.holds_series:
                slots = torch.randperm(len(alike), generator=generator).tolist()
            for slot in slots:
                arrangement += alike[slot].shuffled(of_series, generator)
        return arrangement

    def arrangements(self) -> Iterator[tuple[int, ...]]:
        """Every arrangement of the leaves once, the canonical one first."""
        if not self.classes:
            yield self.leaves
            return
        for orders in product(*(permutations(alike) for alike in self.classes)):
            children = [child for alike in orders for child in alike]
            for parts in product(*(list(child.arrangements()) for child in children)):
                yield tuple(leaf for part in parts for leaf in part)


def build_tree(partitions: np.ndarray, types: np.ndarray) -> GroupNode:
    """Build the tree from the leaves up.

    Args:
        partitions: (n, levels) group numbers, coarse to fine, each level within the one before.
        types: (n,) numbers; series of different types are not alike.
    """
    shapes: dict[tuple[object, ...], int] = {}
    nodes = [
        GroupNode(shapes.setdefault(("series", kind), len(shapes)), (series,))
        for series, kind in enumerate(types.tolist())
    ]
    root = np.zeros(len(types), np.int64)
    for parent in reversed([root, *partitions.T]):
        children: dict[int, list[GroupNode]] = {}
        for node in nodes:
            children.setdefault(int(parent[node.leaves[0]]), []).append(node)
        nodes = [_join(members, shapes) for members in children.values()]
    return nodes[0] if nodes else GroupNode(0, ())


def _join(members: list[GroupNode], shapes: dict[tuple[object, ...], int]) -> GroupNode:
    members = sorted(members, key=lambda node: node.shape)
    by_shape: dict[int, list[GroupNode]] = {}
    for node in members:
        by_shape.setdefault(node.shape, []).append(node)
    shape = shapes.setdefault(tuple(node.shape for node in members), len(shapes))
    leaves = tuple(leaf for node in members for leaf in node.leaves)
    return GroupNode(shape, leaves, tuple(map(tuple, by_shape.values())))
