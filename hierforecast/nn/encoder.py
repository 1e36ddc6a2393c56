"""The encoder: a stack of blocks over the tokens of past and future patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

from torch import Tensor, nn

from hierforecast._options import show
from hierforecast.batch import Hierarchy
from hierforecast.errors import DataError
from hierforecast.nn.relations import Edges, RelationalBlock
from hierforecast.nn.sa3 import SA3Block

# Makes a block of (width, heads, dropout, levels), and crossed where series are grouped in several
# ways; the block is called as `SA3Block` is. One with a true `uses_edges` is also given `Edges`.
MakeBlock = Callable[..., nn.Module]
# Blocks that a model's option may name. One of your own is saved by its name once it is here.
BLOCKS: dict[str, MakeBlock] = {"sa3": SA3Block, "relational": RelationalBlock}


class Encoder(nn.Module):
    """Blocks, one after the other.

    Args:
        width: features of a token.
        depth: blocks.
        heads: attention heads.
        dropout: on every layer's output.
        levels: group levels.
        block: makes each block.
        crossed: group levels of each further way of grouping.

    Raises:
        DataError: if there is one and the block takes none.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        dropout: float,
        levels: int,
        block: MakeBlock = SA3Block,
        crossed: Sequence[int] = (),
    ) -> None:
        super().__init__()
        options: list[Any] = [width, heads, dropout, levels]
        if crossed:
            options.append(tuple(crossed))
            _check_takes(block, options)
        self.blocks = nn.ModuleList(block(*options) for _ in range(depth))
        self.uses_edges = any(getattr(each, "uses_edges", False) for each in self.blocks)

    def forward(
        self,
        x: Tensor,
        hierarchy: Hierarchy,
        present: Tensor | None = None,
        last: int | None = None,
        edges: Edges | None = None,
    ) -> Tensor:
        """Run the blocks.

        Args:
            x: (P, t, d) tokens of packed rows.
            hierarchy: who meets whom.
            present: (P, t) tokens that exist as keys; None if all do.
            last: how many tokens at the end of time are wanted; None for all t.
            edges: how rows stand to one another, for blocks that use them.

        Returns:
            (P, last or t, d).
        """
        *blocks, final = self.blocks
        more = () if edges is None else (edges,)
        for block in blocks:
            x = block(x, hierarchy, present, None, *more)
        # Nothing reads the other tokens of the last block, so it leaves them out.
        return final(x, hierarchy, present, last, *more)


def _check_takes(block: MakeBlock, options: Sequence[Any]) -> None:
    """Refuse a block that would leave further ways of grouping out."""
    try:
        signature(block).bind(*options)
    except TypeError:
        raise DataError(
            f"block={show(block)} does not take crossed, the levels of each further way of "
            "grouping: let it take them as its fifth argument, as SA3Block does, or leave crossed= "
            "out of Columns"
        ) from None
