"""What was measured before: a file for each run, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

SPENT = "spent.jsonl"


def once(stem: Path, make: Callable[[], Any]) -> Any:
    """What `make` gives, from its file if it was made before: the one cache of all benchmarks.

    Args:
        stem: of the file; a frame is kept as CSV, plain values as JSON, None not at all.
        make: is called if there is no file.
    """
    if path := kept_file(stem):
        if path.suffix == ".csv":
            return pd.read_csv(path)
        return json.loads(path.read_text())
    found = make()
    if found is not None:
        suffix = ".csv" if isinstance(found, pd.DataFrame) else ".json"
        stem.parent.mkdir(parents=True, exist_ok=True)
        half = stem.with_name(f"{stem.name}.half")
        half.write_text(found.to_csv(index=False) if suffix == ".csv" else json.dumps(found))
        half.replace(stem.with_name(stem.name + suffix))
    return found


def kept_file(stem: Path) -> Path | None:
    """The file of a stem, if it is there."""
    paths = (stem.with_name(stem.name + suffix) for suffix in (".csv", ".json"))
    return next(filter(Path.exists, paths), None)


def spend(folder: Path, seconds: float, **run: Any) -> None:
    """Note the processor's seconds that a run took."""
    with (folder / SPENT).open("a") as lines:
        print(json.dumps({**run, "seconds": seconds}), file=lines)


def spent(folder: Path) -> float:
    """The processor's seconds of all runs of a folder; of one that was cut off, the rest only."""
    path = folder / SPENT
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(json.loads(line)["seconds"] for line in lines)
