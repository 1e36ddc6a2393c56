"""Pedestrians -> one parquet table, with the counts checked.

python datasets/pedestrians/prepare.py [--root FOLDER] [--out FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hierforecast.datasets import pedestrians


def prepare(root: Path | None, out: Path) -> int:
    """Write the table and return its number of rows."""
    frame = pedestrians.load_pedestrians(root=root)
    sites = frame.groupby("scene")
    assert sites.size().to_dict() == pedestrians.N_ROWS
    assert sites["unique_id"].nunique().to_dict() == pedestrians.N_SERIES
    steps = sites["ds"].max() - sites["ds"].min() + 1
    assert steps.to_dict() == pedestrians.N_STEPS
    assert not frame.duplicated(["scene", "ds", "unique_id"]).any()
    out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(out, index=False)
    return len(frame)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="folder with pedestrians/*.txt")
    parser.add_argument("--out", type=Path, default=Path("pedestrians.parquet"))
    options = parser.parse_args()
    print(f"{options.out}: {prepare(options.root, options.out):,} rows")
