"""Hierarchical demand -> one parquet table a set, with the counts checked.

python datasets/hierarchical/prepare.py [--root FOLDER] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hierforecast.datasets import hierarchical


def prepare(name: str, root: Path | None, out: Path) -> int:
    """Write the table of the series and return its number of rows."""
    whole = hierarchical.load_hierarchical(name, copies="keep", root=root)
    demand = hierarchical.load_hierarchical(name, root=root)
    shape = (hierarchical.N_NODES[name], hierarchical.N_SERIES[name])
    assert demand.summing.shape == shape, f"{demand.summing.shape}, expected {shape}"
    assert whole.values().shape == (shape[1], hierarchical.N_STEPS[name])
    assert len(demand.frame.drop_duplicates("ds")) == hierarchical.N_DISTINCT[name]
    out.mkdir(parents=True, exist_ok=True)
    demand.frame.to_parquet(out / f"{name}.parquet", index=False)
    return len(demand.frame)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="folder with hierarchical/")
    parser.add_argument("--out", type=Path, default=Path("hierarchical"))
    options = parser.parse_args()
    for name in hierarchical.FILES:
        print(f"{name}: {prepare(name, options.root, options.out):,} rows")
