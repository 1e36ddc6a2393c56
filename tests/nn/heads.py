"""Heads on rows of some scenes, and what they are given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.rows import FLAT

STEPS, TARGETS = 3, 2


def parts(head: Any, rows: Any = FLAT, size: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """Location, scale and shape."""
    cells = (len(rows), STEPS, TARGETS)
    features = head.features(TARGETS, len(rows.scenes.owners))
    shape = size * torch.randn(len(rows), STEPS, features).double()
    return torch.randn(cells).double(), 0.5 + torch.rand(cells).double(), shape


class OnRows(nn.Module):
    """A head on rows of some scenes."""

    def __init__(self, head: Any, rows: Any = FLAT) -> None:
        super().__init__()
        self.head, self.scenes, self.scene = head, rows.scenes, rows.scenes.scene

    def law(self, *parts: Tensor) -> Any:
        return self.head(*parts, self.scenes)

    def forward(self, *parts: Tensor) -> dict[str, Tensor]:
        law = self.law(*parts)
        return {"mean": law.mean, "stddev": law.stddev, "ninth": law.quantile(0.9)}
