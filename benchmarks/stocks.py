"""Stocks: tickers and a sector never seen in training, 30 tickers missing, 60 days -> 5 days.

python -m benchmarks.stocks --steps 200 --folder runs/stocks
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import torch

from benchmarks._results import write_section
from benchmarks._runs import arguments, fit_or_load
from hierforecast import Columns, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.datasets import load_stocks

COLUMNS = Columns(target="y", group="sector")
LENGTHS = {"context_length": 60, "prediction_length": 5}
SPLIT = pd.Timestamp("2017-01-01")
BASELINES = {
    "LastValue": LastValue(),
    "Ridge": Ridge(),
    "Ridge, unit of returns": Ridge(scale="returns"),
}
UNSEEN_SECTOR, UNSEEN_TICKERS, MISSING = "Utilities", 50, 30


def zero(forecaster: Forecaster, test: pd.DataFrame, parts: dict[str, set[str]]) -> dict:
    """MAE of forecasting no change, on the cells on which the others are judged."""
    rows = forecaster.backtest(test).dropna(subset=["y"])
    return {
        p: f"{rows.loc[rows['unique_id'].isin(t), 'y'].abs().mean():.3f}" for p, t in parts.items()
    }


def draw(tickers: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Some tickers, the same for one seed."""
    return np.random.default_rng(seed).choice(np.sort(tickers), count, replace=False)


def errors(forecaster: Forecaster, test: pd.DataFrame, parts: dict[str, set[str]]) -> dict:
    """MAE and coverage of the 90 % interval for each part of the tickers."""
    name = type(forecaster.model).__name__
    rows = forecaster.backtest(test, level=[90]).dropna(subset=["y"])
    error = (rows[name] - rows["y"]).abs()
    inside = rows["y"].between(rows[f"{name}-lo-90"], rows[f"{name}-hi-90"])
    cells = {}
    for part, tickers in parts.items():
        here = rows["unique_id"].isin(tickers)
        cells[part] = f"{error[here].mean():.3f} ({inside[here].mean():.1%})"
    return cells


def without(frame: pd.DataFrame, tickers: np.ndarray, day: pd.Timestamp) -> pd.DataFrame:
    """The history up to a day on which some tickers are missing, as they are ever after."""
    history = frame[frame["ds"] <= day]
    return history[~((history["ds"] == day) & history["unique_id"].isin(tickers))]


def fit(given: argparse.Namespace, train: pd.DataFrame) -> Forecaster:
    """HiPerformer, fitted once and then loaded."""
    model = HiPerformer(width=64, scale="returns", head="steps")
    options = {"max_steps": given.steps, "batch_size": 4, "seed": given.seed}
    plan = Forecaster(model, columns=COLUMNS, **options, **LENGTHS)
    return fit_or_load(plan, given.folder, train)


def main() -> None:
    given = arguments(__doc__.splitlines()[0], "runs/stocks", steps=200).parse_args()
    torch.set_num_threads(given.threads)
    frame = load_stocks()
    sector = frame.drop_duplicates("unique_id").set_index("unique_id")["sector"]
    stranger = set(sector.index[sector == UNSEEN_SECTOR])
    fresh = set(draw(sector.index[sector != UNSEEN_SECTOR].to_numpy(), UNSEEN_TICKERS, 0))
    known = set(sector.index) - stranger - fresh
    train = frame[(frame["ds"] < SPLIT) & frame["unique_id"].isin(known)]
    test = frame[frame["ds"] >= SPLIT - pd.Timedelta(days=120)]

    network = fit(given, train)
    parts = {
        "in training": known,
        f"{UNSEEN_TICKERS} tickers never in training": fresh,
        f"{UNSEEN_SECTOR}: sector never in training": stranger,
    }
    table = {"zero return": zero(network, test, parts)}
    for name, baseline in BASELINES.items():
        fitted = Forecaster(baseline, columns=COLUMNS, **LENGTHS).fit(train)
        table[name] = errors(fitted, test, parts)
    table["HiPerformer"] = errors(network, test, parts)
    result = pd.DataFrame(table).T

    day = test["ds"].max()
    gone = draw(test.loc[test["ds"] == day, "unique_id"].to_numpy(), MISSING, 1)
    forecast = network.predict(without(test, gone, day))
    sizes = sector.value_counts()
    note = (
        f"{sector.size} tickers in {sizes.size} sectors of {sizes.min()} to {sizes.max()}; daily "
        f"log returns in percent, trained before {SPLIT.date()}. MAE (share of days inside the "
        f"90 % interval). With {MISSING} tickers missing on {day.date()}: "
        f"{forecast['unique_id'].nunique()} tickers forecast, "
        f"{forecast['unique_id'].isin(gone).sum() // LENGTHS['prediction_length']} of them among "
        f"the missing, {int(forecast['HiPerformer'].isna().sum())} forecasts empty."
    )
    print(result.to_string())
    print(note)
    write_section("stocks", "Stocks, unseen tickers and an unseen sector", result, note)


if __name__ == "__main__":
    main()
