"""A job alone: parts of a frame, one after another, are the answer of the whole."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from hierforecast import DataError, Forecaster, HiPerformer
from hierforecast.engines import Job, door, job
from hierforecast.engines.homes import home_of, name_of
from hierforecast.engines.scenes import whole_scenes
from tests.engines.checks import (
    ASKED,
    KNOWN,
    NOW,
    QUIET_IMPUTING,
    ask,
    assert_same_rows,
    fitted,
    frame_of,
    parts_of,
    with_twice,
)
from tests.helpers import COLUMNS, OLD, tiny

pytestmark = pytest.mark.filterwarnings(*QUIET_IMPUTING)
CARRY = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return frame_of()


@pytest.fixture(scope="module")
def forecaster(frame) -> Forecaster:
    return fitted(frame)


def made(forecaster: Forecaster, name: str) -> Job:
    verb, options, _ = ASKED[name]
    return pickle.loads(pickle.dumps(Job.of(forecaster, verb, options)))


def as_pandas(frame) -> pd.DataFrame:
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("library", CARRY)
def test_parts_are_the_whole(forecaster, frame, name, library):
    expected = ask(forecaster, name, frame, lambda x: x)
    here, carry = made(forecaster, name), CARRY[library]
    seen = frame if ASKED[name][2] else frame[frame.ds < NOW]
    given = (carry(part) if len(part) else carry(seen)[:0] for part in parts_of(seen, [2, 0, 1]))
    found = [here(part) for part in given]
    assert {type(part) for part in found} == {type(carry(frame))}
    types = [{n: str(t) for n, t in pl.DataFrame(part).schema.items()} for part in found]
    if library == "pandas":
        types = [dict(part.dtypes) for part in found]
    if library != "pyarrow" or not OLD:  # texts without rows have no type when pandas 2 made them
        assert all(own == types[0] for own in types), "a part without rows has its types too"
    assert_same_rows(pd.concat(map(as_pandas, found)), expected)


@pytest.mark.parametrize("metrics", [None, ["rmse", "mase[season=2]", "energy_score"]])
def test_sums_of_parts_are_those_of_the_whole(forecaster, frame, metrics):
    expected = forecaster.evaluate(frame, metrics)
    options = {"metrics": metrics, "n_samples": 20, "level": 90}
    here = pickle.loads(pickle.dumps(Job.of(forecaster, "evaluate", options)))
    parts = [here(CARRY["pyarrow"](part)) for part in parts_of(frame, [2, 0, 1])]
    assert all(part.schema == parts[0].schema for part in parts)
    pd.testing.assert_frame_equal(pd.DataFrame(here.merge(parts)), expected, rtol=1e-5)
    with pytest.raises(DataError, match="no scene has a window"):
        here.merge(parts[1:2])


def test_scenes_without_a_window_are_left_out_as_beside_others(forecaster, frame):
    short = frame[(frame.scene != 1) | (frame.ds < 3)]
    for verb, options in (("backtest", {"n_windows": 2}), ("evaluate", {})):
        here = Job.of(forecaster, verb, {"n_samples": 5, "level": 90, "metrics": ["ade"]} | options)
        if verb == "backtest":
            here = Job.of(forecaster, verb, options)
        found = [here(part) for part in parts_of(short, [1, 1])]
        assert not len(found[1])
        if verb == "backtest":
            assert_same_rows(pd.concat(found), forecaster.backtest(short, **options))


def test_fewer_windows_than_asked_for_are_all_that_a_scene_has(forecaster, frame):
    short = frame[(frame.scene != 1) | (frame.ds < 19)]
    here = Job.of(forecaster, "backtest", {"n_windows": 3, "stride": 3})
    found = pd.concat([here(part) for part in parts_of(short, [1, 1])])
    assert found[found.scene == 1].cutoff.nunique() == 2 < found.cutoff.nunique()
    assert_same_rows(found, forecaster.backtest(short, 3, stride=3))


@pytest.mark.parametrize("library", CARRY)
def test_known_and_given_are_cut_down_to_the_scenes_at_hand(library):
    frame = frame_of(3, missing=0.0)
    forecaster = fitted(frame, columns=KNOWN)
    history, known = frame[frame.ds < NOW], frame[frame.ds >= NOW]
    given = known.loc[(known.unique_id == "home_0"), ["scene", "unique_id", "ds", "x", "y"]]
    expected = forecaster.predict(history, known=known, given=given)
    known = known.assign(scene=known.scene.astype("int16"))  # of another width
    beside = {"known": CARRY[library](known), "given": CARRY[library](given)}
    here = pickle.loads(pickle.dumps(Job.of(forecaster, "predict", beside)))
    found = pd.concat([here(part) for part in parts_of(history, [1])])
    assert_same_rows(found, expected)
    without = Job.of(forecaster, "predict", {"given": given, "known": known[known.scene != 2]})
    assert len(without(parts_of(history, [2])[0]))
    with pytest.raises(DataError, match="scene 2"):
        without(history)


def test_conformal_intervals_are_learned_once_before_the_way(forecaster, frame):
    history = frame[frame.ds < NOW]
    options = {"level": [50], "conformal": frame, "given": None, "by": None}
    here = pickle.loads(pickle.dumps(Job.of(forecaster, "predict", options)))
    found = pd.concat([here(part) for part in parts_of(history, [2])])
    assert_same_rows(found, forecaster.predict(history, level=[50], conformal=frame))


def test_a_bad_scene_is_named(forecaster, frame):
    history = frame[frame.ds < NOW]
    here = made(forecaster, "predict")
    with pytest.raises(DataError, match="scene 3"):
        here(with_twice(history, 3))
    zoned = history.assign(y=history.y.where(history.scene != 3, float("inf")))
    with pytest.raises(DataError, match="scene 3"):
        here(zoned)


def test_what_cannot_travel_is_refused(forecaster, frame):
    with pytest.raises(DataError, match="refit"):
        Job.of(forecaster, "backtest", {"refit": True})
    engine = type("DataFrame", (), {"__module__": "dask.dataframe"})()
    with pytest.raises(DataError, match=r"known= .* pandas, polars or pyarrow"):
        Job.of(forecaster, "predict", {"known": engine})
    with pytest.raises(RuntimeError, match="not fitted"):
        Job.of(tiny(HiPerformer(8, 1, 2)), "predict", {})


def test_a_process_loads_a_forecaster_once_and_keeps_few(forecaster, frame, monkeypatch):
    monkeypatch.setattr(job, "_loaded", {})
    here = made(forecaster, "predict")
    assert here.load() is made(forecaster, "sample").load()
    for number in range(job.KEPT + 1):
        forecaster.set_params(seed=number)
        other = made(forecaster, "predict")
        assert other.load() is not here.load() or number == 0
    forecaster.set_params(seed=0)
    assert len(job._loaded) == job.KEPT


def test_one_thread_while_it_runs(forecaster, frame, monkeypatch):
    counts = []
    monkeypatch.setattr(Job, "_ask", lambda self, x: counts.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    made(forecaster, "predict")(frame)
    assert counts == [1] and torch.get_num_threads() == before


class Own(HiPerformer):
    """A user's own, which is loaded by its class."""


def test_a_model_of_the_users_own_travels(frame):
    forecaster = tiny(Own(8, 1, 2, patch=4), columns=COLUMNS).fit(frame)
    found = made(forecaster, "predict")(frame)
    assert_same_rows(found, forecaster.predict(frame, level=[80]))


# --- scenes in a stream --------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 70, 10_000])
@pytest.mark.parametrize("kind", [int, str])
def test_a_stream_is_cut_between_scenes(frame, rows, kind):
    table = pa.Table.from_pandas(frame.assign(scene=frame.scene.astype(kind)))
    batches = table.to_batches(max_chunksize=23)
    found = list(whole_scenes(iter([*batches, *table[:0].to_batches()]), COLUMNS.scenes, rows))
    assert pa.concat_tables(found).equals(table)
    names = [set(part["scene"].to_pylist()) for part in found]
    assert sum(map(len, names)) == len(set.union(*names)) == 5
    assert len(found) == {1: 5, 70: 5, 10_000: 1}[rows]


def test_without_scenes_a_stream_is_one(frame):
    batches = pa.Table.from_pandas(frame).to_batches(max_chunksize=10)
    assert len(list(whole_scenes(batches, (), 1))) == 1
    assert len(list(whole_scenes(batches, None, 1))) == len(batches)


# --- the door ------------------------------------------------------------------------------------


def test_frames_are_known_without_importing_an_engine():
    kinds = {"ray": "ray.data.dataset.Dataset", "spark": "pyspark.sql.classic.dataframe.DataFrame",
             "dask": "dask.dataframe.dask_expr._collection.DataFrame"}  # fmt: skip
    for name, path in kinds.items():
        module, _, kind = path.rpartition(".")
        found = type(kind, (), {"__module__": module})
        assert name_of(found()) == name
        assert name_of(type("Child", (found,), {"__module__": "mine"})()) == name
    assert name_of(pd.DataFrame()) is None and home_of(None) is None
    script = "import sys, hierforecast; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not {"ray", "dask", "pyspark", "pyarrow"} & set(loaded.stdout.split())


def test_verbs_go_through_the_door_once(forecaster, frame, monkeypatch):
    """An engine made here: frames in a list, one part each."""

    class Home:
        @staticmethod
        def run(job, frame):
            return [job(part) for part in frame]

        @staticmethod
        def collect(frame):
            return frame

    monkeypatch.setattr(door, "home_of", lambda x: Home if isinstance(x, list) else None)
    for name in ASKED:
        found = ask(forecaster, name, frame, lambda x: parts_of(x, [2]))
        assert_same_rows(pd.concat(found), ask(forecaster, name, frame, lambda x: x))
    found = forecaster.evaluate(parts_of(frame, [2]), ["ade", "min_ade"], n_samples=4)
    expected = forecaster.evaluate(frame, ["ade", "min_ade"], n_samples=4)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
