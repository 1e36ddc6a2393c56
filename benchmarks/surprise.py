"""Surprise: whether the series with a planted fault is the most surprising of its scene."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks import stocks
from benchmarks._draws_data import DATA
from benchmarks._scenes import games
from benchmarks.experiment import Options, averaged, rows_of
from benchmarks.fits import Setting
from hierforecast import HiPerformer
from hierforecast.nn.heads import CoupledHead, StepsHead

PLACE = ["x", "y"]
Fault = Callable[[pd.DataFrame, int, np.random.Generator], tuple[pd.DataFrame, set[str]]]


def swapped(
    window: pd.DataFrame, middle: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, set[str]]:
    """From a step on two players bear each other's names."""
    players = sorted(window.loc[window["kind"] == "player", "unique_id"].unique())
    one, other = rng.choice(players, 2, replace=False)
    names = window["unique_id"].replace({one: other, other: one})
    late = window["ds"] >= middle
    faulty = window.assign(unique_id=window["unique_id"].where(~late, names))
    labels = window.drop_duplicates("unique_id").set_index("unique_id")["team"]
    return faulty.assign(team=faulty["unique_id"].map(labels)), {one, other}


def frozen(
    window: pd.DataFrame, middle: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, set[str]]:
    """From a step on the ball stays where it was."""
    ball, faulty = window["kind"] == "ball", window.copy()
    last = window.loc[ball & (window["ds"] == middle - 1), PLACE].to_numpy()[0]
    faulty.loc[ball & (window["ds"] >= middle), PLACE] = last
    return faulty, set(window.loc[ball, "unique_id"])


FAULTS: dict[str, Fault] = {"two players swapped": swapped, "ball frozen": frozen}


def windows(frame: pd.DataFrame, steps: int, count: int) -> list[pd.DataFrame]:
    """The first steps of random scenes, counted from 0."""
    length = frame.groupby("scene")["ds"].nunique()
    names = np.sort(length.index[length >= steps])
    chosen = np.random.default_rng(0).permutation(names)[:count]
    found = []
    for name in chosen:
        rows = frame[frame["scene"] == name]
        rows = rows.assign(ds=rows["ds"] - rows["ds"].min())
        found.append(rows[rows["ds"] < steps])
    return found


def measure(name: str, given: Options) -> dict[str, float]:
    """The share of windows in which a faulty series has the lowest density given all others."""
    data = DATA["nba-gaps"]
    fitted = data.fit("HiPerformer", given, CoupledHead(), 0.1)
    rng, middle = np.random.default_rng(0), data.context + data.horizon // 2
    scenes = windows(games(given.split, 5.0), data.context + data.horizon, given.windows)
    made = [FAULTS[name](window, middle, rng) for window in scenes]
    scores = fitted.surprise(pd.concat([window for window, _ in made]))
    lowest = scores.sort_values("series_log_prob").groupby("scene")["unique_id"].first()
    hits = [lowest[window["scene"].iloc[0]] in faulty for window, faulty in made]
    return {"first": float(np.mean(hits))}


YEAR = pd.Timestamp("2016-01-01")
RATIOS = {"a split 3:2, unadjusted": 1.5, "2:1": 2.0, "4:1": 4.0}
SPLIT_FIT = Setting(
    stocks.COLUMNS,
    stocks.CONTEXT,
    stocks.HORIZON,
    lambda: stocks.returns()[stocks.returns()["ds"] < YEAR],
)


def split_unadjusted(
    window: pd.DataFrame, ratio: float, rng: np.random.Generator
) -> tuple[pd.DataFrame, str]:
    """On one of the last days, a ticker's price is over a ratio, and nobody says why."""
    days = np.sort(window["ds"].unique())[-stocks.HORIZON :]
    day = rng.choice(days)
    ticker = rng.choice(np.sort(window.loc[window["ds"] == day, "unique_id"].to_numpy()))
    here = (window["ds"] == day) & (window["unique_id"] == ticker)
    return window.assign(y=window["y"] - 100 * np.log(ratio) * here), ticker


def measure_splits(name: str, given: Options) -> dict[str, float]:
    """The share of windows in which the ticker that was split has the lowest score."""
    # Tails of each ticker, which the default has, make such a day less of a surprise.
    model = HiPerformer(width=64, scale="returns", head=StepsHead())
    fitted = SPLIT_FIT.fit("splits", given, model, batch_size=4)
    frame, steps = stocks.returns(), stocks.CONTEXT + stocks.HORIZON
    days = np.sort(frame["ds"].unique())
    ends = np.arange(len(days))[days >= YEAR][stocks.HORIZON - 1 :: stocks.HORIZON][: given.windows]
    rng, hits, ranks = np.random.default_rng(0), [], []
    for end in ends:
        part = frame[frame["ds"].isin(days[end + 1 - steps : end + 1])]
        faulty, ticker = split_unadjusted(part, RATIOS[name], rng)
        found = fitted.surprise(faulty, n_windows=1).drop_duplicates("unique_id")
        own = found.loc[found["unique_id"] == ticker]
        ranks.append(1 + int((found["series_score"] < own["series_score"].iloc[0]).sum()))
        hits.append(float(own["series_p_value"].iloc[0]))
    return {"first": float(np.mean(np.array(ranks) == 1)), "p": float(np.median(hits))}


EXPERIMENTS = {
    "surprise-stocks": rows_of(
        "surprise-stocks",
        "stocks",
        "Surprise: splits that nobody adjusted",
        measure_splits,
        f"Daily log returns of some 500 tickers, trained before {YEAR.date()}, {{windows}} windows "
        f"of {stocks.CONTEXT} days and {stocks.HORIZON} ahead of that year. On one of the five "
        "days the price of one ticker, drawn at random, is divided by the ratio. Share of windows "
        "in which it has the lowest score of all tickers, and its p-value among windows that the "
        "fit held out; seeds {seeds}. Goal: .90.",
        table=averaged({"first": "ticker first", "p": "median p-value"}),
        arms=tuple(RATIOS),
        options={"windows": 50, "steps": 200},
    ),
    "surprise": rows_of(
        "surprise-nba",
        "missing",
        "Surprise: planted faults",
        measure,
        "NBA at 5 Hz, {windows} windows of the {split} split, 20 steps of context and 24 ahead; "
        "the fault begins in the middle of the horizon. Share of windows in which a faulty series "
        "(either of the swapped ones) has the lowest log density given all others. The fit is that "
        "of `impute`, seeds {seeds}. Goal: .90.",
        table=averaged({"first": "faulty series first"}),
        arms=tuple(FAULTS),
        options={"split": "val", "windows": 60, "steps": 1500, "width": 64},
    ),
}
