"""Pretext tasks with small tiles, and images and labels drawn for them."""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.image_ssl.groups import Group
from hierforecast.image_ssl.pretext import Draw, Jigsaw

NAMES = ("C1", "C2", "C4", "D1", "D2", "D4")
TILE, GAP, JITTER = 5, 2, 1
SIZES = {2: 16, 3: 23}  # grid -> images, with two pixels at each side
PLACED = {"tile": TILE, "gap": GAP, "jitter": JITTER}


def jigsaw(group: str, grid: int = 3, **options) -> Jigsaw:
    count = Group(group).order * (1 if grid == 2 and group in ("D2", "D4") else 2)
    return Jigsaw(group, count, grid, **{**PLACED, **options})


def every_label(task, copies: int = 2) -> Draw:
    """All labels, each with several random moves of its tiles."""
    labels = torch.arange(task.action.n_labels).repeat(copies)
    return Draw(labels, task.draw(len(labels)).shifts)


def images_for(draw: Draw, size: int) -> Tensor:
    return torch.rand(len(draw.labels), 3, size, size, dtype=torch.float64)
