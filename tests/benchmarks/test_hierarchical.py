"""The demand benchmarks at tiny sizes: the score, the ways there and back, every arm."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import _demand, _ets, hierarchical, long_horizon
from benchmarks._kept import once
from hierforecast import Columns, Ridge
from hierforecast.datasets import Demand
from hierforecast.metrics import Evaluation, weighted_quantile_loss

SUMMING = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], *np.eye(4)])
NODES = ("all", "a", "b", "a0", "a1", "b0", "b1")


@pytest.fixture
def demand() -> Demand:
    rng, steps = np.random.default_rng(0), 40
    season = 10 + 5 * np.sin(np.arange(steps) * np.pi / 2)
    frame = pd.DataFrame(
        {
            "ds": np.tile(np.arange(steps), 4),
            "unique_id": np.repeat(["a0", "a1", "b0", "b1"], steps),
            "group": np.repeat(["a", "a", "b", "b"], steps),
            "y": (season + rng.gamma(2.0, 1.0, (4, steps))).reshape(-1),
        }
    )
    tags = {"total": np.array(NODES[:1]), "group": np.array(NODES[1:3])}
    tags["series"] = np.array(NODES[3:])
    return Demand(frame, SUMMING, NODES, tags, Columns(group=["group"]), horizon=3, season=2)


def test_the_score_is_that_of_a_plain_loop_and_of_the_library():
    rng = np.random.default_rng(0)
    truth, draws = rng.gamma(2.0, 1.0, (5, 9)), rng.gamma(2.0, 1.0, (2, 50, 5, 3))
    cutoffs = (3, 6)
    made = [(_demand.quantiles_of(x), c) for x, c in zip(draws, cutoffs, strict=True)]
    loss = size = 0.0
    for quantiles, cutoff in made:
        for node in range(5):
            for step in range(3):
                y = truth[node, cutoff + step]
                size += abs(y)
                for at, q in enumerate(quantiles[:, node, step], start=1):
                    level = at / 20
                    loss += 2 * (level * (y - q) if y >= q else (1 - level) * (q - y)) / 19
    found = _demand.crps(iter(made), truth, 3)
    assert found == pytest.approx(loss / size, rel=1e-12)
    numerator = denominator = 0.0
    for x, cutoff in zip(draws, cutoffs, strict=True):
        seen = torch.from_numpy(truth[:, cutoff : cutoff + 3])[..., None]
        totals = weighted_quantile_loss(
            Evaluation(
                truth=seen,
                present=torch.ones(5, 3, dtype=torch.bool),
                samples=torch.from_numpy(x)[..., None],
                scene=torch.zeros(5, dtype=torch.int64),
                n_scenes=1,
            ),
            tuple(_demand.LEVELS.tolist()),
        )
        numerator += float(totals.total.sum())
        denominator += float(totals.weight.sum())
    assert found == pytest.approx(numerator / denominator, rel=1e-9)


def test_cutoffs_end_with_the_data():
    assert _demand.cutoffs_before(30, 8, 2, count=3) == [18, 20, 22]


def test_seasonal_naive_repeats_the_season_and_grows():
    past = np.array([[1.0, 5.0, 2.0, 7.0, 1.5, 6.0]])
    for empirical in (False, True):
        quantiles = _demand.seasonal_naive(past, 2, 4, empirical)
        assert quantiles.shape == (19, 1, 4) and (np.diff(quantiles, axis=0) >= 0).all()
    normal = _demand.seasonal_naive(past, 2, 4)
    np.testing.assert_allclose(normal[9, 0], [1.5, 6.0, 1.5, 6.0], atol=1e-12)
    width = normal[-1] - normal[0]
    np.testing.assert_allclose(width[0, 2:], width[0, :2] * np.sqrt(2))


def test_bottom_up_adds_variances():
    quantiles = _demand.bottom_up(np.ones((4, 1)), np.full((4, 1), 3.0), SUMMING)
    np.testing.assert_allclose(quantiles[9, :, 0], SUMMING.sum(1))
    z = 1.6448536269514722
    np.testing.assert_allclose(quantiles[-1, 0, 0], 4 + z * 6)


def test_draws_of_every_row_come_back_in_order(demand):
    level = replace(demand, frame=demand.frame.assign(y=np.repeat([10.0, 20, 30, 40], 40)))
    for every_node in (False, True):
        sums = _demand.Sums(level, Ridge(scale="series"), every_node)
        sums.forecaster.fit(sums.frame(30))
        wanted = level.add_up(level.values()) if every_node else level.values()
        np.testing.assert_allclose(np.median(sums.draws(30, 200), 0), wanted[:, :3], rtol=0.2)


@pytest.fixture
def given(demand, tmp_path, monkeypatch):
    """Options of a tiny study of one set."""
    name = "tourismsmall"
    monkeypatch.setattr(hierarchical, "DRAWS", 20)
    monkeypatch.setattr(hierarchical, "demand_of", lambda name, copies="drop": demand)
    monkeypatch.setattr(hierarchical, "cutoffs_before", lambda end, *rest: [end - 5, end - 3])
    ets = pd.DataFrame({"mean": np.full(24, 12.0), "scale": np.full(24, 3.0)})
    once(tmp_path / "fits" / name / "ets-35-2", lambda: ets)
    once(tmp_path / "fits" / name / "ets-37-1", lambda: ets[:12])
    return hierarchical.EXPERIMENTS["hierarchical"].given(tmp_path, steps=2, seeds=[0])


def test_every_arm_gives_a_score_and_both_tables_stand(given):
    one = hierarchical.EXPERIMENTS["hierarchical"]
    found = one.run(given, ["tourismsmall: *"])
    assert len(found) == 6
    scores = ("rolling", "standard")
    assert all(0 < row[score] < 2 for row in found.values() for score in scores)
    assert all(0 <= row["coverage"] <= 1 for row in found.values())
    fits = list((given.folder / "fits" / "tourismsmall").glob("series-*"))
    assert len(fits) == 2, "fitted again at every cutoff"
    rolling, coverage, standard = one.sections(found, given)
    assert list(rolling.table.index) == list(coverage.table.index) == list(hierarchical.ARMS)
    assert standard.table.loc["HierE2E (published)", "tourismsmall"] == "0.0916"


def test_coverage_counts_cells_between_the_outer_levels():
    truth = np.arange(12.0).reshape(2, 6)
    bounds = np.array([[[1, 5], [0, 9]], [[1, 3], [7, 9]]], dtype=float)
    # At cutoff 1 the truth is 1 2, 7 8; at cutoff 3 it is 3 4, 9 10.
    forecasts = [(bounds, 1), (np.stack([bounds[0], bounds[1] + 2]), 3)]
    assert _demand.covered(forecasts, truth, 2) == 5 / 8


def test_reconciled_draws_are_coherent_and_coherent_ones_stay(demand):
    draws = np.random.default_rng(0).gamma(4.0, 3.0, (6, 7, 3))
    made = _demand.reconciled(draws, demand)
    np.testing.assert_allclose(made, demand.add_up(made[:, -4:]))
    np.testing.assert_allclose(_demand.reconciled(made, demand), made, atol=1e-9)


def test_reconciled_as_the_library_does(demand):
    methods = pytest.importorskip("hierarchicalforecast.methods")
    draws = np.random.default_rng(0).gamma(9.0, 3.0, (5, 7, 3))
    flat = draws.transpose(1, 0, 2).reshape(7, 15)
    found = methods.MinTrace("wls_struct").fit_predict(S=demand.summing, y_hat=flat)["mean"]
    made = _demand.reconciled(draws, demand).transpose(1, 0, 2).reshape(7, 15)
    np.testing.assert_allclose(made, found, atol=1e-9)


def test_ets_is_computed_once(demand, tmp_path, monkeypatch):
    pytest.importorskip("statsforecast")
    mean, scale = _ets.smoothed(demand, [20, 24], False, tmp_path / "ets")
    assert mean.shape == scale.shape == (2, 4, 3) and (scale > 0).all()
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    again = _ets.smoothed(demand, [20, 24], False, tmp_path / "ets")[0]
    np.testing.assert_array_equal(again, mean)


def test_long_horizons_are_split_by_time_and_scaled_by_their_training_part():
    frame = pd.DataFrame(
        {
            "ds": np.tile(np.arange(120), 2),
            "unique_id": np.repeat(["a", "b"], 120),
            "y": np.concatenate([np.sin(np.arange(120)), 100 + np.arange(120.0)]),
        }
    )
    lengths = (80, 20, 20)
    parts = long_horizon.split(frame, lengths, context=8)
    assert [len(part) // 2 for part in parts.values()] == [80, 28, 28]
    train = parts["train"].groupby("unique_id")["y"]
    np.testing.assert_allclose(train.mean(), 0, atol=1e-9)
    np.testing.assert_allclose(train.std(ddof=0), 1)
