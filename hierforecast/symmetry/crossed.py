"""The permutations of series that are grouped in several ways at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from hierforecast.symmetry.permutations import (
    HierarchicalPermutation,
    Labels,
    Permutation,
    RowPermutations,
)


class CrossedPermutation(RowPermutations):
    """The permutations of n series that respect several ways of grouping them, and their types.

    A permutation respects them if any two series share a group after it exactly if they did before,
    at every level of every way, and each series takes the place of one of its type. Of teams
    crossed with positions, two teams may change places if each series goes to the other team's
    series of its own position, and two positions likewise; two series alone only where they share
    all their groups. With one way these are the elements of `HierarchicalPermutation`.

    Args:
        ways: for each way of grouping (n,) or (n, levels) labels, coarse to fine.
        types: (n,) labels of series that are not interchangeable, or None.

    Raises:
        ValueError: if there is no way, or shapes do not fit.
    """

    def __init__(self, ways: Sequence[Labels], types: Labels | None = None) -> None:
        if not len(ways):
            raise ValueError("no way of grouping is given: give the labels of one at least")
        self._ways = [HierarchicalPermutation(way, types) for way in ways]
        sizes = {way.n for way in self._ways}
        if len(sizes) > 1:
            raise ValueError(f"ways of grouping are of {sorted(sizes)} series: give all of each")
        self.n = self._ways[0].n
        # (n, L): the group of each series at every level of every way.
        self._groups = np.concatenate([way.partitions for way in self._ways], axis=1)
        self._alike = _refined(self._groups, self._ways[0].types)

    @property
    def order(self) -> int:
        """The number of permutations; they are counted one by one."""
        return sum(1 for _ in self.elements())

    def elements(self) -> Iterator[Tensor]:
        """Every permutation once, the identity first."""
        return self._complete({}, self._at_first, [np.arange(self.n)] * self.n)

    def contains(self, perm: Permutation) -> bool:
        """Whether `perm` respects every way of grouping and every series' type."""
        return all(way.contains(perm) for way in self._ways)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw a permutation that is never the identity; not all are equally likely.

        Args:
            generator: source of randomness; torch's global one if None.

        Returns:
            (n,) int64.

        Raises:
            ValueError: if only the identity is left.
        """
        for i in self._shuffled(generator):
            for j in self._shuffled(generator):
                if i != j and self._alike[i] == self._alike[j]:
                    order = [self._shuffled(generator) for _ in range(self.n)]
                    fits = self._fitting(self._at_first, i, j)
                    found = next(self._complete({i: j}, fits, order), None)
                    if found is not None:
                        return found
        raise ValueError(
            "only the identity respects all of these ways of grouping: give groups of one way that "
            "have series of the same groups of the others"
        )

    def swap_across(
        self, generator: torch.Generator | None = None, way: int | None = None
    ) -> Tensor:
        """Draw a swap of two series of one type that *breaks* the groups, for tests that must fail.

        Args:
            generator: source of randomness; torch's global one if None.
            way: in which way of grouping, by its place in `ways`, the two are of different groups;
                None: in any.

        Raises:
            ValueError: if every such swap respects the groups or crosses types.
        """
        some = self._ways if way is None else [self._ways[way]]
        fine = np.concatenate([each.partitions[:, -1:] for each in some], axis=1)
        types = self._ways[0].types
        for i in self._shuffled(generator):
            for j in self._shuffled(generator):
                perm = self.identity
                perm[[i, j]] = perm[[j, i]]
                apart = (fine[i] != fine[j]).any() and types[i] == types[j]
                if apart and not self.contains(perm):
                    return perm
        raise ValueError("no swap of two series of one type breaks these ways of grouping")

    def _shuffled(self, generator: torch.Generator | None) -> np.ndarray:
        return torch.randperm(self.n, generator=generator).numpy()

    @property
    def _at_first(self) -> np.ndarray:
        """(n, n) bool, the places of each series that are not ruled out."""
        return self._alike[:, None] == self._alike

    def _complete(
        self, placed: dict[int, int], fits: np.ndarray, order: Sequence[np.ndarray]
    ) -> Iterator[Tensor]:
        """Every permutation in which the series placed go where they are said to.

        Series are placed one after the other, the next one where the fewest places are left.

        Args:
            placed: the place of each series that has one.
            fits: (n, n) bool, the places that these leave to each series.
            order: for each series all places (n,), in the order in which they are tried.
        """
        if not fits.any(1).all():
            return
        if len(placed) == self.n:
            yield torch.tensor([placed[i] for i in range(self.n)], dtype=torch.int64)
            return
        left = np.array([i for i in range(self.n) if i not in placed])
        i = int(left[fits[left].sum(1).argmin()])
        for j in order[i]:
            if fits[i, j]:
                yield from self._complete({**placed, i: int(j)}, self._fitting(fits, i, j), order)

    def _fitting(self, fits: np.ndarray, i: int, j: int) -> np.ndarray:
        """Which places (n, n) are left to each series once series i goes to place j."""
        same = (self._groups[i] == self._groups)[:, None] == (self._groups[j] == self._groups)
        fits = fits & same.all(-1)
        fits[i], fits[:, j] = False, False
        fits[i, j] = True
        return fits


def _refined(groups: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Numbers (n,) that differ where no permutation can exchange two series.

    Series of one number have groups of the same numbers; repeated until nothing changes.
    """
    number, count = types, -1
    while number.max(initial=-1) + 1 > count:
        count = int(number.max(initial=-1)) + 1
        kinds = [number]
        for group in groups.T:
            held = np.zeros((group.max(initial=-1) + 1, count), np.int64)
            np.add.at(held, (group, number), 1)
            kinds.append(np.unique(held, axis=0, return_inverse=True)[1].reshape(-1)[group])
        number = np.unique(np.stack(kinds), axis=1, return_inverse=True)[1].reshape(-1)
    return number
