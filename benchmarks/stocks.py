"""Stocks: tickers and a sector never seen in training, 30 tickers missing, 60 days -> 5 days."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.experiment import Found, Options, rows_of
from benchmarks.fits import Setting
from hierforecast import Columns, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.datasets import load_stocks

COLUMNS = Columns(target="y", group="sector")
CONTEXT, HORIZON = 60, 5
SPLIT = pd.Timestamp("2017-01-01")
BASELINES = {
    "LastValue": LastValue(),
    "Ridge": Ridge(),
    "Ridge, unit of returns": Ridge(scale="returns"),
}
ZERO, NETWORK, GONE = "zero return", "HiPerformer", "tickers missing"
UNSEEN_SECTOR, UNSEEN_TICKERS, MISSING = "Utilities", 50, 30


@functools.cache
def returns() -> pd.DataFrame:
    """All daily log returns in percent, read once."""
    return load_stocks()


def zero(forecaster: Forecaster, test: pd.DataFrame, parts: dict[str, set[str]]) -> dict:
    """MAE of forecasting no change, on the cells on which the others are scored."""
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


def parts() -> dict[str, set[str]]:
    """Tickers by whether training sees them."""
    sector = returns().drop_duplicates("unique_id").set_index("unique_id")["sector"]
    strangers = set(sector.index[sector == UNSEEN_SECTOR])
    fresh = set(draw(sector.index[sector != UNSEEN_SECTOR].to_numpy(), UNSEEN_TICKERS, 0))
    return {
        "in training": set(sector.index) - strangers - fresh,
        f"{UNSEEN_TICKERS} tickers never in training": fresh,
        f"{UNSEEN_SECTOR}: sector never in training": strangers,
    }


def training() -> pd.DataFrame:
    """Known tickers, before the split."""
    frame = returns()
    return frame[(frame["ds"] < SPLIT) & frame["unique_id"].isin(parts()["in training"])]


def fitted(name: str, given: Options) -> Forecaster:
    """A baseline, or HiPerformer, fitted once and then loaded."""
    model = BASELINES.get(name) or HiPerformer(width=64, scale="returns")
    return Setting(COLUMNS, CONTEXT, HORIZON, training).fit(name, given, model, batch_size=4)


def measure(name: str, given: Options) -> dict[str, Any]:
    """The row of a model; or what is forecast on a day on which some tickers are missing."""
    frame = returns()
    test = frame[frame["ds"] >= SPLIT - pd.Timedelta(days=120)]
    model = fitted(NETWORK if name in (ZERO, GONE) else name, given)
    if name == ZERO:
        return zero(model, test, parts())
    if name != GONE:
        return errors(model, test, parts())
    day = test["ds"].max()
    gone = draw(test.loc[test["ds"] == day, "unique_id"].to_numpy(), MISSING, 1)
    forecast = model.predict(without(test, gone, day))
    missing = forecast["unique_id"].isin(gone).sum() // HORIZON
    return {
        "day": str(day.date()),
        "forecast": forecast["unique_id"].nunique(),
        "missing": int(missing),
        "empty": int(forecast["HiPerformer"].isna().sum()),
    }


def note(found: Found, given: Options) -> str:
    """What a reader must know of the table."""
    less = found[GONE, given.seed]
    sizes = returns().drop_duplicates("unique_id")["sector"].value_counts()
    return (
        f"{sizes.sum()} tickers in {sizes.size} sectors of {sizes.min()} to {sizes.max()}; daily "
        f"log returns in percent, trained before {SPLIT.date()}. MAE (share of days inside the "
        f"90 % interval). With {MISSING} tickers missing on {less['day']}: "
        f"{less['forecast']} tickers forecast, {less['missing']} of them among "
        f"the missing, {less['empty']} forecasts empty."
    )


TITLE, ARMS = "Stocks, unseen tickers and an unseen sector", (ZERO, *BASELINES, NETWORK)
EXPERIMENTS = {
    "stocks": rows_of(
        "stocks", "stocks", TITLE, measure, note, (GONE,), arms=ARMS, options={"steps": 200}
    )
}
