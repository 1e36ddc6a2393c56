"""Permutations that respect several ways of grouping, against the definition tried on all."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch

from hierforecast.symmetry import CrossedPermutation, GroupAction, HierarchicalPermutation

# name: (ways, types, how many permutations).
SMALL = {
    "a full table": ([list("aabbcc"), list("xyxyxy")], None, 12),
    "a table of two in each cell": ([list("aabb"), list("xxxx")], None, 8),
    "one is missing": ([list("aabbc"), list("xyxyx")], None, 2),
    "types": ([list("aabbcc"), list("xyxyxy")], [0, 0, 0, 0, 1, 1], 4),
    "nested": ([[[0, 0], [0, 1], [1, 2], [1, 3]], [0, 1, 0, 1]], None, 4),
    "three ways": ([[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1] * 2, [0, 1] * 4], None, 8),
    "nothing": ([list("aab"), list("xyx"), list("uvv")], None, 1),
    "one way": ([list("aabbb")], None, 12),
}


def together(way, i: int, j: int) -> list[bool]:
    """At which levels two series share a group."""
    path = np.asarray(way).reshape(len(way), -1)
    return [bool((path[i, :k] == path[j, :k]).all()) for k in range(1, path.shape[1] + 1)]


def respects(perm, ways, types) -> bool:
    pairs = product(range(len(perm)), repeat=2)
    kept = all(
        together(way, i, j) == together(way, perm[i], perm[j]) for i, j in pairs for way in ways
    )
    return kept and (types is None or all(types[j] == types[i] for i, j in enumerate(perm)))


@pytest.fixture(params=SMALL.values(), ids=list(SMALL), scope="module")
def case(request):
    ways, types, count = request.param
    allowed = {p for p in permutations(range(len(ways[0]))) if respects(p, ways, types)}
    assert len(allowed) == count
    return ways, types, allowed


def test_elements_and_contains_agree_with_the_definition(case):
    ways, types, allowed = case
    action: GroupAction = CrossedPermutation(ways, types)
    elements = [tuple(perm.tolist()) for perm in action.elements()]
    assert elements[0] == tuple(range(action.n))
    assert len(elements) == len(set(elements)) == action.order
    assert set(elements) == allowed
    for perm in permutations(range(action.n)):
        assert action.contains(perm) == (perm in allowed)


def test_it_is_a_group_that_acts(case):
    ways, types, _ = case
    action, x = CrossedPermutation(ways, types), torch.randn(len(ways[0]), 2)
    for a in action.elements():
        assert torch.equal(action.act(action.inverse(a), action.act(a, x)), x)
        for b in action.elements():
            both = action.compose(a, b)
            assert action.contains(both)
            assert torch.equal(action.act(both, x), action.act(a, action.act(b, x)))


def test_samples_are_elements_but_never_the_identity(case):
    ways, types, allowed = case
    action = CrossedPermutation(ways, types)
    if len(allowed) == 1:
        with pytest.raises(ValueError, match="only the identity respects all"):
            action.sample()
        return
    drawn = {
        tuple(action.sample(torch.Generator().manual_seed(seed)).tolist()) for seed in range(40)
    }
    assert drawn <= allowed - {tuple(range(action.n))}
    assert len(drawn) > min(3, (len(allowed) - 1) // 2)


def test_a_swap_across_breaks_the_way_that_is_asked_for(case):
    ways, types, allowed = case
    action = CrossedPermutation(ways, types)
    for at in range(len(ways)):
        try:
            perm = action.swap_across(torch.Generator().manual_seed(0), at).tolist()
        except ValueError as error:
            assert "no swap of two series" in str(error)
            perm = None
        moved = [
            (i, j) for i in range(action.n) for j in range(i) if not all(together(ways[at], i, j))
            and (types is None or types[i] == types[j])
        ]  # fmt: skip
        swaps = {tuple(j if k == i else i if k == j else k for k in range(action.n))
                 for i, j in moved} - allowed  # fmt: skip
        assert (perm is None) == (not swaps)
        assert perm is None or tuple(perm) in swaps


def test_with_one_way_it_is_the_hierarchical_one():
    groups, types = [[0, 0], [0, 0], [0, 1], [1, 0], [1, 0], [1, 1]], list("aabaab")
    one, other = CrossedPermutation([groups], types), HierarchicalPermutation(groups, types)
    assert one.order == other.order == 8
    assert {tuple(p.tolist()) for p in one.elements()} == {
        tuple(p.tolist()) for p in other.elements()
    }


def test_a_large_table_is_no_trouble():
    action = CrossedPermutation([np.repeat(np.arange(20), 5), np.tile(np.arange(5), 20)])
    assert action.contains(action.sample(torch.Generator().manual_seed(0)))


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="no way of grouping is given"):
        CrossedPermutation([])
    with pytest.raises(ValueError, match=r"ways of grouping are of \[2, 3\] series"):
        CrossedPermutation([[0, 1], [0, 1, 1]])
    with pytest.raises(ValueError, match=r"types must be \(2,\)"):
        CrossedPermutation([[0, 1]], [0])
