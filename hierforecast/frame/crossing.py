"""Whether ways of grouping are crossed, as `Columns(crossed=...)` says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame.codes import pair
from hierforecast.frame.columns import Columns
from hierforecast.frame.remedies import assign_roles


class _Level(NamedTuple):
    """One level of a way of grouping: its columns, the group of each series (R,), how many."""

    names: tuple[str, ...]
    codes: np.ndarray
    size: int

    def within(self, other: _Level) -> bool:
        """Whether each group lies in one of the other's."""
        return len(pair(self.codes, other.codes, other.size)[1]) == self.size


def check_crossed(
    columns: Columns, scene: np.ndarray, groups: np.ndarray, crossed: Sequence[np.ndarray]
) -> None:
    """Check that no two ways of grouping are one, in a frame to learn from.

    Args:
        columns: the roles.
        scene: (R,) scene of each series.
        groups: (R, levels) path codes of `Columns.group`, coarse to fine.
        crossed: the same for each way of `Columns.crossed`.

    Raises:
        DataError: if the levels of two ways all lie within one another: they are one hierarchy, or
            the same grouping under two names.
    """
    ways = [
        [_level(names, scene, column) for names, column in zip(levels, codes.T, strict=True)]
        for levels, codes in zip(columns.partitions, (groups, *crossed), strict=False)
        if levels
    ]
    for (i, one), (j, other) in combinations(enumerate(ways), 2):
        if all(a.within(b) or b.within(a) for a, b in product(one, other)):
            _refuse(columns, i, j, one, other)


def _level(names: tuple[str, ...], scene: np.ndarray, group: np.ndarray) -> _Level:
    codes, distinct = pair(scene, group, int(group.max(initial=-1)) + 1)
    return _Level(names, codes, len(distinct))


def _refuse(columns: Columns, i: int, j: int, one: list[_Level], other: list[_Level]) -> None:
    """Raise the error of ways `i` and `j` of `Columns.partitions`, and say how to write them."""
    sizes = {level.size for level in one}
    new = [level for level in other if level.size not in sizes]
    kept = [way for k, way in enumerate(columns.crossed, 1) if k != j]
    this, that = (", ".join(map(repr, way[-1].names)) for way in (other, one))
    if not new:
        raise DataError(
            f"crossed={this} is no further way of grouping: it puts together the series that "
            f"{that} does; leave it out",
            assign_roles(columns, crossed=kept),
        )
    merged = [level.names for level in sorted([*one, *new], key=lambda level: level.size)]
    roles = {"group": merged, "crossed": kept}
    if i:
        roles = {"crossed": [merged if k == i - 1 else way for k, way in enumerate(kept)]}
    raise DataError(
        f"crossed={this} is not crossed with {that} but nested: each group of one lies within a "
        "group of the other; give them as one way of grouping, coarse to fine",
        assign_roles(columns, **roles),
    )
