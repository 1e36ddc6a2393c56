"""The SA3 block of HiPerformer: SA3(X) = SA_T( SA_S(X) + SA_C(X) ) (arXiv 2305.08073).

SA_S attends among the series of one class at each step, SA_C among class summaries at each step,
SA_T along time within each series. For nested groups there is one SA_C per level. Where series are
grouped in several ways p that are crossed, each has an SA_S and an SA_C of its own:
SA3(X) = SA_T( sum_p SA_S^p(X) + SA_C^p(X) ).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hierforecast.batch import Crossing, Hierarchy, Partition
from hierforecast.nn.attention import Attention
from hierforecast.nn.dropout import Dropout


class SeriesAttention(nn.Module):
    """SA_S: attention among the present series of each finest group, at each step."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None) -> Tensor:
        """X (P, t, d), present (P, t) or None -> (P, t, d)."""
        return self.attention.members(x, hierarchy.members, present)


class ClassAttention(nn.Module):
    """SA_C: attention among group summaries, at each step; one level after the other.

    A summary is the mean over the group's present series. The groups of one level attend to their
    siblings (those in the same parent; in the same scene at the coarsest level), and the result is
    added to every member. Groups without a present member are masked as keys.

    Args:
        width: features of a token.
        heads: attention heads.
        levels: how many group levels; `Hierarchy` holds them fine to coarse.
    """

    def __init__(self, width: int, heads: int, levels: int = 1) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Attention(width, heads) for _ in range(levels))

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None) -> Tensor:
        """X (P, t, d), present (P, t) or None -> (P, t, d)."""
        shown = x if present is None else torch.where(present[..., None], x, x.new_zeros(()))
        here = x.new_ones(x.shape[:2]) if present is None else present.to(x.dtype)
        total = _sum_within(shown, hierarchy.members)
        count = _sum_within(here, hierarchy.members)
        messages: list[Tensor] = []
        for attention, level in zip(self.levels, hierarchy.levels, strict=True):
            assert isinstance(attention, Attention)  # ModuleList forgets
            siblings, order = level.siblings, level.order
            summary = (total / count.clamp(min=1)[..., None]).index_select(0, order)
            keys = None if present is None else count[order] > 0
            messages.append(attention.members(summary, siblings, keys)[level.inverse])
            total = total.new_zeros(level.n_parents, *total.shape[1:]).index_add(
                0, level.parent, total
            )
            count = count.new_zeros(level.n_parents, *count.shape[1:]).index_add(
                0, level.parent, count
            )
        # Added up from the coarsest level down, so that every row gathers once.
        below = messages[-1]
        for level, own in zip(hierarchy.levels[-2::-1], messages[-2::-1], strict=True):
            below = own + below[level.parent]
        return below[hierarchy.group]


class CrossedAttention(nn.Module):
    """SA_S and SA_C of a further way of grouping: rows are packed by it, attend, and go back.

    Args:
        width: features of a token.
        heads: attention heads.
        levels: group levels.
    """

    def __init__(self, width: int, heads: int, levels: int = 1) -> None:
        super().__init__()
        self.series = SeriesAttention(width, heads)
        self.classes = ClassAttention(width, heads, levels)

    def forward(self, x: Tensor, crossing: Crossing, present: Tensor | None) -> Tensor:
        """X (P, t, d), present (P, t) or None -> (P, t, d), SA_S(X) + SA_C(X)."""
        x = x.index_select(0, crossing.order)
        present = None if present is None else present.index_select(0, crossing.order)
        who = crossing.hierarchy
        message = self.series(x, who, present) + self.classes(x, who, present)
        return message.index_select(0, crossing.inverse)


class SA3Block(nn.Module):
    """SA3 with the usual residuals, pre-norms and a feed-forward layer.

    The messages of all ways of grouping are added up as they are: each ends in a linear layer of
    its own, which learns how large it is, and with one way the block is the paper's.

    Args:
        width: features of a token.
        heads: attention heads.
        dropout: on the outputs of every layer (on attention weights it would leave the fused path).
        levels: group levels.
        crossed: those of each further way of grouping.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        levels: int = 1,
        crossed: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.norm_groups = nn.LayerNorm(width)
        self.series = SeriesAttention(width, heads)
        self.classes = ClassAttention(width, heads, levels)
        self.norm_time = nn.LayerNorm(width)
        self.time = Attention(width, heads)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = Dropout(dropout)
        self.crossed = nn.ModuleList(CrossedAttention(width, heads, each) for each in crossed)

    def forward(
        self,
        x: Tensor,
        hierarchy: Hierarchy,
        present: Tensor | None = None,
        last: int | None = None,
    ) -> Tensor:
        """One block.

        Args:
            x: (P, t, d) tokens of packed rows.
            hierarchy: who meets whom.
            present: (P, t) tokens that exist as keys; None if all do.
            last: how many tokens at the end of time are wanted; None for all t. The others are
                keys along time all the same, but no more is worked out for them.

        Returns:
            (P, last or t, d).
        """
        u = self.norm_groups(x)
        message = self.series(u, hierarchy, present) + self.classes(u, hierarchy, present)
        for attention, crossing in zip(self.crossed, hierarchy.crossed, strict=True):
            message = message + attention(u, crossing, present)
        x = x + self.dropout(message)
        message = self.time.time(self.norm_time(x), present, last)
        x = (x if last is None else x[:, -last:]) + self.dropout(message)
        return x + self.dropout(self.feed(self.norm_feed(x)))


def _sum_within(x: Tensor, partition: Partition) -> Tensor:
    """Sum over the members of each set: (members, ...) -> (sets, ...)."""
    sums = [part.unflatten(0, (-1, size)).sum(1) for size, part in partition.split(x)]
    return torch.cat(sums) if sums else x[:0]
