"""An E(2)-equivariant predictor in the style of EqMotion (Xu et al., CVPR 2023, arXiv 2303.10876).

Each agent carries a bundle of vectors, which turn as the scene turns, and features, which do not.
Vectors are mixed linearly and weighed by numbers made of features; features learn of vectors by
their lengths alone. Agents are exchangeable, and none belongs to a class.

What differs from the paper: vectors start at the agent's own last position, not at the scene's
mean, which is the better start; messages are averaged, not summed, weights are bounded and lengths
are seen as logarithms, so that scenes may be of any size and an agent far off spoils nothing; the
kind of an agent (ball or player) is one more feature at the start.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peers.base import Peer
from benchmarks.peers.scenes import Rectangle
from hierforecast.batch import SceneBatch
from hierforecast.nn.scaled import Scaled
from hierforecast.task import Task


class Pairs(nn.Module):
    """A perceptron for every ordered pair of agents: both ones' features and how far they are."""

    def __init__(self, width: int, distances: int, out: int) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.far, self.out = nn.Linear(distances, width, bias=False), nn.Linear(width, out)

    def forward(self, features: Tensor, far: Tensor) -> Tensor:
        """Features (B, N, w) and distances (B, N, N, k) -> (B, N, N, out)."""
        one, other = self.one(features)[:, :, None], self.other(features)[:, None]
        return self.out(F.silu(one + other + self.far(far.log1p())))


class Interaction(nn.Module):
    """Which of a few kinds of interaction each pair has: shares (B, N, N, K) that add up to one.

    Section 4.4 of the paper: reasoned once from the invariant features and distances.
    """

    def __init__(self, width: int, distances: int, kinds: int) -> None:
        super().__init__()
        self.message = Pairs(width, distances, width)
        self.node = _perceptron(2 * width, width, width)
        self.kind = Pairs(width, distances, kinds)

    def forward(self, features: Tensor, far: Tensor, weight: Tensor) -> Tensor:
        """Features (B, N, w), distances (B, N, N, k), weights of the pairs (B, N, N, 1)."""
        heard = (weight * self.message(features, far)).sum(2)
        node = self.node(torch.cat([features, heard], -1))
        return self.kind(node, far).softmax(-1)


class Layer(nn.Module):
    """Equivariant learning of vectors, invariant learning of features (sections 4.2 and 4.3)."""

    def __init__(self, width: int, vectors: int, kinds: int) -> None:
        super().__init__()
        self.kinds = kinds
        self.inner = _perceptron(width, width, vectors)
        self.edge = Pairs(width, vectors, kinds * vectors)
        self.query = nn.Linear(vectors, vectors, bias=False)
        self.key = nn.Linear(vectors, vectors, bias=False)
        self.message = Pairs(width, vectors, width)
        self.update = _perceptron(2 * width, width, width)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, features: Tensor, vectors: Tensor, place: Tensor, shares: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One round.

        Args:
            features: (B, N, w), turned by nothing.
            vectors: (B, N, 2, C), relative to the agents' places.
            place: (B, N, 2, 1).
            shares: (B, N, N, K) kinds of interaction.
            weight: (B, N, N, 1) of each pair, zero for none.
        """
        vectors = vectors * (1 + self.inner(features).tanh())[:, :, None]  # within the agent
        here = vectors + place
        apart = here[:, :, None] - here[:, None]
        far = _length(apart)
        edge = self.edge(features, far).unflatten(-1, (self.kinds, -1))
        edge = weight * (shares[..., None] * edge).sum(-2).tanh()
        vectors = self._bend(vectors + (edge[..., None, :] * apart).sum(2))
        heard = (weight * self.message(features, far)).sum(2)
        return features + self.norm(self.update(torch.cat([features, heard], -1))), vectors

    def _bend(self, vectors: Tensor) -> Tensor:
        """What is a rectifier for numbers, for vectors: drop the part that points against a key."""
        query, key = self.query(vectors), self.key(vectors)
        along = (query * key).sum(-2, keepdim=True)
        square = key.square().sum(-2, keepdim=True) + 1e-6
        return vectors + query - along.clamp(max=0) / square * key


class EqMotion(Peer):
    """Vectors and features of agents in layers; the forecast is a linear map of the vectors.

    Args:
        width: features of an agent.
        vectors: vectors of an agent.
        depth: layers.
        kinds: of interaction.
    """

    hidden = ("interaction", "layers")

    def __init__(self, width: int = 64, vectors: int = 32, depth: int = 4, kinds: int = 4) -> None:
        super().__init__()
        self.width, self.vectors, self.depth, self.kinds = width, vectors, depth, kinds

    def build(self, task: Task) -> None:
        """Make the layers."""
        super().build(task)
        length = task.context_length
        self.lift = nn.Linear(length, self.vectors, bias=False)
        self.types = nn.Embedding(task.n_types, self.width)
        self.start = _perceptron(2 * length - 3 + self.width, self.width, self.width)
        self.interaction = Interaction(self.width, length, self.kinds)
        self.layers = nn.ModuleList(
            Layer(self.width, self.vectors, self.kinds) for _ in range(self.depth)
        )
        self.out = nn.Linear(self.vectors, task.prediction_length, bias=False)
        nn.init.normal_(self.out.weight, std=0.01)  # begins at rest, whatever the layers add up to

    def point(self, scaled: Scaled, batch: SceneBatch) -> Tensor:
        """See `Peer`."""
        layout, unit = Rectangle.of(batch), self.horizon_scale[-1]
        path = layout.forth(scaled.relative / unit).mT  # (B, N, 2, L)
        place = layout.forth(scaled.loc / scaled.scale / unit).mT
        features = self._features(path * (unit / self.step), layout.forth(batch.types))
        weight = _others(layout.there)[..., None].to(path)
        track = path + place
        far = _length(track[:, :, None] - track[:, None])
        shares = self.interaction(features, far, weight)
        vectors = self.lift(path)
        for layer in self.layers:
            features, vectors = layer(features, vectors, place, shares, weight)
        return layout.back(self.out(vectors).mT)

    def _features(self, path: Tensor, types: Tensor) -> Tensor:
        """Speeds and turns along a path (B, N, 2, L) in typical steps, and the kind of agent."""
        step = path.diff(dim=-1)
        speed = _length(step)
        turn = (step[..., 1:] * step[..., :-1]).sum(-2) / (speed[..., 1:] * speed[..., :-1] + 0.1)
        return self.start(torch.cat([speed.log1p(), turn, self.types(types)], -1))


def _perceptron(inputs: int, width: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, out))


def _length(x: Tensor) -> Tensor:
    """Lengths of vectors (..., 2, k) -> (..., k); smooth at zero."""
    return (x.square().sum(-2) + 1e-6).sqrt()


def _others(there: Tensor) -> Tensor:
    """Weights (B, N, N) that average over the other agents of a scene; `there` is (B, N)."""
    alone = torch.eye(there.shape[1], dtype=torch.bool, device=there.device)
    pairs = there[:, :, None] & there[:, None] & ~alone
    return pairs / pairs.sum(-1, keepdim=True).clamp(min=1)
