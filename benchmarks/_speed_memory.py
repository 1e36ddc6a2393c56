"""Peak memory, a process for each arm: of a block, and from a long frame to arrays."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks._speed_blocks import CASES, FULL, HEADS, LONG, MANY, WIDTH, Case, rival
from benchmarks._speed_kernels import ThroughMask
from benchmarks.timing import MODES, Arm, alone, peak_growth
from hierforecast.batch import Hierarchy
from hierforecast.frame import Columns, Panel, read_frame
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
    cases: dict[str, Case] | None = None, arms: Sequence[str] = (SA3, FULL, MASK)
) -> pd.DataFrame:
    """Peak extra megabytes of a pass; one measurement is enough."""
    rows = {}
    for name, case in (cases or {name: CASES[name] for name in (LONG, MANY)}).items():
        row = {}
        for arm in arms:
            size = alone(measure, arm, "forward + backward", case)
            row[arm] = "-" if size is None else f"{size / 1e6:,.0f}"
        rows[name] = row
    return pd.DataFrame(rows).T


COLUMNS = Columns(target=["x", "y"], group="team", scene="scene")
AGENTS, STEPS = 11, 50


def make_frame(library: str, rows: int) -> tuple[Any, int]:
    """A shuffled frame of scenes of 11 agents and 50 steps, and its size in bytes."""
    rng = np.random.default_rng(0)
    cell = rng.permutation(rows)
    agent = cell // STEPS % AGENTS
    names = np.array(["ball", *(f"{t}_{i}" for t in ("home", "away") for i in range(5))], object)
    teams = np.array(["ball"] + ["home"] * 5 + ["away"] * 5, object)
    data = {
        "scene": cell // (STEPS * AGENTS),
        "ds": cell % STEPS,
        "unique_id": names[agent],
        "team": teams[agent],
        "x": rng.normal(size=rows),
        "y": rng.normal(size=rows),
    }
    if library == "polars":
        import polars as pl

        table = pl.DataFrame({k: v.tolist() if v.dtype == object else v for k, v in data.items()})
        return table, int(table.estimated_size())
    frame = pd.DataFrame(data)
    if library == "pandas object":
        frame = frame.astype({"unique_id": object, "team": object})
    if library == "pyarrow":
        import pyarrow as pa

        arrow = pa.Table.from_pandas(frame, preserve_index=False)
        return arrow, int(arrow.nbytes)
    return frame, int(frame.memory_usage(deep=True).sum())


def read_alone(library: str, rows: int) -> tuple[float, int, int | None]:
    """Seconds, the frame's bytes, and peak extra bytes (None where Linux's /proc is missing)."""
    frame, size = make_frame(library, rows)
    read_frame(make_frame(library, STEPS * AGENTS)[0], COLUMNS)  # imports are not what is measured

    def read() -> tuple[Panel, float]:
        start = perf_counter()
        return read_frame(frame, COLUMNS), perf_counter() - start

    (panel, seconds), extra = peak_growth(read)
    assert panel.present.sum() == rows
    return seconds, size, extra


def frames(rows: int, libraries: Sequence[str]) -> pd.DataFrame:
    """Seconds and memory by library."""
    table = {}
    for library in libraries:
        seconds, size, extra = alone(read_alone, library, rows)
        table[library] = {
            "seconds": f"{seconds:.1f}",
            "frame, MB": f"{size / 1e6:.0f}",
            "peak extra, MB": "-" if extra is None else f"{extra / 1e6:.0f}",
            "ratio": "-" if extra is None else f"{extra / size:.2f}",
        }
    return pd.DataFrame(table).T
