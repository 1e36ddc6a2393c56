"""Time and memory from a long frame to arrays, each library in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.timing import alone, peak_growth
from hierforecast.frame import Columns, Panel, read_frame

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


def measure(library: str, rows: int) -> tuple[float, int, int | None]:
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
        seconds, size, extra = alone(measure, library, rows)
        table[library] = {
            "seconds": f"{seconds:.1f}",
            "frame, MB": f"{size / 1e6:.0f}",
            "peak extra, MB": "-" if extra is None else f"{extra / 1e6:.0f}",
            "ratio": "-" if extra is None else f"{extra / size:.2f}",
        }
    return pd.DataFrame(table).T
