"""NFL plays -> one parquet table at the files' own 10 Hz, with the counts checked.

python datasets/nfl/prepare.py [--root FOLDER] [--out FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hierforecast.datasets import nfl


def prepare(root: Path | None, out: Path) -> int:
    """Write the table and return its number of rows."""
    frame = nfl.load_nfl(root=root)
    assert len(frame) == nfl.N_ROWS, f"{len(frame)} rows, expected {nfl.N_ROWS}"
    series = frame.groupby("scene")["unique_id"].nunique()
    assert len(series) == nfl.N_PLAYS and (series == nfl.N_SERIES).all(), series.to_dict()
    length, width = nfl.FIELD
    beside = frame[["x", "y"]] - [length / 2, width / 2]
    assert (beside.abs().max() < [length / 2 + 10, width / 2 + 10]).all(), "not yards of a field"
    out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(out, index=False)
    return len(frame)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="folder with nfl/*.tar.xz")
    parser.add_argument("--out", type=Path, default=Path("nfl.parquet"))
    options = parser.parse_args()
    print(f"{options.out}: {prepare(options.root, options.out):,} rows")
