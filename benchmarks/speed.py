"""Speed of fit, predict, attention and the SA3 block, each against what it is measured by.

    python -m benchmarks.speed [fit predict attention small growth block] [--rounds 15]

Every number is a ratio of arms run in turn on one thread; see `benchmarks.timing`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks._fitting import fit, predict
from benchmarks._results import write_section
from benchmarks.timing import MODES, forward, interleave, peak, steady
from hierforecast.batch import Hierarchy, hierarchy_of
from hierforecast.nn.attention import Attention, by_matmuls, by_products
from hierforecast.nn.sa3 import SA3Block

WIDTH, HEADS = 128, 8
# A pass through a mask over 5,000 series takes many seconds: so many rounds must do.
MASKS = 3
BALL_AND_TEAMS = (1, 5, 5)
# 500 stocks in 11 sectors, nearly those of the S&P 500.
SECTORS = (84, 70, 68, 67, 61, 34, 33, 32, 28, 20, 3)


def grouped(sizes: Sequence[int], scenes: int = 1) -> Hierarchy:
    """Scenes with groups of the sizes given, all series present."""
    scene = np.repeat(np.arange(scenes), sum(sizes))
    group = np.tile(np.repeat(np.arange(len(sizes)), sizes), scenes)
    return hierarchy_of(scene, group[:, None])[1]


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
    for size in (2, 3, 5, 7, 8, 12, 16, 24, 32):
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


def growth(rounds: int, series: Sequence[int] = (1250, 2500, 5000), size: int = 25) -> pd.DataFrame:
    """Time of an SA3 block as series are added in groups of fixed size."""
    block = SA3Block(WIDTH, HEADS)
    inputs = {n: (torch.randn(n, 8, WIDTH), grouped([size] * (n // size))) for n in series}
    rows: dict[str, dict[str, str]] = {}
    for mode, make in MODES.items():
        timings = interleave({str(n): make(block, *given) for n, given in inputs.items()}, rounds)
        first, last = min(series), max(series)
        for n in series:
            ratio = timings.ratio(str(n), str(first))
            rows.setdefault(f"{n:,} series", {})[mode] = f"{ratio:.2f}"
        whole = math.log(timings.ratio(str(last), str(first))) / math.log(last / first)
        rows.setdefault("exponent", {})[mode] = f"{whole:.2f}"
    return pd.DataFrame(rows).T


def operations(hierarchy: Hierarchy, steps: int) -> float:
    """Floating point operations of a block's forward matrix products."""
    rows, level = len(hierarchy.group), hierarchy.levels[0]
    linear = 2 * WIDTH**2 * steps * (16 * rows + 4 * len(level.order))
    runs = (*hierarchy.members.runs, *level.siblings.runs)
    pairs = steps * sum(n * size**2 for n, size in runs if size > 1) + rows * steps**2
    return linear + 4.0 * WIDTH * pairs


class Case(NamedTuple):
    """A size at which blocks are compared: groups, scenes, and tokens along time."""

    sizes: Sequence[int]
    scenes: int
    steps: int


CASES = {
    "NBA: 64 scenes x 11 series x 10 tokens": Case(BALL_AND_TEAMS, 64, 10),
    "500 stocks in 11 sectors x 12 tokens": Case(SECTORS, 1, 12),
}


def block(rounds: int, cases: dict[str, Case] = CASES) -> pd.DataFrame:
    """An SA3 block against a transformer layer, which attends along time only, on equal tokens."""
    rows = {}
    for name, (sizes, scenes, steps) in cases.items():
        hierarchy = grouped(sizes, scenes)
        x = torch.randn(len(hierarchy.group), steps, WIDTH)
        ours = SA3Block(WIDTH, HEADS)
        theirs = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
        )
        multiply, most = peak()
        row = {}
        for passes, (mode, make) in zip((1, 3), MODES.items(), strict=True):
            arms = {"ours": make(ours, x, hierarchy), "theirs": make(theirs, x), "peak": multiply}
            timings = interleave(arms, rounds)
            share = timings.ratio("peak", "ours") * passes * operations(hierarchy, steps) / most
            row[f"{mode}: times the layer"] = f"{timings.ratio('ours', 'theirs'):.2f}"
            row[f"{mode}: of matmul peak"] = f"{share:.0%}"
        rows[name] = row
    return pd.DataFrame(rows).T


class Table(NamedTuple):
    """What to measure, and how to read it."""

    title: str
    measure: Callable[[int], pd.DataFrame]
    note: str


TABLES = {
    "fit": Table(
        "Fit against a bare loop",
        fit,
        "Windows per second of `Forecaster.fit` as a share of a loop of forward, backward and "
        "AdamW on ready tensors: the same model, the same batches, blocks of steps in turn. "
        "Simulated basketball, 11 series, 40 + 10 steps, batches of 64, series dropout 0.1, two "
        "SA3 blocks. The share of all blocks together holds the validation and the checkpoints "
        "that fall into them; "
        "reading the frame and the linear start stand before the first block and are not in it.",
    ),
    "predict": Table(
        "Predict against a bare forward pass",
        predict,
        "Windows per second of `Forecaster.predict`, frame to frame, as a share of the model's "
        "forward pass on ready batches of 64 scenes.",
    ),
    "attention": Table(
        "Attention within groups against an N x N mask",
        attention,
        "5,000 series in 11 uneven groups of 30 to 840, 8 tokens each, width 128, 8 heads; the "
        "same fused kernel on both sides, and equal results. By arithmetic alone 8.5 times fewer "
        "operations in the softmax attention, 6.2 times fewer with the linear maps. "
        f"Medians of {MASKS} rounds.",
    ),
    "small": Table(
        "Attention in small sets",
        small,
        "Time relative to torch's fused kernel, forward / forward + backward, at 7,040 tokens of "
        "width 128 with 8 heads. `attend` takes products up to 7 members, matmuls up to 24.",
    ),
    "growth": Table(
        "Growth of an SA3 block with the number of series",
        growth,
        "Groups of 25 series, 8 tokens each, width 128, 8 heads; time relative to the first row.",
    ),
    "block": Table(
        "An SA3 block against a transformer layer",
        block,
        "`nn.TransformerEncoderLayer` (pre-norm, GELU, no dropout) attends along time only, on the "
        "same tokens; by arithmetic alone SA3 costs 1.4 times as much. The peak is a float32 "
        "product of matrices of side 1,024.",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="table", help=f"some of {', '.join(TABLES)}")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    unknown = set(given.tables) - set(TABLES)
    if unknown:
        parser.error(f"no such table: {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    steady()
    torch.manual_seed(0)
    for name in given.tables or TABLES:
        title, measure, note = TABLES[name]
        table = measure(given.rounds)
        print(f"\n{title}\n{table.to_string()}", flush=True)
        write_section(f"speed-{name}", title, table, note)


if __name__ == "__main__":
    main()
