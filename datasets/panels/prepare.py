"""The small panels -> one parquet table a set, with the counts checked.

python datasets/panels/prepare.py [--root FOLDER] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hierforecast.datasets import panels

LOADERS = {
    "walmart": panels.load_walmart,
    "pjm": panels.load_pjm,
    "m5": panels.load_m5_sample,
}


def prepare(name: str, root: Path | None, out: Path) -> int:
    """Write the table and return its number of rows."""
    frame = LOADERS[name](root=root)
    assert frame["unique_id"].nunique() == panels.N_SERIES[name]
    assert frame["ds"].nunique() == panels.N_STEPS[name]
    assert len(frame) == panels.N_ROWS[name] and not frame.isna().any(axis=None)
    out.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(out / f"{name}.parquet", index=False)
    return len(frame)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="folder with panels/")
    parser.add_argument("--out", type=Path, default=Path("panels"))
    options = parser.parse_args()
    for name in LOADERS:
        print(f"{name}: {prepare(name, options.root, options.out):,} rows")
