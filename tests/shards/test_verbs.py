"""Verbs of folders of Parquet and of lazy frames: the answers in memory, a shard at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from hierforecast import DataError, Forecaster, Shards, shard
from hierforecast.cli import app
from tests.engines.checks import (
    ASKED,
    NOW,
    QUIET_IMPUTING,
    ask,
    assert_same_rows,
    fitted,
    frame_of,
    with_twice,
)
from tests.engines.homes import Home, HomeTests
from tests.helpers import COLUMNS
from tests.shards.folders import relation_of

pytestmark = pytest.mark.filterwarnings(*QUIET_IMPUTING)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    def carry(frame: pd.DataFrame) -> Shards:
        folder = tmp_path_factory.mktemp("in") / "big"
        if not frame.scene.nunique() > 1:
            folder.mkdir()
            frame.to_parquet(folder / "one.parquet", index=False)
        else:
            shard(frame, folder, COLUMNS, 300, bar=False)
        return Shards(folder)

    def bring(found: Any) -> pd.DataFrame:
        return pa.concat_tables(found).to_pandas()

    return Home("shards", carry, bring)


class TestShards(HomeTests):
    """What every engine must answer; scenes lie whole in their files, and no worker can die."""

    test_a_killed_worker_is_survived = None

    def test_a_folder_of_parquet_by_command(self, home, forecaster, frame, tmp_path):
        folder, model, out = (tmp_path / name for name in ("big", "model", "out"))
        shard(frame, folder, COLUMNS, 300, bar=False)
        roles = "--scene scene --group team --group-type kind --target x --target y "
        short = "--context 11 --horizon 4 --steps 2 --set width=8 --set depth=1"
        given = ["fit", folder, tmp_path / "own", *(roles + short).split(), "--engine", "shards"]
        result = CliRunner().invoke(app, [*map(str, given)])
        assert result.exit_code == 0, result.output
        assert "saved" in result.output
        refused = CliRunner().invoke(app, [*map(str, given[:-1]), "ray"])
        assert refused.exit_code == 2 and "--engine shards" in refused.output
        forecaster.save(model)
        given = [folder, model, "--engine", "shards", "--out", out, "--level", 80]
        result = CliRunner().invoke(app, ["predict", *map(str, given)])
        assert result.exit_code == 0, result.output
        found = pd.concat(map(pd.read_parquet, out.glob("*.parquet")))
        assert_same_rows(found, forecaster.predict(frame, level=[80]))
        given = [folder, model, "--engine", "shards", "--metric", "ade"]
        result = CliRunner().invoke(app, ["evaluate", *map(str, given)])
        assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return frame_of()


@pytest.fixture(scope="module")
def forecaster(frame: pd.DataFrame) -> Forecaster:
    return fitted(frame)


def test_answers_in_kind(frame: pd.DataFrame, forecaster: Forecaster, tmp_path: Path) -> None:
    history = frame[frame.ds < NOW]
    expected = forecaster.predict(history, level=[80])
    folder = shard(history, tmp_path / "big", COLUMNS, 300, bar=False)
    out = forecaster.predict(folder, level=[80], out=tmp_path / "one")
    assert out == tmp_path / "one"
    assert len([*out.glob("*.parquet")]) == len([*folder.iterdir()])
    assert_same_rows(Shards(str(out)).read(range(len(Shards(out)))).to_pandas(), expected)
    lazy = forecaster.predict(pl.LazyFrame(history), level=[80], out=tmp_path / "two")
    assert isinstance(lazy, pl.LazyFrame)
    assert_same_rows(lazy.collect().to_pandas(), expected)


def test_a_relation_in_kind(frame: pd.DataFrame, forecaster: Forecaster, tmp_path: Path) -> None:
    given = relation_of(frame)
    found = forecaster.sample(given, 2, out=tmp_path / "out")
    assert type(found) is type(given)
    assert_same_rows(found.df(), forecaster.sample(frame, 2))


def test_a_lazy_frame_leaves_nothing_behind(
    frame: pd.DataFrame,
    forecaster: Forecaster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tables = [*forecaster.predict(pl.LazyFrame(frame))]
    assert_same_rows(pa.concat_tables(tables).to_pandas(), forecaster.predict(frame))
    assert not [*tmp_path.iterdir()]


def test_one_shard_is_in_memory_at_a_time(
    frame: pd.DataFrame, forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = Shards(shard(frame, tmp_path / "big", COLUMNS, 300, bar=False))
    read, asked = Shards.read, []
    monkeypatch.setattr(Shards, "read", lambda own, n: asked.append([*n]) or read(own, n))
    answers = iter(forecaster.predict(shards))
    for number in range(len(shards)):
        next(answers)
        assert asked == [[one] for one in range(number + 1)]


def test_what_cannot_be(frame: pd.DataFrame, forecaster: Forecaster, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="out= writes answers for folders"):
        forecaster.predict(frame, out=tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        forecaster.predict("nowhere", out=tmp_path / "out")
    folder = shard(with_twice(frame, 3), tmp_path / "big", COLUMNS, 300, bar=False)
    with pytest.raises(DataError, match="scene 3"):
        forecaster.predict(folder, out=tmp_path / "out")
    assert not (tmp_path / "out").exists() and len([*tmp_path.iterdir()]) == 1
    with pytest.raises(DataError, match="holds something already"):
        forecaster.predict(folder, out=folder)
    with pytest.raises(DataError, match="refit="):
        forecaster.backtest(folder, refit=True)


@pytest.mark.parametrize("name", ASKED)
def test_every_verb_takes_a_path(
    name: str, frame: pd.DataFrame, forecaster: Forecaster, tmp_path: Path
) -> None:
    def carry(some: pd.DataFrame) -> str:
        return str(shard(some, tmp_path / "big", COLUMNS, 300, bar=False))

    found = pa.concat_tables(ask(forecaster, name, frame, carry)).to_pandas()
    assert_same_rows(found, ask(forecaster, name, frame, lambda some: some))
