"""One scene over an engine made here, cut by cutoff: its answer is the local one."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from hierforecast import DataError, Forecaster, HiPerformer
from hierforecast.engines import door, parts
from tests.engines.checks import assert_same_rows
from tests.helpers import COLUMNS, EVERYTHING, make_frame, tiny

CARRY = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}
ONE = replace(COLUMNS, scene=None)
ROLLING: list[dict[str, Any]] = [
    {},
    {"stride": 1},
    {"n_windows": 3},
    {"start": 21, "stride": 3},
    {"start": 30, "n_windows": 2, "stride": 1},
]


class Engine:
    """Frames in a list, whose rows come together by keys; `rows` counts those of each key."""

    def __init__(self, library: str = "pandas") -> None:
        self.carry, self.rows = CARRY[library], []

    def run(self, work: Any, frame: list[Any]) -> list[Any]:
        work = pickle.loads(pickle.dumps(work))
        given = [part if isinstance(part, pd.DataFrame) else part.to_pandas() for part in frame]
        if work.keys is not None:
            whole = pd.concat(given)
            given = [whole]
            if work.keys:
                groups = whole.groupby(list(work.keys))
                self.rows = [*groups.size()]
                given = [whole[groups.ngroup() % 3 == part] for part in range(4)]  # several each
        return [work(self.carry(part)) for part in given]

    def collect(self, frame: list[Any]) -> list[Any]:
        return frame

    def torn(self, frame: pd.DataFrame) -> list[Any]:
        return [self.carry(frame.sample(frac=1, random_state=0)[start::3]) for start in range(3)]

    def bring(self, found: list[Any]) -> pd.DataFrame:
        return pd.concat(x if isinstance(x, pd.DataFrame) else x.to_pandas() for x in found)


@pytest.fixture(params=CARRY)
def engine(request, monkeypatch) -> Engine:
    found = Engine(request.param)
    monkeypatch.setattr(door, "home_of", lambda x: found if isinstance(x, list) else None)
    return found


def scene(**options: Any) -> pd.DataFrame:
    """A long scene with a hole, steps at which nobody is observed, and rows around its history."""
    frame = make_frame(1, 70, **options).drop(columns="scene")
    frame = frame[~frame.ds.between(33, 38)]
    frame.loc[frame.ds.isin([0, 1, 30, 41, 42, 68, 69]), ["x", "y"]] = np.nan
    return frame


def fitted(frame: pd.DataFrame, **options: Any) -> Forecaster:
    return tiny(HiPerformer(8, 1, 2, patch=4), **{"columns": ONE, **options}).fit(frame)


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return fitted(scene())


@pytest.mark.parametrize("options", ROLLING)
def test_a_backtest_is_the_local_one(engine, forecaster, options):
    frame = scene()
    found = engine.bring(forecaster.backtest(engine.torn(frame), **options))
    assert_same_rows(found, forecaster.backtest(frame, **options))
    assert sum(engine.rows) <= parts.COPIES * len(frame)
    assert len(engine.rows) >= 2 and max(engine.rows) < len(frame) / 2


@pytest.mark.parametrize("metrics", [None, ["rmse", "mase[season=2]"]])
def test_sums_of_parts_are_the_local_figures(engine, forecaster, metrics):
    frame, options = scene(), {"metrics": metrics, "stride": 2, "n_samples": 4}
    found = forecaster.evaluate(engine.torn(frame), **options)
    expected = forecaster.evaluate(frame, **options)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)


@pytest.mark.parametrize("gap", [False, True])
def test_covariates_come_with_the_rows_that_tell_them(engine, gap):
    """Known ones before the history, static ones that a series tells in one of its rows only."""
    frame = scene()
    forecaster = fitted(frame, columns=replace(EVERYTHING, scene=None))
    if gap:
        told = frame.groupby("unique_id").ds.transform("max") == frame.ds
        frame["size"] = frame["size"].where(told)
    found = engine.bring(forecaster.backtest(engine.torn(frame), stride=1))
    assert_same_rows(found, forecaster.backtest(frame, stride=1))


def test_smoothing_looks_at_all_that_was_before(engine):
    days = pd.Timestamp("2024-03-01", tz="Europe/Rome") + pd.to_timedelta(scene().ds, "D")
    frame = scene().assign(ds=days, x=lambda frame: frame.x.clip(lower=0.0))
    columns = replace(ONE, target="x")
    model = HiPerformer(8, 1, 2, patch=4, scale="demand")
    forecaster = tiny(model, columns=columns).fit(frame)
    found = engine.bring(forecaster.backtest(engine.torn(frame), start="2024-03-20", stride=2))
    expected = forecaster.backtest(frame, start="2024-03-20", stride=2)
    zoned = {"ds": expected.ds.dtype, "cutoff": expected.ds.dtype}
    assert_same_rows(found.astype(zoned), expected)


def test_parts_that_lack_what_was_before_would_differ(monkeypatch):
    """The test above can fail."""
    monkeypatch.setattr(parts.Cutting, "_looks_back", lambda self, forecaster: False)
    engine = Engine()
    monkeypatch.setattr(door, "home_of", lambda x: engine if isinstance(x, list) else None)
    with pytest.raises(AssertionError):
        test_smoothing_looks_at_all_that_was_before(engine)


def test_what_the_verb_refuses_is_refused(engine, forecaster):
    frame = scene()
    for options, words in (
        ({"n_windows": 99}, "n_windows=99 is more than there are"),
        ({"start": 500}, "start=500 is too late"),
    ):
        with pytest.raises(DataError, match=words):
            forecaster.backtest(engine.torn(frame), **options)
    with pytest.raises(DataError, match="no column 'kind'"):
        forecaster.backtest(engine.torn(frame.drop(columns="kind")))
    twice = pd.concat([frame, frame.iloc[[70]].assign(x=-1.0)])
    with pytest.raises(DataError, match="duplicate"):
        forecaster.backtest(engine.torn(twice), stride=1)


def test_a_scene_in_which_nothing_is_observed_has_no_windows(engine, forecaster):
    frame = scene().assign(x=np.nan)
    assert not sum(map(len, forecaster.backtest(engine.torn(frame))))
    with pytest.raises(DataError, match="no scene has a window"):
        forecaster.evaluate(engine.torn(frame), ["ade"])
