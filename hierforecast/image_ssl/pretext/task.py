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

from hierforecast.image_ssl.groups import GroupLike, ImageAction, LabelAction
from hierforecast.image_ssl.nn.backbone import Backbone
from hierforecast.image_ssl.nn.conv import GroupLinear
from hierforecast.image_ssl.nn.heads import LabelReader, mlp, respecting
from hierforecast.image_ssl.objective import Method, Objective, Setting
from hierforecast.image_ssl.pretext.tiles import largest_tiles, turn_shifts
from hierforecast.image_ssl.views import Views


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
