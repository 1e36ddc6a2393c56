"""Totals of series, from frame to frame: coherent, exact, in any library."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from hierforecast import ConstantVelocity, DataError, Forecaster, HiPerformer, LastValue
from hierforecast.cli import app
from hierforecast.datasets import load_hierarchical
from hierforecast.nn.heads import LowRankHead, MixtureHead
from hierforecast.testing import randomize_
from tests.helpers import DOUBLE, make_frame, tiny

MODELS: dict[str, Any] = {
    "lowrank": lambda: HiPerformer(16, 1, 2, patch=4),
    "memory": lambda: HiPerformer(16, 1, 2, patch=4, head=LowRankHead(3, 2, memory=2)),
    "mixture": lambda: HiPerformer(16, 1, 2, patch=4, head=MixtureHead(3, 2, 2)),
    "rows": lambda: HiPerformer(16, 1, 2, patch=4, head="rows"),
    "returns": lambda: HiPerformer(16, 1, 2, patch=4, head="returns"),
    "student": lambda: HiPerformer(16, 1, 2, patch=4, head="student"),
    "velocity": ConstantVelocity,
}


@pytest.fixture(scope="module", params=MODELS)
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    fitted = tiny(MODELS[request.param](), trainer=DOUBLE).fit(make_frame())
    if request.param != "velocity":
        randomize_(fitted.model_.decoder, seed=0)
    return fitted


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    frame = make_frame(seed=1)
    sizes = frame.groupby(["scene", "unique_id"])["size"].transform("first")
    return frame.assign(area=frame.team.str[:1], size=sizes)


def values(table: pd.DataFrame) -> np.ndarray:
    return table.filter(like="_x").to_numpy()


def team_of(frame: pd.DataFrame) -> pd.Series:
    return frame.drop_duplicates("unique_id").set_index("unique_id").team


def test_points_and_draws_are_sums_of_those_of_series(forecaster: Forecaster, frame: pd.DataFrame):
    for call in (forecaster.predict, lambda f, **k: forecaster.sample(f, 3, seed=1, **k)):
        single, total = call(frame), call(frame, by="team")
        keys = [*(["sample_id"] if "sample_id" in single else []), "scene", "team", "ds"]
        assert list(total.columns[: len(keys)]) == keys or set(keys) <= set(total.columns)
        single = single.assign(team=single.unique_id.map(team_of(frame)))
        columns = [c for c in total.columns if c not in keys]
        expected = single.groupby(keys)[columns].sum().reset_index()
        found = total.sort_values(keys)[keys + columns].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-12)


def test_every_level_adds_up_to_the_next(forecaster: Forecaster, frame: pd.DataFrame):
    for call in (forecaster.predict, lambda f, **k: forecaster.sample(f, 3, seed=1, **k)):
        team, whole = call(frame, by=["area", "team"]), call(frame, by=())
        keys = [c for c in whole.columns if c.split("_")[-1] not in "xy"]
        columns = [c for c in whole.columns if c not in keys]
        summed = team.groupby(keys)[columns].sum().reset_index()
        pd.testing.assert_frame_equal(
            summed, whole.sort_values(keys, ignore_index=True)[summed.columns]
        )


def test_intervals_are_those_of_the_joint_distribution(forecaster: Forecaster, frame: pd.DataFrame):
    table = forecaster.predict(frame, by="team", level=80)
    draws = forecaster.sample(frame, 3000, seed=0, by="team")
    name = next(c for c in table.columns if c.endswith("_x"))
    keys = ["scene", "team", "ds"]
    merged = draws.merge(table[[*keys, f"{name}-lo-80", f"{name}-hi-80"]], on=keys)
    for side, share in (("lo", 0.1), ("hi", 0.9)):
        below = (merged[name] <= merged[f"{name}-{side}-80"]).groupby(merged.team).mean()
        assert ((below - share).abs() < 0.02).all(), below


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_the_library_stays_and_so_do_types(library: str, frame: pd.DataFrame):
    make = {"pandas": lambda f: f, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}
    typed = frame.assign(scene=frame.scene + 7).reset_index(drop=True)
    native = make[library](typed)
    fitted = tiny(ConstantVelocity()).fit(native)
    total = fitted.predict(native, by=["side", "team"], level=[50])
    assert type(total) is type(native)
    table = total if library == "pandas" else total.to_pandas()
    assert list(table.columns[:4]) == ["scene", "side", "team", "ds"]
    assert set(table.scene) == set(typed.scene) and set(table.team) == set(typed.team)
    assert table.equals(table.sort_values(["scene", "side", "team", "ds"]))


def test_weights_and_means(frame: pd.DataFrame):
    fitted = tiny(ConstantVelocity()).fit(frame)
    size = frame.groupby(["scene", "unique_id"])["size"].first().abs() + 0.1
    frame = frame.merge(size.rename("share").reset_index(), on=["scene", "unique_id"])
    single = fitted.predict(frame).merge(size.rename("share").reset_index())
    single = single.assign(team=single.unique_id.map(team_of(frame)))
    single["weighted"] = single.share * single.ConstantVelocity_x
    by = single.groupby(["scene", "team", "ds"])
    expected = {
        ("sum", "share"): by.weighted.sum(),
        ("mean", "share"): by.weighted.sum() / by.share.sum(),
        ("mean", None): by.ConstantVelocity_x.mean(),
    }
    for (how, weights), numbers in expected.items():
        found = fitted.predict(frame, by="team", how=how, weights=weights)
        np.testing.assert_allclose(found.ConstantVelocity_x, numbers, rtol=1e-6)


def test_what_if_moves_totals(forecaster: Forecaster, frame: pd.DataFrame):
    plain = forecaster.predict(frame)
    name = next(c for c in plain.columns if c.endswith("_x"))[:-2]
    plan = plain[plain.unique_id == "home_1"].rename(columns={f"{name}_{t}": t for t in "xy"})
    plan["x"] += 5
    single = forecaster.predict(frame, given=plan)
    total = forecaster.predict(frame, given=plan, by="team", level=90)
    single = single.assign(team=single.unique_id.map(team_of(frame)))
    expected = single.groupby(["scene", "team", "ds"])[f"{name}_x"].sum()
    np.testing.assert_allclose(total[f"{name}_x"], expected, rtol=1e-9)
    alone = total[total.team == "ball"]
    assert (alone[f"{name}_x-hi-90"] > alone[f"{name}_x-lo-90"]).all()


def test_rows_in_any_order_give_the_same_totals(frame: pd.DataFrame):
    fitted = tiny(MODELS["memory"](), trainer=DOUBLE).fit(frame)
    found = fitted.predict(frame, by="team", level=90)
    again = fitted.predict(frame.sample(frac=1, random_state=0), by="team", level=90)
    pd.testing.assert_frame_equal(found, again, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "nothing"}, "by names 'nothing'"),
        ({"by": "ds"}, "names 'ds'"),
        ({"by": "x"}, "names 'x'"),
        ({"by": 3}, "must be a column"),
        ({"by": "mood"}, "name a column that stays the same within a series$"),
        ({"by": "team", "how": "median"}, "'median' must be one of"),
        ({"by": "team", "weights": "nothing"}, "weights names 'nothing'"),
        ({"by": "team", "weights": "pulse"}, "changes within"),
        ({"by": "team", "weights": "role"}, "not numeric"),
        ({"weights": "size"}, "give by="),
    ],
)
def test_errors_name_what_is_wrong(options: dict[str, Any], message: str, frame: pd.DataFrame):
    fitted = tiny(ConstantVelocity()).fit(frame)
    for call in (fitted.predict, lambda f, **k: fitted.sample(f, 2, **k)):
        with pytest.raises(DataError, match=message):
            call(frame, **options)


def test_command_line(tmp_path: Path, frame: pd.DataFrame):
    fitted = tiny(MODELS["memory"](), trainer=DOUBLE).fit(frame)
    fitted.save(tmp_path / "model")
    frame.to_csv(tmp_path / "history.csv", index=False)
    for options, by, how in (("--by team", ["team"], "sum"), ("--by  --how mean", (), "mean")):
        words = [word.strip() for word in f"--level 80 {options}".split(" ")]
        command = ["predict", f"{tmp_path}/history.csv", f"{tmp_path}/model", *words]
        result = CliRunner().invoke(app, [*command, "--out", f"{tmp_path}/answer.csv"])
        assert result.exit_code == 0, result.output
        expected = fitted.predict(frame, level=80, by=by, how=how)
        found = pd.read_csv(tmp_path / "answer.csv")
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-6)


@pytest.mark.parametrize("name", ["labour", "tourismlarge"])
def test_summing_matrices_are_reproduced(name: str, shared_data: Path):
    """Every level of the data set is `by` of some of its factors, crossed ones too."""
    data = load_hierarchical(name, root=shared_data)
    lengths = {"context_length": 24, "prediction_length": data.horizon}
    fitted = Forecaster(LastValue(), columns=data.columns, **lengths).fit(data.frame)
    point = fitted.predict(data.frame).pivot(index="ds", columns="unique_id", values="LastValue")
    nodes = data.summing @ point[list(data.series)].to_numpy().T
    factors = [c for c in data.frame.columns if c not in ("unique_id", "ds", "y")]
    made = []
    for count in range(len(factors) + 1):
        for by in combinations(factors, count):
            total = fitted.predict(data.frame, by=by)
            made.append(np.sort(total.LastValue.to_numpy().reshape(-1, data.horizon), axis=0))
    for level, names in data.tags.items():
        wanted = np.sort(nodes[[data.nodes.index(node) for node in names]], axis=0)
        assert any(x.shape == wanted.shape and np.allclose(x, wanted) for x in made), level
