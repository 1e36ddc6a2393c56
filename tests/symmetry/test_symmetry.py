from __future__ import annotations

from itertools import islice, permutations, product

import numpy as np
import pytest
import torch

from hierforecast.symmetry import (
    GroupAction,
    HierarchicalPermutation,
    is_hierarchical,
    random_permutation,
    swap_across,
)

# name: (groups, types); small enough to try every permutation.
SMALL = {
    "one group": ([0, 0, 0], None),
    "no levels": (np.zeros((4, 0), int), None),
    "two teams and a ball": (list("bhhaa"), ["ball", *["player"] * 4]),
    "a ball among alike groups": (list("bhhaaa"), None),
    "one type apart": ([0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 1]),
    "mixed types in a group": ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]),
    "interleaved": ([1, 0, 1, 2, 0, 2], None),
    "nested": ([[0, 0], [0, 0], [0, 1], [1, 0], [1, 0], [1, 1]], None),
    "nested, shapes differ": ([[0, 0], [0, 0], [0, 1], [1, 2], [1, 2], [1, 2]], None),
    "three levels": ([[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 1, 3], [1, 2, 4], [1, 2, 5]], None),
    "singletons": ([0, 1, 2], ["x", "x", "y"]),
    "single chains": ([[0, 0], [1, 1], [2, 2], [2, 2]], None),
}


def respects(perm, groups, types) -> bool:
    """The definition, pair by pair: who shares a group still does, who does not still does not."""
    labels = np.asarray(groups).reshape(len(perm), -1)
    for i, j in product(range(len(perm)), repeat=2):
        for level in range(1, labels.shape[1] + 1):
            together = (labels[i, :level] == labels[j, :level]).all()
            if together != (labels[perm[i], :level] == labels[perm[j], :level]).all():
                return False
    return types is None or all(types[perm[i]] == types[i] for i in range(len(perm)))


@pytest.fixture(params=SMALL.values(), ids=list(SMALL), scope="module")
def case(request):
    groups, types = request.param
    everything = list(permutations(range(len(groups))))
    return groups, types, {perm for perm in everything if respects(perm, groups, types)}


def test_elements_and_contains_agree_with_the_definition(case):
    groups, types, allowed = case
    action = HierarchicalPermutation(groups, types)
    elements = [tuple(perm.tolist()) for perm in action.elements()]
    assert elements[0] == tuple(range(action.n))
    assert len(elements) == len(set(elements)) == action.order
    assert set(elements) == allowed
    for perm in permutations(range(action.n)):
        assert action.contains(perm) == (perm in allowed)


def test_samples_reach_every_element_but_the_identity(case):
    groups, types, allowed = case
    action = HierarchicalPermutation(groups, types)
    identity = tuple(range(action.n))
    if action.order == 1:
        with pytest.raises(ValueError, match="only the identity"):
            action.sample()
        return
    generator = torch.Generator().manual_seed(0)
    drawn = {tuple(action.sample(generator).tolist()) for _ in range(200)}
    assert identity not in drawn
    assert drawn <= allowed
    for members, whole in ((True, False), (False, True)):
        try:
            part = {tuple(action.sample(members=members, groups=whole).tolist()) for _ in range(99)}
        except ValueError:
            continue
        assert part <= allowed - {identity}


def test_swap_across_finds_exactly_the_swaps_that_break(case):
    groups, types, allowed = case
    kinds = types or [0] * len(groups)
    breaking = set()
    for i, j in product(range(len(groups)), repeat=2):
        swap = list(range(len(groups)))
        swap[i], swap[j] = j, i
        if kinds[i] == kinds[j] and tuple(swap) not in allowed:
            breaking.add(tuple(swap))
    if not breaking:
        with pytest.raises(ValueError, match="no swap of two series"):
            swap_across(groups, types)
        return
    generator = torch.Generator().manual_seed(0)
    drawn = {tuple(swap_across(groups, types, generator).tolist()) for _ in range(200)}
    assert drawn == breaking


def test_group_axioms(case):
    groups, types, _ = case
    action: GroupAction[torch.Tensor] = HierarchicalPermutation(groups, types)
    x = torch.randn(len(groups), 2)
    some = list(islice(action.elements(), 8))
    assert torch.equal(action.act(action.identity, x), x)
    for a, b in product(some, repeat=2):
        assert torch.equal(action.act(action.compose(a, b), x), action.act(a, action.act(b, x)))
        assert torch.equal(action.compose(a, action.inverse(a)), action.identity)
        assert torch.equal(action.compose(action.inverse(a), a), action.identity)


def test_members_and_groups_are_told_apart():
    teams = np.array(list("bhhhaaa"))
    inside = random_permutation(teams, groups_=False)
    assert (teams[inside] == teams).all()
    whole = random_permutation(teams, members=False)
    assert (teams[whole] == np.array(list("baaahhh"))).all()
    for _ in range(20):  # both at once: the teams change sides and somebody's rank within a team
        both = random_permutation(teams)
        assert (teams[both] == np.array(list("baaahhh"))).all()
        assert not torch.equal(both, whole)


def test_the_global_generator_or_ones_own():
    action = HierarchicalPermutation([0] * 9 + [1] * 9)
    state = torch.get_rng_state()
    first = action.sample(torch.Generator().manual_seed(5))
    assert torch.equal(first, action.sample(torch.Generator().manual_seed(5)))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(action.sample(), action.sample())


def test_labels_may_be_tensors_and_repeat_under_another_parent():
    nested = torch.tensor([[0, 7], [0, 7], [1, 7], [1, 7]])
    assert is_hierarchical(torch.tensor([2, 3, 0, 1]), nested)
    assert not is_hierarchical(torch.tensor([2, 1, 0, 3]), nested)
    assert not is_hierarchical([0, 0, 2, 3], nested)
    assert not is_hierarchical([0, 1, 2], nested)


def test_many_series():
    rng = np.random.default_rng(0)
    industry = rng.integers(0, 60, 3000)
    groups = np.stack([industry // 6, industry], axis=1)
    action = HierarchicalPermutation(groups)
    assert action.contains(action.sample())
    assert not action.contains(action.swap_across())


@pytest.mark.parametrize(
    ("groups", "types", "message"),
    [(np.zeros((2, 2, 2)), None, "groups must be"), ([0, 0, 1], [0, 0], "types must be")],
)
def test_shapes_are_checked(groups, types, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalPermutation(groups, types)
