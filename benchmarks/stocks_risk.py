"""Stocks as a risk desk sees them: joint distributions of 1 to 20 days, volatility models."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import _volatility as volatility
from benchmarks._risk import (
    CONTEXT,
    HORIZONS,
    LEVELS,
    PAIRED,
    SAMPLES,
    Joint,
    Market,
    Model,
    Scores,
    evaluate,
    network,
)
from benchmarks.experiment import Experiment, Found, Options, Section
from benchmarks.fits import Setting
from hierforecast import Columns, HiPerformer
from hierforecast.datasets import load_stocks
from hierforecast.nn.head import Head

COLUMNS = Columns(target="y", group="sector")
TRAIN_END, TEST_END = "2017-01-01", "2019-01-01"
JOINT = "HiPerformer"
NETWORKS: dict[str, Head | str] = {
    JOINT: "auto",
    "HiPerformer, independent head": "gaussian",
    "HiPerformer, independent Student-t head": "student",
}
# Parameters of a variance, and how shocks are correlated.
GARCH, STUDENT = "GARCH(1,1), 10 factors", "the same, multivariate t"
VOLATILITY: dict[str, tuple[Any, ...]] = {
    "historical covariance, Ledoit-Wolf": (volatility.historical, volatility.shrunk),
    "historical covariance, 10 factors": (volatility.historical,),
    "RiskMetrics, 10 factors": (volatility.riskmetrics,),
    GARCH: (),
    STUDENT: (),
}
LISTED, MISSING, GONE = 120, 30, "tickers missing"


@functools.cache
def market_of(every: int) -> Market:
    """The returns, of every n-th ticker, read once."""
    return Market.of(load_stocks(business_days=False)).thin(every)


def fit(
    name: str,
    given: Options,
    end: str,
    context: int = CONTEXT,
    horizon: int = max(HORIZONS),
    **options: Any,
) -> Model:
    """HiPerformer on the days before `end`, fitted once and then loaded."""
    market = market_of(given.thin)
    stop = int(market.dates.searchsorted(pd.Timestamp(end)))
    setting = Setting(COLUMNS, context, horizon, lambda: market.long(0, stop))
    model = HiPerformer(width=64, scale="returns", **options)
    return network(setting.fit(name, given, model, batch_size=4), market, context)


def desk(name: str, given: Options) -> tuple[str, Model]:
    """A volatility model, its parameters from the days before the test, and its full name."""
    market = market_of(given.thin)
    options = VOLATILITY[name]
    if not options:
        train = market.values[: market.dates.searchsorted(pd.Timestamp(TRAIN_END))]
        garch = volatility.garch(*volatility.fit_garch(train, given.folder / "fits" / "garch"))
        options = (garch,)
        if name == STUDENT:
            df = volatility.fit_degrees(train, garch)
            name, options = f"{name} ({df:g} df)", (garch, volatility.principal, df)

    def model(cutoff: int, rows: np.ndarray) -> Joint:
        return volatility.forecast(market.values[:cutoff], rows, *options)

    return name, model


def by_horizon(values: pd.Series, form: str = "{:.3f}") -> str:
    """Values of the horizons, in one cell."""
    return " / ".join(form.format(values[horizon]) for horizon in HORIZONS)


def summary(scores: Scores) -> dict[str, str]:
    """The scores of a model as a row."""
    tickers, days = scores.tickers.groupby("horizon"), scores.days.groupby("horizon")
    return {
        "MAE": by_horizon(tickers["error"].mean()),
        "CRPS": by_horizon(tickers["crps"].mean()),
        "energy, market": by_horizon(days["energy"].mean(), "{:.2f}"),
        "energy, sectors": by_horizon(days["energy of sectors"].mean(), "{:.2f}"),
        "NLL per coordinate": by_horizon(days["nll"].sum() / days["cells"].sum()),
        "inside 90 %": by_horizon(100 * tickers["inside-90"].mean(), "{:.1f}"),
    }


def zero(scores: Scores) -> dict[str, str]:
    """MAE of forecasting no change, on the same cells."""
    row = dict.fromkeys(summary(scores), "-")
    return {**row, "MAE": by_horizon(scores.tickers.groupby("horizon")["size"].mean())}


def calibration(scores: Scores) -> dict[str, str]:
    """Share of sector portfolios, and of the market's, inside their intervals."""
    rows = scores.portfolios
    parts = {"sectors": rows["portfolio"] != "market", "market": rows["portfolio"] == "market"}
    return {
        f"{name}, {level} %": by_horizon(
            100 * rows[here].groupby("horizon")[f"inside-{level}"].mean(), "{:.1f}"
        )
        for name, here in parts.items()
        for level in LEVELS
    }


def regimes(scores: Scores, market: Market) -> dict[str, str]:
    """Share inside the 90 % interval of a day, by how wild the ticker was of late."""
    rows = scores.tickers
    rows = rows[rows["horizon"] == 1]
    now, usual = (
        np.sqrt(pd.DataFrame(market.values**2).rolling(days, min_periods=days // 2).mean())
        for days in (20, 250)
    )
    ratio = (now / usual).shift().to_numpy()[rows["cutoff"], rows["ticker"]]
    names = ["calm", "usual", "wild"]
    part = pd.cut(ratio, [0, 0.7, 1.1, np.inf], labels=names)
    shares = 100 * rows.groupby(part, observed=False)["inside-90"].mean()
    return {name: f"{shares[name]:.1f}" for name in names}


def measure(name: str, given: Options) -> dict[str, Any] | None:
    """The rows of a model in the three tables; or what becomes of it when tickers are missing."""
    market = market_of(given.thin)
    days = market.cutoffs(TRAIN_END, TEST_END, given.stride)
    if name in VOLATILITY:
        label, model = desk(name, given)
    else:
        network_name = JOINT if name == GONE else name
        label, model = name, fit(network_name, given, TRAIN_END, head=NETWORKS[network_name])
    if given.fit_only:
        return None
    scores = evaluate(model, market, days)
    if name == GONE:
        return missing(model, scores, market, days)
    rows = scores.tickers
    history = (~np.isnan(market.values)).cumsum(0)
    fresh = history[rows["cutoff"] - 1, rows["ticker"]] < LISTED
    listings = {
        f"under {LISTED} sessions: {key}": by_horizon(rows[fresh].groupby("horizon")[of].mean())
        for key, of in (("CRPS", "crps"), ("share inside 90 %", "inside-90"))
    }
    listings["all: CRPS"] = by_horizon(rows.groupby("horizon")["crps"].mean())
    return {
        "label": label,
        "risk": summary(scores),
        "portfolios": {**calibration(scores), **regimes(scores, market)},
        "listings": listings,
        "zero": zero(scores),
        "cutoffs": int(scores.days["cutoff"].nunique()),
        "fresh": int(fresh[rows["horizon"] == 1].sum()),
    }


def missing(model: Model, scores: Scores, market: Market, days: range) -> dict[str, str]:
    """CRPS of the others with and without some tickers."""
    gone = np.random.default_rng(1).choice(len(market.tickers), MISSING, replace=False)
    less = evaluate(lambda cutoff, rows: model(cutoff, np.setdiff1d(rows, gone)), market, days)
    keys = ["cutoff", "horizon", "ticker"]
    both = scores.tickers.merge(less.tickers, on=keys, suffixes=("", " without"))
    crps = both.groupby("horizon")[["crps", "crps without"]].mean()
    return {name: by_horizon(crps[name], "{:.4f}") for name in crps}


def sections(found: Found, given: Options) -> list[Section]:
    """Scores, calibration of portfolios, and new listings."""
    kept = {name: result for (name, _), result in found.items()}
    less, joint = kept.pop(GONE), kept[JOINT]
    tables = {
        part: {each["label"]: each[part] for each in kept.values()}
        for part in ("risk", "portfolios", "listings")
    }
    tables["risk"] = {"zero return": joint["zero"], **tables["risk"]}
    risk = (
        f"{len(market_of(given.thin).tickers)} tickers; daily log returns in percent, trained "
        f"before {TRAIN_END}, {joint['cutoffs']} cutoffs from then on, every {given.stride} "
        "sessions, so paths of 20 days "
        "overlap. In each cell 1 / 5 / 20 days. MAE, CRPS, coverage and energy score are of the "
        "summed return over the days, NLL of the path of daily returns. Energy score: fair, "
        "Euclidean, of all tickers as one vector, and the mean over the 11 sectors' vectors; "
        f"{SAMPLES} joint samples, {PAIRED} for the energy score. GARCH: by `arch`, each ticker's "
        f"own, with one correlation of the last {volatility.WINDOW} sessions; the likelihood of "
        "its paths is exact."
    )
    portfolios = (
        f"Percent of days inside the interval, 1 / 5 / 20 days, from {SAMPLES} joint samples: of "
        "the 11 sectors' equally weighted portfolios and of the market's. Last: single tickers, "
        "one day, 90 %, by the ratio of a ticker's size of returns over 20 days to that over 250: "
        f"below 0.7, to 1.1, above. {joint['cutoffs']} cutoffs: one portfolio's shares are rough."
    )
    listings = (
        f"{joint['fresh']} forecasts are of tickers with fewer than {LISTED} returns before the "
        f"cutoff. With {MISSING} tickers taken away, the CRPS of the others under the joint head "
        f"is {less['crps without']}, with them {less['crps']}."
    )
    titles = {
        "risk": ("Stocks: joint distributions of 1, 5 and 20 days", risk),
        "portfolios": ("Stocks: calibration of portfolios, and by volatility", portfolios),
        "listings": ("Stocks: new listings, and tickers that go missing", listings),
    }
    return [
        Section(f"stocks-{part}", title, pd.DataFrame(tables[part]).T, note)
        for part, (title, note) in titles.items()
    ]


EXPERIMENTS = {
    "stocks-risk": Experiment(
        "Stocks: joint distributions of 1, 5 and 20 days, portfolios, new listings",
        "stocks",
        ("stocks-risk", "stocks-portfolios", "stocks-listings"),
        measure,
        sections,
        (*VOLATILITY, *NETWORKS, GONE),
        needs=(JOINT, GONE),
        options={"steps": 200, "stride": 5, "thin": 1},
        beside={"fit_only": False},
    ),
}
