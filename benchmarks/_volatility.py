"""Volatility models that a risk desk would take: a variance for each ticker, one correlation.

All are one distribution: e ~ N(0, R) (or multivariate t) each day, r = sigma e, and the next day's
variance is omega + alpha r^2 + beta sigma^2. Historical covariance has alpha = beta = 0;
RiskMetrics has omega = 0, alpha = 0.06, beta = 0.94; GARCH(1,1) fits the three to each ticker
(Bollerslev's constant conditional correlation, 1990). The likelihood of a path is exact, day by
day, and samples feed each draw's own returns back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from benchmarks._kept import once

WINDOW = 250  # sessions
# A ticker with few returns borrows the median ticker's variance, as if it had so many of them more.
PRIOR = 20
DEGREES = (4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 60.0, np.inf)


@dataclass(frozen=True)
class Recursion:
    """The distribution of the next days' returns of P tickers.

    Args:
        rows: (P,) numbers of the tickers.
        variance: (P,) of the first day, in squared percent.
        omega, alpha, beta: (P,) each.
        correlation: (P, P).
        df: degrees of freedom of a day; inf: Gaussian.
        steps: H.
    """

    rows: np.ndarray
    variance: np.ndarray
    omega: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    correlation: np.ndarray
    df: float = np.inf
    steps: int = 20

    @property
    def mean(self) -> np.ndarray:
        """(P, H): no change."""
        return np.zeros((len(self.rows), self.steps))

    def sample(self, n: int, seed: int) -> np.ndarray:
        """Joint paths (n, P, H)."""
        rng = np.random.default_rng(seed)
        root = np.linalg.cholesky(self.correlation)
        variance, paths = np.tile(self.variance, (n, 1)), []
        for _ in range(self.steps):
            shock = rng.standard_normal(variance.shape) @ root.T
            if np.isfinite(self.df):
                shock *= np.sqrt((self.df - 2) / rng.chisquare(self.df, (n, 1)))
            paths.append(np.sqrt(variance) * shock)
            variance = self.omega + self.alpha * paths[-1] ** 2 + self.beta * variance
        return np.stack(paths, axis=-1)

    def log_prob(self, values: np.ndarray, horizons: Sequence[int]) -> list[float]:
        """Log density of the first h days of values (P, H), NaN where missing, for each h."""
        variance, days, before = self.variance, [], None
        for day in values.T[: max(horizons)]:
            seen = ~np.isnan(day)
            shock = day[seen] / np.sqrt(variance[seen])
            if before is None or (seen != before).any():
                root = np.linalg.cholesky(self.correlation[np.ix_(seen, seen)])
                before = seen
            white = solve_triangular(root, shock, lower=True)
            volume = np.log(root.diagonal()).sum() + 0.5 * np.log(variance[seen]).sum()
            days.append(density(float(white @ white), int(seen.sum()), self.df) - volume)
            square = np.where(seen, day, 0) ** 2 + ~seen * variance
            variance = self.omega + self.alpha * square + self.beta * variance
        return [float(sum(days[:h])) for h in horizons]


def density(square: float, cells: int, df: float) -> float:
    """Log density of `cells` standard coordinates at a squared distance: normal, or t."""
    if not np.isfinite(df):
        return -0.5 * (square + cells * np.log(2 * np.pi))
    volume = gammaln(0.5 * (df + cells)) - gammaln(0.5 * df) - 0.5 * cells * np.log(np.pi)
    stretched = np.log1p(square / (df - 2))
    return float(volume - 0.5 * cells * np.log(df - 2) - 0.5 * (df + cells) * stretched)


Parameters = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def historical(variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Omega, alpha and beta of a variance that stays."""
    return variance, 0 * variance, 0 * variance


def riskmetrics(variance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Omega, alpha and beta of an exponentially weighted mean."""
    return 0 * variance, 0.06 + 0 * variance, 0.94 + 0 * variance


def garch(alpha: np.ndarray, beta: np.ndarray) -> Parameters:
    """Fitted alpha and beta (N,); omega such that the variance returns to that of the window."""
    return lambda variance: (variance * (1 - alpha - beta), alpha, beta)


def fit_garch(values: np.ndarray, stem: Path, least: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """`garch_of`, kept in a file."""
    table = once(stem, lambda: garch_of(values, least))
    return table["alpha"].to_numpy(), table["beta"].to_numpy()


def garch_of(values: np.ndarray, least: int = 500) -> pd.DataFrame:
    """Alpha and beta (N,) of a GARCH(1,1) without mean, of training returns (T, N), by `arch`.

    Tickers with fewer than `least` returns, and fits that end at the edge, take the median.

    Raises:
        ImportError: without the library; it names the extra that brings it.
    """
    try:
        from arch import arch_model
    except ImportError as error:
        raise ImportError("GARCH needs `arch`: pip install 'hierforecast[peers]'") from error
    found = np.full((values.shape[1], 2), np.nan)
    for ticker, returns in enumerate(values.T):
        returns = returns[~np.isnan(returns)]
        if len(returns) < least:
            continue
        model = arch_model(returns, mean="Zero", vol="GARCH", p=1, q=1, rescale=False)
        fit = model.fit(disp="off", show_warning=False)
        pair = fit.params[["alpha[1]", "beta[1]"]].to_numpy()
        if fit.convergence_flag == 0 and pair.sum() < 0.999 and pair.min() > 1e-4:
            found[ticker] = pair
    found = np.where(np.isnan(found), np.nanmedian(found, axis=0), found)
    return pd.DataFrame(found, columns=["alpha", "beta"])


def shrunk(shocks: np.ndarray) -> np.ndarray:
    """Ledoit and Wolf's (2004) correlation (P, P) of standardized returns (T, P)."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(shocks, assume_centered=True)
    size = np.sqrt(covariance.diagonal())
    return covariance / size[:, None] / size


def principal(shocks: np.ndarray, factors: int = 10) -> np.ndarray:
    """Correlation (P, P) by principal factors of standardized returns (T, P), and a diagonal."""
    shocks = shocks / np.sqrt((shocks**2).mean(0)).clip(1e-6)
    _, size, direction = np.linalg.svd(shocks / np.sqrt(len(shocks)), full_matrices=False)
    loading = direction[:factors].T * size[:factors]
    own = (1 - (loading**2).sum(1)).clip(0.05)
    common = loading @ loading.T
    scale = 1 / np.sqrt(common.diagonal() + own)
    return (common + np.diag(own)) * scale[:, None] * scale


def forecast(
    values: np.ndarray,
    rows: np.ndarray,
    parameters: Parameters,
    correlate: Callable[[np.ndarray], np.ndarray] = principal,
    df: float = np.inf,
    steps: int = 20,
) -> Recursion:
    """The distribution after the last day of values (T, N), from its last `WINDOW` days.

    Args:
        values: returns in percent; NaN where missing: such a day counts as zero for the correlation
            and leaves a variance where it was.
        rows: tickers to forecast.
        parameters: the window's variance (N,) -> omega, alpha, beta, (N,) each.
        correlate: standardized returns (T, P) -> correlation.
        df: as in `Recursion`.
        steps: H.
    """
    window = values[-WINDOW:]
    seen = ~np.isnan(window)
    square, count = np.where(seen, window, 0) ** 2, seen.sum(0)
    total = square.sum(0)
    usual = np.median(total[count > 0] / count[count > 0])
    start = (total + PRIOR * usual) / (count + PRIOR)
    omega, alpha, beta = parameters(start)
    variance, shocks = start, []
    for day, here in zip(square, seen, strict=True):
        shocks.append(np.sqrt(day / variance))
        variance = omega + alpha * np.where(here, day, variance) + beta * variance
    signed = np.array(shocks) * np.sign(np.where(seen, window, 0))
    of_rows = (x[rows] for x in (variance, omega, alpha, beta))
    return Recursion(rows, *of_rows, correlate(signed[:, rows]), df, steps)


def fit_degrees(
    values: np.ndarray, parameters: Parameters, days: int = WINDOW, stride: int = 5
) -> float:
    """Degrees of freedom under which the last `days` of training are most likely, a day ahead."""
    total = dict.fromkeys(DEGREES, 0.0)
    for day in range(len(values) - days, len(values), stride):
        rows = np.flatnonzero((~np.isnan(values[max(0, day - WINDOW) : day])).any(0))
        distribution = forecast(values[:day], rows, parameters, steps=1)
        for df in DEGREES:
            total[df] += replace(distribution, df=df).log_prob(values[day, rows][:, None], [1])[0]
    return max(total, key=total.__getitem__)
