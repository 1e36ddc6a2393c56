"""What a pretext task is, and learning by one.

A task cuts tiles out of images and asks for a label that the way of cutting decides. Its label
action says which label belongs to the turned image (arXiv 2303.04427: equivariant pretext labels);
a network that commutes with the group can then give the right answer to both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.groups import GroupLike, ImageAction, LabelAction, as_group
from hierforecast.image_ssl.nn.backbone import Backbone
from hierforecast.image_ssl.nn.conv import GroupLinear
from hierforecast.image_ssl.nn.heads import LabelReader, mlp, respecting
from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.image_ssl.nn.sizes import is_exact
from hierforecast.image_ssl.objective import Method, Objective, Setting
from hierforecast.image_ssl.views import Views


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


class Draw(NamedTuple):
    """How a batch of images is cut.

    Attributes:
        labels: (b,) int64, the answers.
        shifts: (b, tiles, 2) int64, moves of the tiles, pixels down and to the right.
    """

    labels: Tensor
    shifts: Tensor


class PretextTask(ABC):
    """A question whose answer can be made from images alone.

    ``cut(turned images, turn(a, draw))`` is ``turn_tiles(a, cut(images, draw))``: what the network
    sees of a turned image is what it saw, turned, and ``turn(a, draw).labels`` is its label.

    Attributes:
        action: how turns move the labels.
        tiles: how many are cut from an image.
        cells: of the grid that they are cut from, along a side; 0 for the whole image.
    """

    posed = False
    action: LabelAction
    tiles: int
    cells: int = 0

    @classmethod
    def build(cls, setting: Setting, **options: Any) -> Method:
        """The method with the largest tiles that fit; options are those of the constructor."""
        cells = options.get("grid", cls.cells)
        fitting = largest_tiles(setting.size, cells, setting.backbone) if cells else {}
        task = cls(setting.symmetry, **{**fitting, **options})  # type: ignore[call-arg]
        head = PretextHead(setting.backbone, task, setting.hidden, setting.head)
        return Method(Pretext(setting.backbone, task, head))

    @abstractmethod
    def draw(self, batch: int, generator: torch.Generator | None = None) -> Draw:
        """Draw how to cut a batch."""

    @abstractmethod
    def cut(self, images: Tensor, draw: Draw) -> Tensor:
        """The tiles (b, tiles, 3, t, t) of images (b, 3, h, w)."""

    def turn(self, a: int, draw: Draw) -> Draw:
        """The draw that cuts turned images as `draw` cuts the images."""
        shifts = turn_shifts(self.action.group, a, draw.shifts)
        return Draw(self.action.act(a, draw.labels), shifts)

    def turn_tiles(self, a: int, tiles: Tensor) -> Tensor:
        """Tiles as they are after the image is turned: each turned, in its new place."""
        return ImageAction(self.action.group).act(a, tiles)

    def combine(self, channels: int, out_channels: int, group: GroupLike) -> nn.Module:
        """A layer from all tiles' features (b, tiles, c, g) to features (b, out, g)."""
        return nn.Sequential(
            nn.Flatten(1, 2), GroupLinear(self.tiles * channels, out_channels, group)
        )


class PretextHead(nn.Module):
    """From features of tiles to a score for each label.

    Args:
        group: the backbone's if None (scores turn with the image), or ``"C1"`` (ordinary).
    """

    def __init__(
        self,
        backbone: Backbone,
        task: PretextTask,
        width: int = 128,
        group: GroupLike | None = None,
    ) -> None:
        super().__init__()
        wanted = backbone.group if group is None else group
        self.between, kept, channels = respecting(wanted, backbone.group, backbone.channels)
        action = task.action
        if kept != action.group:  # nothing moves a label
            if kept.order > 1:
                raise ValueError(
                    f"the head respects {kept.name}, the task's labels {action.group.name}: make "
                    f"the task with group={kept.name!r}"
                )
            action = LabelAction(kept, torch.arange(action.n_labels)[None])
        self.combine = task.combine(channels, width, kept)
        self.layers = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            mlp((width, width, len(action.orbits)), kept),
            LabelReader(action),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (b, tiles, c, g) to scores (b, labels)."""
        seen = self.between(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        scores: Tensor = self.layers(self.combine(seen))
        return scores


class Pretext(Objective):
    """Learning by a pretext task: backbone + head + cross-entropy.

    Args:
        head: the answer; `PretextHead(backbone, task)` or with ``group="C1"``.
    """

    generator: torch.Generator | None = None

    def __init__(self, backbone: Backbone, task: PretextTask, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.task, self.head = backbone, task, head

    def scores(self, images: Tensor, draw: Draw) -> Tensor:
        """Scores (b, labels) of images (b, 3, h, w) cut as `draw` says."""
        tiles = self.task.cut(images, draw)
        features = self.backbone(tiles.flatten(0, 1)).unflatten(0, tiles.shape[:2])
        scores: Tensor = self.head(features)
        return scores

    def loss(self, views: Views) -> Tensor:
        """Cross-entropy of a fresh draw of the first views, in nats; chance has log(labels)."""
        draw = self.task.draw(len(views.first), self.generator)
        scores = self.scores(views.first, draw)
        return F.cross_entropy(scores, draw.labels.to(scores.device))
