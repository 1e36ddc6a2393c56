"""The encoder: a stack of SA3 blocks over the tokens of past and future patches."""

from __future__ import annotations

from torch import Tensor, nn

from hierforecast.batch import Hierarchy
from hierforecast.nn.sa3 import SA3Block


class Encoder(nn.Module):
    """SA3 blocks, one after the other.

    Args:
        width: features of a token.
        depth: blocks.
        heads: attention heads.
        dropout: on every layer's output.
        levels: group levels.
    """

    def __init__(self, width: int, depth: int, heads: int, dropout: float, levels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(SA3Block(width, heads, dropout, levels) for _ in range(depth))

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None = None) -> Tensor:
        """Tokens x (P, t, d), keys that exist (P, t) or None if all do -> (P, t, d)."""
        for block in self.blocks:
            x = block(x, hierarchy, present)
        return x
