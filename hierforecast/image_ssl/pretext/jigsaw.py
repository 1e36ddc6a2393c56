"""Jigsaw puzzles: in which order do the tiles stand?

Noroozi and Favaro 2016, arXiv 1603.09246.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hierforecast.image_ssl.groups import GroupLike, LabelAction
from hierforecast.image_ssl.nn.heads import TileConv
from hierforecast.image_ssl.pretext.permutations import far_apart
from hierforecast.image_ssl.pretext.task import Draw, PretextTask
from hierforecast.image_ssl.pretext.tiles import TileGrid, cell_moves


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
