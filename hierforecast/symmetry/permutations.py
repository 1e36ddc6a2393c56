"""Symmetries: the permutations of series that only reorder a forecast.

`GroupAction` is the interface: a finite group, its product, and how an element acts on a tensor.
`HierarchicalPermutation` implements it for series in nested groups: the members of one group may be
exchanged, and so may whole groups of one parent that are alike (same shape, same types of series).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from hierforecast.symmetry.tree import build_tree

Element = TypeVar("Element")
Labels: TypeAlias = Sequence[Any] | np.ndarray | Tensor
Permutation: TypeAlias = Sequence[int] | np.ndarray | Tensor


class GroupAction(Protocol[Element]):
    """A finite group and how its elements move a tensor.

    `compose` is the product that `act` respects: ``act(compose(a, b), x) == act(a, act(b, x))``.
    """

    @property
    def order(self) -> int:
        """The number of elements."""
        ...

    @property
    def identity(self) -> Element:
        """The element that moves nothing."""
        ...

    def elements(self) -> Iterator[Element]:
        """Every element once, the identity first; lazily, for there may be very many."""
        ...

    def compose(self, a: Element, b: Element) -> Element:
        """The element that acts as `b` and then as `a`."""
        ...

    def inverse(self, a: Element) -> Element:
        """The element that undoes `a`."""
        ...

    def act(self, a: Element, x: Tensor) -> Tensor:
        """Return `x` moved by `a`; `x` itself is not changed."""
        ...


class RowPermutations:
    """Permutations of n rows.

    An element is a permutation `perm` of shape (n,), int64: row i of the moved tensor is row
    ``perm[i]`` of the original.

    Attributes:
        n: how many rows there are.
    """

    n: int

    @property
    def identity(self) -> Tensor:
        """The permutation that moves nothing, (n,)."""
        return torch.arange(self.n)

    def compose(self, a: Tensor, b: Tensor) -> Tensor:
        """The permutation that acts as `b` and then as `a`."""
        return b[a]

    def inverse(self, a: Tensor) -> Tensor:
        """The permutation that undoes `a`."""
        return torch.argsort(a)

    def act(self, a: Tensor, x: Tensor) -> Tensor:
        """Move the rows of x (n, ...)."""
        return x[a.to(x.device)]


class HierarchicalPermutation(RowPermutations):
    """The permutations of n series that respect nested groups and the types of the series.

    Args:
        groups: (n,) or (n, levels) group labels, coarse to fine, numbers or strings; a finer label
            counts within its parent only. No levels (n, 0): one group that holds every series.
        types: (n,) labels of series that are not interchangeable (a ball and a player), or None.
            A group's type is the types of its members.

    Raises:
        ValueError: if the shapes do not fit.
    """

    def __init__(self, groups: Labels, types: Labels | None = None) -> None:
        self._partitions = _partitions(groups)
        self.n = self._partitions.shape[0]
        self._types = _as_types(types, self.n)
        self._root = build_tree(self._partitions, self._types)

    @property
    def partitions(self) -> np.ndarray:
        """(n, levels), the number of each series' group at every level, coarse to fine."""
        return self._partitions

    @property
    def types(self) -> np.ndarray:
        """(n,), the number of each series' type."""
        return self._types

    @property
    def order(self) -> int:
        """The number of permutations."""
        return self._root.order()

    def elements(self) -> Iterator[Tensor]:
        """Every permutation once, the identity first: count them with `order` before you start."""
        return (self._as_permutation(arrangement) for arrangement in self._root.arrangements())

    def contains(self, perm: Permutation) -> bool:
        """Whether `perm` keeps every group together and every series within its type."""
        moved = _as_array(perm)
        if moved.shape != (self.n,) or not np.array_equal(np.sort(moved), np.arange(self.n)):
            return False
        if not np.array_equal(self._types[moved], self._types):
            return False
        # A partition is kept when its blocks are mapped one to one onto blocks.
        return all(
            len(np.unique(np.stack([block, block[moved]]), axis=1).T) == block.max(initial=-1) + 1
            for block in self._partitions.T
        )

    def sample(
        self,
        generator: torch.Generator | None = None,
        *,
        members: bool = True,
        groups: bool = True,
    ) -> Tensor:
        """Draw a permutation that is never the identity.

        Whatever is chosen moves where it can: with both, at least one group changes its place
        and at least one series its place within its group.

        Args:
            generator: source of randomness; torch's global one if None.
            members: exchange the members of the finest groups.
            groups: exchange whole groups, at every level.

        Returns:
            (n,) int64.

        Raises:
            ValueError: if only the identity is left.
        """
        drawn = self.identity
        for of_series, wanted in ((True, members), (False, groups)):
            if wanted and self._root.order(of_series) > 1:
                drawn = self.compose(drawn, self._draw_part(of_series, generator))
        if torch.equal(drawn, self.identity):
            raise ValueError(
                f"only the identity respects these groups (members={members}, groups={groups}): "
                "give a group two series of one type, or two groups of one shape"
            )
        return drawn

    def _draw_part(self, of_series: bool, generator: torch.Generator | None) -> Tensor:
        while True:  # at least every second draw is another than the identity
            perm = self._as_permutation(self._root.shuffled(of_series, generator))
            if not torch.equal(perm, self.identity):
                return perm

    def _as_permutation(self, arrangement: Sequence[int]) -> Tensor:
        perm = torch.empty(self.n, dtype=torch.int64)
        perm[list(self._root.leaves)] = torch.tensor(arrangement, dtype=torch.int64)
        return perm

    def swap_across(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw a swap of two series of one type that *breaks* the groups, for tests that must fail.

        Returns:
            (n,) int64, the identity but for two series of different groups.

        Raises:
            ValueError: if every swap of two series respects the groups or crosses types.
        """
        size = np.empty_like(self._partitions)
        for level, block in enumerate(self._partitions.T):
            size[:, level] = np.bincount(block)[block]
        for i in torch.randperm(self.n, generator=generator).tolist():
            apart = self._partitions != self._partitions[i]
            # Two groups of one series each may change places: that breaks nothing.
            breaks = (apart & ((size > 1) | (size[i] > 1))).any(axis=1)
            (others,) = np.nonzero(breaks & (self._types == self._types[i]))
            if len(others):
                j = int(others[torch.randint(len(others), (), generator=generator)])
                perm = self.identity
                perm[[i, j]] = perm[[j, i]]
                return perm
        raise ValueError(
            "no swap of two series of one type breaks these groups: there must be two groups that "
            "share a type, one of them with two series or more"
        )


def random_permutation(
    groups: Labels,
    types: Labels | None = None,
    generator: torch.Generator | None = None,
    *,
    members: bool = True,
    groups_: bool = True,
) -> Tensor:
    """Draw a permutation (n,) that respects `groups`; see `HierarchicalPermutation.sample`."""
    return HierarchicalPermutation(groups, types).sample(generator, members=members, groups=groups_)


def is_hierarchical(
    perm: Permutation,
    groups: Labels,
    types: Labels | None = None,
) -> bool:
    """Whether `perm` (n,) respects `groups`; see `HierarchicalPermutation`."""
    return HierarchicalPermutation(groups, types).contains(perm)


def swap_across(
    groups: Labels,
    types: Labels | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw a swap (n,) that breaks `groups`; see `HierarchicalPermutation.swap_across`."""
    return HierarchicalPermutation(groups, types).swap_across(generator)


def _as_array(values: Labels) -> np.ndarray:
    return np.asarray(values.cpu() if isinstance(values, Tensor) else values)


def _partitions(groups: Labels) -> np.ndarray:
    """Number the groups of each level from 0, telling apart equal labels of different parents."""
    labels = _as_array(groups)
    if labels.ndim == 1:
        labels = labels[:, None]
    if labels.ndim != 2:
        raise ValueError(f"groups must be (n,) or (n, levels), not {labels.shape}")
    partitions = np.zeros(labels.shape, np.int64)
    parent = np.zeros(len(labels), np.int64)
    for level in range(labels.shape[1]):
        _, label = np.unique(labels[:, level], return_inverse=True)
        path = parent * (label.max(initial=0) + 1) + label
        _, parent = np.unique(path, return_inverse=True)
        partitions[:, level] = parent
    return partitions


def _as_types(types: Labels | None, n: int) -> np.ndarray:
    if types is None:
        return np.zeros(n, np.int64)
    _, numbers = np.unique(_as_array(types), return_inverse=True)
    if numbers.shape != (n,):
        raise ValueError(f"types must be ({n},), one for each series, not {np.shape(types)}")
    return numbers
