"""Attention over all agents and steps at once, in the style of AgentFormer (arXiv 2103.14023).

One sequence holds every token of every agent, and each token meets all others. Attention is aware
of agents: tokens of the same agent are compared by one pair of query and key maps, tokens of
different agents by another, so agents need no names and are exchangeable (Yuan et al., ICCV 2021,
section 3.1). What differs: a token is a patch of steps, which gives a context of 40 steps the 8
tokens that the paper has for pedestrians; the horizon is decoded in one shot, without the latent
variable, since single forecasts are compared.
"""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.base import Peer
from benchmarks.peers.scenes import Rectangle
from hierforecast.batch import SceneBatch, pad_to_patches
from hierforecast.nn.scaled import Scaled
from hierforecast.task import Task


class AgentAware(nn.Module):
    """Multi-head attention with one pair of maps within an agent and another between agents."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, y: Tensor, there: Tensor) -> Tensor:
        """Each token of x looks at those of y.

        Args:
            x: (B, N, t, w) tokens of N agents.
            y: (B, N, s, w).
            there: (B, N) agents that exist.
        """
        agents, steps, seen = x.shape[1], x.shape[2], y.shape[2]
        split = "b n t (c h d) -> c b h (n t) d"
        query, key = (
            rearrange(side, split, c=2, h=self.heads) for side in (self.query(x), self.key(y))
        )
        value = rearrange(self.value(y), "b n s (h d) -> b h (n s) d", h=self.heads)
        own, other = query * query.shape[-1] ** -0.5 @ key.mT
        agent = torch.arange(agents, device=x.device)
        same = agent.repeat_interleave(steps)[:, None] == agent.repeat_interleave(seen)
        scores = torch.where(same, own, other)
        keys = there.repeat_interleave(seen, 1)[:, None, None]
        seen_by_all = scores.masked_fill(~keys, -torch.inf).softmax(-1) @ value
        return self.out(rearrange(seen_by_all, "b h (n t) d -> b n t (h d)", n=agents))


class Layer(nn.Module):
    """Attention among x, to a memory if there is one, and a perceptron, each beside a shortcut."""

    def __init__(self, width: int, heads: int, memory: bool) -> None:
        super().__init__()
        self.among, self.norm = AgentAware(width, heads), nn.LayerNorm(width)
        self.across = AgentAware(width, heads) if memory else None
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, there: Tensor, memory: Tensor | None = None) -> Tensor:
        """Tokens x (B, N, t, w), agents that exist (B, N), memory (B, N, s, w)."""
        shown = self.norm(x)
        x = x + self.among(shown, shown, there)
        if self.across is not None:
            x = x + self.across(self.norms[0](x), memory, there)
        return x + self.feed(self.norms[1](x))


class AgentFormer(Peer):
    """Encoder and decoder of agent-aware attention.

    Args:
        width: features of a token.
        depth: layers of the encoder.
        ahead: layers of the decoder.
        heads: attention heads.
        patch: steps in a token.
    """

    hidden = ("encoder", "decoder")

    def __init__(
        self, width: int = 64, depth: int = 2, ahead: int = 2, heads: int = 8, patch: int = 5
    ) -> None:
        super().__init__()
        self.width, self.depth, self.ahead, self.heads = width, depth, ahead, heads
        self.patch = patch

    def build(self, task: Task) -> None:
        """Make the layers."""
        super().build(task)
        width, steps = self.width, task.prediction_length
        self.read = nn.Linear(self.patch * (3 * task.n_targets + 1), width)
        self.types = nn.Embedding(task.n_types, width)
        past, future = -(-task.context_length // self.patch), -(-steps // self.patch)
        self.past = nn.Parameter(0.02 * torch.randn(past, width))
        self.future = nn.Parameter(0.02 * torch.randn(future, width))
        self.encoder = nn.ModuleList(Layer(width, self.heads, False) for _ in range(self.depth))
        self.decoder = nn.ModuleList(Layer(width, self.heads, True) for _ in range(self.ahead))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.out = nn.Linear(width, self.patch * task.n_targets)

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Peer`."""
        relative = scaled.relative
        steps = [
            relative / self.horizon_scale[-1],
            F.pad(relative.diff(dim=1), (0, 0, 1, 0)) / self.step,
            scaled.absolute,
            batch.present[..., None].to(relative),
        ]
        patches = pad_to_patches(torch.cat(steps, -1), self.patch)
        patches = rearrange(patches, "p (t k) d -> p t (k d)", k=self.patch)
        layout = Rectangle.of(batch)
        x = layout.forth(self.read(patches) + self.past + self.types(batch.types)[:, None])
        for layer in self.encoder:
            x = layer(x, layout.there)
        memory = self.norms[0](x)
        ahead = repeat(memory[:, :, -1], "b n w -> b n t w", t=len(self.future)) + self.future
        for layer in self.decoder:
            ahead = layer(ahead, layout.there, memory)
        out = rearrange(self.out(self.norms[1](ahead)), "b n t (k d) -> b n (t k) d", k=self.patch)
        return layout.back(out[:, :, : len(self.horizon_scale)])
