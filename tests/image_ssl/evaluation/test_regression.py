"""R², ridge and the small network against other implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import (
    fit_ridge,
    mlp_probe,
    r2,
    r2_per_dimension,
    ridge_probe,
)
from hierforecast.image_ssl.evaluation.probe import standards
from hierforecast.image_ssl.evaluation.regression import PENALTIES, _split


def linear_data(n: int = 60, d: int = 5, k: int = 3) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, d, dtype=torch.float64) * torch.logspace(-2, 2, d) + 3
    return x, x @ torch.randn(d, k, dtype=torch.float64) + torch.randn(n, k, dtype=torch.float64)


# R²


def test_r2_against_scikit_learn_and_by_hand():
    wanted = torch.randn(50, 3) * torch.tensor([0.1, 1.0, 10.0]) + 5
    predicted = wanted + torch.randn(50, 3)
    each = r2_score(wanted.double(), predicted.double(), multioutput="raw_values")
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
    # One mean for all dimensions, a known trap, would flatter.
    trap = 1 - float((predicted - wanted).square().sum() / (wanted - wanted.mean()).square().sum())
    assert trap > r2(predicted, wanted) + 1


def test_r2_of_what_knows_nothing():
    wanted = torch.randn(40, 2)
    assert r2(wanted.mean(0).expand(40, 2), wanted) == pytest.approx(0, abs=1e-6)
    assert r2(-wanted, wanted) < -1
    assert r2(wanted, wanted) == 1


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
    asked = linear_data(20, d)[0]
    mean, scale = x.mean(0), x.std(0, correction=0)
    oracle = Ridge(alpha=n * penalty).fit(((x - mean) / scale).numpy(), y.numpy())
    wanted = oracle.predict(((asked - mean) / scale).numpy())
    assert np.allclose(fit_ridge(x, y, penalty)(asked), wanted, atol=1e-6)


def test_the_penalty_is_the_best_on_the_held_out_fifth():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(60, 40, generator=generator)
    y = x[:, :1] + 2 * torch.randn(60, 1, generator=generator)
    learnt = ridge_probe(x, y, seed=5)
    taught, held = _split(60, 5)
    assert len(held) == 12 and sorted([*taught.tolist(), *held.tolist()]) == list(range(60))
    mean, scale = standards(x[taught].double())
    z = (x.double() - mean) / scale
    errors = {}
    for penalty in PENALTIES:
        oracle = Ridge(alpha=len(taught) * penalty).fit(z[taught].numpy(), y[taught].numpy())
        found = oracle.predict(z[held].numpy()).reshape(-1, 1)
        errors[penalty] = float(((found - y[held].numpy()) ** 2).mean())
    best = min(errors, key=errors.get)
    assert min(PENALTIES) < best < max(PENALTIES)  # else there was nothing to choose
    assert learnt.settings["penalty"] == best
    assert torch.equal(learnt.predict(x), fit_ridge(x, y, best)(x))  # refitted on all rows


def test_yes_and_no():
    x = torch.randn(200, 6)
    y = (x[:, :1] > 0.3).float()
    for probe in (ridge_probe, mlp_probe):
        found = probe(x, y, True, 0).predict(x)
        assert float(((found > 0.5) == (y > 0.5)).float().mean()) > 0.93
    chances = mlp_probe(x, y, True, 0).predict(x)
    assert float(chances.min()) >= 0 and float(chances.max()) <= 1


# The small network


def test_the_network_learns_a_product_and_a_line_does_not():
    x = torch.randn(1500, 4)
    y = torch.stack([x[:, 0] * x[:, 1], 100 + 20 * x[:, 2] * x[:, 3]], dim=1)
    learnt = mlp_probe(x[:1000], y[:1000], hidden=64)
    assert r2(learnt.predict(x[1000:]), y[1000:]) > 0.8
    line = ridge_probe(x[:1000], y[:1000]).predict(x[1000:])
    assert r2(line, y[1000:]) < 0.1


def test_the_network_says_the_mean_where_features_tell_nothing():
    x, y = torch.randn(600, 100), torch.randn(600, 2)
    learnt = mlp_probe(x[:300], y[:300], hidden=32)
    assert -0.1 < r2(learnt.predict(x[300:]), y[300:]) < 0.05


def test_the_same_seed_gives_the_same_network_and_touches_no_other_draw():
    x, y = torch.randn(100, 5), torch.randn(100, 2)
    torch.manual_seed(1)
    first = mlp_probe(x, y, seed=3, hidden=16).predict(x)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    torch.manual_seed(2)
    assert torch.equal(mlp_probe(x, y, seed=3, hidden=16).predict(x), first)
    assert not torch.equal(mlp_probe(x, y, seed=4, hidden=16).predict(x), first)


@pytest.mark.parametrize("probe", [ridge_probe, mlp_probe])
def test_rows_that_cannot_teach(probe):
    with pytest.raises(DataError, match="19 rows are too few"):
        probe(torch.rand(19, 2), torch.rand(19, 1))
    with pytest.raises(DataError, match=r"must be \(n, d\)"):
        probe(torch.rand(30, 2), torch.rand(30))
    bad = torch.rand(30, 1)
    bad[7] = torch.nan
    with pytest.raises(DataError, match=r"targets of 1 of 30 rows are NaN.*row 7"):
        probe(torch.rand(30, 2), bad)


@pytest.mark.parametrize("penalties", [(), (0.0, 1.0)])
def test_penalties_must_be_positive(penalties):
    with pytest.raises(DataError, match="penalties are"):
        ridge_probe(torch.rand(30, 2), torch.rand(30, 1), penalties=penalties)


def test_penalties_share_their_products_of_features():
    """Ten penalties cost a fit on four fifths and one on all rows, not ten of each."""
    x, y = torch.randn(200, 50), torch.randn(200, 2)

    def arithmetic(penalties: list[float]) -> int:
        with FlopCounterMode(display=False) as counter:
            ridge_probe(x, y, penalties=penalties)
        return counter.get_total_flops()

    assert arithmetic([1.0]) < arithmetic(list(PENALTIES)) < 2 * arithmetic([1.0])
