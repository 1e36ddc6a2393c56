"""Rotation prediction: by how many quarter turns was this image turned?

Gidaris, Singh and Komodakis 2018, arXiv 1803.07728.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hierforecast.image_ssl.groups import GroupLike, ImageAction, LabelAction, as_group
from hierforecast.image_ssl.pretext.context import SideBySide
from hierforecast.image_ssl.pretext.task import Draw
from hierforecast.image_ssl.pretext.tiles import check_square


class RotationPrediction:
    """The whole image, turned: the counter-example of a task for equivariant networks.

    What the network sees may be turned, and the label moves along: ``label + 1`` under a quarter
    turn. But the label says how far the image was turned *from how it came*. On images that come in
    all directions a turned one has the same label as before, while the network must move its
    answer: an equivariant network's mean loss over the four turns of an image is then never below
    log 4, which is chance. It can learn only from the photographer's habit to hold the camera
    upright, and nothing from turned copies. A network that is invariant can never learn it at all.

    Args:
        group: ``"C1"``, ``"C2"`` or ``"C4"``.

    Raises:
        ValueError: for a group with mirror images: the mirror image of a turned picture is no turn
            of the picture, so that it has no label.
    """

    def __init__(self, group: GroupLike = "C4") -> None:
        group = as_group(group)
        if group.mirrors:
            raise ValueError(
                f"rotation labels have no action of {group.name}: the mirror image of a picture is "
                f"none of its turns; use 'C{group.turns}' or another task"
            )
        turns = torch.tensor([group.quarter_turns(a) for a in group.elements()])
        self.action = LabelAction(group, (turns[:, None] + torch.arange(4)) % 4)

    def draw(self, batch: int, generator: torch.Generator | None = None) -> Draw:
        """Draw quarter turns."""
        labels = torch.randint(4, (batch,), generator=generator)
        return Draw(labels, torch.zeros(batch, 1, 2, dtype=torch.int64))

    def cut(self, images: Tensor, draw: Draw) -> Tensor:
        """The turned images, (b, 1, 3, h, h).

        Raises:
            DataError: if the images are not square.
        """
        check_square(images)
        turned = torch.empty_like(images)
        for turn in range(4):
            here = (draw.labels == turn).to(images.device)
            turned[here] = images[here].rot90(turn, (-2, -1))
        return turned[:, None]

    def turn(self, a: int, draw: Draw) -> Draw:
        """The draw that shows the *same* images turned further: images are not turned themselves.

        This is where the task differs from the others: ``cut(images, turn(a, draw))`` is
        ``turn_tiles(a, cut(images, draw))``.
        """
        return Draw(self.action.act(a, draw.labels), draw.shifts)

    def turn_tiles(self, a: int, tiles: Tensor) -> Tensor:
        """Each image turned."""
        return ImageAction(self.action.group).act(a, tiles)

    def combine(self, channels: int, out_channels: int, group: GroupLike) -> nn.Module:
        """A linear map."""
        return SideBySide(1, channels, out_channels, group)
