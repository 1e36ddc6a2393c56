"""Peak memory of a block, a process for each arm."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks._speed_blocks import CASES, FULL, HEADS, LONG, MANY, WIDTH, Case, rival
from benchmarks._speed_kernels import ThroughMask
from benchmarks.timing import MODES, Arm, alone, peak_growth
from hierforecast.batch import Hierarchy
from hierforecast.nn.sa3 import SA3Block

SA3, MASK = "SA3", "SA3 through an N x N mask"


class MaskedSeries(nn.Module):
    """SA_S with the groups kept apart by an N x N mask."""

    def __init__(self, block: SA3Block, group: Tensor) -> None:
        super().__init__()
        self.through = ThroughMask(block.series.attention, group)

    def forward(self, x: Tensor, hierarchy: Hierarchy, present: Tensor | None) -> Tensor:
        """X (P, t, d) -> (P, t, d)."""
        return self.through(x)


def arm_of(name: str, mode: str, case: Case) -> Arm:
    """One of the arms: a block's pass over the tokens of a case."""
    x, hierarchy = case.tokens(), case.hierarchy
    if name == FULL:
        return rival(name, mode, case.by_scene(x))
    block = SA3Block(WIDTH, HEADS)
    if name == MASK:
        block.series = MaskedSeries(block, hierarchy.group)  # type: ignore[assignment]
    return MODES[mode](block, x, hierarchy)


def measure(name: str, mode: str, case: Case) -> int | None:
    """Growth of resident memory in bytes; None where Linux's /proc is missing."""
    torch.set_num_threads(1)
    arm_of(name, mode, Case((2, 3), 1, 4))()  # imports and first buffers are not what is measured
    return peak_growth(arm_of(name, mode, case))[1]


def memory(
    rounds: int, cases: dict[str, Case] | None = None, arms: Sequence[str] = (SA3, FULL, MASK)
) -> pd.DataFrame:
    """Peak extra megabytes of a pass; one measurement is enough, so rounds do not matter."""
    rows = {}
    for name, case in (cases or {name: CASES[name] for name in (LONG, MANY)}).items():
        row = {}
        for arm in arms:
            size = alone(measure, arm, "forward + backward", case)
            row[arm] = "-" if size is None else f"{size / 1e6:,.0f}"
        rows[name] = row
    return pd.DataFrame(rows).T
