"""The rows of each scene side by side, for what looks at every two of them."""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.batch import SceneBatch
from hierforecast.distributions.places import places
from hierforecast.nn.scaled import fill_gaps

# Series of a scene up to which pairs are looked at by default: their number grows with the square.
PAIRED = 64


class ScenePadding:
    """Packed rows to scenes and back.

    Args:
        batch: whose rows they are.

    Attributes:
        shape: (B, N), N being the most rows that a scene has.
        slot: (P,), the place of a row within its scene, in the order of the rows.
        pairs: (B, N, N) bool, two different rows that are observed.
    """

    def __init__(self, batch: SceneBatch) -> None:
        self.scene = batch.scene
        self.slot, most = places(batch.scene, batch.n_scenes, batch.hierarchy.most)
        self.shape = (batch.n_scenes, max(1, most))
        here = self.spread(batch.present.any(1))
        self.own = torch.eye(self.shape[1], dtype=torch.bool, device=self.scene.device)
        self.pairs = here[:, :, None] & here[:, None] & ~self.own

    def spread(self, x: Tensor) -> Tensor:
        """Rows to scenes: (P, ...) -> (B, N, ...), zero where a scene has fewer."""
        return x.new_zeros(*self.shape, *x.shape[1:]).index_put((self.scene, self.slot), x)

    def gather(self, x: Tensor) -> Tensor:
        """Scenes to rows: (B, N, ...) -> (P, ...)."""
        return x[self.scene, self.slot]

    def alike(self, code: Tensor) -> Tensor:
        """Which pairs (B, N, N) share a code (P,), from 0."""
        code = self.spread(code + 1)
        return code[:, :, None] == code[:, None]

    def usual(self, place: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
        """Medians of the distance to the nearest other and of the speed, of (P, D); 1 of none."""
        apart = (self.spread(place)[:, None] - self.spread(place)[:, :, None]).norm(dim=-1)
        nearest = apart.masked_fill(~self.pairs, torch.inf).amin(-1)
        sizes = nearest[nearest.isfinite()], moves.norm(dim=-1)
        near, fast = (x[x > 0].median() if (x > 0).any() else x.new_ones(()) for x in sizes)
        return near, fast


def places_and_moves(batch: SceneBatch) -> tuple[Tensor, Tensor]:
    """Where rows were last, and their last movement: (P, D) each, in the units of the batch."""
    filled, last = fill_gaps(batch.values, batch.present)
    before = filled[:, -2] if filled.shape[1] > 1 else filled[:, -1]
    return (last + batch.level)[:, 0], filled[:, -1] - before
