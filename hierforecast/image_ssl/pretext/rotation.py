"""Rotation prediction: by how many quarter turns was this image turned?

Gidaris, Singh and Komodakis 2018, arXiv 1803.07728.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.image_ssl.groups import GroupLike, LabelAction, as_group
from hierforecast.image_ssl.pretext.task import Draw, PretextTask, check_square


class RotationPrediction(PretextTask):
    """The whole image, turned: the counter-example of a task for equivariant networks.

    ``turn(a, draw)`` is the draw that shows the *same* images turned further, for images are not
    turned themselves: ``cut(images, turn(a, draw))`` is ``turn_tiles(a, cut(images, draw))``.

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

    tiles = 1

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
        """The turned images, (b, 1, 3, h, h)."""
        check_square(images)
        turned = torch.empty_like(images)
        for turn in range(4):
            here = (draw.labels == turn).to(images.device)
            turned[here] = images[here].rot90(turn, (-2, -1))
        return turned[:, None]
