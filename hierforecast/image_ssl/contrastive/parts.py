"""Parts that methods are composed of: a slowly following encoder, a queue of keys, prototypes."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast._options import share, whole


class MomentumEncoder(nn.Module):
    """A copy of modules that follows them slowly (arXiv 1911.05722, eq. 2); it has no gradients.

    `update` moves the parameters only. Buffers are the copy's own: its norms gather running
    statistics from what the copy itself sees, since the statistics of the followed modules belong
    to other weights. In training mode norms use the batch at hand, as the modules' own do.

    Args:
        modules: run one after the other; copied.
        momentum: share of itself that the average keeps, from 0 (a fresh copy at each update) to 1.
    """

    def __init__(self, *modules: nn.Module, momentum: float = 0.99) -> None:
        super().__init__()
        self.momentum = share("momentum", momentum)
        self.copies = nn.Sequential(*map(deepcopy, modules)).requires_grad_(False)

    @torch.no_grad()
    def update(self, *modules: nn.Module) -> None:
        """Move every parameter towards that of the modules: ``m * own + (1 - m) * theirs``.

        Args:
            modules: those that were copied, in the same order.
        """
        own = list(self.copies.parameters())
        theirs = list(nn.Sequential(*modules).parameters())
        if [p.shape for p in own] != [p.shape for p in theirs]:
            raise ValueError(
                "the modules are not those that were copied: give the same ones in the same order, "
                "or build a new MomentumEncoder from them"
            )
        for average, current in zip(own, theirs, strict=True):
            average.lerp_(current.to(average.dtype), 1 - self.momentum)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Run the copies one after the other, without gradients."""
        found: Tensor = self.copies(x)
        return found


class KeyQueue(nn.Module):
    """The last `size` keys, first in, first out (arXiv 1911.05722, section 3.2).

    It starts with random directions. Keys are kept at unit length.

    Attributes:
        keys: (size, dim), in a ring; the oldest is overwritten next.
        count: () int64, keys that ever came; ``count % size`` is the place of the next.
    """

    keys: Tensor
    count: Tensor

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.dim, self.size = whole("dim", dim), whole("size", size)
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    @property
    def is_full(self) -> bool:
        """Whether all random directions have been replaced by keys."""
        return int(self.count) >= self.size

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Put keys (b, dim) in place of the oldest, around the end of the ring if need be.

        Of more than `size` keys the last ones stay.
        """
        if keys.ndim != 2 or keys.shape[1] != self.dim:
            raise ValueError(
                f"keys {tuple(keys.shape)} do not fit a queue of {self.dim} numbers each: give "
                f"(b, {self.dim}), or build KeyQueue(dim={keys.shape[-1]}, size={self.size})"
            )
        kept = F.normalize(keys[-self.size :], dim=1).to(self.keys)
        self.count += len(keys)
        ages = torch.arange(len(kept), 0, -1, device=self.count.device)
        self.keys.index_copy_(0, (self.count - ages) % self.size, kept)


class Prototypes(nn.Module):
    """Scores of vectors against k learned directions (arXiv 2006.09882, section 3.1); no bias.

    Directions are normalized whenever they are used: only the weights' directions count, and the
    scores are cosines whatever an optimizer did. The authors normalize the weights in place before
    each step, which `normalize_` does, so that steps of the optimizer do not turn long weights less
    than short ones. (Their gradient is not of the cosine but of the product with the weights; its
    part along the weights is undone by the next normalization.)
    """

    def __init__(self, dim: int, k: int) -> None:
        super().__init__()
        size = whole("k", k), whole("dim", dim)
        self.weight = nn.Parameter(F.normalize(torch.randn(size), dim=1))

    @torch.no_grad()
    def normalize_(self) -> None:
        """Bring the weights to unit length, in place."""
        self.weight.copy_(self.directions)

    @property
    def directions(self) -> Tensor:
        """The prototypes (k, dim), of unit length."""
        return F.normalize(self.weight, dim=1)

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """Score vectors (b, dim) as (b, k): cosines, if they have unit length.

        Args:
            frozen: let no gradient reach the prototypes.
        """
        directions = self.directions
        return F.linear(x, directions.detach() if frozen else directions)
