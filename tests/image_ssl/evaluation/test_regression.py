"""R², ridge and the small network against other implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import (
    QUANTITIES,
    TARGETS,
    YES_NO,
    Features,
    MLPProbe,
    RidgeProbe,
    r2,
    r2_per_dimension,
    r2_pooled,
    transformation_sets,
)
from hierforecast.image_ssl.evaluation.probe import hold_out
from hierforecast.image_ssl.evaluation.regression import PENALTIES
from hierforecast.image_ssl.evaluation.targets import standardization


def linear_data(n: int = 60, d: int = 5, k: int = 3) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, d, dtype=torch.float64) * torch.logspace(-2, 2, d) + 3
    return x, x @ torch.randn(d, k, dtype=torch.float64) + torch.randn(n, k, dtype=torch.float64)


# R²


def test_r2_against_scikit_learn_and_by_hand():
    wanted = torch.randn(50, 3) * torch.tensor([0.1, 1.0, 10.0]) + 5
    predicted = wanted + torch.randn(50, 3)
    each = r2_score(wanted.double().numpy(), predicted.double().numpy(), multioutput="raw_values")
    assert np.allclose(r2_per_dimension(predicted, wanted), each)
    assert r2(predicted, wanted) == pytest.approx(each.mean())
    for column in range(3):
        error = sum(
            (float(p) - float(w)) ** 2
            for p, w in zip(predicted[:, column], wanted[:, column], strict=True)
        )
        spread = 50 * np.var(wanted[:, column].double().numpy())
        assert float(r2_per_dimension(predicted, wanted)[column]) == pytest.approx(
            1 - error / spread
        )
    # One mean for all dimensions flatters.
    pooled = 1 - float(
        (predicted - wanted).square().sum() / (wanted - wanted.mean()).square().sum()
    )
    assert r2_pooled(predicted, wanted) == pytest.approx(pooled)
    assert pooled > r2(predicted, wanted) + 1


def test_a_constant_prediction_of_small_rotations_by_both_definitions():
    """SIE's definition pays it for knowing that cosines are large and sines are around zero."""
    turns = transformation_sets()["rot"]
    drawn = [turns.draw((4000, 3, 9, 9), torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    wanted = TARGETS["rotation"].values(turns.relative(*drawn))
    score = QUANTITIES.score(wanted.mean(0).expand_as(wanted), wanted)
    assert score.metric == "R2" and score.value == pytest.approx(0, abs=1e-6)
    assert score.others == {"pooled R2": pytest.approx(0.49, abs=0.01)}


@pytest.mark.parametrize(
    ("predicted", "wanted", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 1), "must both be"),
        (torch.zeros(3, 1), torch.full((3, 1), 0.1), "dimension 0 is the same in all 3 rows"),
        (torch.full((3, 1), torch.nan), torch.rand(3, 1), "NaN or infinite"),
    ],
)
def test_r2_that_is_not_defined(predicted, wanted, message):
    with pytest.raises(DataError, match=message):
        r2(predicted, wanted)


# The linear probe


@pytest.mark.parametrize(("n", "d"), [(60, 5), (30, 80)])
@pytest.mark.parametrize("penalty", [1e-4, 0.1, 10.0])
def test_ridge_against_scikit_learn(n, d, penalty):
    x, y = linear_data(n, d)
    queries = linear_data(20, d)[0]
    mean, scale = x.mean(0), x.std(0, correction=0)
    oracle = Ridge(alpha=n * penalty).fit(((x - mean) / scale).numpy(), y.numpy())
    wanted = oracle.predict(((queries - mean) / scale).numpy())
    assert np.allclose(
        RidgeProbe(penalties=[penalty]).fit(Features(x, y)).predict(queries), wanted, atol=1e-6
    )


def test_the_penalty_is_the_best_on_the_held_out_fifth():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(60, 40, generator=generator)
    y = x[:, :1] + 2 * torch.randn(60, 1, generator=generator)
    probe = RidgeProbe(seed=5).fit(Features(x, y))
    learned, held = hold_out(60, 5)
    assert len(held) == 12 and sorted([*learned.tolist(), *held.tolist()]) == list(range(60))
    mean, scale = standardization(x[learned].double())
    z = (x.double() - mean) / scale
    errors = {}
    for penalty in PENALTIES:
        oracle = Ridge(alpha=len(learned) * penalty).fit(z[learned].numpy(), y[learned].numpy())
        found = oracle.predict(z[held].numpy()).reshape(-1, 1)
        errors[penalty] = float(((found - y[held].numpy()) ** 2).mean())
    best = min(errors, key=errors.get)
    assert min(PENALTIES) < best < max(PENALTIES)  # else there was nothing to choose
    assert probe.penalty == best
    refitted = RidgeProbe(penalties=[best]).fit(Features(x, y))  # on all rows
    assert torch.equal(probe.predict(x), refitted.predict(x))


def test_yes_and_no():
    x = torch.randn(200, 6)
    y = (x[:, :1] > 0.3).float()
    data = Features(x, y)
    for probe in (RidgeProbe, MLPProbe):
        score = probe(YES_NO).fit(data).score(data)
        assert score.metric == "accuracy" and score.value > 0.93 and not score.others
    chances = MLPProbe(YES_NO).fit(data).predict(x)
    assert float(chances.min()) >= 0 and float(chances.max()) <= 1


# The small network


def test_the_network_learns_a_product_and_a_line_does_not():
    x = torch.randn(1500, 4)
    y = torch.stack([x[:, 0] * x[:, 1], 100 + 20 * x[:, 2] * x[:, 3]], dim=1)
    train, test = Features(x[:1000], y[:1000]), Features(x[1000:], y[1000:])
    assert MLPProbe(hidden=64).fit(train).score(test).value > 0.8
    assert RidgeProbe().fit(train).score(test).value < 0.1


def test_the_network_says_the_mean_where_features_tell_nothing():
    x, y = torch.randn(600, 100), torch.randn(600, 2)
    probe = MLPProbe(hidden=32).fit(Features(x[:300], y[:300]))
    assert -0.1 < probe.score(Features(x[300:], y[300:])).value < 0.05


def test_the_same_seed_gives_the_same_network_and_touches_no_other_draw():
    x, y = torch.randn(100, 5), torch.randn(100, 2)

    def predicted(seed: int) -> Tensor:
        return MLPProbe(seed=seed, hidden=16).fit(Features(x, y)).predict(x)

    torch.manual_seed(1)
    first = predicted(3)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    torch.manual_seed(2)
    assert torch.equal(predicted(3), first)
    assert not torch.equal(predicted(4), first)


@pytest.mark.parametrize("probe", [RidgeProbe(), MLPProbe()])
def test_rows_that_cannot_teach(probe):
    with pytest.raises(DataError, match="19 rows are too few"):
        probe.fit(Features(torch.rand(19, 2), torch.rand(19, 1)))
    with pytest.raises(DataError, match=r"must be \(n, d\)"):
        probe.fit(Features(torch.rand(30, 2), torch.arange(30)))
    bad = torch.rand(30, 1)
    bad[7] = torch.nan
    with pytest.raises(DataError, match=r"targets of 1 of 30 rows are NaN.*row 7"):
        probe.fit(Features(torch.rand(30, 2), bad))


@pytest.mark.parametrize("penalties", [(), (0.0, 1.0)])
def test_penalties_must_be_positive(penalties):
    with pytest.raises(DataError, match="penalties are"):
        RidgeProbe(penalties=penalties).fit(Features(torch.rand(30, 2), torch.rand(30, 1)))
