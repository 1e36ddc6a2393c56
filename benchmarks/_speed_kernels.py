"""Attention within groups: against an N x N mask, and the kernels for small sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks._speed_blocks import HEADS, SECTORS, WIDTH, grouped
from benchmarks.timing import MODES, forward, interleave
from hierforecast.batch import Hierarchy
from hierforecast.nn.attention import Attention, by_matmuls, by_products

# A pass through a mask over 5,000 series takes many seconds: so many rounds must do.
MASKS = 3


def without_projections() -> Attention:
    """The attention layer with its four linear maps left out: only softmax attention is left."""
    layer = Attention(WIDTH, HEADS)
    for name in ("query", "key", "value", "out"):
        setattr(layer, name, nn.Identity())
    return layer


class ThroughMask(nn.Module):
    """The same attention, with the groups kept apart by an N x N mask instead."""

    def __init__(self, layer: Attention, group: Tensor) -> None:
        super().__init__()
        self.layer, self.allowed = layer, group[:, None] == group

    def forward(self, x: Tensor) -> Tensor:
        """Tokens x (N, t, d) -> (N, t, d)."""
        layer = self.layer
        sides = (side(x) for side in (layer.query, layer.key, layer.value))
        query, key, value = (rearrange(x, "n t (h d) -> t h n d", h=layer.heads) for x in sides)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=self.allowed)
        return layer.out(rearrange(seen, "t h n d -> n t (h d)"))


class Packed(nn.Module):
    """The attention within groups as SA_S runs it."""

    def __init__(self, layer: Attention, hierarchy: Hierarchy) -> None:
        super().__init__()
        self.layer, self.members = layer, hierarchy.members

    def forward(self, x: Tensor) -> Tensor:
        """Tokens x (N, t, d) -> (N, t, d)."""
        return self.layer.members(x, self.members, None)


def attention(rounds: int, sizes: Sequence[int] = SECTORS, times: int = 10) -> pd.DataFrame:
    """Within-group attention of N series against an N x N mask through the same kernel."""
    hierarchy = grouped([times * size for size in sizes])
    x = torch.randn(len(hierarchy.group), 8, WIDTH)
    rows = {}
    for name, layer in {
        "softmax attention alone": without_projections(),
        "with its four linear maps": Attention(WIDTH, HEADS),
    }.items():
        arms = {"packed": Packed(layer, hierarchy), "mask": ThroughMask(layer, hierarchy.group)}
        with torch.no_grad():
            torch.testing.assert_close(arms["packed"](x), arms["mask"](x))
        row = {}
        for mode, make in MODES.items():
            timings = interleave({k: make(arm, x) for k, arm in arms.items()}, min(rounds, MASKS))
            row[f"{mode}: times faster"] = f"{timings.ratio('mask', 'packed'):.1f}"
        rows[name] = row
    return pd.DataFrame(rows).T


def small(rounds: int, tokens: int = 7040, steps: int = 10) -> pd.DataFrame:
    """Kernels for small sets; time relative to the fused one at NBA's number of tokens."""
    rows = {}
    for size in (2, 3, 5, 7, 8, 12, 16, 24, 32, 48, 64, 96):
        shape = (max(1, tokens // (size * steps)), size, steps * HEADS, WIDTH // HEADS)
        sides = [torch.randn(shape).transpose(1, 2).requires_grad_() for _ in range(3)]
        kernels: dict[str, Callable[..., Tensor]] = {
            "fused": F.scaled_dot_product_attention,
            "matmuls": by_matmuls,
        }
        if size <= 12:
            kernels["products"] = by_products
        both = {k: _with_gradients(kernel, sides) for k, kernel in kernels.items()}
        once = interleave({k: forward(kernel, *sides) for k, kernel in kernels.items()}, rounds)
        twice = interleave(both, rounds)
        rows[f"{size} members"] = {
            k: f"{once.ratio(k, 'fused'):.2f} / {twice.ratio(k, 'fused'):.2f}" for k in kernels
        }
    return pd.DataFrame(rows).T.drop(columns="fused").fillna("-")


def _with_gradients(kernel: Callable[..., Tensor], sides: list[Tensor]) -> Callable[[], object]:
    gradient = torch.randn_like(sides[0])
    return lambda: torch.autograd.grad(kernel(*sides), sides, gradient)
