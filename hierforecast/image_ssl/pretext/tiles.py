"""A centered grid of tiles on square images: where tiles lie, how turns move them, cutting."""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.groups import GroupLike, ImageAction, as_group
from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.image_ssl.nn.sizes import is_exact


class TileGrid:
    """Square tiles, a gap apart, in the middle of an image, each moved a little at random.

    Args:
        cells: tiles along a side.
        tile: side of a tile, pixels: a size for which the network is exact.
        gap: pixels between neighbors that are not moved.
        jitter: largest move of a tile along each axis, pixels.
    """

    def __init__(self, cells: int, tile: int, gap: int = 0, jitter: int = 0) -> None:
        if min(cells, tile) < 1 or min(gap, jitter) < 0:
            raise DataError(f"cells={cells}, tile={tile}, gap={gap}, jitter={jitter}: too small")
        self.cells, self.tile, self.gap, self.jitter = cells, tile, gap, jitter

    @property
    def side(self) -> int:
        """Pixels that the grid covers, moves left out."""
        return self.cells * self.tile + (self.cells - 1) * self.gap

    def margin(self, size: int) -> int:
        """Pixels beside the grid on an image of `size`."""
        left = size - self.side
        if left < 2 * self.jitter:
            raise DataError(
                f"images of {size} pixels are too small for {self.cells} tiles of {self.tile} with "
                f"gaps of {self.gap} and jitter {self.jitter}: at least "
                f"{self.side + 2 * self.jitter} are needed; give a smaller tile, gap or jitter"
            )
        if left % 2:
            raise DataError(
                f"the grid of {self.side} pixels cannot lie in the middle of {size}: turning the "
                "image would cut other tiles; change the size of images, tiles or gap by one"
            )
        return left // 2

    def cut(self, images: Tensor, cells: Tensor, shifts: Tensor) -> Tensor:
        """Cut tiles out of images.

        Args:
            cells: (b, k) int64, numbers of the tiles in the order of reading.
            shifts: (b, k, 2) int64, pixels down and to the right.

        Returns:
            (b, k, channels, tile, tile).
        """
        check_square(images)
        margin, pitch = self.margin(images.shape[-1]), self.tile + self.gap
        place = torch.stack([cells // self.cells, cells % self.cells], -1)
        corner = (margin + pitch * place + shifts).to(images.device)
        along = corner[..., None] + torch.arange(self.tile, device=images.device)
        rows, columns = along[:, :, 0, :, None], along[:, :, 1, None, :]
        scene = torch.arange(len(images), device=images.device)[:, None, None, None]
        return images[scene, :, rows, columns].movedim(-1, 2)

    def draw_shifts(self, batch: int, tiles: int, generator: torch.Generator | None) -> Tensor:
        """Moves of tiles, (b, tiles, 2), each axis uniform up to the jitter."""
        reach = (-self.jitter, self.jitter + 1)
        return torch.randint(*reach, (batch, tiles, 2), generator=generator)


def largest_tiles(size: int, cells: int, backbone: ResNet) -> dict[str, int]:
    """Side, gap and jitter of the largest tiles that fit a grid and for which a network is exact.

    Gaps are at least a quarter of a tile, so that lines crossing a border do not give the answer.
    A plain network gets the tiles that one of another group with its layers gets, for all arms of a
    comparison should see the same; only if there are none, the largest that fit.
    """
    fitting = []
    for tile in range(size // cells, 2, -1):
        gap = max(1, tile // 4)
        gap += (size - cells * tile - (cells - 1) * gap) % 2 if cells % 2 == 0 else 0
        jitter = gap // 2
        left = size - cells * tile - (cells - 1) * gap
        if left % 2 == 0 and left >= 2 * jitter and backbone.is_exact(tile):
            fitting.append({"tile": tile, "gap": gap, "jitter": jitter})
    if not fitting:
        raise DataError(
            f"images of {size} pixels hold no {cells} x {cells} grid of tiles for which this "
            "network is exact: give larger images (odd sizes for layers of ODD, even ones for "
            "EVEN), or a network that halves them less often"
        )
    for_all = (placed for placed in fitting if is_exact(placed["tile"], backbone.samplings))
    return next(for_all, fitting[0])


def check_square(images: Tensor) -> None:
    """Refuse images (..., h, w) whose turned copies would have another shape."""
    if images.shape[-1] != images.shape[-2]:
        raise DataError(f"images must be square, not {tuple(images.shape[-2:])}: crop them")


def cell_moves(group: GroupLike, cells: int) -> Tensor:
    """Where each cell of a square grid goes when the image is turned, (g, cells * cells)."""
    group = as_group(group)
    action, here = ImageAction(group), torch.arange(cells * cells)
    moves = torch.empty(group.order, cells * cells, dtype=torch.int64)
    for a in group.elements():
        moves[a, action.act(a, here.view(cells, cells)).flatten()] = here
    return moves


def turn_shifts(group: GroupLike, a: int, shifts: Tensor) -> Tensor:
    """Moves (..., 2), down and right, as they are after the image is turned."""
    group = as_group(group)
    down, right = shifts.unbind(-1)
    if group.is_mirror(a):
        right = -right
    for _ in range(group.quarter_turns(a)):
        down, right = -right, down
    return torch.stack([down, right], -1)
