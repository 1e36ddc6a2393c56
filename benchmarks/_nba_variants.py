"""Variants of HiPerformer for the design ablation: parts replaced after the model is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hierforecast import HiPerformer
from hierforecast.batch import Hierarchy, Partition, SceneBatch, hierarchy_of
from hierforecast.nn.embedding import TokenEmbedding
from hierforecast.nn.sa3 import SA3Block
from hierforecast.nn.scale import Scaled
from hierforecast.task import Task


class Silent(nn.Module):
    """In the place of an attention among series: it has nothing to add."""

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None) -> Tensor:
        """Zeros like x (P, t, d)."""
        return torch.zeros_like(x)


class WithoutClasses(HiPerformer):
    """Without SA_C: series of different groups never meet."""

    def _build(self, task: Task) -> None:
        super()._build(task)
        for block in self.encoder.blocks:
            block.classes = Silent()


class WithoutSeries(HiPerformer):
    """Without SA_S: series meet through the summaries of their groups only."""

    def _build(self, task: Task) -> None:
        super()._build(task)
        for block in self.encoder.blocks:
            block.series = Silent()


class Alone(HiPerformer):
    """Without SA_S and SA_C: series never meet."""

    def _build(self, task: Task) -> None:
        super()._build(task)
        for block in self.encoder.blocks:
            block.series, block.classes = Silent(), Silent()


class SceneBlock(nn.Module):
    """Attention among all tokens of a scene at once: every series, every step; no groups.

    Args:
        block: gives its attention along time, its feed-forward layer, and the norms before them.
    """

    def __init__(self, block: SA3Block) -> None:
        super().__init__()
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


class FullAttention(HiPerformer):
    """Full attention over series x steps of a scene, as in AgentFormer (arXiv 2103.14023)."""

    def _build(self, task: Task) -> None:
        super()._build(task)
        self.encoder.blocks = nn.ModuleList(SceneBlock(block) for block in self.encoder.blocks)


class ContextTokens(TokenEmbedding):
    """The context alone as tokens; the horizon is read from the last of them."""

    def forward(self, batch: SceneBatch, scaled: Scaled) -> tuple[Tensor, Tensor]:
        """Tokens (P, t, width), and which of them exist as keys (P, t)."""
        tokens, seen = super().forward(batch, scaled)
        return tokens[:, : self.context_tokens], seen[:, : self.context_tokens]


class SeriesTokens(FullAttention):
    """A series' whole context is one token, and tokens attend to one another: iTransformer.

    After arXiv 2310.06625; the linear forecast and the head are those of HiPerformer.
    """

    def _build(self, task: Task) -> None:
        self.patch = max(task.context_length, task.prediction_length)
        super()._build(task)
        self.embedding = ContextTokens(task, self.width, self.patch, self.scaler.n_absolute)


class Shown(nn.Module):
    """Lets through some features of every step of a patch, and zeros for the others.

    Args:
        keep: (patch * features,) one where a feature is shown.
    """

    def __init__(self, keep: Tensor) -> None:
        super().__init__()
        self.keep: Tensor
        self.register_buffer("keep", keep, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """X (..., patch * features) -> the same shape."""
        return x * self.keep


class WithoutVelocity(HiPerformer):
    """Tokens do not show differences from step to step."""

    def _build(self, task: Task) -> None:
        super()._build(task)
        read: Any = self.embedding.read
        keep = torch.ones(self.embedding.patch, read[0].in_features // self.embedding.patch)
        keep[:, task.n_targets : 2 * task.n_targets] = 0  # the layout of TokenEmbedding
        self.embedding.read = nn.Sequential(Shown(keep.flatten()), read)


def by_scene(hierarchy: Hierarchy) -> tuple[Tensor, Partition]:
    """Gather that sorts packed rows by scene, and the scenes as sets of rows."""
    scene = hierarchy.group
    for level in hierarchy.levels:
        scene = level.parent[scene]
    everyone = np.zeros((len(scene), 1), dtype=np.int64)
    order, plan = hierarchy_of(scene.cpu().numpy(), everyone)
    return torch.from_numpy(order).to(scene.device), plan.members
