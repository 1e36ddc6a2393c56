"""Groups against matrices and against a picture; labels against their definition."""

from __future__ import annotations

import copy
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from hierforecast.image_ssl.groups import (
    FeatureAction,
    FeatureMapAction,
    Group,
    ImageAction,
    InvariantAction,
    LabelAction,
    as_group,
)
from hierforecast.symmetry import GroupAction

NAMES = {"C1": 1, "C2": 2, "C4": 4, "D1": 2, "D2": 4, "D4": 8}
TURN = np.array([[0, -1], [1, 0]])  # by 90 degrees, counter-clockwise, x to the right and y up
MIRROR = np.array([[-1, 0], [0, 1]])  # left to right


def matrix(group: Group, a: int) -> np.ndarray:
    """What element a does to a vector: mirrored first, then turned."""
    mirrored, turns = a // group.turns, a % group.turns * (4 // group.turns)
    turned = np.linalg.matrix_power(TURN, turns)
    return turned @ MIRROR if mirrored else turned


def moved_by_hand(a: np.ndarray, x: Tensor) -> Tensor:
    """Every pixel of a square picture carried to its place, one at a time."""
    size, moved = x.shape[-1], torch.empty_like(x)
    for row, column in product(range(size), repeat=2):
        right, up = a @ np.array([2 * column - size + 1, size - 1 - 2 * row])
        moved[..., (size - 1 - up) // 2, (right + size - 1) // 2] = x[..., row, column]
    return moved


@pytest.fixture(params=NAMES)
def group(request):
    return Group(request.param)


def test_elements_are_the_matrices(group):
    everyone = list(group.elements())
    assert everyone == list(range(group.order)) and group.order == NAMES[group.name]
    matrices = {a: matrix(group, a) for a in everyone}
    assert len({m.tobytes() for m in matrices.values()}) == group.order
    for a, b in product(everyone, repeat=2):
        assert np.array_equal(matrices[group.compose(a, b)], matrices[a] @ matrices[b])
        assert group.table[a, b] == group.compose(a, b)
    for a in everyone:
        assert np.array_equal(matrices[group.inverse(a)] @ matrices[a], np.eye(2))
        assert group.inverses[a] == group.inverse(a)
        assert group.is_mirror(a) == (round(np.linalg.det(matrices[a])) == -1)
    assert np.array_equal(matrices[group.identity], np.eye(2))


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_images_move_as_the_matrices_do(group, size):
    x = torch.arange(2.0 * size * size).view(2, size, size)
    for a in group.elements():
        assert torch.equal(ImageAction(group).act(a, x), moved_by_hand(matrix(group, a), x))


def test_what_is_said_of_the_elements():
    x = torch.tensor([[1, 2], [3, 4]])
    quarter, mirror = ImageAction("C4").act(1, x), ImageAction("D4").act(4, x)
    assert quarter.tolist() == [[2, 4], [1, 3]]  # counter-clockwise
    assert mirror.tolist() == [[2, 1], [4, 3]]
    assert ImageAction("D4").act(5, x).tolist() == [[1, 3], [2, 4]]  # mirrored, then turned
    assert ImageAction("C4").act(1, torch.zeros(3, 5, 7)).shape == (3, 7, 5)


def actions(group: Group) -> dict[str, tuple[GroupAction[int], Tensor]]:
    labels = LabelAction(group, torch.cat([group.table, group.table + group.order], dim=1))
    return {
        "images": (ImageAction(group), torch.randn(2, 3, 5, 5)),
        "wide images": (ImageAction(group), torch.randn(2, 3, 4, 7)),
        "features": (FeatureAction(group), torch.randn(2, 3, group.order)),
        "maps": (FeatureMapAction(group), torch.randn(2, 3, group.order, 5, 4)),
        "invariant": (InvariantAction(group), torch.randn(2, 3)),
        "labels": (labels, torch.arange(2 * group.order)),
    }


def test_every_action_obeys_the_group(group):
    for name, (action, x) in actions(group).items():
        everyone, before = list(action.elements()), x.clone()
        assert everyone[0] == action.identity and len(everyone) == action.order, name
        assert torch.equal(action.act(action.identity, x), x)
        for a, b in product(everyone, repeat=2):
            one = action.act(action.compose(a, b), x)
            assert torch.equal(one, action.act(a, action.act(b, x))), (name, a, b)
        for a in everyone:
            assert torch.equal(action.act(action.inverse(a), action.act(a, x)), x), (name, a)
            moves = name != "invariant" and a != action.identity
            assert moves != torch.equal(action.act(a, x), x), (name, a)
        assert torch.equal(x, before)


def test_features_move_by_the_inverse_on_the_left(group):
    x = torch.randn(2, 3, group.order)
    maps = torch.randn(2, 3, group.order, 3, 3)
    for a, k in product(group.elements(), repeat=2):
        source = group.compose(group.inverse(a), k)
        assert torch.equal(FeatureAction(group).act(a, x)[:, :, k], x[:, :, source])
        turned = moved_by_hand(matrix(group, a), maps[:, :, source])
        assert torch.equal(FeatureMapAction(group).act(a, maps)[:, :, k], turned)


def test_scores_move_with_their_labels(group):
    action = LabelAction(group, group.table)
    scores = torch.randn(3, group.order)
    for a in group.elements():
        moved = action.act_on_scores(a, scores)
        for label in range(group.order):
            assert torch.equal(moved[:, action.moves[a, label]], scores[:, label])
        assert torch.equal(moved.argmax(1), action.act(a, scores.argmax(1)))


@pytest.mark.parametrize("name", ["C3", "C8", "D3", "c4", "O2", "", "D8"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r"not exact on a grid of pixels: give one of C1, C2"):
        Group(name)


def test_groups_are_equal_by_name(group):
    assert as_group(group) is group and as_group(group.name) == group
    assert group != group.name and len({group, Group(group.name), Group("C1")}) <= 2
    assert [Group(name) == group for name in NAMES].count(True) == 1
    assert pickle.loads(pickle.dumps(group)) == copy.deepcopy(group) == group
    assert repr(group) == f"Group({group.name!r})"


# Labels of D4 with stabilisers of 1, 2 (two kinds), 4 and 8 elements, as matrices move them.
CORNERS = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
SIDES = [(1, 0), (0, 1), (-1, 0), (0, -1)]
AXES = [frozenset({(1, 0), (-1, 0)}), frozenset({(0, 1), (0, -1)})]
THINGS = [*CORNERS, *SIDES, *AXES, "middle", *((1, i) for i in range(10, 18))]


def label_action(name: str) -> LabelAction:
    group = Group(name)

    def move(a: int, thing: object) -> object:
        if isinstance(thing, frozenset):
            return frozenset(move(a, vector) for vector in thing)
        if thing == "middle":
            return thing
        if isinstance(thing, tuple) and thing[1] >= 10:  # the elements of the group themselves
            number = thing[1] - 10
            return (1, 10 + (group.compose(a, number) if number < group.order else number))
        return tuple((matrix(group, a) @ np.array(thing)).tolist())

    rows = [[THINGS.index(move(a, thing)) for thing in THINGS] for a in group.elements()]
    return LabelAction(group, torch.tensor(rows))


def test_orbits_by_brute_force(group):
    action = label_action(group.name)
    orbits = {
        frozenset(int(action.moves[a, y]) for a in group.elements()) for y in range(len(THINGS))
    }
    assert {frozenset(orbit) for orbit in action.orbits} == orbits
    assert sorted(sum(action.orbits, ())) == list(range(len(THINGS))) == [*range(action.n_labels)]
    stays = [
        torch.equal(action.moves[a, y], torch.tensor(y))
        for a in list(group.elements())[1:]
        for y in range(len(THINGS))
    ]
    assert action.is_free != any(stays)
    assert LabelAction(group, group.table).is_free


def test_readers_are_means_over_cosets(group):
    action = label_action(group.name)
    x = torch.randn(2, len(action.orbits), group.order, dtype=torch.float64)
    readers = action.readers()
    read = x.flatten(1)[:, readers].mean(-1)
    for number, orbit in enumerate(action.orbits):
        for y in orbit:
            senders = [a for a in group.elements() if action.moves[a, min(orbit)] == y]
            assert len(senders) == group.order // len(orbit)
            torch.testing.assert_close(read[:, y], x[:, number, senders].mean(-1))
    features = FeatureAction(group)
    for a in group.elements():
        moved = features.act(a, x).flatten(1)[:, readers].mean(-1)
        torch.testing.assert_close(moved, action.act_on_scores(a, read), rtol=0, atol=1e-14)


QUARTERS = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]])


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        (QUARTERS[:3], r"must be \(4, labels\), not \(3, 4\)"),
        (QUARTERS[0], r"must be \(4, labels\), not \(4,\)"),
        (QUARTERS[:, :0], "must be"),
        (QUARTERS.clamp(max=2), "must be a permutation"),
        (QUARTERS[:, :3], "must be a permutation"),
        (QUARTERS.roll(1, 0), "identity's row"),
        (QUARTERS[[0, 1, 1, 3]], "elements 1 and 1 do not compose"),
        (QUARTERS[[0, 2, 1, 3]], "do not compose as the group does"),
    ],
)
def test_moves_that_are_no_action_are_refused(moves, message):
    with pytest.raises(ValueError, match=message):
        LabelAction("C4", moves)


def test_the_wrong_side_is_no_action():
    table = Group("D4").table
    LabelAction("D4", table)
    with pytest.raises(ValueError, match="do not compose"):
        LabelAction("D4", table.T.contiguous())  # multiplies on the right
