"""Stocks, one day ahead, as a risk desk asks: likelihood, minimum variance, value at risk."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks._desk import YEAR, acerbi, christoffersen, day, kupiec, rejected
from benchmarks.experiment import Found, Options, averaged, rows_of
from benchmarks.stocks_risk import TEST_END, TRAIN_END, VOLATILITY, desk, fit, market_of

# Days of context, chosen on 2016.
NETWORKS = {"HiPerformer": 120, "HiPerformer, 60 days": 60}
DRAWS, LEVEL = 2_000, 0.05


def measure(name: str, given: Options) -> pd.DataFrame | None:
    """A row for each day: its likelihood and portfolios; of models without a seed once."""
    market = market_of(given.thin)
    if name in VOLATILITY and given.seed != given.seeds[0]:
        return None
    if name in VOLATILITY:
        label, model = desk(name, given)
    else:
        label, model = name, fit(name, given, given.train_end, NETWORKS[name], horizon=1)
    rows = []
    for cutoff in market.cutoffs(given.train_end, given.test_end, given.stride):
        found = day(model(cutoff, market.present(cutoff)), market, cutoff, DRAWS, LEVEL)
        books = {
            f"{of} {k}": value
            for of in ("books", "at_risk", "shortfall")
            for k, value in enumerate(getattr(found, of))
        }
        whole = {"nll": found.nll, "cells": found.cells, "minimum": found.minimum}
        rows.append({"label": label, "cutoff": cutoff, **whole, **books})
    return pd.DataFrame(rows)


def summary(days: pd.DataFrame) -> dict[str, float]:
    """The scores of one run."""
    books, at_risk, shortfall = (
        days.filter(regex=f"^{of} ").to_numpy() for of in ("books", "at_risk", "shortfall")
    )
    hits = -books > at_risk
    return {
        "NLL": days["nll"].sum() / days["cells"].sum(),
        "minimum variance, % a year": days["minimum"].std() * np.sqrt(YEAR),
        f"losses beyond VaR {LEVEL:.0%}, %": 100 * hits.mean(),
        "Kupiec rejects": rejected(kupiec, hits, LEVEL),
        "Christoffersen rejects": rejected(christoffersen, hits, LEVEL),
        "shortfall, Z2": acerbi(books, at_risk, shortfall, LEVEL),
    }


def table(found: Found) -> pd.DataFrame:
    """A row for each model: means over seeds."""
    runs = {(str(days["label"].iloc[0]), seed): summary(days) for (_, seed), days in found.items()}
    return averaged(digits=lambda name: 1 if "%" in name or "rejects" in name else 3)(runs)


def note(found: Found, given: Options) -> str:
    """What a reader must know of the table."""
    days = next(iter(found.values()))
    sectors = len(days.filter(regex="^books ").columns)
    return (
        f"{len(market_of(given.thin).tickers)} tickers, trained before {given.train_end}, one day "
        f"ahead, {len(days)} days, a stride of {given.stride}; with 5 those of the table of 1, 5, "
        "20 days. NLL per ticker. Minimum variance: realized volatility of the portfolio whose "
        "variance is least by the model, weights of either sign (rough with few days). VaR and "
        f"expected shortfall of {sectors} equally weighted sector portfolios, from {DRAWS:,} "
        "draws: how many of the sectors Kupiec's test (as many exceedances as there should be) and "
        "Christoffersen's (and independent ones) reject at 5 %; Z2 of Acerbi and Szekely is zero "
        "where the shortfall is right, below zero where losses were worse. Context of the first "
        f"network {NETWORKS['HiPerformer']} days, chosen on 2016. {given.steps} training steps; "
        f"seeds {', '.join(map(str, given.seeds))}."
    )


EXPERIMENTS = {
    "stocks-day": rows_of(
        "stocks-day",
        "stocks",
        "Stocks: one day ahead",
        measure,
        note,
        table=table,
        title="Stocks: one day ahead; minimum variance, value at risk, expected shortfall",
        arms=(*(name for name in VOLATILITY if "RiskMetrics" not in name), *NETWORKS),
        seeds=(0, 1, 2),
        options={"steps": 20, "stride": 1, "thin": 1, "train_end": TRAIN_END, "test_end": TEST_END},
    )
}
