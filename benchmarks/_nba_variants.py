"""Variants of HiPerformer for the design ablation: blocks and embeddings of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hierforecast.batch import Hierarchy, Partition, SceneBatch, hierarchy_of
from hierforecast.nn.embedding import TOKENS, TokenEmbedding
from hierforecast.nn.encoder import BLOCKS
from hierforecast.nn.relations import Edges, RelationalAttention, RelationalBlock
from hierforecast.nn.sa3 import SA3Block
from hierforecast.nn.scaled import Scaled


class Silent(nn.Module):
    """In the place of an attention among series: it has nothing to add."""

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None) -> Tensor:
        """Zeros like x (P, t, d)."""
        return torch.zeros_like(x)


class WithoutClasses(SA3Block):
    """Without SA_C: series of different groups never meet."""

    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        self.classes = Silent()


class WithoutSeries(SA3Block):
    """Without SA_S: series meet through the summaries of their groups only."""

    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        self.series = Silent()


class Alone(WithoutClasses):
    """Without SA_S and SA_C: series never meet."""

    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        self.series = Silent()


class OwnAttention(RelationalAttention):
    """Each row sees itself alone: its own speed and surroundings, and no other."""

    def forward(self, x: Tensor, edges: Edges, present: Tensor | None = None) -> Tensor:
        """Arguments as of `RelationalAttention`."""
        own = edges.pad.gather(edges.features.diagonal(dim1=1, dim2=2).mT).repeat(1, self.heads)
        return self.out(self.value(x)) + self.message(own)[:, None]


class OwnEdges(RelationalBlock):
    """`RelationalBlock` without the others."""

    def __init__(self, *shape: Any) -> None:
        super().__init__(*shape)
        self.pairs = OwnAttention(shape[0], shape[1])


class AllTokens(RelationalBlock):
    """`RelationalBlock` for the tokens of the past too."""

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        """Arguments as of `RelationalBlock`."""
        *others, edges = rest
        return super().forward(x, *others, edges._replace(steps=x.shape[1]))


class SceneBlock(nn.Module):
    """Full attention over series x steps of a scene, as in AgentFormer (arXiv 2103.14023).

    It has the attention along time of an `SA3Block`, its feed-forward layer, and their norms.
    """

    def __init__(self, *shape: Any) -> None:
        super().__init__()
        block = SA3Block(*shape)
        self.norm, self.attention = block.norm_time, block.time
        self.norm_feed, self.feed, self.dropout = block.norm_feed, block.feed, block.dropout

    def forward(
        self,
        x: Tensor,
        hierarchy: Hierarchy,
        present: Tensor | None = None,
        last: int | None = None,
    ) -> Tensor:
        """One block; arguments as of `SA3Block`."""
        order, scenes = by_scene(hierarchy)
        steps = x.shape[1]
        # The tokens of a scene stand together: one set of (series, step) members a scene.
        sets = Partition(tuple((n, size * steps) for n, size in scenes.runs))
        keys = None if present is None else present[order].reshape(-1, 1)
        u = self.norm(x)[order].reshape(-1, 1, x.shape[-1])
        seen = self.attention.members(u, sets, keys).reshape(x.shape)
        x = x + self.dropout(seen[order.argsort()])
        x = x if last is None else x[:, -last:]
        return x + self.dropout(self.feed(self.norm_feed(x)))


class SeriesTokens(TokenEmbedding):
    """A series' whole context is one token, from which the horizon is read: iTransformer.

    After arXiv 2310.06625, with a `SceneBlock`, in which tokens attend to one another, and the
    context, at least as long as the horizon, as the patch; linear forecast and head are those of
    HiPerformer.
    """

    def forward(self, batch: SceneBatch, scaled: Scaled) -> tuple[Tensor, Tensor]:
        """Tokens (P, 1, width), and which of them exist as keys (P, 1)."""
        tokens, seen = super().forward(batch, scaled)
        return tokens[:, : self.context_tokens], seen[:, : self.context_tokens]


class WithoutVelocity(TokenEmbedding):
    """Tokens do not show differences from step to step."""

    def velocity(self, relative: Tensor) -> Tensor:
        """Zeros (P, L, D)."""
        return torch.zeros_like(relative)


BLOCKS |= {
    "without_classes": WithoutClasses,
    "without_series": WithoutSeries,
    "alone": Alone,
    "scene": SceneBlock,
    "own_edges": OwnEdges,
    "all_tokens": AllTokens,
}
TOKENS |= {"series": SeriesTokens, "without_velocity": WithoutVelocity}


def by_scene(hierarchy: Hierarchy) -> tuple[Tensor, Partition]:
    """Gather that sorts packed rows by scene, and the scenes as sets of rows."""
    scene = hierarchy.group
    for level in hierarchy.levels:
        scene = level.parent[scene]
    everyone = np.zeros((len(scene), 1), dtype=np.int64)
    order, plan = hierarchy_of(scene.cpu().numpy(), everyone)
    return torch.from_numpy(order).to(scene.device), plan.members
