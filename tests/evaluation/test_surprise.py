"""Surprise: exact conditionals by series and step, whatever the order, and honest p-values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy.linalg import cho_factor, cho_solve

from hierforecast import DataError, Forecaster, HiPerformer, Ridge
from hierforecast.distributions import LowRankNormal
from hierforecast.inference import scores
from hierforecast.inference.scores import HeldOutScores, Scored, p_values
from hierforecast.nn.heads import LowRankHead, MixtureHead
from tests.helpers import H, L, make_frame, random_weights, tiny

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
STEPS = L + H


def fitted(name: str) -> Forecaster:
    # Twice as large, and differences of log densities of 1e5 lose digits.
    return random_weights(MODELS[name](), scale=1.0)


@pytest.fixture(scope="module", params=MODELS)
def forecaster(request: pytest.FixtureRequest) -> Forecaster:
    return fitted(request.param)


@pytest.fixture(scope="module")
def one() -> Forecaster:
    return fitted("memory")


def windows(seed: int = 1, missing: float = 0.15) -> pd.DataFrame:
    """Scenes of one window each, with gaps in the horizon too."""
    frame = make_frame(seed=seed, missing=missing)
    return frame[frame.ds < STEPS].copy()


def likely(forecaster: Forecaster) -> pd.DataFrame:
    """What happened is drawn from the forecast: second formulas lose digits of wild scores."""
    frame = windows()
    drawn = forecaster.sample(frame[frame.ds < L], 1, seed=0).set_index(KEYS)
    later = frame.ds >= L
    at = pd.MultiIndex.from_frame(frame.loc[later, KEYS])
    names = [next(c for c in drawn.columns if c.endswith(end)) for end in ("_x", "_y")]
    frame.loc[later, ["x", "y"]] = drawn[names].reindex(at).to_numpy()
    return frame


def truth_of(forecaster: Forecaster, frame: pd.DataFrame) -> tuple[Any, pd.DataFrame, Any, Any]:
    """The joint distribution of the horizon, its index, what happened, and where it was seen."""
    joint, index = forecaster.distribution(frame[frame.ds < L])
    table = frame.set_index(KEYS)[["x", "y"]]
    value = torch.full(joint.event_shape, torch.nan, dtype=torch.float64)
    for row, (scene, name) in enumerate(zip(index.scene, index.unique_id, strict=True)):
        for step in range(H):
            if (scene, name, L + step) in table.index:
                value[row, step] = torch.tensor(table.loc[(scene, name, L + step)].to_numpy())
    return joint, index, value, ~value.isnan().any(-1)


def test_scores_are_conditionals_and_steps_add_up(forecaster: Forecaster):
    frame = likely(forecaster)
    found = forecaster.surprise(frame)
    joint, index, value, seen = truth_of(forecaster, frame)
    assert len(found) == int(seen.sum()) and not seen.all()
    by_series = found.groupby(["scene", "unique_id"])
    total = by_series.log_prob.sum()
    first = by_series.series_log_prob.first()
    np.testing.assert_allclose(total, first, rtol=0, atol=1e-9)
    for row in range(0, len(index), 5):
        if not seen[row].any():
            continue
        own = torch.zeros_like(seen)
        own[row] = seen[row]
        rest = joint.condition(value, seen & ~own)
        expected = rest.log_prob(value, own)[joint.scene[row]]
        key = (index.scene[row], index.unique_id[row])
        np.testing.assert_allclose(first[key], expected, rtol=0, atol=1e-9)


def normal_log_density(error: np.ndarray, covariance: np.ndarray) -> float:
    root, lower = cho_factor(covariance, lower=True)
    square = error @ cho_solve((root, lower), error)
    volume = 2 * np.log(root.diagonal()).sum()
    return -0.5 * (square + volume + len(error) * np.log(2 * np.pi))


def test_dense_formula_of_a_step(one: Forecaster):
    frame = likely(one)
    found = one.surprise(frame).set_index(KEYS).log_prob
    joint, index, value, seen = truth_of(one, frame)
    rows = (joint.scene == 0).nonzero()[:, 0]
    mean, cov = joint.mean[rows].numpy(), joint.covariance(0).numpy()
    number = np.arange(mean.size).reshape(mean.shape)
    for row in range(len(rows)):
        for step in range(H):
            if not seen[rows[row], step]:
                continue
            before = seen[rows].clone()
            before[row, step:] = False
            given = number[before.numpy()].ravel()
            after = np.r_[given, number[row, step]]
            y = value[rows].numpy().ravel()
            whole, part = (
                normal_log_density(y[at] - mean.ravel()[at], cov[np.ix_(at, at)])
                for at in (after, given)
            )
            key = (index.scene[int(rows[row])], index.unique_id[int(rows[row])], L + step)
            np.testing.assert_allclose(found[key], whole - part, rtol=0, atol=1e-6)


def test_order_and_names_change_nothing(one: Forecaster):
    frame = windows()
    plain = one.surprise(frame)
    moved = frame.assign(unique_id="z" + frame.unique_id.str[::-1]).sample(frac=1, random_state=0)
    found = one.surprise(moved)
    found["unique_id"] = found.unique_id.str[1:].str[::-1]
    found = found.sort_values(KEYS).reset_index(drop=True)
    expected = plain.sort_values(KEYS).reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_exact=False, atol=1e-9)


def test_a_planted_jump_is_the_least_likely(one: Forecaster):
    frame = windows(missing=0.0)
    spoiled = frame.copy()
    here = (frame.scene == frame.scene.iloc[0]) & (frame.unique_id == "home_0") & (frame.ds >= L)
    spoiled.loc[here, "x"] += 1e4
    plain, found = one.surprise(frame), one.surprise(spoiled)
    worst = found.loc[found.series_log_prob.idxmin()]
    assert (worst.scene, worst.unique_id) == (frame.scene.iloc[0], "home_0")
    others = plain.scene != frame.scene.iloc[0]
    np.testing.assert_allclose(found.log_prob[others], plain.log_prob[others], rtol=0, atol=1e-9)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_the_frame_comes_back_in_kind_with_p_values(one: Forecaster, library: str):
    frame, held_out = windows(), windows(seed=2)
    kind = pl.from_pandas if library == "polars" else pa.Table.from_pandas
    expected = one.surprise(frame, held_out)
    found = one.surprise(kind(frame), kind(held_out))
    assert isinstance(found, pl.DataFrame if library == "polars" else pa.Table)
    answer = found.to_pandas()
    np.testing.assert_allclose(answer.series_p_value, expected.series_p_value)
    names = ["log_prob", "score", "p_value"]
    assert list(answer.columns) == [*KEYS, "cutoff", *names, *(f"series_{n}" for n in names)]
    assert expected[["p_value", "series_p_value"]].min().min() > 0
    assert expected[["p_value", "series_p_value"]].max().max() <= 1


def test_p_values_of_held_out_scores_are_uniform():
    scores = np.random.default_rng(0).normal(size=100)
    each = [p_values(scores[i : i + 1], np.sort(np.delete(scores, i)))[0] for i in range(100)]
    np.testing.assert_allclose(np.sort(each), np.arange(1, 101) / 100)
    assert p_values(np.array([-np.inf, np.inf]), np.sort(scores[:9])).tolist() == [0.1, 1.0]
    assert np.isnan(p_values(scores, scores[:0])).all()


def test_scores_are_in_standard_deviations_of_the_forecast(forecaster: Forecaster):
    frame = likely(forecaster)
    found = forecaster.surprise(frame)
    joint, index, _, seen = truth_of(forecaster, frame)
    size = joint.stddev.log().sum(-1)
    row, step = seen.nonzero(as_tuple=True)
    keys = pd.MultiIndex.from_arrays(
        [index.scene.to_numpy()[row], index.unique_id.to_numpy()[row], L + step.numpy()]
    )
    by_key = found.set_index(KEYS)
    expected = by_key.log_prob.reindex(keys).to_numpy() + size[row, step].numpy()
    np.testing.assert_allclose(by_key.score.reindex(keys), expected, rtol=0, atol=1e-9)
    mean = found.groupby(["scene", "unique_id"])[["score", "series_score"]].mean()
    np.testing.assert_allclose(mean.score, mean.series_score, rtol=1e-5)


def by_hand(frame: pd.DataFrame, held_out: pd.DataFrame, kinds: pd.Series) -> np.ndarray:
    """The share of held-out scores of one kind that are at most as high, row by row."""
    pool = held_out.drop_duplicates(["scene", "unique_id", "cutoff"])
    one = np.float32
    return np.array([
        (1 + (own.astype(one) <= one(score)).sum()) / (1 + len(own))
        for score, kind in zip(frame.series_score, frame.unique_id.map(kinds), strict=True)
        for own in [pool.series_score[pool.unique_id.map(kinds) == kind]]
    ])  # fmt: skip


def test_p_values_are_shares_of_the_same_type(one: Forecaster):
    frame, held_out = windows(), windows(seed=2)
    found, others = one.surprise(frame, held_out), one.surprise(held_out)
    kinds = frame.drop_duplicates("unique_id").set_index("unique_id").kind
    np.testing.assert_allclose(found.series_p_value, by_hand(found, others, kinds))


def test_a_fit_keeps_scores_of_what_it_held_out_and_saves_them(tmp_path):
    frame, val = make_frame(), windows(seed=7)  # windows of one cutoff each: all are kept
    forecaster = tiny().fit(frame, val)
    found, kept = forecaster.surprise(windows()), forecaster.scores_
    assert kept is not None and kept.values.shape[:2] == (2, 1 + H)
    pd.testing.assert_frame_equal(forecaster.surprise(windows(), val), found)
    assert found.p_value.between(0, 1).all() and found.p_value.nunique() > 3
    forecaster.save(tmp_path / "one")
    loaded = Forecaster.load(tmp_path / "one")
    assert torch.equal(loaded.scores_.values, kept.values)
    pd.testing.assert_frame_equal(loaded.surprise(windows()), found)


def test_without_held_out_windows_p_values_are_missing(tmp_path):
    forecaster = tiny().fit(make_frame())
    forecaster.scores_ = None  # as saved by an earlier version
    forecaster.save(tmp_path / "one")
    loaded = Forecaster.load(tmp_path / "one")
    found = loaded.surprise(windows())
    assert loaded.scores_ is None
    assert found[["p_value", "series_p_value"]].isna().all(axis=None)
    assert loaded.surprise(windows(), windows(seed=2)).p_value.notna().all()


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda x: x[:, 1:], "for"),
        (lambda x: x.double(), "float64"),
        (lambda x: x.flip(-1), "sorted"),
        (lambda x: torch.full_like(x, torch.nan), "sorted"),
    ],
)
def test_spoiled_scores_are_refused(tmp_path, spoil: Any, what: str):
    forecaster = tiny().fit(make_frame())
    forecaster.scores_ = HeldOutScores(spoil(forecaster.scores_.values))
    forecaster.save(tmp_path / "one")
    with pytest.raises(DataError, match=f"held-out scores that cannot be used .*{what}"):
        Forecaster.load(tmp_path / "one")


def test_few_scores_are_kept_of_each_type_and_gaps_have_none():
    score = np.random.default_rng(0).normal(size=(50, 3))
    score[:5, 1] = np.nan
    score[5] = np.nan
    rows, types = np.arange(50), np.arange(50) % 2
    scored = Scored(rows, rows, types, score, score)
    every = HeldOutScores.of(scored, 3)
    assert every.values.shape == (3, 4, 25)
    assert (every.values < np.inf).sum((0, 2)).tolist() == [49, 49, 44, 49]
    assert list(every.lacks(np.array([0, 1, 2]))) == [2]
    few = HeldOutScores.of(scored, 3, most=10)
    assert few.values.shape == (3, 4, 10)
    assert np.isin(few.values[0, 1], every.values[0, 1]).all()
    ranks = every.p_values(scored._replace(types=np.full(50, 2)))
    assert np.isnan(ranks).all()


def test_errors_name_what_is_wrong(one: Forecaster):
    frame = windows()
    with pytest.raises(DataError, match=r"n_windows=99 is more than there are"):
        one.surprise(frame, n_windows=99)
    with pytest.raises(DataError, match=r"held_out has no outcome of a series of group type 'ball"):
        one.surprise(frame, frame[(frame.kind != "ball") | (frame.ds < L)])


def test_a_fit_keeps_no_scores_that_would_take_long(monkeypatch):
    assert tiny().fit(make_frame()).scores_ is not None
    monkeypatch.setattr(scores, "WORK", 1)
    assert tiny().fit(make_frame()).scores_ is None


def test_a_fit_keeps_no_scores_of_a_family_without_a_formula(monkeypatch):
    monkeypatch.setattr(LowRankNormal, "has_conditionals", False)
    forecaster = tiny().fit(make_frame())
    assert forecaster.scores_ is None
    assert forecaster.surprise(windows()).p_value.isna().all()
