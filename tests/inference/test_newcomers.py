"""Newcomers: announced, never observed, and forecast from their group and covariates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from hierforecast import Columns, DataError, Forecaster, HiPerformer, Ridge
from hierforecast.cli import app
from hierforecast.datasets import simulate_basketball
from hierforecast.errors import SeriesDroppedWarning
from tests.helpers import COLUMNS, EVERYTHING, QUIET, H, L, make_frame, tiny

KEYS = ["scene", "unique_id", "ds"]
POINTS = ["HiPerformer_x", "HiPerformer_y"]


@pytest.fixture(scope="module")
def one() -> Forecaster:
    """With all kinds of covariates."""
    return tiny(columns=EVERYTHING).fit(make_frame(8))


def announced(*names: str, steps: int = L) -> pd.DataFrame:
    """A history in which some series have rows, with covariates, but no targets."""
    frame = make_frame(2, steps=steps + H, missing=0.0, seed=3)
    gone = frame.unique_id.isin(names) | (frame.ds >= steps)
    frame.loc[gone, ["x", "y"]] = np.nan
    return frame


def of(frame: pd.DataFrame, *names: str) -> np.ndarray:
    rows = frame[frame.unique_id.isin(names)].sort_values(KEYS)
    assert len(rows)
    return rows.drop(columns=KEYS).to_numpy(float)


def test_without_the_option_they_get_no_rows(one: Forecaster):
    with pytest.warns(SeriesDroppedWarning, match="never observed"):
        found = one.predict(announced("away_1"))
    assert "away_1" not in set(found.unique_id)


def test_others_are_as_if_nobody_had_been_announced(one: Forecaster):
    frame = announced("away_1", "home_2")
    with pytest.warns(SeriesDroppedWarning):
        plain, draws = one.predict(frame, level=80), one.sample(frame, 3)
    found, all_draws = (
        one.predict(frame, level=80, newcomers=True),
        one.sample(frame, 3, newcomers=True),
    )
    new = found.unique_id.isin(["away_1", "home_2"])
    assert new.sum() == 2 * 2 * H and found.notna().all(axis=None)
    pd.testing.assert_frame_equal(found[~new].reset_index(drop=True), plain)
    others = ~all_draws.unique_id.isin(["away_1", "home_2"])
    pd.testing.assert_frame_equal(all_draws[others].reset_index(drop=True), draws)


def test_rows_in_the_future_alone_announce_as_well(one: Forecaster):
    frame = announced("away_1")
    late = frame[(frame.unique_id != "away_1") | (frame.ds >= L)]
    found, there = (one.predict(each, level=80, newcomers=True) for each in (frame, late))
    pd.testing.assert_frame_equal(found, there)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_so_do_rows_of_the_known_frame_alone(one: Forecaster, library: str):
    frame = announced("away_1")
    past, ahead = frame[frame.ds < L], frame[frame.ds >= L].drop(columns=["x", "y"])
    past = past[past.unique_id != "away_1"].reset_index(drop=True)
    known = pd.concat([ahead, ahead.assign(scene=99)])  # no scene of the frame
    expected = one.predict(frame, level=80, newcomers=True)
    if library == "polars":
        past = pl.from_pandas(past)
    found = one.predict(past, level=80, known=known, newcomers=True)
    found = found.to_pandas() if library == "polars" else found
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    lacking = ahead.drop(columns="team")
    with pytest.raises(DataError, match=r"announces scene 0, unique_id 'away_1'.*'team'.*add it"):
        one.predict(past, known=lacking, newcomers=True)


def test_one_newcomer_does_not_matter_to_another(one: Forecaster):
    both, alone = announced("away_1", "away_2"), announced("away_1", "away_2")
    alone = alone[alone.unique_id != "away_2"]
    found, there = (one.predict(each, level=80, newcomers=True) for each in (both, alone))
    np.testing.assert_array_equal(of(found, "away_1"), of(there, "away_1"))


def test_names_and_the_order_of_rows_do_not_matter(one: Forecaster):
    frame, names = announced("away_1"), {"away_1": "away_0", "away_0": "away_1"}
    other = frame.assign(unique_id=frame.unique_id.replace(names))
    other = other.sample(frac=1, random_state=0)
    found, there = (one.predict(each, level=80, newcomers=True) for each in (frame, other))
    for name in ("away_0", "away_1", "home_0"):
        theirs = of(there, names.get(name, name))
        np.testing.assert_allclose(of(found, name), theirs, rtol=0, atol=2e-4)


def test_without_covariates_newcomers_of_a_group_are_alike_and_groups_differ():
    forecaster = tiny().fit(make_frame(8))
    frame = announced("away_1", "away_2", "home_2")
    found = forecaster.predict(frame, level=80, newcomers=True)
    np.testing.assert_allclose(of(found, "away_1"), of(found, "away_2"))
    assert np.abs(of(found, "away_1") - of(found, "home_2")).max() > 0.1


def test_covariates_move_the_forecast_and_missing_ones_do_not(one: Forecaster):
    """By the learned effects: a known one at its step alone."""
    frame = announced("away_1")
    plain = of(one.predict(frame, newcomers=True), "away_1")
    moved, late = frame.copy(), (frame.unique_id == "away_1") & (frame.ds == L + 2)
    moved.loc[late, "plan"] += 50
    change = of(one.predict(moved, newcomers=True), "away_1") - plain
    steps = np.abs(change).max(1).reshape(2, H) > 1e-9
    assert (steps == (np.arange(H) == 2)).all()
    gone = frame.assign(size=frame["size"].where(frame.unique_id != "away_1"))
    assert np.isfinite(of(one.predict(gone, newcomers=True), "away_1")).all()


def shops(n_scenes: int, seed: int) -> pd.DataFrame:
    """Sales that follow the floor space of a shop, in towns of their own level."""
    rng = np.random.default_rng(seed)
    rows = []
    for scene in range(n_scenes):
        for town in range(3):
            level = rng.uniform(20, 60)
            for shop in range(5):
                space = rng.normal()
                y = level + 8 * space + rng.normal(size=24).cumsum() * 0.3
                rows.append(
                    pd.DataFrame({
                        "scene": scene, "ds": range(24), "town": f"t{town}",
                        "unique_id": f"t{town}_{shop}", "space": space, "y": y,
                    })
                )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def test_what_a_covariate_tells_of_the_level_is_learned():
    columns = Columns(group="town", scene="scene", static=["space"])
    plan = {"context_length": 12, "prediction_length": 6, "columns": columns, "trainer": QUIET}
    forecaster = Forecaster(Ridge(), **plan).fit(shops(40, 0))
    test = shops(30, 1)
    new = test.unique_id == "t1_2"
    seen = test[test.ds < 18].copy()
    seen.loc[new, "y"] = np.nan
    found = forecaster.predict(seen, level=90, newcomers=True)
    both = found[found.unique_id == "t1_2"].merge(test, on=KEYS)
    error = (both.Ridge - both.y).abs().mean()
    mates = found[found.unique_id.str.startswith("t1") & (found.unique_id != "t1_2")]
    mean = mates.groupby(["scene", "ds"]).Ridge.mean().reset_index()
    plain = (both.merge(mean, on=["scene", "ds"]).eval("Ridge_y - y")).abs().mean()
    assert error < 0.4 * plain
    width = (both["Ridge-hi-90"] - both["Ridge-lo-90"]).mean()
    assert both.y.between(both["Ridge-lo-90"], both["Ridge-hi-90"]).mean() > 0.75
    assert width < 2 * 1.645 * 8


def test_intervals_of_newcomers_cover_what_they_say():
    """Simulated games: no player of the train games is one of the test games'."""
    train, test = (simulate_basketball(n_scenes=n, seed=s) for n, s in ((120, 0), (80, 1)))
    plan = {"context_length": 20, "prediction_length": 10, "columns": COLUMNS, "trainer": QUIET}
    forecaster = Forecaster(Ridge(), **plan).fit(train)
    seen = test[test.ds < 30].copy()
    seen.loc[seen.unique_id.isin(["away_3", "home_0"]), ["x", "y"]] = np.nan
    found = forecaster.predict(seen, level=90, newcomers=True).merge(test, on=KEYS)
    new = found[found.unique_id.isin(["away_3", "home_0"])]
    inside = [new[x].between(new[f"Ridge_{x}-lo-90"], new[f"Ridge_{x}-hi-90"]) for x in "xy"]
    assert 0.84 < np.mean(inside) < 0.96
    # Narrower than where players are at all.
    everywhere = np.diff(test[test.kind == "player"].x.quantile([0.05, 0.95]))[0]
    assert (new["Ridge_x-hi-90"] - new["Ridge_x-lo-90"]).mean() < 0.9 * everywhere


def test_draws_agree_with_the_intervals(one: Forecaster):
    frame = announced("away_1")
    ends = one.predict(frame, level=80, newcomers=True).query("unique_id == 'away_1'")
    draws = one.sample(frame, 2_000, newcomers=True).query("unique_id == 'away_1'")
    for name in POINTS:
        wide = draws.pivot_table(index="sample_id", columns=["scene", "ds"], values=name)
        found = wide.quantile([0.1, 0.9]).to_numpy()
        width = (ends[f"{name}-hi-80"] - ends[f"{name}-lo-80"]).to_numpy()
        for got, end in zip(found, ("lo", "hi"), strict=True):
            assert (np.abs(got - ends[f"{name}-{end}-80"]) < 0.12 * width).all()


def test_demand_is_never_below_zero():
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=140)
    size = {f"s{i}": 3.0 + 4 * i for i in range(5)}
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": days, "y": rng.poisson(mean, 140) + 0.0})
        for name, mean in size.items()
    )
    lengths = {"context_length": 28, "prediction_length": 7}
    plan = {"columns": Columns(group=None), "max_steps": 4, "trainer": QUIET, **lengths}
    forecaster = Forecaster(HiPerformer(16, 1, 2), **plan).fit(frame)
    new = pd.DataFrame({"unique_id": "new", "ds": days[-3:], "y": np.nan})
    found = forecaster.predict(pd.concat([frame, new]), level=90, newcomers=True)
    own = found[found.unique_id == "new"]
    assert len(own) == 7 and (own.drop(columns=["unique_id", "ds"]) >= 0).all(axis=None)
    assert own.HiPerformer.between(3.0, 19.0).all()


def test_they_are_saved(one: Forecaster, tmp_path: Path):
    found = one.predict(announced("away_1"), level=80, newcomers=True)
    one.save(tmp_path / "one")
    loaded = Forecaster.load(tmp_path / "one")
    again = loaded.predict(announced("away_1"), level=80, newcomers=True)
    pd.testing.assert_frame_equal(again, found)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda x: x[1:], "shape"),
        (lambda x: x.float(), "float32"),
        (lambda x: x * torch.nan, "not finite"),
    ],
)
def test_spoiled_ones_are_refused(one: Forecaster, tmp_path: Path, spoil: Any, what: str):
    other = tiny(columns=EVERYTHING)
    other._learned(one._fitted())
    other.newcomers_ = replace(one.newcomers_, root=spoil(one.newcomers_.root))
    other.save(tmp_path / "one")
    with pytest.raises(DataError, match=f"newcomers that cannot be used .*{what}"):
        Forecaster.load(tmp_path / "one")


def test_what_cannot_be_asked(one: Forecaster, tmp_path: Path):
    frame = announced("away_1")
    for options in ({"by": "team"}, {"given": frame[frame.ds >= L]}):
        with pytest.raises(DataError, match="leave given= and by= out"):
            one.predict(frame, newcomers=True, **options)
    with pytest.raises(DataError, match="conformal= has no errors of newcomers"):
        one.predict(frame, level=80, newcomers=True, conformal=make_frame(2))
    old = tiny(columns=EVERYTHING)
    old._learned(one._fitted()._replace(newcomers=None))  # as saved by an earlier version
    old.save(tmp_path / "old")
    with pytest.raises(DataError, match="newcomers=True needs held-out windows"):
        Forecaster.load(tmp_path / "old").predict(frame, newcomers=True)


def test_a_newcomer_of_a_group_that_nobody_is_seen_of_has_others_of_its_type():
    forecaster = tiny().fit(make_frame(8))
    frame = announced("away_0", "away_1", "away_2")
    found = forecaster.predict(frame, level=80, newcomers=True)
    assert len(found[found.unique_id.str.startswith("away")]) == 2 * 3 * H
    assert found.notna().all(axis=None)
    players = found[found.unique_id.str.match("home|bench")]
    middle = players.groupby(["scene", "ds"])[POINTS].mean().to_numpy()
    own = found[found.unique_id == "away_0"].sort_values(KEYS)[POINTS].to_numpy()
    np.testing.assert_allclose(own, middle, rtol=1e-5)


def test_the_command_line_answers_the_same(one: Forecaster, tmp_path: Path):
    frame = announced("away_1")
    one.save(tmp_path / "model")
    frame.to_csv(tmp_path / "scenes.csv", index=False)
    files = [str(tmp_path / name) for name in ("scenes.csv", "model")]
    for options, expected in (
        (["--level", "80"], one.predict(frame, level=80, newcomers=True)),
        (["--samples", "3"], one.sample(frame, 3, newcomers=True)),
    ):
        out = tmp_path / "forecast.csv"
        asked = ["predict", *files, "--newcomers", "--out", str(out), *options]
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 0, done.output
        pd.testing.assert_frame_equal(pd.read_csv(out), expected, rtol=1e-5)
    done = CliRunner().invoke(app, ["predict", *files, "--newcomers", "--futures", "3"])
    assert done.exit_code != 0 and "--newcomers and --futures exclude each other" in done.output
