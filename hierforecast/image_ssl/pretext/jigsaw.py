"""Jigsaw puzzles: in which order do the tiles stand?

Noroozi and Favaro 2016, arXiv 1603.09246. Turning a jigsawed image by r shows permutation r s r^-1
(conjugation). A set that holds with s all its conjugates has an action of the group on its labels;
orbits of full size are called free.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations

import numpy as np
import torch
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.groups import Group, GroupLike, LabelAction, as_group
from hierforecast.image_ssl.nn.heads import TileConv
from hierforecast.image_ssl.pretext.task import Draw, PretextTask, TileGrid, cell_moves


class Jigsaw(PretextTask):
    """The tiles of a grid in another order, of a set of permutations: which permutation is it?

    Place p shows tile ``permutations[label, p]``. Turning the puzzle conjugates its permutation,
    and the set is closed under that.

    Args:
        count: permutations in the set, a multiple of the group's order.
        grid: tiles along a side, 2 or 3.
        tile, gap, jitter: of `TileGrid`.
        seed: of the choice among equally good permutations.

    Attributes:
        permutations: (count, grid * grid) int64.
    """

    cells = 3

    def __init__(
        self,
        group: GroupLike = "C4",
        count: int = 64,
        grid: int = 3,
        tile: int = 9,
        gap: int = 2,
        jitter: int = 1,
        seed: int = 0,
    ) -> None:
        self.cells, self.tiles = grid, grid**2
        self.grid = TileGrid(grid, tile, gap, jitter)
        self.permutations, moves = far_apart(group, count, grid, seed)
        self.action = LabelAction(group, moves)
        self.cell_moves = cell_moves(group, grid)

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Draw:
        """Draw permutations, and how far each tile is moved before it is cut."""
        labels = torch.randint(self.action.n_labels, (batch,), generator=generator)
        return Draw(labels, self.grid.draw_shifts(batch, self.tiles, generator))

    def cut(self, images: Tensor, draw: Draw) -> Tensor:
        """The tiles in the order in which the places show them, (b, tiles, 3, t, t)."""
        return self.grid.cut(images, self.permutations[draw.labels], draw.shifts)

    def turn(self, a: int, draw: Draw) -> Draw:
        """The label is conjugated, and the moves turn and change places with their tiles."""
        labels, shifts = super().turn(a, draw)
        moved = torch.empty_like(shifts)
        moved[:, self.cell_moves[a]] = shifts
        return Draw(labels, moved)

    def turn_tiles(self, a: int, tiles: Tensor) -> Tensor:
        """Each tile turned, in the place to which its place goes."""
        moved = torch.empty_like(tiles)
        moved[:, self.cell_moves[a].to(tiles.device)] = tiles
        return super().turn_tiles(a, moved)

    def combine(self, channels: int, out_channels: int, group: GroupLike) -> nn.Module:
        """One convolution as large as the grid: a turn moves the tiles and turns each."""
        return TileConv(channels, out_channels, group, self.cells)


def conjugate(a: int, perms: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The permutations r s r^-1 for r = ``cells[a]``; perms (n, tiles), cells (g, tiles)."""
    turn = cells[a]
    moved = np.empty_like(perms)
    moved[:, turn] = turn[perms]
    return moved


def far_apart(group: GroupLike, count: int, grid: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Choose permutations of a grid of tiles: whole free orbits, far apart in Hamming distance.

    Greedy, as Noroozi and Favaro (2016) choose theirs, but a whole orbit at a time: the next one is
    that whose nearest neighbor in the set, itself included, is farthest away.

    Args:
        count: of permutations, a multiple of the group's order.
        grid: tiles along a side, 2 or 3.

    Returns:
        perms (count, tiles): place p shows tile ``perms[p]``; moves (g, count): `LabelAction`'s.

    Raises:
        DataError: if there are not so many, or `count` is no multiple of the order.
    """
    perms, moves = _far_apart(as_group(group), count, grid, seed)
    return torch.from_numpy(perms.copy()), torch.from_numpy(moves.copy())


@lru_cache(maxsize=16)
def _far_apart(group: Group, count: int, grid: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if grid not in (2, 3):
        raise DataError(f"grid={grid}: give 2 or 3; larger grids have too many permutations")
    cells = cell_moves(group, grid).numpy().astype(np.int8)
    orbits = _free_orbits(group, cells, grid * grid)
    wanted = count // group.order
    if count < 1 or count % group.order or wanted > len(orbits):
        raise DataError(
            f"count={count}: a set closed under {group.name} by free orbits has a multiple of "
            f"{group.order} permutations, {group.order * len(orbits)} at most for this grid"
        )
    # The smallest distance between two members of the same orbit, (n,); all tiles if it has one.
    own = (orbits[:, 1:] != orbits[:, :1]).sum(2).min(1, initial=grid * grid)
    rng = np.random.default_rng(seed)
    ties = rng.permutation(len(orbits))
    reach, chosen = own.copy(), []
    for _ in range(wanted):
        best = ties[np.argmax(reach[ties])]
        chosen.append(best)
        # By symmetry one member of every other orbit is enough: it meets all of the chosen one.
        for member in orbits[best]:
            np.minimum(reach, (orbits[:, 0] != member).sum(1), out=reach)
        reach[best] = -1
    perms = orbits[chosen].reshape(count, grid * grid)
    first = np.arange(wanted)[:, None] * group.order
    moves = np.stack([(first + group.table[a].numpy()).flatten() for a in group.elements()])
    return perms.astype(np.int64), moves


def _free_orbits(group: Group, cells: np.ndarray, tiles: int) -> np.ndarray:
    """All free orbits, (n, g, tiles): entry a is the conjugate of entry 0 by element a."""
    perms = np.array(list(permutations(range(tiles))), np.int8)
    power = tiles ** np.arange(tiles, dtype=np.int64)
    conjugates = np.stack([conjugate(a, perms, cells) for a in group.elements()], 1)
    code = conjugates.astype(np.int64) @ power
    smallest = code[:, 0] == code.min(1)
    free = (np.diff(np.sort(code, 1)) > 0).all(1)
    return conjugates[smallest & free]
