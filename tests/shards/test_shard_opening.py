"""Folders of Parquet are opened: what they hold, and files that are damaged or odd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import dataset

from hierforecast import DataError, Shards, shard
from hierforecast.io.parquet import Part
from tests.helpers import COLUMNS
from tests.shards.folders import SCENES, assert_whole, folder_of
from tests.shards.folders import frame as frame


def test_shards_count_and_read(frame: pd.DataFrame, tmp_path: Path) -> None:
    shards = Shards(shard(frame, tmp_path / "big", COLUMNS, 300, bar=False))
    assert shards.total == len(frame) and len(shards) == len(shards.rows) > 3
    assert shards.fits and not Shards(tmp_path / "big", memory_rows=100).fits
    hashes = shards.hashes(COLUMNS, bar=False)
    assert sum(len(each) for each in hashes) == SCENES
    part = shards.read([1], ["scene", "x"])
    assert part.column_names == ["scene", "x"] and part.num_rows == shards.rows[1]


def test_a_scene_in_two_files_is_named(frame: pd.DataFrame, tmp_path: Path) -> None:
    files = folder_of(frame.sort_values("scene"), tmp_path / "in", "parquet")
    with pytest.raises(DataError) as caught:
        Shards(files).hashes(COLUMNS, bar=False)
    assert "lies in two files" in str(caught.value) and "0.parquet" in str(caught.value)
    assert "scene" in str(caught.value)
    scope: dict[str, Any] = {"columns": COLUMNS, "hierforecast": __import__("hierforecast")}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        exec(caught.value.remedy, scope)
    Shards(tmp_path / "shards").hashes(COLUMNS, bar=False)
    assert "hierforecast shard" in caught.value.on_command_line()


def test_a_folder_partitioned_by_scene(frame: pd.DataFrame, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(frame.assign(league="a b/c"))
    dataset.write_dataset(
        table, tmp_path / "by", format="parquet", partitioning=["league", "scene"],
        partitioning_flavor="hive",
    )  # fmt: skip
    shards = Shards(tmp_path / "by")
    assert len(shards) == SCENES and shards.total == len(frame)
    assert sum(len(each) for each in shards.hashes(COLUMNS, bar=False)) == SCENES
    found = shards.read([0], ["league", "scene", "x"]).to_pandas()
    assert set(found.league) == {"a b/c"} and set(found.scene) == {0}
    made = shard(tmp_path / "by", tmp_path / "big", COLUMNS, 300, bar=False)
    assert_whole(made, frame.assign(league="a b/c"))


def test_damaged_and_odd_files_are_named(frame: pd.DataFrame, tmp_path: Path) -> None:
    files = folder_of(frame, tmp_path / "in", "parquet")
    whole = (files / "1.parquet").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"PAR1" + b"\0" * 100):
        (files / "1.parquet").write_bytes(content)
        with pytest.raises(DataError, match=r"1\.parquet' is damaged, cut short or no Parquet"):
            Shards(files)
    pages = bytearray(whole)
    pages[100:400] = b"\xff" * 300
    (files / "1.parquet").write_bytes(pages)
    with pytest.raises(DataError, match=r"1\.parquet' is damaged"):
        shard(files, tmp_path / "big", COLUMNS, bar=False)
    frame.drop(columns="x").to_parquet(files / "1.parquet")
    with pytest.raises(DataError, match=r"0\.parquet' and .*1\.parquet' differ in column 'x'"):
        Shards(files)
    with pytest.raises(FileNotFoundError):
        Shards(tmp_path / "nowhere")


def test_a_small_file_that_says_it_is_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pd.DataFrame({"a": np.zeros(100_000)}).to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr("hierforecast.io.parquet.CELLS", 10)
    monkeypatch.setattr("hierforecast.io.parquet.CELLS_PER_BYTE", 1)
    with pytest.raises(DataError, match="says that it holds 100,000 cells"):
        Part(tmp_path / "a.parquet").footer()
