"""The stocks benchmarks on made returns: laws and scores are right, tables stand."""

from __future__ import annotations

import builtins
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from benchmarks import _risk
from benchmarks import _volatility as volatility
from hierforecast import Columns, Forecaster, HiPerformer
from tests.helpers import QUIET


def made(days: int = 330, seed: int = 0) -> pd.DataFrame:
    """Returns of twelve tickers in three sectors; the last is listed late, one has a hole."""
    rng = np.random.default_rng(seed)
    market, names = rng.standard_normal(days), [f"T{i:02d}" for i in range(12)]
    parts = []
    for i, name in enumerate(names):
        y = 0.6 * market + rng.standard_t(5, days)
        first = days - 90 if i == 11 else 0
        frame = pd.DataFrame({"ds": np.arange(days), "y": y})[first:]
        frame = frame.drop(index=range(100, 105)) if i == 3 else frame
        parts.append(frame.assign(unique_id=name, sector=f"S{i % 3}"))
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(date=pd.bdate_range("2016-01-01", periods=days)[frame["ds"]])


@pytest.fixture
def market(monkeypatch) -> _risk.Market:
    monkeypatch.setattr(_risk, "SAMPLES", 40)
    return _risk.Market.of(made())


def law(market: _risk.Market, df: float = np.inf, correlate=volatility.principal):
    return volatility.forecast(
        market.values[:300],
        market.present(300),
        volatility.garch(np.full(12, 0.1), np.full(12, 0.8)),
        correlate,
        df,
    )


@pytest.mark.parametrize("correlate", [volatility.principal, volatility.shrunk])
def test_correlations_are_correlations(market, correlate):
    if correlate is volatility.shrunk:
        pytest.importorskip("sklearn")
    found = law(market, correlate=correlate).correlation
    np.testing.assert_allclose(found.diagonal(), 1)
    assert np.linalg.eigvalsh(found).min() > 0
    assert 0.1 < found[np.triu_indices(12, 1)].mean() < 0.4


@pytest.mark.parametrize("df", [np.inf, 6.0])
def test_the_recursions_likelihood_is_scipys_day_by_day(market, df):
    given = law(market, df)
    path = market.values[300:302].T.copy()
    path[2, 0] = np.nan
    variance, total = given.variance, 0.0
    for day in path.T:
        seen = ~np.isnan(day)
        size = np.sqrt(variance[seen])
        covariance = given.correlation[np.ix_(seen, seen)] * size[:, None] * size
        if np.isinf(df):
            total += scipy.stats.multivariate_normal(cov=covariance).logpdf(day[seen])
        else:
            shape = covariance * (df - 2) / df
            total += scipy.stats.multivariate_t(shape=shape, df=df).logpdf(day[seen])
        square = np.where(seen, day**2, variance)
        variance = given.omega + given.alpha * square + given.beta * variance
    assert given.log_prob(path, [2])[0] == pytest.approx(total)


def test_samples_of_the_recursion_have_its_covariance(market):
    given = replace(law(market), steps=3)
    draws = given.sample(40_000, seed=0)
    size = np.sqrt(given.variance)
    wanted = given.correlation * size[:, None] * size
    np.testing.assert_allclose(np.cov(draws[..., 0].T), wanted, atol=0.06)
    # The long-run variance is the window's, so days to come have about the first one's.
    after = given.omega + (given.alpha + given.beta) * given.variance
    np.testing.assert_allclose(draws[..., 1].var(0), after, rtol=0.06)


def test_without_the_library_the_error_names_the_extra(monkeypatch, tmp_path):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "arch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"hierforecast\[peers\]"):
        volatility.fit_garch(np.zeros((10, 1)), tmp_path / "garch")


def test_garch_is_fitted_once(tmp_path):
    pytest.importorskip("arch")
    rng = np.random.default_rng(0)
    values, variance = np.zeros((900, 2)), 1.0
    for day in range(900):
        values[day] = np.sqrt(variance) * rng.standard_normal(2)
        variance = 0.05 + 0.15 * values[day, 0] ** 2 + 0.8 * variance
    values[:700, 1] = np.nan  # too short: it takes the median's
    alpha, beta = volatility.fit_garch(values, tmp_path / "garch")
    assert 0.05 < alpha[0] < 0.3 and 0.6 < beta[0] < 0.93 and alpha[1] == alpha[0]
    again = volatility.fit_garch(values * np.nan, tmp_path / "garch")
    np.testing.assert_allclose(again, [alpha, beta])


def test_intervals_portfolios_and_horizons(market):
    truth, draws = np.array([0.0, 9.0]), np.tile(np.linspace(-1, 1, 101)[:, None], 2)
    assert _risk.inside(truth, draws)["inside-50"].tolist() == [True, False]
    books = _risk.portfolios(np.array(["a", "b", "a"]))
    assert books["market"].sum() == 1 and books["a"].tolist() == [0.5, 0, 0.5]
    days = market.cutoffs("2017-01-01", "2019-01-01", 5)
    assert market.dates[days[0]] >= pd.Timestamp("2017-01-01")
    assert days[-1] + 20 <= len(market.dates)
    assert set(market.present(230)) == set(range(11)) and len(market.present(300)) == 12


def test_scores_of_the_truth_are_good_and_of_noise_bad(market):
    """A law that knows the path but for a little noise beats one that does not."""

    class Knows:
        def __init__(self, rows, error):
            self.rows, self.error = rows, error

        @property
        def mean(self):
            return market.values[300:320, self.rows].T

        def sample(self, n, seed):
            path = market.values[300:320, self.rows].T
            return path + self.error * np.random.default_rng(seed).standard_normal((n, *path.shape))

        def log_prob(self, values, horizons):
            return [0.0] * len(horizons)

    found = {}
    for error in (0.01, 2.0):
        scores = _risk.evaluate(lambda cutoff, rows, e=error: Knows(rows, e), market, [300])
        found[error] = (scores.tickers["crps"].mean(), scores.days["energy"].mean())
        assert set(scores.portfolios["portfolio"]) == {"market", "S0", "S1", "S2"}
        assert (scores.days["cells"] > 0).all()
    assert found[0.01][0] < 0.1 < found[2.0][0] and found[0.01][1] < 0.3 < found[2.0][1]


def test_a_networks_distribution_is_scored_on_the_right_tickers(market):
    """Shuffled names must not shuffle truths: a forecaster is asked through frames."""
    forecaster = Forecaster(
        HiPerformer(8, 1, 2, scale="returns"),
        context_length=60,
        prediction_length=20,
        columns=Columns(target="y", group="sector"),
        max_steps=1,
        batch_size=2,
        trainer=QUIET,
    )
    forecaster.fit(market.long(0, 250))
    found = _risk.network(forecaster, market)(300, market.present(300))
    assert found.rows.tolist() == market.present(300).tolist()
    alone = forecaster.predict(market.long(240, 300))
    mean = alone.groupby("unique_id")["HiPerformer"].first()[market.tickers[found.rows]]
    np.testing.assert_allclose(found.distribution.mean[:, 0, 0], mean, rtol=1e-4, atol=1e-5)
    path = market.values[300:320, found.rows].T
    one, all_days = found.log_prob(path, [1, 20])
    assert one != all_days and np.isfinite([one, all_days]).all()
