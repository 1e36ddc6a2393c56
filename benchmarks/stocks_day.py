"""Stocks, one day ahead, as a risk desk asks: likelihood, minimum variance, value at risk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmarks._desk import YEAR, acerbi, christoffersen, day, kupiec, rejected
from benchmarks._risk import Model, network
from benchmarks.experiment import Experiment, Found, Options, Section, spread
from benchmarks.fits import Setting
from benchmarks.stocks_risk import COLUMNS, TEST_END, TRAIN_END, VOLATILITY, desk, market_of
from hierforecast import HiPerformer

# Context and head; the context was chosen on 2016.
NETWORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "HiPerformer": (120, {}),
    "HiPerformer, 60 days": (60, {}),
}
DRAWS, LEVEL = 2_000, 0.05


def fit(name: str, given: Options) -> Model:
    """HiPerformer for a day, fitted to the days before the test."""
    context, options = NETWORKS[name]
    market = market_of(given.thin)
    stop = int(market.dates.searchsorted(pd.Timestamp(given.train_end)))
    setting = Setting(COLUMNS, context, 1, lambda: market.long(0, stop))
    model = HiPerformer(width=64, scale="returns", **options)
    return network(setting.fit(name, given, model, batch_size=4), market, context)


def measure(name: str, given: Options) -> pd.DataFrame | None:
    """A row for each day: its likelihood and portfolios; of models without a seed once."""
    market = market_of(given.thin)
    if name in VOLATILITY and given.seed != given.seeds[0]:
        return None
    label, model = desk(name, given) if name in VOLATILITY else (name, fit(name, given))
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


def sections(found: Found, given: Options) -> list[Section]:
    """A row for each model: means over seeds."""
    rows: dict[str, dict[str, str]] = {}
    for arm in dict.fromkeys(name for name, _ in found):
        runs = [days for (name, _), days in found.items() if name == arm]
        scores = pd.DataFrame([summary(days) for days in runs])
        rows[str(runs[0]["label"].iloc[0])] = {
            name: spread(values, 1 if "%" in name or "rejects" in name else 3)
            for name, values in scores.items()
        }
    days = next(iter(found.values()))
    sectors = len(days.filter(regex="^books ").columns)
    note = (
        f"{len(market_of(given.thin).tickers)} tickers, trained before {given.train_end}, one day "
        f"ahead, {len(days)} days, every {given.stride}; with 5 those of the table of 1, 5 and 20 "
        "days. NLL per ticker. Minimum variance: realized volatility of the portfolio whose "
        "variance is least by the model, weights of either sign (rough with few days). VaR and "
        f"expected shortfall of {sectors} equally weighted sector portfolios, from {DRAWS:,} "
        "draws: how many of the sectors Kupiec's test (as many exceedances as there should be) and "
        "Christoffersen's (and independent ones) reject at 5 %; Z2 of Acerbi and Szekely is zero "
        "where the shortfall is "
        "right, below zero where losses were worse. Context of the first network "
        f"{NETWORKS['HiPerformer'][0]} days, chosen on 2016. {given.steps} training steps; seeds "
        f"{', '.join(map(str, given.seeds))}."
    )
    return [Section("stocks-day", "Stocks: one day ahead", pd.DataFrame(rows).T, note)]


EXPERIMENTS = {
    "stocks-day": Experiment(
        "Stocks: one day ahead; minimum variance, value at risk, expected shortfall",
        "stocks",
        ("stocks-day",),
        measure,
        sections,
        (*(name for name in VOLATILITY if "RiskMetrics" not in name), *NETWORKS),
        seeds=(0, 1, 2),
        options={"steps": 20, "stride": 5, "thin": 1, "train_end": TRAIN_END, "test_end": TEST_END},
    )
}
