"""What a joint distribution of very many series is asked, against its likelihood."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from benchmarks._speed_blocks import uneven
from benchmarks.timing import interleave
from hierforecast.nn.head import Head, Loads, Scenes
from hierforecast.nn.heads import (
    GaussianHead,
    LowRankHead,
    MixtureHead,
    ReturnsHead,
    RowsHead,
    StudentTHead,
    TailsHead,
)

STEPS = 10
HEADS: dict[str, Head] = {
    "gaussian": GaussianHead(),
    "student-t": StudentTHead(),
    "lowrank": LowRankHead(),
    "lowrank, latents of groups, errors that carry on": LowRankHead(memory=2, group_rank=2),
    "rows": RowsHead(),
    "mixture": MixtureHead(),
    "returns": ReturnsHead(),
    "demand": TailsHead(),
}


def asked(head: Head, groups: np.ndarray, rounds: int) -> dict[str, str]:
    """Times of questions to a head's distribution of one scene, over that of its likelihood."""
    rows, of = len(groups), torch.from_numpy(groups)
    scenes = Scenes(torch.zeros(rows, dtype=torch.int64), 1, (of,))
    market = head.market(STEPS)
    if market is not None:
        one, scene = torch.ones(rows, 1), torch.rand(rows, 1, 1 + market.rank)
        level = torch.tensor(-1.0), torch.tensor(1.0)
        scenes = scenes._replace(
            loads=Loads(torch.ones(rows, STEPS, 1), scene, (one,), one, *level)
        )
    size = torch.rand(rows, STEPS, 1) + 0.5
    shape = torch.randn(rows, STEPS, head.features(1, 1))
    loc = torch.randn(*head.loc_shape, rows, STEPS, 1)
    found = head(loc, size, shape, scenes)
    value = found.sample(generator=torch.Generator().manual_seed(0))
    some = torch.zeros(rows, STEPS, dtype=torch.bool)
    some[::20] = True
    early = torch.zeros_like(some)
    early[:, : STEPS // 2] = True
    matrix = torch.nn.functional.one_hot(of).T.float().to_sparse()

    def totals() -> object:
        made = found.aggregate(matrix)
        return made.mean, made.sample((1,))

    arms = {
        "log_prob": lambda: found.log_prob(value),
        "condition, 5 % of the series": lambda: found.condition(value, some),
        "condition, half of the steps": lambda: found.condition(value, early),
        "totals, a draw": totals,
        "draw": lambda: found.sample((1,)),
    }
    with torch.no_grad():
        timings = interleave(arms, rounds)
    row = {"log_prob, ms": f"{1e3 * timings.median('log_prob'):.0f}"}
    return row | {k: f"{timings.ratio(k, 'log_prob'):.2f}" for k in arms if k != "log_prob"}


def joint(rounds: int, shrink: int = 1) -> pd.DataFrame:
    """See `asked`; of all heads."""
    sizes = [max(size // shrink, 1) for size in uneven()]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    torch.manual_seed(0)
    rows = {name: asked(head, groups, rounds) for name, head in HEADS.items()}
    return pd.DataFrame.from_dict(rows, orient="index")
