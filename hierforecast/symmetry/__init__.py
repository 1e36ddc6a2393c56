"""Symmetries: permutations that leave a forecast unchanged but for its order.

`permutations` has the group actions, `tree` how groups are nested.
"""

from hierforecast.symmetry.permutations import (
    GroupAction,
    HierarchicalPermutation,
    is_hierarchical,
    random_permutation,
    swap_across,
)

__all__ = [
    "GroupAction",
    "HierarchicalPermutation",
    "is_hierarchical",
    "random_permutation",
    "swap_across",
]
