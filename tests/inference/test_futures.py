"""Representative futures, from frame to frame and by the command line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from hierforecast import DataError, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.cli import app
from hierforecast.nn.heads import LowRankHead, MixtureHead
from tests.helpers import H, make_frame, random_weights

KEYS = ["scene", "unique_id", "ds"]
MODELS: dict[str, Any] = {
    "lowrank": lambda: HiPerformer(16, 1, 2, patch=4),
    "memory": lambda: HiPerformer(16, 1, 2, patch=4, head=LowRankHead(3, 2, memory=2)),
    "mixture": lambda: HiPerformer(16, 1, 2, patch=4, head=MixtureHead(3, 2, 2)),
    "returns": lambda: HiPerformer(16, 1, 2, patch=4, head="returns"),
    "student": lambda: HiPerformer(16, 1, 2, patch=4, head="student"),
    "ridge": Ridge,
    "last value": LastValue,
}


def fitted(name: str) -> Forecaster:
    return random_weights(MODELS[name]())


@pytest.fixture(scope="module", params=MODELS)
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    return fitted(request.param)


@pytest.fixture(scope="module")
def one() -> Forecaster:
    return fitted("memory")


# --- from frame to frame ------------------------------------------------------------------------


def test_the_frame_is_that_of_draws_with_shares(forecaster: Forecaster):
    frame = make_frame(seed=1)
    found = forecaster.futures(frame, 4, seed=0)
    drawn = forecaster.sample(frame, 4, seed=0).rename(columns={"sample_id": "future_id"})
    assert list(found.columns) == [*drawn.columns[:4], "share", *drawn.columns[4:]]
    keys = [*KEYS, "future_id"]
    pd.testing.assert_frame_equal(found[keys], drawn[keys])
    shares = found.drop_duplicates(["scene", "future_id"]).pivot(
        index="scene", columns="future_id", values="share"
    )
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares.diff(axis=1).iloc[:, 1:] <= 0).all(axis=None), "most probable first"
    assert (found.groupby(["scene", "future_id"]).share.nunique() == 1).all()


def test_the_mean_of_the_futures_is_that_of_the_draws(forecaster: Forecaster):
    """Shares weigh them: an exact property of centroids, of every column."""
    frame = make_frame(seed=1)
    found = forecaster.futures(frame, 5, seed=3, n_samples=50)
    drawn = forecaster.sample(frame, 50, seed=3)
    for column in found.columns[5:]:
        mean = (found[column] * found.share).groupby([found[k] for k in KEYS]).sum()
        expected = drawn.groupby(KEYS)[column].mean()
        np.testing.assert_allclose(mean, expected, rtol=1e-8, atol=1e-8)


def test_futures_of_each_series(forecaster: Forecaster):
    frame = make_frame(seed=1)
    found = forecaster.futures(frame, 5, seed=3, n_samples=50, joint=False)
    shares = found.drop_duplicates(["scene", "unique_id", "future_id"])
    sums = shares.groupby(["scene", "unique_id"]).share.sum()
    np.testing.assert_allclose(sums, 1)
    assert shares.groupby(["scene", "future_id"]).share.nunique().max() > 1
    mean = (found.iloc[:, -1] * found.share).groupby([found[k] for k in KEYS]).sum()
    drawn = forecaster.sample(frame, 50, seed=3).groupby(KEYS).mean().iloc[:, -1]
    np.testing.assert_allclose(mean, drawn, rtol=1e-8, atol=1e-8)


def test_the_same_seed_gives_the_same_futures(one: Forecaster):
    frame = make_frame(seed=1)
    found = one.futures(frame, 4, seed=7)
    pd.testing.assert_frame_equal(found, one.futures(frame.sample(frac=1, random_state=0), 4, 7))
    assert not np.allclose(found.iloc[:, -1], one.futures(frame, 4, seed=8).iloc[:, -1])
    pd.testing.assert_frame_equal(one.futures(frame, 4), one.futures(frame, 4, seed=one.seed))


def test_futures_given_some_of_them(one: Forecaster):
    frame = make_frame(seed=1)
    point = one.predict(frame)
    plan = point[point.unique_id == "ball_0"][KEYS].assign(x=1.25, y=np.nan)
    found = one.futures(frame, 4, given=plan)
    ball = found.unique_id == "ball_0"
    assert (found.HiPerformer_x[ball] == 1.25).all()
    assert found[ball].groupby(["scene", "ds"]).HiPerformer_y.nunique().eq(4).all()
    whole = point[KEYS].assign(x=point.HiPerformer_x + 1, y=point.HiPerformer_y)
    sure = one.futures(frame, 4, given=whole)
    assert set(sure.future_id) == {0} and (sure.share == 1).all()
    np.testing.assert_array_equal(sure.HiPerformer_x, whole.x)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_the_library_stays(one: Forecaster, library: str):
    make = {"pandas": lambda f: f, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}
    frame = make_frame(seed=1)
    native = make[library](frame.reset_index(drop=True))
    found = one.futures(native, 3, seed=0)
    assert type(found) is type(native)
    table = found if library == "pandas" else found.to_pandas()
    expected = one.futures(frame, 3, seed=0)
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    assert len(table) == 3 * table.drop_duplicates(["scene", "unique_id"]).shape[0] * H


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n=0 must be a whole number of at least 1"),
        ({"n": 5, "n_samples": 4}, "n=5 futures need as many draws at least, but n_samples=4"),
        ({"n": 2, "seed": 0.5}, "seed=0.5 must be"),
        ({"n": 2, "n_samples": "many"}, "n_samples='many' must be"),
    ],
)
def test_nonsense_is_named(one: Forecaster, options: dict[str, Any], message: str):
    with pytest.raises(DataError, match=message):
        one.futures(make_frame(seed=1), **options)


def test_command_line(one: Forecaster, tmp_path: Any):
    frame = make_frame(seed=1)
    frame.to_csv(tmp_path / "history.csv", index=False)
    one.save(tmp_path / "model")
    command = ["predict", f"{tmp_path}/history.csv", f"{tmp_path}/model"]

    def call(*more: object) -> Any:
        return CliRunner().invoke(app, [*command, *map(str, more)])

    out = tmp_path / "futures.csv"
    result = call("--futures", 3, "--seed", 0, "--out", out)
    assert result.exit_code == 0, result.output
    pd.testing.assert_frame_equal(
        pd.read_csv(out), one.futures(frame, 3, seed=0), check_dtype=False, rtol=1e-9
    )
    for more in (["--samples", 2], ["--level", 90], ["--by", "team"], ["--how", "mean"]):
        refused = call("--futures", 3, *more)
        assert refused.exit_code == 2
        assert "exclude each other" in refused.output + refused.stderr
