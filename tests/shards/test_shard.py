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

from hierforecast import Columns, DataError, Shards, shard
from hierforecast.cli import app
from hierforecast.errors import FrameTypeError
from hierforecast.io.parquet import Part
from hierforecast.shards import cutting
from tests.helpers import COLUMNS, OLD, make_frame

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


# --- opening -------------------------------------------------------------------------------------


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
