"""Metric values against slow loops, scoringrules and cases by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import scoringrules
import torch

from hierforecast.metrics import (
    METRICS,
    Evaluation,
    crps,
    energy_score,
    mean_of,
    min_ade,
    min_jade,
    sample_quantiles,
)
from tests.metrics.slow_metrics import SLOW, K, make, scene_vectors, slow_joint, two_agents


@pytest.mark.parametrize("name", METRICS)
def test_equals_slow_loops(name: str) -> None:
    for evaluation in (make(0), make(1, missing=0.0)):
        assert SLOW[name](evaluation) not in (0, 1)
        assert METRICS[name](evaluation) == pytest.approx(SLOW[name](evaluation), rel=1e-10)


@pytest.mark.parametrize("name", METRICS)
def test_subset_equals_slow_loops(name: str) -> None:
    evaluation = make(2)
    mask = np.random.default_rng(0).random(len(evaluation.truth)) < 0.6
    part = evaluation.subset(mask)
    if METRICS[name].needs == "distribution":
        with pytest.raises(ValueError, match="log_prob"):
            METRICS[name](part)
        return
    assert METRICS[name](part) == pytest.approx(SLOW[name](part), rel=1e-10)
    assert METRICS[name](part) == METRICS[name](evaluation.subset(mask.nonzero()[0]))
    assert METRICS[name](part) != METRICS[name](evaluation)


# --- the oracle --------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ["fair", "nrg"])
@pytest.mark.parametrize("k", [5, 6])  # odd and even: shifted pairs end differently
def test_sample_scores_equal_scoringrules(estimator: str, k: int) -> None:
    evaluation = make(3)
    evaluation = replace(evaluation, samples=evaluation.samples[:k])
    here = evaluation.present
    expected = scoringrules.crps_ensemble(
        evaluation.truth[here],
        evaluation.samples[:, here],
        m_axis=0,
        estimator=estimator,
        backend="torch",
    )
    torch.testing.assert_close(crps(evaluation, estimator).total[here], expected)
    scores = [
        scoringrules.es_ensemble(y, x, estimator=estimator, backend="numpy")
        for x, y in scene_vectors(evaluation)
    ]
    assert float(mean_of(energy_score(evaluation, estimator))) == pytest.approx(np.mean(scores))


def test_fair_scores_are_unbiased_in_the_number_of_samples() -> None:
    """Standard normal against truth 0: CRPS = 2 pdf(0) - 1/sqrt(pi), for K = 2 as for many."""
    torch.manual_seed(0)
    zeros = torch.zeros(40_000, 1, 1)
    evaluation = Evaluation(
        zeros,
        zeros[..., 0] == 0,
        torch.arange(40_000),
        40_000,
        samples=torch.randn(2, 40_000, 1, 1),
    )
    exact = math.sqrt(2 / math.pi) - 1 / math.sqrt(math.pi)
    assert METRICS["crps"](evaluation) == pytest.approx(exact, abs=0.01)
    assert METRICS["energy_score"](evaluation) == pytest.approx(exact, abs=0.01)
    assert METRICS["crps"].using(estimator="nrg")(evaluation) > exact + 0.2


# --- by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mae", 7 / 4),
        ("rmse", 5 / 2),
        ("ade", 5 / 2),
        ("min_ade", 1 / 2),
        ("min_jade", 5 / 2),
        ("min_jfde", 5 / 2),
        ("miss_rate", 0.0),
        ("nll", 8.0),
        ("nll_per_coordinate", 2.0),
        ("energy_score", (5 + math.sqrt(37)) / 2 - math.sqrt(9 + 9 + 36) / 2),
        ("crps", ((3 / 2 - 3 / 2) + (5 / 2 - 3 / 2) + (6 / 2 - 6 / 2) + 0) / 4),
        ("crps_sum", ((9 / 2 - 3 / 2) + (5 / 2 - 3 / 2)) / 2),
    ],
)
def test_by_hand(name: str, expected: float) -> None:
    assert METRICS[name](two_agents()) == pytest.approx(expected, rel=1e-6)


def test_final_errors_are_at_the_last_step_only() -> None:
    """A row that ends early counts for ADE, not for FDE at its own last step."""
    present = torch.tensor([[True, True], [True, False]])
    point = torch.tensor([[[1.0], [3.0]], [[8.0], [torch.nan]]])
    evaluation = Evaluation(torch.zeros(2, 2, 1), present, torch.zeros(2), 1, point=point)
    assert METRICS["ade"](evaluation) == (2 + 8) / 2  # mean of rows, not of the three cells (4)
    assert METRICS["fde"](evaluation) == 3
    assert METRICS["mae"](evaluation) == 4


def test_miss_rate_counts_what_exceeds_the_threshold() -> None:
    """The best samples of the two agents err by 1 and 0."""
    shares = [METRICS["miss_rate"].using(threshold=t)(two_agents()) for t in (0.0, 0.99, 1.0)]
    assert shares == [0.5, 0.5, 0.0]
    assert METRICS["miss_rate"].using(threshold=1.0, k=1)(two_agents()) == 0.5


def test_quantiles_interpolate_and_show_nan() -> None:
    samples = torch.tensor([[0.0, 0.0], [1.0, 1.0], [4.0, torch.nan]])
    quantiles = sample_quantiles(samples, (0.0, 0.25, 0.75, 1.0))
    assert quantiles[:, 0].tolist() == [0.0, 0.5, 2.5, 4.0]
    assert quantiles[:, 1].isnan().all()
    assert sample_quantiles(samples[:1], (0.1, 0.9)).tolist() == [[0.0, 0.0]] * 2


def test_interval_of_samples() -> None:
    ranks = torch.arange(11.0).flip(0).view(11, 1, 1, 1)
    evaluation = Evaluation(
        torch.full((1, 1, 1), 9.9), torch.ones(1, 1), torch.zeros(1), 1, samples=ranks
    )
    interval = evaluation.with_interval(80)
    assert (interval.lower.item(), interval.upper.item()) == pytest.approx((0.2, 9.8))
    assert METRICS["coverage"](interval) == 0
    assert METRICS["width"](interval) == pytest.approx(9.6)
    assert METRICS["coverage"](evaluation.with_interval(95)) == 1
    with pytest.raises(ValueError, match=r"level=-0\.9 must lie between 0 and 100 \(percent\)"):
        evaluation.with_interval(-0.9)


def test_intervals_of_a_few_samples_cover_what_they_say() -> None:
    """Of 20 draws and a truth of one kind; between plain order statistics .81 of .90 would lie."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(21, 100, 100, 1, generator=generator)
    scene = torch.zeros(100, dtype=torch.int64)
    evaluation = Evaluation(drawn[0], torch.ones(100, 100), scene, 1, samples=drawn[1:])
    for level in (50, 80, 90):
        covered = METRICS["coverage"](evaluation.with_interval(level))
        assert covered == pytest.approx(level / 100, abs=0.015)


# --- marginal and joint --------------------------------------------------------------------------


def test_best_of_k_falls_with_k() -> None:
    evaluation = make(4)
    for name in ("min_ade", "min_fde", "min_jade", "min_jfde", "miss_rate"):
        values = [METRICS[name].using(k=k)(evaluation) for k in range(1, K + 1)]
        assert all(a >= b for a, b in pairwise(values))
        assert values[0] > values[-1]
        assert values[-1] == METRICS[name](evaluation)


def test_joint_is_at_least_marginal_in_every_scene() -> None:
    evaluation = make(5)
    marginal, joint = min_ade(evaluation), min_jade(evaluation)
    mean = evaluation.scene_sum(marginal.total) / evaluation.scene_sum(marginal.weight)
    here = joint.weight > 0
    assert (joint.total[here] >= mean[here]).all()
    assert (joint.total[here] > mean[here] + 1e-3).any()


@pytest.mark.parametrize("name", ["min_jade", "min_jfde"])
def test_broken_twin_is_told_apart(name: str) -> None:
    """Taking the minimum before the mean over agents gives something else, and is better."""
    evaluation = make(6)
    broken = slow_joint(evaluation, final=name == "min_jfde", broken=True)
    assert METRICS[name](evaluation) > broken + 0.01


def test_joint_scores_see_dependence_and_marginal_ones_do_not() -> None:
    """Shuffling the samples of each row on its own keeps marginals and breaks the joint."""
    evaluation = make(7, missing=0.0)
    order = torch.rand(evaluation.samples.shape[:2]).argsort(0)[..., None, None]
    shuffled = replace(
        evaluation, samples=evaluation.samples.gather(0, order.expand_as(evaluation.samples))
    )
    for name in ("min_ade", "crps", "quantile_loss"):
        assert METRICS[name](shuffled) == pytest.approx(METRICS[name](evaluation), rel=1e-12)
    for name in ("min_jade", "crps_sum", "energy_score"):
        assert METRICS[name](shuffled) != pytest.approx(METRICS[name](evaluation), rel=1e-6)


def test_noise_on_every_step_is_rough_and_a_shift_is_not() -> None:
    """Straight truths would divide by zero: samples are held to one bend."""
    truth = torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0])[None, :, None]
    shifted, jagged = truth + 3, truth + torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0])[None, :, None]
    present, scene = torch.ones(1, 5), torch.zeros(1)
    shift = Evaluation(truth, present, scene, 1, samples=shifted[None])
    both = Evaluation(truth, present, scene, 1, samples=torch.stack([shifted, jagged]))
    assert METRICS["roughness"](shift) == METRICS["path_length"](shift) == 1
    assert METRICS["roughness"](both) == (1 + (2 + 3 + 2)) / 2
    assert METRICS["path_length"](both) == (2 + (1 + 1 + 2 + 0)) / 2 / 2
    assert METRICS["roughness"].best_of([0.2, 1.1, 3.0]) == 1.1
