"""The encoder: a stack of blocks over the tokens of past and future patches."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from hierforecast.batch import Hierarchy
from hierforecast.nn.sa3 import SA3Block

# Makes a block of (width, heads, dropout, levels); the block is called as `SA3Block` is.
MakeBlock = Callable[[int, int, float, int], nn.Module]
# Blocks that a model's option may name. One of your own is saved by its name once it is here.
BLOCKS: dict[str, MakeBlock] = {"sa3": SA3Block}


class Encoder(nn.Module):
    """Blocks, one after the other.

    Args:
        width: features of a token.
        depth: blocks.
        heads: attention heads.
        dropout: on every layer's output.
        levels: group levels.
        block: makes each block.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        dropout: float,
        levels: int,
        block: MakeBlock = SA3Block,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block(width, heads, dropout, levels) for _ in range(depth))

    def forward(
        self,
        x: Tensor,
        hierarchy: Hierarchy,
        present: Tensor | None = None,
        last: int | None = None,
    ) -> Tensor:
        """Run the blocks.

        Args:
            x: (P, t, d) tokens of packed rows.
            hierarchy: who meets whom.
            present: (P, t) tokens that exist as keys; None if all do.
            last: how many tokens at the end of time are wanted; None for all t.

        Returns:
            (P, last or t, d).
        """
        *blocks, final = self.blocks
        for block in blocks:
            x = block(x, hierarchy, present)
        # Nothing reads the other tokens of the last block, so it leaves them out.
        return final(x, hierarchy, present, last)
