"""A risk desk's tests against figures worked out by hand, and a day's scores on made returns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from benchmarks import _desk, _risk
from benchmarks import _volatility as volatility
from tests.benchmarks.test_stocks import made


def test_kupiec_is_the_likelihood_ratio() -> None:
    hits = np.zeros(250, dtype=int)
    hits[:6] = 1  # 6 of 250 where 2.5 are due
    ratio = 2 * (6 * np.log(6 / 250) + 244 * np.log(244 / 250))
    ratio -= 2 * (6 * np.log(0.01) + 244 * np.log(0.99))
    assert ratio == pytest.approx(3.555, abs=1e-3)  # Kupiec's own table of non-rejection: 1 to 6
    assert _desk.kupiec(hits, 0.01) == pytest.approx(0.0594, abs=1e-4)
    hits[6] = 1
    assert _desk.kupiec(hits, 0.01) < 0.05
    assert _desk.kupiec(np.arange(100) % 20 == 0, 0.05) == pytest.approx(1)


def test_christoffersen_refuses_clusters_that_kupiec_does_not_see() -> None:
    apart, cluster = np.zeros(400, dtype=int), np.zeros(400, dtype=int)
    apart[::20], cluster[100:120] = 1, 1
    assert _desk.kupiec(apart, 0.05) == _desk.kupiec(cluster, 0.05) == pytest.approx(1)
    assert _desk.christoffersen(apart, 0.05) > 0.3
    assert _desk.christoffersen(cluster, 0.05) < 1e-6
    assert _desk.rejected(_desk.christoffersen, np.stack([apart, cluster], 1), 0.05) == 1


def test_shortfalls_that_are_right_have_a_statistic_of_zero() -> None:
    returns = np.random.default_rng(0).standard_normal((200_000, 1))
    at_risk = -norm.ppf(0.05)
    shortfall = norm.pdf(at_risk) / 0.05
    assert abs(_desk.acerbi(returns, at_risk, shortfall, 0.05)) < 0.02
    assert _desk.acerbi(1.3 * returns, at_risk, shortfall, 0.05) < -0.5


def test_no_portfolio_varies_less_than_the_minimum() -> None:
    rng = np.random.default_rng(1)
    root = rng.standard_normal((6, 6))
    covariance = root @ root.T + 0.1 * np.eye(6)
    best = _desk.minimum_variance(covariance)
    assert best.sum() == pytest.approx(1)
    others = rng.standard_normal((50, 6))
    others /= others.sum(1, keepdims=True)
    assert (np.einsum("ki,ij,kj->k", others, covariance, others) > best @ covariance @ best).all()


def test_a_day_is_scored_by_its_own_distribution() -> None:
    market = _risk.Market.of(made())
    rows = market.present(300)
    garch = volatility.garch(np.full(12, 0.1), np.full(12, 0.8))
    joint = volatility.forecast(market.values[:300], rows, garch, steps=1)
    found = _desk.day(joint, market, 300, 20_000, 0.05)
    assert found.cells == 12 and found.nll == pytest.approx(
        -joint.log_prob(market.values[300:301].T, [1])[0]
    )
    weights = np.stack([market.sectors == f"S{k}" for k in range(3)], 1) / 4
    spread = np.sqrt(np.einsum("pk,pq,qk->k", weights, _desk.covariance(joint), weights))
    np.testing.assert_allclose(found.at_risk, -norm.ppf(0.05) * spread, rtol=0.04)
    np.testing.assert_allclose(found.shortfall, norm.pdf(norm.ppf(0.05)) / 0.05 * spread, rtol=0.04)
    np.testing.assert_allclose(found.books, market.values[300] @ weights)
