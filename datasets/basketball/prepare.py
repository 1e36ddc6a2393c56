"""Simulated basketball -> one parquet table, with the counts checked.

python datasets/basketball/prepare.py [--scenes N] [--seed N] [--missing M] [--out FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hierforecast.datasets.basketball import simulate_basketball

STEPS, AGENTS = 50, 11


def prepare(scenes: int, seed: int, missing: float, out: Path) -> int:
    """Write the table and return its number of rows."""
    frame = simulate_basketball(scenes, STEPS, seed, missing)
    full = scenes * STEPS * AGENTS
    assert len(frame) == full or (missing > 0 and len(frame) < full), f"{len(frame)} of {full} rows"
    assert not frame.duplicated(["scene", "ds", "unique_id"]).any()
    assert (frame.loc[frame["kind"] == "ball"].groupby("scene").size() == STEPS).all()
    assert frame["x"].between(0, 94).all() and frame["y"].between(0, 50).all(), "not on the court"
    out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(out, index=False)
    return len(frame)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--missing", type=float, default=0.0)
    parser.add_argument("--out", type=Path, default=Path("simulated_basketball.parquet"))
    options = parser.parse_args()
    rows = prepare(options.scenes, options.seed, options.missing, options.out)
    print(f"{options.out}: {rows:,} rows")
