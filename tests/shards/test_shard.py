"""Any table becomes a folder in which each scene lies whole in one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import dataset, parquet
from typer.testing import CliRunner

from hierforecast import DataError, Shards, shard
from hierforecast.cli import app
from hierforecast.errors import FrameTypeError
from hierforecast.shards import cutting
from tests.helpers import COLUMNS, OLD, make_frame
from tests.shards.folders import assert_whole, folder_of, relation_of
from tests.shards.folders import frame as frame

SOURCES = {
    "folder": lambda frame, tmp: folder_of(frame, tmp / "in", "parquet"),
    "pattern": lambda frame, tmp: str(folder_of(frame, tmp / "in", "parquet") / "*.parquet"),
    "files": lambda frame, tmp: sorted(folder_of(frame, tmp / "in", "parquet").iterdir()),
    "csv": lambda frame, tmp: folder_of(frame, tmp / "in", "csv"),
    "lazy": lambda frame, tmp: pl.LazyFrame(frame).filter(pl.col("ds") >= 0),
    "duckdb": lambda frame, tmp: relation_of(frame),
    "data set": lambda frame, tmp: dataset.dataset(folder_of(frame, tmp / "in", "parquet")),
    "reader": lambda frame, tmp: pa.Table.from_pandas(frame).to_reader(100),
    "batches": lambda frame, tmp: (b for b in pa.Table.from_pandas(frame).to_batches(70)),
    "pandas": lambda frame, tmp: frame,
    "polars": lambda frame, tmp: pl.from_pandas(frame),
    "pyarrow": lambda frame, tmp: pa.Table.from_pandas(frame),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_gives_the_same_rows(
    kind: str, frame: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    made = shard(SOURCES[kind](frame, tmp_path), tmp_path / "out" / "big", COLUMNS, 300, bar=False)
    assert made == tmp_path / "out" / "big"
    assert len([*made.iterdir()]) > 3
    assert_whole(made, frame)


def test_the_same_table_gives_the_same_files_however_it_comes(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    one = shard(frame, tmp_path / "one", COLUMNS, 300, bar=False)
    batches = pa.Table.from_pandas(frame.iloc[::-1]).to_reader(50)
    other = shard(batches, tmp_path / "other", COLUMNS, 300, bar=False)
    assert sorted(f.name for f in one.iterdir()) == sorted(f.name for f in other.iterdir())
    for file in one.iterdir():
        assert parquet.read_table(file).equals(parquet.read_table(other / file.name))


LABELS: dict[str, Any] = {
    "texts": lambda scene: scene.map("match {}".format),
    "numbers": lambda scene: scene - 7,
    "categories": lambda scene: scene.astype(str).astype("category"),
    "days": lambda scene: pd.Timestamp("2024-01-01") + pd.to_timedelta(scene, unit="D"),
    "moments": lambda scene: (
        pd.Timestamp("2024-01-01", tz="Asia/Tokyo") + pd.to_timedelta(scene, unit="h")
    ),
}


@pytest.mark.parametrize("kind", LABELS)
def test_scenes_and_times_of_any_type(kind: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    start = pd.Timestamp("2024-03-30", tz="Europe/Berlin")
    frame = frame.assign(
        scene=LABELS[kind](frame.scene), ds=start + pd.to_timedelta(frame.ds, unit="h")
    )
    made = shard(frame, tmp_path / "big", COLUMNS, 300, bar=False)
    if kind == "categories":
        frame["scene"] = frame.scene.astype(str)
    assert_whole(made, frame)
    unit = "ns" if OLD else "us"
    assert str(Shards(made).schema.field("ds").type) == f"timestamp[{unit}, tz=Europe/Berlin]"


def test_several_columns_name_a_scene(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame = frame.assign(league=np.where(frame.scene % 2, "a", "b"), scene=frame.scene // 2)
    columns = replace(COLUMNS, scene=["league", "scene"])
    made = shard(frame, tmp_path / "big", columns, 300, bar=False)
    assert_whole(made, frame, columns)
    with pytest.raises(DataError, match=r"scene 0 lies in two files"):
        two = replace(COLUMNS, scene="scene")
        Shards(made).hashes(two, bar=False)


def test_a_scene_of_many_rows_has_a_file_of_its_own(tmp_path: Path) -> None:
    frame = pd.concat([make_frame(8, 20), make_frame(1, 400).assign(scene=99)])
    made = shard(frame, tmp_path / "big", COLUMNS, 500, bar=False)
    assert_whole(made, frame)
    parts = [pd.read_parquet(file) for file in made.iterdir()]
    (large,) = (part for part in parts if 99 in set(part.scene))
    assert set(large.scene) == {99} and len(large) > 2000
    assert all(len(part) <= 500 for part in parts if part is not large)


def test_many_scenes_that_share_a_bucket_are_cut_again(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one byte alike in all hashes, the next one tells them apart."""
    plain = cutting.hash_scenes
    alike = lambda *given: plain(*given) >> np.uint64(8)  # noqa: E731
    monkeypatch.setattr(cutting, "hash_scenes", alike)
    made = shard(frame, tmp_path / "big", COLUMNS, 300, bar=False)
    assert_whole(made, frame)
    assert len([*made.iterdir()]) > 3


def test_memory_holds_a_few_times_the_rows_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in rows: what is distributed at a time, and what is sorted at a time."""
    sizes = []
    monkeypatch.setattr(cutting, "AT_ONCE", 400)
    split, write = cutting._Buckets._split, cutting.write_parquet
    monkeypatch.setattr(
        cutting._Buckets, "_split", lambda own, t: sizes.append(len(t)) or split(own, t)
    )
    monkeypatch.setattr(cutting, "write_parquet", lambda t, p: sizes.append(len(t)) or write(t, p))
    read = 0

    def batches() -> Any:
        nonlocal read
        for scene in range(60):
            table = pa.Table.from_pandas(make_frame(1, 24, seed=scene).assign(scene=scene))
            assert read - sum(sizes) < 700, "batches wait for longer than they have to"
            read += len(table)
            yield from table.to_batches()

    shard(batches(), tmp_path / "big", COLUMNS, 500, bar=False)
    assert read > 8000 and max(sizes) <= 600


def test_the_command(frame: pd.DataFrame, tmp_path: Path) -> None:
    files = folder_of(frame, tmp_path / "in", "parquet")
    roles = [
        "--scene",
        "scene",
        "--target",
        "x",
        "--target",
        "y",
        "--group",
        "team",
        "--group-type",
        "kind",
    ]
    given = ["shard", str(files), str(tmp_path / "big"), *roles, "--rows", "300"]
    found = CliRunner().invoke(app, given)
    assert found.exit_code == 0, found.output
    assert f"{len(frame):,} rows in" in found.output
    assert_whole(tmp_path / "big", frame)
    again = CliRunner().invoke(app, given)
    assert again.exit_code == 2 and "holds something already" in again.output
    without = CliRunner().invoke(app, [*given[:2], str(tmp_path / "new"), "--rows", "300"])
    assert without.exit_code == 2 and "--scene" in without.output


# --- what cannot be ------------------------------------------------------------------------------


def test_without_a_scene_there_is_nothing_to_cut(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing to cut between.*scene='\.\.\.'"):
        shard(frame, tmp_path / "big", replace(COLUMNS, scene=None), bar=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="kind"), "no column 'kind' \\(group_type\\)"),
        (lambda f: f.assign(scene=f.scene.where(f.scene != 3)), "'scene' has .* null values"),
        (lambda f: f[:0], "no rows"),
        (lambda f: 3, "cannot shard a builtins.int"),
        (lambda f: [f], "expected pyarrow record batches, and got pandas"),
    ],
)
def test_what_cannot_be_cut(change: Any, message: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises((DataError, FrameTypeError), match=message):
        shard(change(frame), tmp_path / "big", COLUMNS, bar=False)
    assert not [*tmp_path.iterdir()], "something is left behind"


def test_what_is_there_stays(frame: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    shard(frame, tmp_path / "big", COLUMNS, bar=False)
    before = sorted((f.name, f.stat().st_size) for f in (tmp_path / "big").iterdir())
    with pytest.raises(DataError, match="holds something already"):
        shard(frame, tmp_path / "big", COLUMNS, bar=False)
    assert before == sorted((f.name, f.stat().st_size) for f in (tmp_path / "big").iterdir())


def test_a_failure_leaves_nothing_that_looks_finished(frame: pd.DataFrame, tmp_path: Path) -> None:
    def batches() -> Any:
        yield from pa.Table.from_pandas(frame[:500]).to_batches(100)
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        shard(batches(), tmp_path / "big", COLUMNS, bar=False)
    assert not [*tmp_path.iterdir()]


def test_batches_of_two_kinds(frame: pd.DataFrame, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(frame)
    texts = table.set_column(table.schema.get_field_index("x"), "x", pa.array(["far"] * len(table)))
    with pytest.raises(DataError, match="column 'x' is double first and then string"):
        shard([*table.to_batches(), *texts.to_batches()], tmp_path / "big", COLUMNS, bar=False)
