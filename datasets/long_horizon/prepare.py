"""The long-horizon sets -> one parquet table a set, with the counts checked.

python datasets/long_horizon/prepare.py [--root FOLDER] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hierforecast.datasets import long_horizon


def prepare(name: str, root: Path | None, out: Path) -> int:
    """Write the table and return its number of rows."""
    frame = long_horizon.load_long_horizon(name, root=root)
    assert frame["unique_id"].nunique() == long_horizon.N_SERIES[name]
    assert frame["ds"].nunique() == long_horizon.N_STEPS[name]
    out.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(out / f"{name}.parquet", index=False)
    return len(frame)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="folder with ett/")
    parser.add_argument("--out", type=Path, default=Path("long_horizon"))
    options = parser.parse_args()
    for name in long_horizon.FILES:
        print(f"{name}: {prepare(name, options.root, options.out):,} rows")
