"""A table of scenes, folders of it, and what a folder of shards holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hierforecast import Columns
from tests.helpers import COLUMNS, make_frame

SCENES = 13


@pytest.fixture
def frame() -> pd.DataFrame:
    """Rows in any order, scenes named by whole numbers."""
    made = make_frame(SCENES)
    return made.sample(frac=1, random_state=0).reset_index(drop=True)


def rows_of(folder: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(file) for file in sorted(folder.glob("*.parquet"))])


def assert_whole(folder: Path, frame: pd.DataFrame, columns: Columns = COLUMNS) -> None:
    """The same rows; each scene in one file; each file in order; nothing else in the folder."""
    found = rows_of(folder)
    keys = list(columns.keys)
    one, other = (x[frame.columns].sort_values(keys).reset_index(drop=True) for x in (found, frame))
    pd.testing.assert_frame_equal(one, other, check_dtype=False)
    homes: dict[Any, Path] = {}
    for file in folder.iterdir():
        assert file.suffix == ".parquet"
        part = pd.read_parquet(file)
        assert part[keys].apply(tuple, axis=1).is_monotonic_increasing
        for label in part[list(columns.scenes)].drop_duplicates().itertuples(index=False):
            assert homes.setdefault(tuple(label), file) == file
    assert not [entry for entry in folder.parent.iterdir() if entry.name.startswith(".")]


def folder_of(frame: pd.DataFrame, where: Path, kind: str) -> Path:
    where.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), 3)):
        part = frame.iloc[rows]
        if kind == "csv":
            part.to_csv(where / f"{number}.csv", index=False)
        else:
            part.to_parquet(where / f"{number}.parquet", index=False)
    return where


def relation_of(frame: pd.DataFrame) -> Any:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    return duckdb.connect().from_arrow(pa.Table.from_pandas(frame))
