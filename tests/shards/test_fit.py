"""Fits of shards: as in memory where they fit, pool after pool where they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from hierforecast import DataError, Forecaster, HiPerformer, SeasonalNaive, Shards, shard
from hierforecast.io.parquet import Part
from hierforecast.shards import pools
from hierforecast.shards.pools import Pools
from hierforecast.shards.survey import learn_categories, learn_step
from hierforecast.training import examples
from tests.helpers import COLUMNS, EVERYTHING, QUIET, make_frame, tiny
from tests.shards.folders import relation_of

# Rows of a shard, and of the memory: pools of two shards.
ROWS, MEMORY = 500, 2200


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame(40).sample(frac=1, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="module")
def folder(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shard(frame, tmp_path_factory.mktemp("in") / "big", EVERYTHING, ROWS, bar=False)


def model() -> HiPerformer:
    return HiPerformer(8, 1, 2, patch=4)


def assert_equal(one: Forecaster, other: Forecaster) -> None:
    """Bit for bit what was learned."""
    pd.testing.assert_frame_equal(one.history_, other.history_, check_exact=True)
    assert one.vocabulary_ == other.vocabulary_ and one.step_ == other.step_
    assert str(one.report_) == str(other.report_)
    states = (each.model_.state_dict() for each in (one, other))
    for (name, x), (same, y) in zip(*(state.items() for state in states), strict=True):
        assert name == same and torch.equal(x, y), name


# --- what fits in memory -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "text", "shards", "lazy", "duckdb"])
def test_what_fits_is_learned_from_as_in_memory(
    kind: str, frame: pd.DataFrame, folder: Path
) -> None:
    given: dict[str, Any] = {
        "path": lambda: folder,
        "text": lambda: str(folder),
        "shards": lambda: Shards(folder, memory_rows=len(frame)),
        "lazy": lambda: pl.LazyFrame(frame),
        "duckdb": lambda: relation_of(frame),
    }
    own = tiny(model(), columns=EVERYTHING).fit(given[kind]())
    assert_equal(own, tiny(model(), columns=EVERYTHING).fit(frame))


def test_a_lazy_frame_leaves_nothing_behind(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tiny(columns=COLUMNS).fit(pl.LazyFrame(frame))
    assert not [*tmp_path.iterdir()]
    with pytest.raises(DataError, match="no column 'kind'"):
        tiny(columns=COLUMNS).fit(pl.LazyFrame(frame).drop("kind"))
    assert not [*tmp_path.iterdir()]


def test_a_frame_to_stop_by_may_be_a_folder_too(frame: pd.DataFrame, folder: Path) -> None:
    one = tiny(model(), columns=EVERYTHING).fit(folder, folder)
    assert_equal(one, tiny(model(), columns=EVERYTHING).fit(frame, frame))


# --- what does not -------------------------------------------------------------------------------


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few visits of each pool that a short training goes through several passes."""
    monkeypatch.setattr(examples, "VISITS", 5)


def test_more_than_fits_is_learned_from(folder: Path, long: None) -> None:
    """Walks that follow from the step before: the loss falls, and as far as it does in memory."""
    given = {"max_steps": 60, "learning_rate": 5e-3, "columns": EVERYTHING}
    own = tiny(model(), **given).fit(Shards(folder, MEMORY)).history_
    whole = tiny(model(), **given).fit(folder).history_
    first, last = own.loss[:10].mean(), own.loss[-20:].mean()
    assert last < first - 0.1
    assert last < whole.loss[-20:].mean() + 0.25
    assert own.val_loss.min() < own.val_loss.dropna().iloc[0]


def test_the_memory_holds_so_many_rows(
    folder: Path, long: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted over panels that live: the first pool, and one other."""
    import gc
    import weakref

    alive: list[weakref.ref[Any]] = []
    most = pools_read = 0
    read = Pools.panel

    def counted(own: Pools, pool: list[int]) -> Any:
        nonlocal most, pools_read
        gc.collect()
        panel = read(own, pool)
        alive.append(weakref.ref(panel))
        living = [each for one in alive if (each := one()) is not None]
        most = max(most, sum(int(each.present.sum()) for each in living))
        pools_read += 1
        return panel

    monkeypatch.setattr(Pools, "panel", counted)
    tiny(model(), columns=EVERYTHING, max_steps=24).fit(Shards(folder, MEMORY))
    assert pools_read > 3
    assert MEMORY / 3 < most <= MEMORY


def test_every_shard_is_learned_from_and_held_out_scenes_are_not(
    frame: pd.DataFrame, folder: Path, long: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[Any, set[int]] = {}
    windows_of = examples.windows_of
    held: set[Any] = set()

    def noted(plan: Any, model: Any, panel: Any, cutoffs: np.ndarray) -> Any:
        for label in panel.scene_labels[np.unique(cutoffs[:, 0])]:
            seen.setdefault(label, set())
        return windows_of(plan, model, panel, cutoffs)

    hold_out = Pools.hold_out

    def kept(own: Pools, *given: Any) -> None:
        hold_out(own, *given)
        held.update(own.limits)

    monkeypatch.setattr(examples, "windows_of", noted)
    monkeypatch.setattr(Pools, "hold_out", kept)
    tiny(model(), columns=EVERYTHING, max_steps=80).fit(Shards(folder, 5000))
    assert held and not held & set(seen)
    assert len(seen) + len(held) > 35


def test_the_order_follows_from_the_seed_and_the_pass(folder: Path) -> None:
    found = Pools(Shards(folder, MEMORY), EVERYTHING, 3, None, "", None)  # type: ignore[arg-type]
    passes = [found.of_pass(number) for number in range(3)]
    assert passes[0] == found.of_pass(0) and passes[0] != passes[1] != passes[2]
    for one in passes:
        assert sorted(n for pool in one for n in pool) == [*range(len(found.shards))]
        assert all(found.rows(pool) <= MEMORY // 2 or len(pool) == 1 for pool in one)


class Stop(Exception):
    """A fit that is killed."""


def test_a_resumed_fit_ends_where_the_uninterrupted_one_ends(
    folder: Path, long: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(where: Path, resume: bool = False) -> Forecaster:
        trainer = {**QUIET, "default_root_dir": str(where)}
        given = {"columns": EVERYTHING, "max_steps": 20, "trainer": trainer}
        return tiny(model(), **given).fit(Shards(folder, MEMORY), resume=resume)

    whole = fit(tmp_path / "one")
    at = examples.PooledWindows.at

    def killed(own: Any, batch: int) -> Any:
        if batch > 14:
            raise Stop
        return at(own, batch)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(examples.PooledWindows, "at", killed)
        fit(tmp_path / "two")
    assert_equal(fit(tmp_path / "two", resume=True), whole)


def test_other_shards_are_not_resumed(folder: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    trainer = {**QUIET, "default_root_dir": str(tmp_path / "kept")}
    given = {"columns": EVERYTHING, "trainer": trainer}
    tiny(model(), **given).fit(Shards(folder, MEMORY))
    other = shard(frame[frame.scene > 0], tmp_path / "other", EVERYTHING, ROWS, bar=False)
    with pytest.raises(DataError, match="the shards differs"):
        tiny(model(), **given).fit(Shards(other, MEMORY), resume=True)


def test_a_warm_start_goes_on_with_what_was_learned(frame: pd.DataFrame, folder: Path) -> None:
    own = tiny(model(), columns=EVERYTHING).fit(frame)
    vocabulary = own.vocabulary_
    own.fit(Shards(folder, MEMORY), warm_start=True)
    assert own.vocabulary_ == vocabulary


def test_a_model_without_weights_learns_from_the_first_pool(folder: Path) -> None:
    own = tiny(SeasonalNaive(season=2), columns=EVERYTHING).fit(Shards(folder, MEMORY))
    assert len(own.backtest(pd.read_parquet(next(folder.glob("*.parquet")))))


# --- what must be known of all shards ------------------------------------------------------------


def test_categories_that_one_shard_alone_has(frame: pd.DataFrame, tmp_path: Path) -> None:
    """Of a covariate and of a group type."""
    rare = frame.scene == 7
    frame = frame.assign(
        mood=frame.mood.where(~rare, "odd"),
        kind=frame.kind.where(~(rare & (frame.team == "bench")), "substitute"),
    )
    shards = Shards(shard(frame, tmp_path / "big", EVERYTHING, ROWS, bar=False), MEMORY)
    whole = tiny(columns=EVERYTHING).fit(frame).vocabulary_
    found = learn_categories(shards, EVERYTHING)
    assert found.types == whole.types and "substitute" in found.types
    for one, other in zip(found.covariates, whole.covariates, strict=True):
        assert (one.name, one.role, one.categories) == (other.name, other.role, other.categories)
    own = tiny(columns=EVERYTHING, max_steps=30).fit(shards)
    assert own.backtest(frame[rare], n_windows=1).HiPerformer_x.notna().all()


TIMES: dict[str, Any] = {
    "whole numbers": lambda ds: ds * 10,
    "days": lambda ds: pd.Timestamp("2024-01-01") + pd.to_timedelta(ds, unit="D"),
    "zoned hours": lambda ds: (
        pd.Timestamp("2024-03-30", tz="Europe/Berlin") + pd.to_timedelta(ds, unit="h")
    ),
}


@pytest.mark.parametrize("kind", TIMES)
def test_the_step_is_that_of_all_shards(kind: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    """Most scenes are seen at every second step only."""
    frame = frame[(frame.ds % 2 == 0) | (frame.scene == 11)]
    frame = frame.assign(ds=TIMES[kind](frame.ds))
    shards = Shards(shard(frame, tmp_path / "big", COLUMNS, 200, bar=False))
    whole = tiny(SeasonalNaive(season=2), prediction_length=2).fit(frame)
    assert learn_step(shards, COLUMNS, bar=False) == whole.step_
    stated = replace(COLUMNS, freq={"whole numbers": 10, "days": "D"}.get(kind, "h"))
    assert learn_step(shards, stated, bar=False) == whole.step_


def test_a_scene_in_two_files_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    for number in range(2):
        part = frame[frame.index % 2 == number]
        part.to_parquet(tmp_path / f"{number}.parquet")
    with pytest.raises(DataError, match=r"lies in two files.*hierforecast\.shard"):
        tiny(columns=COLUMNS).fit(Shards(tmp_path, MEMORY))
    tiny(columns=COLUMNS).fit(tmp_path)  # in memory it is whole


def test_a_file_that_is_cut_short_is_named(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "000002.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"000002\.parquet' is damaged"):
        tiny(columns=COLUMNS).fit(tmp_path)


def test_without_scenes_all_must_fit(frame: pd.DataFrame, tmp_path: Path) -> None:
    one = frame[frame.scene == 3]
    one.to_parquet(tmp_path / "one.parquet")
    columns = replace(COLUMNS, scene=None)
    found = tiny(columns=columns).fit(tmp_path / "one.parquet")
    assert_equal(found, tiny(columns=columns).fit(one))
    with pytest.raises(DataError, match="nothing to cut between"):
        tiny(columns=columns).fit(Shards(tmp_path, memory_rows=10))


def test_columns_that_play_no_role_are_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()
    batches = Part.batches

    def noted(own: Part, names: Any = None) -> Any:
        asked.update(names)
        return batches(own, names)

    monkeypatch.setattr(Part, "batches", noted)
    tiny(columns=COLUMNS).fit(Shards(folder, MEMORY))
    assert asked == {name for _, name in COLUMNS.roles()}
    assert "mood" in parquet.read_schema(next(folder.iterdir())).names
    assert isinstance(pools.in_memory(Shards(folder, MEMORY), COLUMNS, 0), pa.Table)
