"""One masked attention, re-axed by patterns: among the members of sets, or along time.

This is where groups are kept apart: a set's members are a contiguous view (`batch.Partition`), so
no mask separates groups and no row outside a set is ever a key. The only mask is over *keys that
are not present*, and it costs one bit per key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.batch import Partition


@dataclass(frozen=True)
class Axis:
    """How packed tokens are laid out for attention along one axis.

    Series carry no position on the member axis, so members are interchangeable; time does.
    """

    tokens: str
    heads: str
    keys: str


MEMBERS = Axis("(n s) t (h d)", "n (t h) s d", "(n s) t -> n t 1 s")
TIME = Axis("n s (h d)", "n h s d", "n s -> n 1 1 s")

# On a CPU the fused kernel pays for its start in every set and head: up to these sizes of a set
# other kernels are faster (benchmarks/results/speed.md, "Attention in small sets").
PRODUCT_SETS, MATMUL_SETS = 7, 32


def attend(query: Tensor, key: Tensor, value: Tensor, present: Tensor | None = None) -> Tensor:
    """Softmax attention in which absent keys do not exist.

    Args:
        query: (n, b, q, d), `b` batched over heads (and steps).
        key, value: (n, b, s, d).
        present: (n, b or 1, 1, s) keys that exist; None if all do.

    Returns:
        (n, b, q, d); zero where no key exists, with finite gradients.
    """
    size, on_cpu = key.shape[-2], query.device.type == "cpu"
    kernel: Callable[..., Tensor] = F.scaled_dot_product_attention
    if on_cpu and size <= MATMUL_SETS:
        kernel = by_products if size <= PRODUCT_SETS else by_matmuls
    if present is None:
        return kernel(query, key, value)
    some = present.any(-1, keepdim=True)
    # A row without keys would be 0/0: let it see all of them, then drop what it saw.
    seen = kernel(query, key, value, present | ~some)
    return torch.where(some, seen, seen.new_zeros(()))


def by_matmuls(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention for small sets, as `F.scaled_dot_product_attention`: two matrix products."""
    scores = query * query.shape[-1] ** -0.5 @ key.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ value


def by_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention for tiny sets, as `F.scaled_dot_product_attention`: every pair by elements.

    Works on (n, q, s, b, d), the order in which tokens lie in memory: inner loops are long, and
    queries, keys and values are not copied. Makes `s` times as many numbers as there are queries.
    """
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    scores = (query[:, :, None] * query.shape[-1] ** -0.5 * key[:, None]).sum(-1, keepdim=True)
    if mask is not None:
        scores = scores.masked_fill(~mask.permute(0, 2, 3, 1)[..., None], -torch.inf)
    return (scores.softmax(2) * value[:, None]).sum(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention within sets of members, or along time.

    Args:
        width: features of a token.
        heads: attention heads; divides `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width={width} is not a multiple of heads={heads}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)  # softmax ignores a constant added to keys
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def members(self, x: Tensor, partition: Partition, present: Tensor | None) -> Tensor:
        """Attend among the members of each set, at each step.

        Args:
            x: (m, t, d) tokens of m members, sorted into the partition's runs.
            partition: the sets.
            present: (m, t) tokens that exist, or None if all do.
        """
        value = self.value(x)
        # Split once: the backward pass of a split costs as much as the whole tensor.
        sides = [side.split(partition.lengths) for side in (self.query(x), self.key(x), value)]
        masks = [None] * len(sides[0]) if present is None else present.split(partition.lengths)
        parts = []
        for (_, size), q, k, v, mask in zip(partition.runs, *sides, masks, strict=True):
            if size == 1:  # alone in its set, a member gets its own value
                parts.append(v if mask is None else v * mask[..., None])
            else:
                parts.append(self._attend(q, k, v, mask, MEMBERS, size))
        return self.out(torch.cat(parts) if parts else value)

    def time(self, x: Tensor, present: Tensor | None, last: int | None = None) -> Tensor:
        """Attend along time within each member.

        Args:
            x: (m, t, d) tokens.
            present: (m, t) tokens that exist, or None if all do.
            last: how many tokens at the end are queries; None for all t.
        """
        query = self.query(x if last is None else x[:, -last:])
        seen = self._attend(query, self.key(x), self.value(x), present, TIME, x.shape[1])
        return self.out(seen)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, present: Tensor | None, axis: Axis, size: int
    ) -> Tensor:
        """Lay tokens out along `axis`, attend among `size` keys, and lay the result back."""
        forth, back = f"{axis.tokens} -> {axis.heads}", f"{axis.heads} -> {axis.tokens}"
        lengths = {"h": self.heads}
        if axis is MEMBERS:
            lengths |= {"s": size, "t": q.shape[1]}
        q, k, v = (rearrange(x, forth, **lengths) for x in (q, k, v))
        if present is not None:
            present = rearrange(present, axis.keys, s=size)
            if axis is MEMBERS:
                present = present.repeat_interleave(self.heads, dim=1)
        return rearrange(attend(q, k, v, present), back, **lengths)
