"""Dropout that draws from a generator of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout` whose numbers come from `generator` once training has given it one.

    Without one, as in a training loop of a user's own, it draws from torch's global generator.
    """

    generator: torch.Generator | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Zero a share `p` of the elements in training, and scale the others up."""
        if not self.training or self.p == 0 or self.generator is None:
            return super().forward(input)
        kept = torch.empty_like(input).bernoulli_(1 - self.p, generator=self.generator)
        return input * kept.div_(max(1 - self.p, 1e-9))
