"""Influence: what is deleted is deleted, series by series and group by group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from hierforecast import Columns, DataError, Forecaster, HiPerformer, Ridge
from hierforecast.testing import randomize_
from tests.helpers import DOUBLE, QUIET, make_frame, tiny

KEYS = ["scene", "unique_id", "ds"]
NAMES = ["HiPerformer_x", "HiPerformer_y"]


@pytest.fixture(scope="module", params=["coupled", "mixture"])
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    """In float64, with large random weights, so that all depends on all."""
    model = HiPerformer(16, 1, 2, patch=4, head=request.param)
    fitted = tiny(model, trainer=DOUBLE).fit(make_frame())
    for part in (fitted.model_.encoder, fitted.model_.decoder):
        randomize_(part, scale=1.0, seed=0)
    return fitted


def spreads(forecaster: Forecaster, frame: pd.DataFrame) -> pd.DataFrame:
    """Point and standard deviation of each cell."""
    joint, index = forecaster.distribution(frame)
    point = forecaster.predict(frame)
    sizes = joint.stddev.numpy().reshape(-1, 2)
    keys = index[["scene", "unique_id"]].loc[index.index.repeat(joint.event_shape[1])]
    assert (keys.to_numpy() == point[KEYS[:2]].to_numpy()).all()
    return point.assign(**{f"{name}-std": sizes[:, d] for d, name in enumerate(NAMES)})


@pytest.mark.parametrize("by", [None, "team"])
def test_it_is_deletion_by_hand(forecaster: Forecaster, by: str | None):
    frame = make_frame(2, seed=1)
    # Whoever is deleted, somebody is there at the last step.
    last = frame[frame.ds == 23].groupby("scene").team.nunique()
    assert (last > 1).all()
    found = forecaster.influence(frame, by=by)
    plain, column = spreads(forecaster, frame), by or "unique_id"
    labels = frame[column].unique()
    assert set(found.deleted) == set(labels)
    for label in labels[:4]:
        without = spreads(forecaster, frame[frame[column] != label])
        both = without.merge(plain, on=KEYS, suffixes=("", "_all"))
        ours = found[found.deleted == label].merge(both, on=KEYS, suffixes=("_ours", ""))
        assert len(ours) == len(without) == len(found[found.deleted == label])
        for name in [*NAMES, *(f"{name}-std" for name in NAMES)]:
            change = ours[name] - ours[f"{name}_all"]
            np.testing.assert_allclose(ours[f"{name}_ours"], change, rtol=0, atol=1e-9)
            assert change.abs().max() > 1e-6, "all depends on all"


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames_in_and_frames_out(forecaster: Forecaster, library: str):
    make = {"pandas": lambda f: f, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}
    frame = make_frame(2, seed=1)
    expected = forecaster.influence(frame)
    native = make[library](frame.sample(frac=1, random_state=0).reset_index(drop=True))
    found = forecaster.influence(native)
    assert type(found) is type(native)
    table = found if library == "pandas" else found.to_pandas()
    assert list(table) == [*KEYS, "deleted", *(n + s for n in NAMES for s in ("", "-std"))]
    keys = [*KEYS, "deleted"]
    one, other = (x.sort_values(keys).reset_index(drop=True) for x in (table, expected))
    pd.testing.assert_frame_equal(one, other, check_dtype=False, rtol=0, atol=1e-9)
    assert not (table.unique_id == table.deleted).any()


def test_several_columns_and_nobody_left():
    forecaster = tiny(Ridge()).fit(make_frame())
    frame = make_frame(2, seed=1)
    found = forecaster.influence(frame, by=["side", "team"])
    assert {"deleted_side", "deleted_team"} <= set(found)
    # Ridge looks at each series alone.
    assert found.filter(like="Ridge").abs().max(axis=None) < 1e-5
    with pytest.raises(DataError, match="nobody to be influenced"):
        forecaster.influence(frame[frame.unique_id == "ball_0"])
    one = frame[(frame.scene != 1) | (frame.unique_id == "ball_0")]
    assert set(forecaster.influence(one).scene) == {0}


def test_demand_by_the_history_of_each_series():
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=120)
    parts: list[Any] = [
        pd.DataFrame({"unique_id": f"s{i}", "ds": days, "y": rng.poisson(9.0, 120) + 0.0})
        for i in range(3)
    ]
    frame = pd.concat(parts)
    plan = {"context_length": 28, "prediction_length": 7, "max_steps": 4, "trainer": QUIET}
    forecaster = Forecaster(HiPerformer(16, 1, 2), columns=Columns(group=None), **plan).fit(frame)
    found = forecaster.influence(frame)
    gone, plain = (forecaster.predict(f) for f in (frame[frame.unique_id != "s1"], frame))
    both = gone.merge(plain, on=["unique_id", "ds"], suffixes=("_gone", ""))
    ours = found[found.deleted == "s1"].merge(both, on=["unique_id", "ds"], suffixes=("_ours", ""))
    assert len(ours) == 14
    change = ours.HiPerformer_gone - ours.HiPerformer
    np.testing.assert_allclose(ours.HiPerformer_ours, change, rtol=0, atol=1e-4)
