"""Context prediction: which of its eight neighbors is this tile?

Doersch, Gupta and Efros 2015, arXiv 1505.05192.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.image_ssl.groups import GroupLike, LabelAction
from hierforecast.image_ssl.pretext.task import Draw, PretextTask, TileGrid, cell_moves

# Cells of a 3 x 3 grid around the middle one, counter-clockwise from the right: a quarter turn
# moves a label two places on.
RING, CENTER = (5, 2, 1, 0, 3, 6, 7, 8), 4


class ContextPrediction(PretextTask):
    """Two tiles, the middle one and a neighbor: where does the neighbor lie?

    The eight labels stand on a ring. A turn by 90 degrees moves them two places; with mirror
    images, corners and edges are left alone by one mirror each, and their scores are read from a
    quotient (see `LabelAction.readers`).

    Args:
        tile, gap, jitter: of `TileGrid`; the gap is against answers from lines that cross a border.
    """

    tiles, cells = 2, 3

    def __init__(
        self, group: GroupLike = "C4", tile: int = 9, gap: int = 2, jitter: int = 1
    ) -> None:
        self.grid = TileGrid(self.cells, tile, gap, jitter)
        place = torch.full((9,), -1)
        place[list(RING)] = torch.arange(8)
        self.action = LabelAction(group, place[cell_moves(group, self.cells)[:, list(RING)]])

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Draw:
        """Draw neighbors, and how far they are moved; the middle tile stays."""
        labels = torch.randint(8, (batch,), generator=generator)
        shifts = self.grid.draw_shifts(batch, 2, generator)
        shifts[:, 0] = 0
        return Draw(labels, shifts)

    def cut(self, images: Tensor, draw: Draw) -> Tensor:
        """The middle tile and its neighbor, (b, 2, 3, t, t)."""
        cells = torch.tensor(RING)[draw.labels]
        pairs = torch.stack([torch.full_like(cells, CENTER), cells], 1)
        return self.grid.cut(images, pairs, draw.shifts)
