"""What-if: forecasts given some of the future, from frame to frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from typer.testing import CliRunner

from hierforecast import DataError, Forecaster, HiPerformer, Ridge
from hierforecast.cli import app
from hierforecast.nn.heads import LowRankHead, MixtureHead
from tests.helpers import H, make_frame, random_weights

MODELS: dict[str, Any] = {
    "lowrank": lambda: HiPerformer(16, 1, 2, patch=4),
    "memory": lambda: HiPerformer(16, 1, 2, patch=4, head=LowRankHead(3, 2, memory=2)),
    "mixture": lambda: HiPerformer(16, 1, 2, patch=4, head=MixtureHead(3, 2, 2, memory=2)),
    "rows": lambda: HiPerformer(16, 1, 2, patch=4, head="rows"),
    "returns": lambda: HiPerformer(16, 1, 2, patch=4, head="returns"),
    "student": lambda: HiPerformer(16, 1, 2, patch=4, head="student"),
    "ridge": Ridge,
}
KEYS = ["scene", "unique_id", "ds"]


def fitted(name: str) -> Forecaster:
    return random_weights(MODELS[name]())


@pytest.fixture(scope="module", params=MODELS)
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    return fitted(request.param)


@pytest.fixture(scope="module")
def one() -> Forecaster:
    return fitted("memory")


def plan_of(forecast: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Two series' paths, a step of a third, one target of a fourth; rows in any order."""
    name = next(c for c in forecast.columns if c.endswith("_x"))[:-2]
    plan = forecast[KEYS].assign(x=forecast[f"{name}_x"] + 1, y=forecast[f"{name}_y"] - 2)
    whole = plan.unique_id.isin(["home_0", "ball_0"])
    step = (plan.unique_id == "away_1") & (plan.ds == plan.ds.min() + 1)
    half = plan.unique_id == "bench_0"
    plan.loc[half, "y"] = np.nan
    return plan[whole | step | half].sample(frac=1, random_state=seed)


def test_the_rest_is_the_exact_conditional(forecaster: Forecaster):
    frame = make_frame(seed=1)
    plain = forecaster.predict(frame)
    plan = plan_of(plain)
    found = forecaster.predict(frame, given=plan, level=[80])
    assert found[KEYS].equals(plain[KEYS])
    joint, index = forecaster.distribution(frame)
    rows = pd.MultiIndex.from_frame(index[["scene", "unique_id"]])
    value = torch.full(joint.event_shape, torch.nan, dtype=torch.float64)
    first = plain.groupby("scene").ds.min()
    for scene, series, ds, x, y in plan.itertuples(index=False):
        at = rows.get_loc((scene, series)), ds - first[scene]
        value[at] = torch.tensor([x, y], dtype=torch.float64)
    expected = joint.condition(value, ~value.isnan())
    for target, suffix in enumerate("xy"):
        name = next(c for c in plain.columns if c.endswith(f"_{suffix}"))
        for column, cells in (
            (name, expected.mean),
            (f"{name}-lo-80", expected.quantile(0.1)),
            (f"{name}-hi-80", expected.quantile(0.9)),
        ):
            answer = found[column].to_numpy().reshape(-1, H)
            # Large random weights: factors are thousands of times the noise.
            np.testing.assert_allclose(answer, cells[..., target].numpy(), rtol=0, atol=1e-6)
    again, _ = forecaster.distribution(frame, given=plan)
    torch.testing.assert_close(again.mean, expected.mean, rtol=0, atol=1e-6)
    if not isinstance(forecaster.model, Ridge):
        assert type(again) is type(joint)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_what_is_given_comes_back_to_the_bit(forecaster: Forecaster, library: str):
    make = {"pandas": lambda f: f, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}
    frame = make_frame(seed=1)
    plan = plan_of(forecaster.predict(frame))
    native = make[library](frame.reset_index(drop=True))
    given = make[library](plan.reset_index(drop=True))
    forecast = forecaster.predict(native, given=given, level=90, quantiles=[0.3])
    draws = forecaster.sample(native, 4, seed=0, given=given)
    assert type(forecast) is type(draws) is type(native)
    for answer in (forecast, draws):
        table = answer if library == "pandas" else answer.to_pandas()
        table = table.merge(plan, on=KEYS)
        assert len(table) in (len(plan), 4 * len(plan))
        for target in "xy":
            known = table[target].notna()
            for column in [c for c in table.columns if f"_{target}" in c]:
                assert (table.loc[known, column] == table.loc[known, target]).all()
                assert np.isfinite(table[column]).all()


def test_a_plan_moves_its_own_scene_and_no_other(one: Forecaster):
    frame = make_frame(seed=1)
    plain = one.predict(frame)
    plan = plan_of(plain)
    found = one.predict(frame, given=plan[plan.scene == 1])
    others = plain.scene != 1
    assert np.array_equal(found[others].to_numpy(), plain[others].to_numpy())
    moved = (found[~others].filter(like="_x") - plain[~others].filter(like="_x")).abs()
    assert (moved.to_numpy() > 0).mean() > 0.9


def test_a_plan_of_nothing_is_no_plan(one: Forecaster):
    frame = make_frame(seed=1)
    plain = one.predict(frame)
    plan = plan_of(plain).assign(x=np.nan, y=np.nan)
    pd.testing.assert_frame_equal(one.predict(frame, given=plan), plain)


def test_renaming_and_shuffling_change_nothing_else(one: Forecaster):
    """Members of a group exchange their names, in the history and in the plan."""
    frame = make_frame(seed=1)
    plan = plan_of(one.predict(frame))
    names = {"home_0": "home_2", "home_2": "home_0", "away_1": "away_0", "away_0": "away_1"}

    def renamed(table: pd.DataFrame) -> pd.DataFrame:
        table = table.assign(unique_id=table.unique_id.replace(names))
        return table.sample(frac=1, random_state=1)

    found = one.predict(frame, given=plan, level=90)
    moved = one.predict(renamed(frame), given=renamed(plan), level=90)
    moved = moved.assign(unique_id=moved.unique_id.replace(names)).sort_values(KEYS)
    for column in found.columns[3:]:
        np.testing.assert_allclose(moved[column], found[column], rtol=0, atol=1e-10)


def test_a_series_that_is_not_there_changes_nothing(one: Forecaster):
    """Whether it is missing with its rows or with NaN targets."""
    frame = make_frame(seed=1)
    frame = frame[frame.unique_id != "away_2"]
    plan = plan_of(one.predict(frame))
    hidden = frame[frame.unique_id == "away_0"].assign(unique_id="away_2", x=np.nan, y=np.nan)
    with pytest.warns(UserWarning, match="away_2"):
        found = one.predict(pd.concat([frame, hidden]), given=plan)
    expected = one.predict(frame, given=plan)
    np.testing.assert_allclose(found.iloc[:, 3:], expected.iloc[:, 3:], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.drop(columns=["x", "y"]), "none of the targets"),
        (lambda p: p.assign(unique_id="nobody"), "unique_id 'nobody'"),
        (lambda p: p.assign(ds=p.ds + 100), r"rows of the given frame are none of those forecast"),
        (lambda p: pd.concat([p, p]), "duplicated rows: scene"),
        (lambda p: p.assign(x="far"), "column 'x'"),
        (lambda p: p.assign(x=np.inf), "column 'x'"),
        (lambda p: p.drop(columns="ds"), "ds"),
        (lambda p: p[:0], "empty"),
        (lambda p: 7, "pandas DataFrame"),
    ],
)
def test_errors_name_what_is_wrong(one: Forecaster, spoil: Any, message: str):
    frame = make_frame(seed=1)
    plan = plan_of(one.predict(frame))
    kept = plan.copy()
    with pytest.raises((DataError, TypeError), match=message):
        one.predict(frame, given=spoil(plan))
    pd.testing.assert_frame_equal(plan, kept)


def test_command_line(one: Forecaster, tmp_path: Any):
    frame = make_frame(seed=1)
    plan = plan_of(one.predict(frame))
    for name, table in {"history": frame, "plan": plan}.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    one.save(tmp_path / "model")
    command = f"predict {tmp_path}/history.csv {tmp_path}/model --given {tmp_path}/plan.csv"
    for more in ("", " --samples 2"):
        result = CliRunner().invoke(app, f"{command} --out {tmp_path}/answer.csv{more}".split())
        assert result.exit_code == 0, result.output
        table = pd.read_csv(tmp_path / "answer.csv").merge(plan, on=KEYS)
        known = table.x.notna()
        np.testing.assert_allclose(table.loc[known, "HiPerformer_x"], table.loc[known, "x"])
