"""Imputation: the conditional distribution of what was not observed, from frame to frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from hierforecast import Columns, ConstantVelocity, DataError, Forecaster, HiPerformer
from hierforecast.cli import app
from hierforecast.errors import SeriesDroppedWarning
from hierforecast.inference.imputing import _Work
from hierforecast.nn.heads import CoupledHead, LowRankHead, MixtureHead
from tests.helpers import EVERYTHING, QUIET, H, make_frame, random_weights, tiny

KEYS = ["scene", "unique_id", "ds"]
HEADS: dict[str, Any] = {
    "memory": LowRankHead(3, 2, memory=2),
    "coupled": CoupledHead(),
    "mixture": MixtureHead(3, 2, 2, memory=2),
    "rows": "rows",
}


def fitted(head: Any, **options: Any) -> Forecaster:
    """Whose gaps are as wide as its distribution says; for others see `test_widths`."""
    forecaster = random_weights(HiPerformer(16, 1, 2, patch=4, head=head), **options)
    forecaster.gap_widths_ = None
    return forecaster


@pytest.fixture(scope="module", params=HEADS)
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    return fitted(HEADS[request.param])


@pytest.fixture(scope="module")
def one() -> Forecaster:
    return fitted(HEADS["memory"])


def hide(frame: pd.DataFrame, series: str, steps: range) -> pd.DataFrame:
    return frame[~((frame.unique_id == series) & frame.ds.isin(steps))]


def gappy(gap: int = 2) -> pd.DataFrame:
    """Whole scenes of 24 steps in which two series vanish late, and one of them ends unseen."""
    frame = make_frame(2, missing=0.0, seed=1)
    frame = hide(frame, "home_1", range(13, 13 + gap))
    frame = hide(frame, "away_2", range(14, 14 + gap))
    return frame.reset_index(drop=True)


def table(frame: Any) -> pd.DataFrame:
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()


def numbers(frame: pd.DataFrame) -> np.ndarray:
    return frame.sort_values(KEYS).drop(columns=KEYS).to_numpy(float)


def test_a_gap_is_the_conditional_of_a_forecast(forecaster: Forecaster):
    """Of the window that begins where the first series vanishes, given all that came after."""
    frame = gappy()
    found = forecaster.impute(frame, level=[80], quantiles=[0.3])
    history, later = frame[frame.ds < 13], frame[frame.ds.between(13, 13 + H - 1)]
    expected = forecaster.predict(history, level=[80], quantiles=[0.3], given=later)
    missing = expected.merge(found[KEYS], on=KEYS)
    assert len(missing) == len(found) == 2 * 2 * 2
    assert list(found) == list(missing)
    np.testing.assert_allclose(numbers(found), numbers(missing), rtol=0, atol=1e-7)


def test_draws_are_those_of_that_conditional_and_joint(one: Forecaster):
    frame = gappy()
    point, draws = one.impute(frame), one.impute(frame, n=400, seed=3)
    assert draws.equals(one.impute(frame, n=400, seed=3))
    assert not draws.equals(one.impute(frame, n=400, seed=4))
    assert len(draws) == 400 * len(point)
    assert draws[KEYS].iloc[: len(point)].equals(point[KEYS])
    each = draws.HiPerformer_x.to_numpy().reshape(400, -1)
    error = each.std(0) / np.sqrt(400)
    assert (np.abs(each.mean(0) - point.HiPerformer_x) < 5 * error).all()
    history, later = frame[frame.ds < 13], frame[frame.ds.between(13, 13 + H - 1)]
    sampled = one.sample(history, 4_000, given=later).merge(point[KEYS], on=KEYS)
    wanted = np.corrcoef(sampled.HiPerformer_x.to_numpy().reshape(4_000, -1).T)
    assert np.abs(np.corrcoef(each.T) - wanted).max() < 0.25


def test_gaps_that_end_in_a_window_know_their_end(one: Forecaster):
    """Moving the place where a series reappears moves the path before it, of others too."""
    frame = gappy()
    moved = frame.copy()
    moved.loc[(moved.unique_id == "home_1") & (moved.ds == 15), "x"] += 30
    change = (one.impute(moved).HiPerformer_x - one.impute(frame).HiPerformer_x).abs()
    point = one.impute(frame)
    assert (change[point.unique_id == "home_1"] > 0.1).all()
    assert (change[point.unique_id == "away_2"] > 0).all()


@pytest.mark.parametrize("own", [False, True])
def test_long_gaps_go_on_from_their_own_pieces(one: Forecaster, own: bool):
    """What a later piece sees of an earlier one is as if it had been observed."""
    frame = hide(make_frame(1, missing=0.0, seed=1), "home_1", range(12, 19))
    given: dict[str, Any] = {"n": 2, "seed": 0} if own else {}
    with pytest.warns(UserWarning, match=r"up to 7 steps \(1 of them\) do not fit in prediction"):
        whole = one.impute(frame, **given)
    if own:
        whole = whole[whole.sample_id == 1].drop(columns="sample_id")
    names = {"HiPerformer_x": "x", "HiPerformer_y": "y"}
    labels = frame[frame.unique_id == "home_1"][["scene", "unique_id", "team", "kind"]]
    half = whole[whole.ds < 12 + H // 2].rename(columns=names).assign(**labels.iloc[0])
    with pytest.warns(UserWarning, match="up to 5 steps"):
        rest = one.impute(pd.concat([frame, half], ignore_index=True))
    both = rest.merge(whole, on=KEYS)
    assert len(both) == len(rest) == 7 - H // 2
    # The next piece is a draw around what the frame so completed says; the point is just that.
    error = np.abs(both.HiPerformer_x_x - both.HiPerformer_x_y)
    assert (error.max() < 1e-7) != own


def test_bounds_of_long_gaps_know_that_earlier_pieces_are_unsure(monkeypatch):
    """They are as wide as draws, which go on each from its own path; the broken twin's are not."""
    one = tiny(HiPerformer(16, 1, 2, patch=4, head=HEADS["memory"]), max_steps=30)
    one = one.fit(make_frame(20, missing=0.0, seed=2))
    frame = make_frame(5, missing=0.0, seed=1)
    frame = hide(frame, "home_1", range(12, 23)).reset_index(drop=True)
    with pytest.warns(UserWarning, match="do not fit"):
        draws = one.impute(frame, n=120, seed=0)
        found = one.impute(frame, level=[80], quantiles=[0.1, 0.5])
        monkeypatch.setattr(_Work, "_widen", lambda self, part: None)
        twin = one.impute(frame, level=[80])
    each = draws.HiPerformer_x.to_numpy().reshape(120, -1)
    wanted = np.subtract(*np.quantile(each, [0.9, 0.1], axis=0))
    late = found.ds.to_numpy() >= 16  # not of the first piece
    ratio, narrow = (
        ((x["HiPerformer_x-hi-80"] - x["HiPerformer_x-lo-80"]).to_numpy() / wanted)[late].mean()
        for x in (found, twin)
    )
    assert 0.9 < ratio < 1.2 and narrow < 0.75 * ratio
    assert (found["HiPerformer_x"] == twin["HiPerformer_x"]).all(), "points are what they were"
    low = found["HiPerformer_x-lo-80"], found["HiPerformer_x-q-10"]
    np.testing.assert_allclose(*low, atol=1e-6)
    early = found.ds < 14
    assert (found["HiPerformer_x-hi-80"] == twin["HiPerformer_x-hi-80"])[early].all()


def test_before_a_series_is_seen_time_runs_backward(one: Forecaster):
    frame = hide(make_frame(1, missing=0.0, seed=1), "home_1", range(3))
    mirrored = frame.assign(ds=23 - frame.ds)
    there = one.impute(mirrored)
    found = one.impute(frame)
    assert list(found.ds) == [0, 1, 2] and list(there.ds) == [21, 22, 23]
    np.testing.assert_allclose(
        found.HiPerformer_x.to_numpy(), there.HiPerformer_x.to_numpy()[::-1], atol=1e-7
    )


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames_in_and_frames_out(one: Forecaster, library: str):
    make = {"pandas": lambda f: f, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}
    frame = gappy().sample(frac=1, random_state=0).reset_index(drop=True)
    native = make[library](frame)
    kept = table(native).copy()
    found = one.impute(native, level=90)
    assert type(found) is type(native)
    assert table(native).equals(kept)
    # Of observed steps there is no row, of every other one there is.
    both = table(found).merge(frame, on=KEYS, how="left", indicator=True)
    assert (both["_merge"] == "left_only").all() and len(both) == 8
    expected = one.impute(gappy(), level=90)
    np.testing.assert_allclose(numbers(table(found)), numbers(expected), atol=1e-8)
    empty = one.impute(make[library](make_frame(1, missing=0.0)))
    assert len(table(empty)) == 0 and list(table(empty)) == [
        *KEYS,
        "HiPerformer_x",
        "HiPerformer_y",
    ]


def test_a_row_without_numbers_and_no_row_are_the_same(one: Forecaster):
    whole, frame = make_frame(2, missing=0.0, seed=1), gappy()
    nan = whole.merge(frame[KEYS], on=KEYS, how="left", indicator=True)
    gone = nan.pop("_merge") == "left_only"
    nan.loc[gone, "x"] = np.nan
    assert gone.sum() == 8
    pd.testing.assert_frame_equal(one.impute(nan), one.impute(frame))


def test_an_unseen_series_does_not_matter(one: Forecaster):
    frame = gappy()
    ghost = frame[frame.unique_id == "bench_1"].assign(x=np.nan, y=np.nan)
    rest = frame[frame.unique_id != "bench_1"]
    with pytest.warns(SeriesDroppedWarning, match="2 series.*bench_1"):
        found = one.impute(pd.concat([rest, ghost], ignore_index=True))
    np.testing.assert_allclose(numbers(found), numbers(one.impute(rest)), atol=1e-8)


def test_covariates_stay_where_they_are(tmp_path: Path):
    """Those known in advance are needed at no step beyond the frame."""
    forecaster = fitted("auto", columns=EVERYTHING)
    frame = make_frame(2, seed=1)
    found = forecaster.impute(frame)
    steps = frame.groupby("scene").ds.agg(lambda x: x.max() - x.min() + 1)
    assert len(found) == 9 * steps.sum() - len(frame)
    assert found[["HiPerformer_x", "HiPerformer_y"]].notna().all(axis=None)
    forecaster.save(tmp_path / "model")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "model").impute(frame), found)


def test_demand_is_not_asked_before_it_begins():
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=140)
    frame = pd.concat(
        [
            pd.DataFrame({"unique_id": f"s{i}", "ds": days, "y": rng.poisson(9.0, 140) + 0.0})
            for i in range(4)
        ]
    )
    lengths = {"context_length": 28, "prediction_length": 7}
    plan = {"columns": Columns(group=None), "max_steps": 4, "trainer": QUIET, **lengths}
    forecaster = Forecaster(HiPerformer(16, 1, 2), **plan).fit(frame)
    gone = (frame.unique_id == "s0") & frame.ds.isin(days[100:104])
    gone |= (frame.unique_id == "s1") & frame.ds.isin(days[:5])
    with pytest.warns(SeriesDroppedWarning, match="unique_id 's1'"):
        found = forecaster.impute(frame[~gone], level=90)
    assert list(found.unique_id.unique()) == ["s0"] and list(found.ds) == list(days[100:104])
    assert (found[["HiPerformer", "HiPerformer-lo-90"]] >= 0).all(axis=None)


def test_baselines_fill_gaps_too():
    forecaster = tiny(ConstantVelocity()).fit(make_frame())
    assert len(forecaster.impute(gappy())) == 8


def test_what_cannot_be_asked(one: Forecaster):
    with pytest.raises(DataError, match="n= gives draws"):
        one.impute(gappy(), level=90, n=3)
    with pytest.raises(DataError, match="n=0"):
        one.impute(gappy(), n=0)


def test_the_command_line_answers_the_same(one: Forecaster, tmp_path: Path):
    one.save(tmp_path / "model")
    gappy().to_csv(tmp_path / "scenes.csv", index=False)
    files = [str(tmp_path / name) for name in ("scenes.csv", "model")]
    for options, expected in (
        (["--level", "80"], one.impute(gappy(), level=80)),
        (["--samples", "3", "--seed", "1"], one.impute(gappy(), n=3, seed=1)),
    ):
        out = tmp_path / "filled.csv"
        done = CliRunner().invoke(app, ["impute", *files, "--out", str(out), *options])
        assert done.exit_code == 0, done.output
        pd.testing.assert_frame_equal(pd.read_csv(out), expected, rtol=1e-6)
    done = CliRunner().invoke(app, ["impute", *files, "--samples", "3", "--level", "80"])
    assert done.exit_code != 0 and "--samples and --level exclude each other" in done.output


def test_draws_of_windows_that_show_what_was_filled_stand_beside_those_of_others(one: Forecaster):
    """The second window of one scene shows its first gap, that of the other does not."""
    frame, gaps = make_frame(2, steps=60, missing=0.0, seed=1), {0: (12, 17), 1: (12, 45)}
    for scene, starts in gaps.items():
        gone = frame.ds.isin([start + k for start in starts for k in (0, 1)])
        frame = frame[~(gone & (frame.scene == scene) & (frame.unique_id == "home_1"))]
    found = one.impute(frame, n=3, seed=0)
    assert (found.groupby(["sample_id", "scene"]).size() == 4).all()
    assert len(found) == 3 * 8 and found.HiPerformer_x.notna().all()
    for scene in gaps:
        alone = one.impute(frame[frame.scene == scene])
        points = one.impute(frame)
        points = points[points.scene == scene].reset_index(drop=True)
        np.testing.assert_allclose(numbers(points), numbers(alone), atol=1e-6)
