"""The SA3 block: against rivals on the same tokens, as series are added, and as they go missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from torch import Tensor, nn

from benchmarks.timing import MODES, Arm, Timings, interleave, peak
from hierforecast.batch import Hierarchy, hierarchy_of
from hierforecast.nn.sa3 import SA3Block

WIDTH, HEADS = 128, 8
BALL_AND_TEAMS = (1, 5, 5)
# 500 stocks in 11 sectors, nearly those of the S&P 500.
SECTORS = (84, 70, 68, 67, 61, 34, 33, 32, 28, 20, 3)
# No new round of arms that together take long, once they had so many seconds.
PATIENCE = 10.0


def uneven(series: int = 5000, groups: int = 150) -> tuple[int, ...]:
    """Sizes of groups that fall as 1 / rank does, down to a few members."""
    size = 1 / (10 + np.arange(groups))
    size = np.maximum(size / size.sum() * series, 1).astype(int)
    size[0] += series - size.sum()
    return tuple(size.tolist())


@dataclass(frozen=True)
class Case:
    """A size at which blocks are compared.

    Args:
        sizes: series in each group of a scene.
        scenes: how many scenes, all alike.
        steps: tokens along time.
    """

    sizes: Sequence[int]
    scenes: int
    steps: int

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Scene (P,) and group (P, 1) of every series."""
        scene = np.repeat(np.arange(self.scenes), sum(self.sizes))
        group = np.tile(np.repeat(np.arange(len(self.sizes)), self.sizes), self.scenes)
        return scene, group[:, None]

    @property
    def hierarchy(self) -> Hierarchy:
        """Who meets whom, all series present."""
        return hierarchy_of(*self.labels)[1]

    def tokens(self, width: int = WIDTH) -> Tensor:
        """Random tokens of packed rows, (P, t, d)."""
        return torch.randn(self.scenes * sum(self.sizes), self.steps, width)

    def by_scene(self, x: Tensor) -> Tensor:
        """Packed rows (P, t, d) as (b, n, t, d)."""
        back = np.argsort(hierarchy_of(*self.labels)[0])
        return x[torch.from_numpy(back)].unflatten(0, (self.scenes, -1))


def grouped(sizes: Sequence[int], scenes: int = 1) -> Hierarchy:
    """Scenes with groups of the sizes given, all series present."""
    return Case(sizes, scenes, 1).hierarchy


NBA = "NBA: 64 scenes x 11 series x 10 tokens"
STOCKS = "500 stocks in 11 sectors x 12 tokens"
LONG = "500 series in 11 groups x 60 tokens"
MANY = "5,000 series in 150 uneven groups x 8 tokens"
CASES = {
    NBA: Case(BALL_AND_TEAMS, 64, 10),
    "soccer: 8 scenes x 23 series x 40 tokens": Case((1, 11, 11), 8, 40),
    STOCKS: Case(SECTORS, 1, 12),
    LONG: Case(SECTORS, 1, 60),
    MANY: Case(uneven(), 1, 8),
}


def transformer(width: int = WIDTH, heads: int = HEADS) -> nn.TransformerEncoderLayer:
    """Torch's own layer: attention along the middle axis, and a feed-forward layer."""
    return nn.TransformerEncoderLayer(
        width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
    )


# What the layer sees of tokens (b, n, t, d): the rivals differ in nothing else.
RIVALS: dict[str, Callable[[Tensor], Tensor]] = {
    "along time only": lambda x: rearrange(x, "b n t d -> (b n) t d"),
    "full: series x steps": lambda x: rearrange(x, "b n t d -> b (n t) d"),
    "iTransformer-like: a token a series": lambda x: x.mean(2),
}
TIME, FULL = list(RIVALS)[:2]


def rival(name: str, mode: str, x: Tensor) -> Arm:
    """An arm: the rival's layer in its own layout of tokens x (b, n, t, d)."""
    layer = transformer()
    # Torch's path for inference is a tenth faster, but over long rows it is 1.8 times slower.
    layer.train(name == FULL)
    return MODES[mode](layer, RIVALS[name](x).contiguous())


def rivals(rounds: int, cases: dict[str, Case] = CASES) -> pd.DataFrame:
    """Time of each rival's layer, in SA3 blocks on the same tokens."""
    rows: dict[str, dict[str, str]] = {}
    for name, case in cases.items():
        x = case.tokens()
        ratios: dict[str, list[str]] = {}
        for mode, make in MODES.items():
            arms = {"sa3": make(SA3Block(WIDTH, HEADS), x, case.hierarchy)}
            arms |= {other: rival(other, mode, case.by_scene(x)) for other in RIVALS}
            timings = interleave(arms, rounds, PATIENCE)
            for other in RIVALS:
                ratios.setdefault(other, []).append(f"{timings.ratio(other, 'sa3'):.2f}")
        rows[name] = {other: " / ".join(both) for other, both in ratios.items()}
    return pd.DataFrame(rows).T


def growth(
    rounds: int, series: Sequence[int] = (64, 256, 1024, 4096), size: int = 16, full: int = 1024
) -> pd.DataFrame:
    """Time as series are added in groups of fixed size; full attention up to `full` series."""
    cases = {n: Case([size] * (n // size), 1, 8) for n in series}
    block = SA3Block(WIDTH, HEADS)
    columns = {}
    for mode, make in MODES.items():
        ours, theirs = {}, {}
        for n, case in cases.items():
            x = case.tokens()
            ours[str(n)] = make(block, x, case.hierarchy)
            if n <= full:
                theirs[str(n)] = rival(FULL, mode, case.by_scene(x))
        columns[f"SA3, {mode}"] = _grown(interleave(ours, rounds))
        columns[f"full, {mode}"] = _grown(interleave(theirs, rounds))
    return (
        pd.DataFrame(columns).reindex([*(f"{n:,} series" for n in series), "exponent"]).fillna("-")
    )


def _grown(timings: Timings) -> dict[str, str]:
    """Times relative to the first size, and the exponent from the first to the last."""
    first, last = (list(timings.seconds)[i] for i in (0, -1))
    column = {f"{int(n):,} series": f"{timings.ratio(n, first):.2f}" for n in timings.seconds}
    whole = math.log(timings.ratio(last, first)) / math.log(int(last) / int(first))
    return {**column, "exponent": f"{whole:.2f}"}


def operations(hierarchy: Hierarchy, steps: int, width: int = WIDTH) -> float:
    """Floating point operations of a block's forward matrix products."""
    rows, level = len(hierarchy.group), hierarchy.levels[0]
    linear = 2 * width**2 * steps * (16 * rows + 4 * len(level.order))
    runs = (*hierarchy.members.runs, *level.siblings.runs)
    pairs = steps * sum(n * size**2 for n, size in runs if size > 1) + rows * steps**2
    return linear + 4.0 * width * pairs


def block(
    rounds: int,
    cases: dict[str, Case] | None = None,
    sizes: Sequence[tuple[int, int]] = ((128, 8), (128, 4), (256, 8)),
) -> pd.DataFrame:
    """An SA3 block against a transformer layer along time, and against the matmul peak."""
    rows = {}
    for name, case in (cases or {"NBA": CASES[NBA], "500 stocks": CASES[STOCKS]}).items():
        for width, heads in sizes:
            x, hierarchy = case.tokens(width), case.hierarchy
            ours, theirs = SA3Block(width, heads), transformer(width, heads).eval()
            multiply, most = peak()
            row = {}
            along = RIVALS[TIME](case.by_scene(x)).contiguous()
            for passes, (mode, make) in zip((1, 3), MODES.items(), strict=True):
                arms = {"ours": make(ours, x, hierarchy), "theirs": make(theirs, along)}
                timings = interleave({**arms, "peak": multiply}, rounds)
                work = passes * operations(hierarchy, case.steps, width)
                row[f"{mode}: times the layer"] = f"{timings.ratio('ours', 'theirs'):.2f}"
                share = timings.ratio("peak", "ours") * work / most
                row[f"{mode}: of matmul peak"] = f"{share:.0%}"
            rows[f"{name}, width {width}, {heads} heads of {width // heads}"] = row
    return pd.DataFrame(rows).T


def missing(rounds: int, cases: dict[str, Case] = CASES, share: float = 0.3) -> pd.DataFrame:
    """Time of an SA3 block with a share of the series missing, relative to all present."""
    rows = {}
    for name, case in cases.items():
        x, block = case.tokens(), SA3Block(WIDTH, HEADS)
        gone, kept = np.split(np.random.default_rng(0).permutation(len(x)), [round(share * len(x))])
        fewer = hierarchy_of(*(label[kept] for label in case.labels))[1]
        present = torch.ones(len(x), case.steps, dtype=torch.bool)
        present[torch.from_numpy(gone)] = False
        row = {}
        for mode, make in MODES.items():
            arms = {
                "all": make(block, x, case.hierarchy),
                "packed": make(block, x[: len(kept)], fewer),
                "masked": make(block, x, case.hierarchy, present),
            }
            timings = interleave(arms, rounds, PATIENCE)
            for arm in ("packed", "masked"):
                row[f"{arm}, {mode}"] = f"{timings.ratio(arm, 'all'):.2f}"
        rows[name] = row
    columns = [f"{arm}, {mode}" for arm in ("packed", "masked") for mode in MODES]
    return pd.DataFrame(rows).T[columns]
