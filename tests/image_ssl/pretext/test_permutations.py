"""Sets of permutations: closed, free, far apart, and counted; tiles cut by slices."""

from __future__ import annotations

from itertools import combinations, permutations, product

import pytest
import torch

from hierforecast.errors import DataError
from hierforecast.image_ssl.groups import Group
from hierforecast.image_ssl.pretext import Jigsaw
from hierforecast.image_ssl.pretext.jigsaw import far_apart
from hierforecast.image_ssl.pretext.task import TileGrid, cell_moves, turn_shifts

NAMES = ("C1", "C2", "C4", "D1", "D2", "D4")


def conjugates(name: str, permutation: tuple[int, ...], grid: int) -> list[tuple[int, ...]]:
    """r s r^-1 for every element, place by place."""
    found = []
    for turn in cell_moves(name, grid).tolist():
        moved = [-1] * len(permutation)
        for place, tile in enumerate(permutation):
            moved[turn[place]] = turn[tile]
        found.append(tuple(moved))
    return found


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def nearest(rows: list[tuple[int, ...]]) -> int:
    """The smallest Hamming distance between two permutations."""
    return min(distance(*pair) for pair in combinations(rows, 2))


@pytest.mark.parametrize(
    ("name", "grid", "count"),
    [
        *((name, 3, 32) for name in NAMES),
        ("C4", 2, 16),
        ("C2", 2, 8),
        ("D2", 2, 4),
        ("D4", 2, 8),
        ("C1", 2, 24),
    ],
)
def test_sets_are_closed_under_conjugation_and_free(name, grid, count):
    perms, moves = far_apart(name, count, grid)
    rows = [tuple(row) for row in perms.tolist()]
    assert len(set(rows)) == count == len(rows)
    assert all(sorted(row) == list(range(grid * grid)) for row in rows)
    for label, row in enumerate(rows):
        turned = conjugates(name, row, grid)
        assert [rows[y] for y in moves[:, label].tolist()] == turned
        assert len(set(turned)) == Group(name).order  # a free orbit
    task = Jigsaw(name, count, grid)
    assert task.action.is_free and torch.equal(task.permutations, perms)


@pytest.mark.parametrize("name", ["C1", "C4", "D4"])
def test_permutations_are_farther_apart_than_random_ones(name):
    perms, _ = far_apart(name, 32)
    found = nearest(perms.tolist())
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        chosen: list[tuple[int, ...]] = []
        while len(chosen) < 32:
            one = tuple(torch.randperm(9, generator=generator).tolist())
            orbit = conjugates(name, one, 3)
            if len(set(orbit)) == len(orbit):
                chosen += orbit
        assert found > nearest(chosen)


def test_the_first_orbit_is_as_far_apart_as_an_orbit_can_be():
    best = max(
        nearest(orbit)
        for orbit in (conjugates("C4", one, 2) for one in permutations(range(4)))
        if len(set(orbit)) == 4
    )
    assert nearest(far_apart("C4", 4, 2)[0].tolist()) == best


@pytest.mark.parametrize(
    ("name", "grid", "count", "message"),
    [
        ("C4", 3, 63, r"closed under C4 by free orbits has a multiple of 4 .* 362496 at most"),
        ("D4", 3, 361_416, r"multiple of 8 permutations, 361408 at most"),  # 45,176 orbits
        ("C4", 2, 20, "16 at most"),
        ("D4", 2, 16, "multiple of 8 permutations, 8 at most"),
        ("C4", 3, 0, "count=0"),
        ("C4", 3, -4, "count=-4"),
        ("C4", 4, 8, "grid=4: give 2 or 3"),
        ("C4", 1, 8, "grid=1: give 2 or 3"),
    ],
)
def test_counts_that_do_not_exist_are_told(name, grid, count, message):
    with pytest.raises(DataError, match=message):
        far_apart(name, count, grid)


def test_orbits_are_counted():
    assert (4 * 90_624, 8 * 45_176) == (362_496, 361_408)  # as the messages above say
    for name, free in (("C4", 4), ("D4", 1), ("C1", 24)):
        orbits = {frozenset(conjugates(name, one, 2)) for one in permutations(range(4))}
        assert sum(len(orbit) == Group(name).order for orbit in orbits) == free


def test_seeds_choose_and_repeat():
    first, moves = far_apart("C4", 8, 2, seed=3)
    again, _ = far_apart("C4", 8, 2, seed=3)
    other, _ = far_apart("C4", 8, 2, seed=7)
    assert torch.equal(first, again) and not torch.equal(first, other)
    first.zero_(), moves.zero_()  # what is handed out is one's own
    assert torch.equal(far_apart("C4", 8, 2, seed=3)[0], again)
    assert far_apart("C4", 8, 2, seed=3)[1].any()


@pytest.mark.parametrize(("cells", "size"), [(2, 14), (3, 21), (1, 5)])
def test_tiles_are_slices(cells, size):
    grid = TileGrid(cells, 5, 2, 1)
    size = max(size, grid.side + 2)
    images = torch.rand(4, 3, size, size)
    order = torch.stack([torch.randperm(cells**2) for _ in range(4)])
    shifts = grid.draw_shifts(4, cells**2, None)
    tiles, margin = grid.cut(images, order, shifts), (size - grid.side) // 2
    assert tiles.shape == (4, cells**2, 3, 5, 5)
    for b, k in product(range(4), range(cells**2)):
        row, column = divmod(int(order[b, k]), cells)
        top, left = (margin + 7 * torch.tensor([row, column]) + shifts[b, k]).tolist()
        assert top >= 0 and left >= 0
        assert torch.equal(tiles[b, k], images[b, :, top : top + 5, left : left + 5])


def test_tiles_that_do_not_fit_are_told():
    cut = lambda grid, *shape: grid.cut(  # noqa: E731
        torch.rand(1, 3, *shape), torch.zeros(1, 1).long(), torch.zeros(1, 1, 2).long()
    )
    assert cut(TileGrid(3, 5, 2, 1), 21, 21).shape[-1] == 5
    with pytest.raises(DataError, match=r"20 pixels are too small for 3 tiles of 5 .* least 21"):
        cut(TileGrid(3, 5, 2, 1), 20, 20)
    with pytest.raises(DataError, match="grid of 19 pixels cannot lie in the middle of 22"):
        cut(TileGrid(3, 5, 2, 1), 22, 22)
    with pytest.raises(DataError, match=r"must be square, not \(21, 23\)"):
        cut(TileGrid(3, 5, 2, 1), 21, 23)
    for wrong in ((0, 5), (3, 0), (3, 5, -1), (3, 5, 1, -1)):
        with pytest.raises(DataError, match="too small"):
            TileGrid(*wrong)


@pytest.mark.parametrize("name", NAMES)
def test_moves_of_tiles_turn_as_arrows_do(name):
    shifts = torch.tensor([[0, 1], [2, 0], [-1, 3]])  # down, right
    group = Group(name)
    for a in group.elements():
        for before, after in zip(
            shifts.tolist(), turn_shifts(name, a, shifts).tolist(), strict=True
        ):
            arrow = complex(before[1], -before[0])  # to the right and up
            arrow = -arrow.conjugate() if group.is_mirror(a) else arrow
            arrow *= 1j ** group.quarter_turns(a)
            assert after == [-round(arrow.imag), round(arrow.real)]
