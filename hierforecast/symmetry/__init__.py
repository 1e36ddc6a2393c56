"""Symmetries: permutations that leave a forecast unchanged but for its order.

`permutations` has the group actions, `tree` how groups are nested, `crossed` what is left where
series are grouped in several ways.
"""

from hierforecast.symmetry.crossed import CrossedPermutation
from hierforecast.symmetry.permutations import (
    GroupAction,
    HierarchicalPermutation,
    is_hierarchical,
    random_permutation,
    swap_across,
)

__all__ = [
    "CrossedPermutation",
    "GroupAction",
    "HierarchicalPermutation",
    "is_hierarchical",
    "random_permutation",
    "swap_across",
]
