"""Soccer tracking -> one parquet table at the files' own 25 Hz, with the counts checked.

python datasets/soccer/prepare.py [--root FOLDER] [--out FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hierforecast.datasets import soccer


def prepare(root: Path | None, out: Path) -> int:
    """Write the table and return its number of rows."""
    frame = soccer.load_soccer(rate=soccer.NATIVE_RATE, root=root)
    rows = frame.groupby("scene").size().to_dict()
    expected = {f"subset{subset}": n for subset, n in soccer.N_ROWS.items()}
    assert rows == expected, f"rows per file: {rows}, expected {expected}"
    series = frame.groupby("scene")["unique_id"].nunique()
    assert (series == soccer.N_SERIES).all(), f"series per file: {series.to_dict()}"
    assert frame["ds"].max() < soccer.N_FRAMES
    assert frame["x"].abs().max() < 60 and frame["y"].abs().max() < 40, "not metres from the centre"
    out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(out, index=False)
    return len(frame)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="folder with soccer/*.csv")
    parser.add_argument("--out", type=Path, default=Path("soccer.parquet"))
    options = parser.parse_args()
    print(f"{options.out}: {prepare(options.root, options.out):,} rows")
