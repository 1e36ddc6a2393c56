"""Pretext labels against turning the image; sets of permutations: closed, free and far apart."""

from __future__ import annotations

from itertools import combinations, permutations, product
from math import atan2, pi

import pytest
import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.groups import Group, ImageAction
from hierforecast.image_ssl.pretext import ContextPrediction, Jigsaw, RotationPrediction
from hierforecast.image_ssl.pretext.jigsaw import far_apart
from hierforecast.image_ssl.pretext.task import TileGrid, cell_moves, turn_shifts
from tests.image_ssl.pretext.drawing import (
    GAP,
    NAMES,
    PLACED,
    SIZES,
    TILE,
    every_label,
    images_for,
    jigsaw,
)


def find(image: Tensor, tile: Tensor) -> tuple[int, int]:
    """The one place on an image where a tile is found; its middle, from the image's, doubled."""
    size, side = image.shape[-1], tile.shape[-1]
    windows = image.unfold(1, side, 1).unfold(2, side, 1).movedim(0, 2)
    found = (windows == tile).all(-1).all(-1).all(-1).nonzero().tolist()
    assert len(found) == 1
    return 2 * found[0][0] + side - size, 2 * found[0][1] + side - size


def cell_of(image: Tensor, tile: Tensor, grid: int) -> tuple[int, int]:
    """Row and column of the grid's cell that a tile was cut from; jitter is less than half."""
    middle = (grid - 1) / 2
    row, column = (round(x / 2 / (TILE + GAP) + middle) for x in find(image, tile))
    return row, column


@pytest.mark.parametrize("name", NAMES)
def test_context_labels_are_where_the_neighbour_lies(name):
    task, image = ContextPrediction(name, **PLACED), ImageAction(name)
    draw = every_label(task)
    images = images_for(draw, SIZES[3])
    for a in image.elements():
        turned, moved = image.act(a, images), task.turn(a, draw)
        tiles = task.cut(turned, moved)
        assert torch.equal(tiles, task.turn_tiles(a, task.cut(images, draw)))
        for picture, pair, label in zip(turned, tiles, moved.labels.tolist(), strict=True):
            assert find(picture, pair[0]) == (0, 0)
            row, column = cell_of(picture, pair[1], 3)
            assert label == round(atan2(1 - row, column - 1) / (pi / 4)) % 8


def test_a_quarter_turn_moves_context_labels_two_places():
    task = ContextPrediction("D4")
    assert task.action.moves[1].tolist() == [2, 3, 4, 5, 6, 7, 0, 1]
    assert task.action.moves[4].tolist() == [4, 3, 2, 1, 0, 7, 6, 5]
    assert len(task.action.orbits) == 2 and not task.action.is_free
    assert ContextPrediction("C4").action.is_free


def conjugate(group: Group, a: int, permutation: list[int], grid: int) -> list[int]:
    """r s r^-1, cell by cell; r is found by turning the coordinates of the cells."""
    goes = {}
    for row, column in product(range(grid), repeat=2):
        y, x = row, grid - 1 - column if group.is_mirror(a) else column
        for _ in range(group.quarter_turns(a)):
            y, x = grid - 1 - x, y
        goes[row * grid + column] = y * grid + x
    back = {there: here for here, there in goes.items()}
    return [goes[permutation[back[place]]] for place in range(grid * grid)]


@pytest.mark.parametrize("grid", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_jigsaw_labels_are_the_order_in_which_tiles_stand(name, grid):
    task, image = jigsaw(name, grid), ImageAction(name)
    draw = every_label(task)
    images = images_for(draw, SIZES[grid])
    for a in image.elements():
        turned, moved = image.act(a, images), task.turn(a, draw)
        tiles = task.cut(turned, moved)
        assert torch.equal(tiles, task.turn_tiles(a, task.cut(images, draw)))
        for number in range(task.action.n_labels):
            cells = [cell_of(turned[number], tile, grid) for tile in tiles[number]]
            order = [row * grid + column for row, column in cells]
            assert order == task.permutations[moved.labels[number]].tolist()
            before = task.permutations[draw.labels[number]].tolist()
            assert order == conjugate(image.group, a, before, grid)


@pytest.mark.parametrize("name", ["C1", "C2", "C4"])
def test_rotation_labels_count_quarter_turns(name):
    task, image = RotationPrediction(name), ImageAction(name)
    draw = every_label(task)
    images = images_for(draw, 7)
    seen = task.cut(images, draw)
    for picture, turned, label in zip(images, seen[:, 0], draw.labels.tolist(), strict=True):
        assert torch.equal(turned, torch.rot90(picture, label, (-2, -1)))
    for a in image.elements():
        moved = task.turn(a, draw)
        assert torch.equal(task.cut(images, moved), task.turn_tiles(a, seen))
        assert torch.equal(moved.labels, (draw.labels + image.group.quarter_turns(a)) % 4)


@pytest.mark.parametrize("name", ["D1", "D2", "D4"])
def test_rotation_has_no_labels_for_mirror_images(name):
    with pytest.raises(ValueError, match=f"no action of {name}: .* use 'C{name[1]}'"):
        RotationPrediction(name)


def test_draws_reach_everything_and_the_middle_stays():
    task, generator = ContextPrediction("C4", jitter=2), torch.Generator().manual_seed(0)
    draw = task.draw(600, generator)
    assert draw.labels.unique().tolist() == list(range(8))
    assert draw.shifts[:, 1].unique(dim=0).shape == (25, 2)
    assert not draw.shifts[:, 0].any()
    again = task.draw(600, torch.Generator().manual_seed(0))
    assert torch.equal(again.labels, draw.labels) and torch.equal(again.shifts, draw.shifts)
    puzzle = jigsaw("C4").draw(900)
    assert puzzle.labels.unique().tolist() == list(range(8)) and puzzle.shifts.shape == (900, 9, 2)
    assert RotationPrediction("C2").draw(99).labels.unique().tolist() == [0, 1, 2, 3]


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
