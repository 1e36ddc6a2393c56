"""NBA tracking -> one parquet table at the source's own rate, with the counts checked.

python datasets/nba/prepare.py [--source socialvae|cle] [--root FOLDER] [--out FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from hierforecast.datasets import nba

AGENTS = 11


def prepare(source: str, root: Path | None, out: Path) -> int:
    """Write the table and return its number of rows."""
    rate = nba.CLE_RATE if source == "cle" else nba.SOCIALVAE_RATE
    frame = nba.load_nba(source, rate=rate, root=root, kind=("score", "rebound"))
    (check_cle if source == "cle" else check_socialvae)(frame)
    assert not frame.duplicated(["scene", "ds", "unique_id"]).any()
    assert (frame.groupby(["scene", "ds"]).size() == AGENTS).all(), "somebody is missing"
    out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(out, index=False)
    return len(frame)


def check_socialvae(frame: pd.DataFrame) -> None:
    """All scenes of all games, and every game in one split."""
    counts = nba.SOCIALVAE_COUNTS
    found = {"games": frame["game"].nunique(), "scenes": frame["scene"].nunique()}
    assert found == {name: counts[name] for name in found}, f"{found}, expected {counts}"
    assert len(frame) == AGENTS * sum(nba.SOCIALVAE_STEPS.values())
    sizes = {name: len(games) for name, games in nba.split_games(frame["game"]).items()}
    assert sizes == nba.SOCIALVAE_SPLIT_GAMES, f"{sizes}"
    assert frame["x"].between(0, 94).all() and frame["y"].between(0, 50).all(), "not feet"


def check_cle(frame: pd.DataFrame) -> None:
    """All examples of both parts."""
    assert frame["scene"].nunique() == sum(nba.CLE_EXAMPLES.values())
    assert len(frame) == AGENTS * sum(nba.CLE_STEPS.values())
    assert frame["x"].between(-10, 104).all() and frame["y"].between(-10, 60).all(), "not feet"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", choices=nba.SOURCES, default="socialvae")
    parser.add_argument("--root", type=Path, help="folder with nba/, or the unpacked scenes")
    parser.add_argument("--out", type=Path, default=Path("nba.parquet"))
    options = parser.parse_args()
    print(f"{options.out}: {prepare(options.source, options.root, options.out):,} rows")
