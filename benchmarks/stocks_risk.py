"""Stocks as a risk desk sees them: joint laws of 1, 5 and 20 days against volatility models.

python -m benchmarks.stocks_risk --steps 200 --folder runs/stocks-risk
python -m benchmarks.stocks_risk --choose --steps 100 --stride 10 --folder runs/stocks-choose
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks import _volatility as volatility
from benchmarks._results import write_section
from benchmarks._risk import (
    CONTEXT,
    HORIZONS,
    LEVELS,
    PAIRED,
    SAMPLES,
    Market,
    Model,
    Scores,
    evaluate,
    network,
)
from benchmarks._runs import arguments, fit_or_load
from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.datasets import load_stocks

COLUMNS = Columns(target="y", group="sector")
TRAIN_END, TEST_END = "2017-01-01", "2019-01-01"
# Options are chosen on the last year before.
CHOOSE_TRAIN_END, CHOOSE_TEST_END = "2016-01-01", "2017-01-01"
CHOICES: dict[str, dict[str, Any]] = {
    "returns, steps": {"scale": "returns", "head": "steps"},
    "series, lowrank": {"scale": "series", "head": "lowrank"},
    "returns, lowrank": {"scale": "returns", "head": "lowrank"},
    "returns, student": {"scale": "returns", "head": "student"},
}
JOINT = "HiPerformer"
ARMS: dict[str, dict[str, Any]] = {
    JOINT: {"scale": "returns", "head": "steps"},
    "HiPerformer, independent head": {"scale": "returns", "head": "gaussian"},
    "HiPerformer, independent Student-t head": {"scale": "returns", "head": "student"},
}
LISTED, MISSING = 120, 30


def fit(
    given: argparse.Namespace, market: Market, end: str, name: str, **options: Any
) -> Forecaster:
    """HiPerformer on the days before `end`, fitted once and then loaded."""
    plan = Forecaster(
        HiPerformer(width=64, **options),
        context_length=CONTEXT,
        prediction_length=max(HORIZONS),
        columns=COLUMNS,
        max_steps=given.steps,
        batch_size=4,
        seed=given.seed,
    )
    stop = int(market.dates.searchsorted(pd.Timestamp(end)))
    folder = Path(given.folder) / name.replace(", ", "-")
    return fit_or_load(plan, folder, lambda: market.long(0, stop))


def baselines(given: argparse.Namespace, market: Market, end: str) -> dict[str, Model]:
    """Volatility models, their parameters from the days before `end`."""
    train = market.values[: market.dates.searchsorted(pd.Timestamp(end))]
    path = Path(given.folder) / f"garch-{end}.csv"
    garch = volatility.garch(*volatility.fit_garch(train, path))
    df = volatility.fit_degrees(train, garch)
    arms: dict[str, tuple[Any, ...]] = {
        "historical covariance, Ledoit-Wolf": (volatility.historical, volatility.shrunk),
        "historical covariance, 10 factors": (volatility.historical,),
        "RiskMetrics, 10 factors": (volatility.riskmetrics,),
        "GARCH(1,1), 10 factors": (garch,),
        f"the same, multivariate t ({df:g} df)": (garch, volatility.principal, df),
    }

    def model(*options: Any) -> Model:
        return lambda cutoff, rows: volatility.forecast(market.values[:cutoff], rows, *options)

    return {name: model(*arm) for name, arm in arms.items()}


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


def choose(given: argparse.Namespace, market: Market) -> None:
    """Print the arms of a choice, judged on the year before the test; nothing is written."""
    days, table = market.cutoffs(CHOOSE_TRAIN_END, CHOOSE_TEST_END, given.stride), {}
    for name in given.arms or CHOICES:
        options = CHOICES[name]
        fitted = fit(given, market, CHOOSE_TRAIN_END, name, **options)
        scores = evaluate(network(fitted, market), market, days)
        table[name] = {**summary(scores), **regimes(scores, market)}
        print(pd.DataFrame({**table, "zero return": zero(scores)}).T.to_string(), flush=True)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = arguments(__doc__.splitlines()[0], "runs/stocks-risk", steps=200)
    options.add_argument("--stride", type=int, default=5, help="sessions between cutoffs")
    options.add_argument("--choose", action="store_true", help="only compare options, on 2016")
    options.add_argument("--arms", nargs="*", choices=list(CHOICES), help="with --choose: which")
    options.add_argument("--fit", action="store_true", help="only fit, and keep the fits")
    options.add_argument("--thin", type=int, default=1, help="take every n-th ticker only")
    return options


def main() -> None:
    given = parser().parse_args()
    torch.set_num_threads(given.threads)
    market = Market.of(load_stocks(business_days=False)).thin(given.thin)
    if given.choose:
        return choose(given, market)
    days = market.cutoffs(TRAIN_END, TEST_END, given.stride)
    models = baselines(given, market, TRAIN_END)
    for name, options in ARMS.items():
        models[name] = network(fit(given, market, TRAIN_END, name, **options), market)
    if given.fit:
        return
    scores = {name: evaluate(model, market, days) for name, model in models.items()}
    write(scores, market, given)
    write_changes(models[JOINT], scores, market, days)


def write(scores: dict[str, Scores], market: Market, given: argparse.Namespace) -> None:
    """Print and write the table of scores, and that of calibration."""
    table = {"zero return": zero(scores[JOINT])} | {k: summary(v) for k, v in scores.items()}
    cutoffs = scores[JOINT].days["cutoff"].nunique()
    note = (
        f"{len(market.tickers)} tickers; daily log returns in percent, trained before {TRAIN_END}, "
        f"{cutoffs} cutoffs from then on, every {given.stride} sessions, so paths of 20 days "
        f"overlap. In each cell 1 / 5 / 20 days. MAE, CRPS, coverage and energy score are of the "
        f"summed return over the days, NLL of the path of daily returns. Energy score: fair, "
        f"Euclidean, of all tickers as one vector, and the mean over the 11 sectors' vectors; "
        f"{SAMPLES} joint samples, {PAIRED} for the energy score. GARCH: by `arch`, each ticker's "
        f"own, with one correlation of the last {volatility.WINDOW} sessions; the likelihood of "
        f"its paths is exact."
    )
    show("stocks-risk", "Stocks: joint laws of 1, 5 and 20 days", table, note)
    table = {k: {**calibration(v), **regimes(v, market)} for k, v in scores.items()}
    note = (
        f"Percent of days inside the interval, 1 / 5 / 20 days, from {SAMPLES} joint samples: of "
        f"the 11 sectors' equally weighted portfolios and of the market's. Last: single tickers, "
        f"one day, 90 %, by the ratio of a ticker's size of returns over 20 days to that over 250: "
        f"below 0.7, to 1.1, above. {cutoffs} cutoffs: one portfolio's shares are rough."
    )
    show("stocks-portfolios", "Stocks: calibration of portfolios, and by volatility", table, note)


def show(key: str, title: str, table: dict[str, dict[str, str]], note: str) -> None:
    """Print a table and write it into its place."""
    result = pd.DataFrame(table).T
    print(result.to_string(), note, sep="\n", flush=True)
    write_section(key, title, result, note)


def write_changes(model: Model, scores: dict[str, Scores], market: Market, days: range) -> None:
    """Print and write what becomes of new listings, and of the others when tickers are missing."""
    history = (~np.isnan(market.values)).cumsum(0)
    table = {}
    for name, each in scores.items():
        rows = each.tickers
        fresh = history[rows["cutoff"] - 1, rows["ticker"]] < LISTED
        table[name] = {
            f"under {LISTED} sessions: {key}": by_horizon(rows[fresh].groupby("horizon")[of].mean())
            for key, of in (("CRPS", "crps"), ("share inside 90 %", "inside-90"))
        }
        table[name]["all: CRPS"] = by_horizon(rows.groupby("horizon")["crps"].mean())
        count = int(fresh[rows["horizon"] == 1].sum())
    gone = np.random.default_rng(1).choice(len(market.tickers), MISSING, replace=False)
    less = evaluate(lambda cutoff, rows: model(cutoff, np.setdiff1d(rows, gone)), market, days)
    keys = ["cutoff", "horizon", "ticker"]
    both = scores[JOINT].tickers.merge(less.tickers, on=keys, suffixes=("", " without"))
    crps = both.groupby("horizon")[["crps", "crps without"]].mean()
    note = (
        f"{count} forecasts are of tickers with fewer than {LISTED} returns before the cutoff. "
        f"With {MISSING} tickers taken away, the CRPS of the others under the joint head is "
        f"{by_horizon(crps['crps without'], '{:.4f}')}, with them "
        f"{by_horizon(crps['crps'], '{:.4f}')}."
    )
    show("stocks-listings", "Stocks: new listings, and tickers that go missing", table, note)


if __name__ == "__main__":
    main()
