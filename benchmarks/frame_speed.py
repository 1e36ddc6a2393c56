"""Time and memory from a long frame to arrays: ``python -m benchmarks.frame_speed``.

Each library runs in a process of its own. Memory is the peak of resident memory above what the
process held with the frame in it, relative to the frame's own size (strings counted).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import multiprocessing
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._results import write_section
from hierforecast.frame import Columns, read_frame

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


def memory(field: str) -> int:
    """VmRSS (now) or VmHWM (peak) of this process in bytes; Linux only."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def measure(library: str, rows: int) -> tuple[float, int, int | None]:
    """Seconds, the frame's bytes, and peak extra bytes (None where Linux's /proc is missing)."""
    frame, size = make_frame(library, rows)
    read_frame(make_frame(library, STEPS * AGENTS)[0], COLUMNS)  # imports are not what is measured
    gc.collect()
    before = None
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # so that freed memory is not reused unseen
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = memory("VmRSS")
    start = perf_counter()
    panel = read_frame(frame, COLUMNS)
    seconds = perf_counter() - start
    assert panel.present.sum() == rows
    return seconds, size, None if before is None else memory("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument(
        "--libraries", nargs="+", default=["pandas", "pandas object", "polars", "pyarrow"]
    )
    given = parser.parse_args()
    rows = {}
    for library in given.libraries:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, size, peak = pool.apply(measure, (library, given.rows))
        rows[library] = {
            "seconds": f"{seconds:.1f}",
            "frame, MB": f"{size / 1e6:.0f}",
            "peak extra, MB": "-" if peak is None else f"{peak / 1e6:.0f}",
            "ratio": "-" if peak is None else f"{peak / size:.2f}",
        }
        print(library, rows[library], flush=True)
    note = (
        f"{given.rows:,} rows of scene, ds, unique_id, team, x, y, shuffled. The ratio is the peak "
        "of memory above what the process held with the frame in it, over the frame's own size."
    )
    write_section("frame", "From a long frame to arrays", pd.DataFrame(rows).T, note)


if __name__ == "__main__":
    main()
