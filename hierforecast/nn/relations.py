"""Attention among all series of a scene, led by how they stand to one another.

SA_S and SA_C meet series through their groups and classes; who guards whom, and who will be first
at the ball, is a matter of pairs. `Geometry` describes every ordered pair of rows of a scene as
they are and as the linear forecast expects them to be; `RelationalBlock` attends by it: edges shift
the scores and are part of the message (relation-aware attention, Shaw et al., arXiv 1803.02155).

Nothing here depends on the order of rows or the names of groups, so a block commutes with every
permutation that respects the hierarchy. Cost and memory grow with the square of a scene's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from hierforecast.batch import Hierarchy, SceneBatch
from hierforecast.nn.head import Scenes
from hierforecast.nn.padding import ScenePadding, places_and_moves
from hierforecast.nn.sa3 import SA3Block
from hierforecast.nn.scaled import Scaled, clamp, numbers
from hierforecast.task import Task

# Features of an edge, as blocks see it.
EDGE = 32
# Distances at which the radial features have fallen to 1/e, in those to the nearest other.
_REACHES = (0.5, 1.0, 2.0, 4.0)
# Numbers that say what a pair is, whatever its places and groups: see `_labels`.
_LABELS = 4


class Edges(NamedTuple):
    """How the rows of each scene stand to one another.

    Attributes:
        features: (B, N, N, F), of the row that looks and the row that it looks at.
        pad: the scenes of the rows.
        steps: how many tokens at the end of time they are for, those of the horizon.
    """

    features: Tensor
    pad: ScenePadding
    steps: int


class Geometry(nn.Module):
    """Edges between all rows of a scene, from each to every one, itself too.

    Places are compared where both were last seen, and where the linear forecast expects them in the
    middle and at the end of the horizon; movements where they were last seen.

    Args:
        task: shapes of the data; targets are coordinates of a place.
        steps: tokens of the horizon.
    """

    def __init__(self, task: Task, steps: int) -> None:
        super().__init__()
        self.n_types, self.steps = task.n_types, steps
        self.unit: Tensor
        self.speed: Tensor
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("speed", torch.ones(()))
        places, moves = task.n_targets + 1 + len(_REACHES), task.n_targets + 2
        labels = _LABELS + task.n_all_levels
        self.read = nn.Linear(3 * places + moves + labels, 2 * EDGE)
        self.types = nn.Embedding(task.n_types**2, 2 * EDGE)
        self.out = nn.Linear(2 * EDGE, EDGE)

    @torch.no_grad()
    def fit(self, batch: SceneBatch) -> None:
        """Learn the usual distance to the nearest other, and the usual speed."""
        unit, speed = ScenePadding(batch).usual(*places_and_moves(batch))
        self.unit.copy_(unit)
        self.speed.copy_(speed)

    def forward(self, batch: SceneBatch, scaled: Scaled, ahead: Tensor) -> Edges:
        """The edges of a batch.

        Args:
            batch: the context.
            scaled: the same in the network's units, mirrored where the scale mirrors it.
            ahead: (P, H, D) the linear forecast, in the units of ``scaled.relative``.
        """
        pad, size = ScenePadding(batch), scaled.scale.abs()[:, 0]
        at, path = scaled.absolute[:, -1], scaled.relative
        moves = (path[:, -1] - path[:, max(path.shape[1] - 2, 0)]) * size / self.speed
        middle = (ahead.shape[1] - 1) // 2
        places = [
            pad.spread(clamp(place * size / self.unit))
            for place in (at, at + ahead[:, middle], at + ahead[:, -1])
        ]
        features = [each for place in places for each in _where(place)]
        features += _how(places[0], pad.spread(clamp(moves)))
        kinds = pad.spread(batch.types)
        kinds = kinds[:, :, None] * self.n_types + kinds[:, None]
        hidden = self.read(torch.cat([*features, self._labels(batch, pad)], -1))
        hidden = nn.functional.gelu(hidden + self.types(kinds))
        return Edges(nn.functional.gelu(self.out(hidden)), pad, self.steps)

    def _labels(self, batch: SceneBatch, pad: ScenePadding) -> Tensor:
        """What a pair is, whatever its places: (B, N, N, F)."""
        seen = pad.spread(batch.present[:, -1])
        one, other = torch.broadcast_tensors(seen[:, :, None], seen[:, None])
        alike = [pad.alike(x) for x in (*Scenes.of(batch).owners, batch.types)]
        own = pad.own.expand_as(one)
        return torch.stack([own, *alike, one, other], -1).to(batch.values.dtype)


class RelationalAttention(nn.Module):
    """Attention among the rows of a scene at each step, its scores and messages led by edges.

    It starts at zero: before training a block is the one that it is added to.

    Args:
        width: features of a token.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.lead = nn.Linear(EDGE, heads, bias=False)
        self.out = nn.Linear(width, width)
        self.message = nn.Linear(heads * EDGE, width, bias=False)
        for weight in (self.lead.weight, self.out.weight, self.out.bias, self.message.weight):
            nn.init.zeros_(weight)

    def forward(self, x: Tensor, edges: Edges, present: Tensor | None = None) -> Tensor:
        """X (P, t, d), present (P, t) or None -> (P, t, d)."""
        features, pad = edges.features, edges.pad
        here = x.new_ones(x.shape[:2], dtype=torch.bool) if present is None else present
        q, k, v = (
            rearrange(pad.spread(layer(x)), "b n t (h d) -> b t h n d", h=self.heads)
            for layer in (self.query, self.key, self.value)
        )
        keys = rearrange(pad.spread(here), "b n t -> b t 1 1 n")
        scores = q * q.shape[-1] ** -0.5 @ k.mT
        scores = scores + rearrange(self.lead(features), "b i j h -> b 1 h i j")
        some = keys.any(-1, keepdim=True)
        # A row without keys would be 0/0: let it see all of them, then drop what it saw.
        share = scores.masked_fill(some & ~keys, -torch.inf).softmax(-1) * some
        seen = rearrange(share @ v, "b t h n d -> b n t (h d)")
        passed = torch.einsum("bthij,bijf->bithf", share, features).flatten(-2)
        return self.out(pad.gather(seen)) + self.message(pad.gather(passed))


class RelationalBlock(SA3Block):
    """SA3 after an attention among single series: SA3(X + SA_R(X)), SA_R a `RelationalAttention`.

    Edges speak of where series are last seen and of what comes, so SA_R is for the tokens of the
    horizon alone. Arguments as of `SA3Block`. It needs a scale that keeps positions.
    """

    uses_edges = True

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        levels: int = 1,
        crossed: Sequence[int] = (),
    ) -> None:
        super().__init__(width, heads, dropout, levels, crossed)
        self.norm_pairs = nn.LayerNorm(width)
        self.pairs = RelationalAttention(width, heads)

    def forward(
        self,
        x: Tensor,
        hierarchy: Hierarchy,
        present: Tensor | None = None,
        last: int | None = None,
        edges: Edges | None = None,
    ) -> Tensor:
        """One block; arguments as of `SA3Block`, and the edges."""
        assert edges is not None
        past, ahead = x[:, : -edges.steps], x[:, -edges.steps :]
        shown = None if present is None else present[:, -edges.steps :]
        ahead = ahead + self.dropout(self.pairs(self.norm_pairs(ahead), edges, shown))
        return super().forward(torch.cat([past, ahead], 1), hierarchy, present, last)


def _where(place: Tensor) -> list[Tensor]:
    """Features of where rows (B, N, D) stand to one another at one time: [(B, N, N, ...)]."""
    away = place[:, None] - place[:, :, None]
    apart = away.norm(dim=-1, keepdim=True)
    return [away / (1 + apart), apart.log1p(), torch.exp(-apart / numbers(apart, *_REACHES))]


def _how(place: Tensor, moves: Tensor) -> list[Tensor]:
    """Features of how rows move past one another: [(B, N, N, ...)]."""
    away = place[:, None] - place[:, :, None]
    relative = moves[:, None] - moves[:, :, None]
    apart = away.norm(dim=-1, keepdim=True)
    closing = (away * relative).sum(-1, keepdim=True) / (apart + 0.1)
    sizes = [relative, relative.norm(dim=-1, keepdim=True), closing]
    return [x / (1 + x.abs() / 5) for x in sizes]
