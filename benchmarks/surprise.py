"""Surprise: whether the series with a planted fault is the most surprising of its scene."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from benchmarks._draws_data import DATA, slow_games
from benchmarks.experiment import Experiment, Found, Options, Section, spread, tidy
from hierforecast.nn.heads import CoupledHead

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
    scenes = windows(slow_games(given.split), data.context + data.horizon, given.windows)
    made = [FAULTS[name](window, middle, rng) for window in scenes]
    scores = fitted.surprise(pd.concat([window for window, _ in made]))
    lowest = scores.sort_values("series_log_prob").groupby("scene")["unique_id"].first()
    hits = [lowest[window["scene"].iloc[0]] in faulty for window, faulty in made]
    return {"first": float(np.mean(hits))}


def sections(found: Found, given: Options) -> Iterable[Section]:
    """One row for each fault."""
    rows = tidy({key: pd.DataFrame([kept]) for key, kept in found.items()})
    table = rows.groupby("arm", sort=False)["first"].agg(spread).to_frame("faulty series first")
    yield Section(
        "surprise-nba",
        "Surprise: planted faults",
        table,
        f"NBA at 5 Hz, {given.windows} windows of the {given.split} split, 20 steps of context and "
        "24 ahead; the fault begins in the middle of the horizon. Share of windows in which a "
        "faulty series (either of the swapped ones) has the lowest log density given all others. "
        f"The fit is that of `impute`, seeds {', '.join(map(str, given.seeds))}. Goal: .90.",
    )


EXPERIMENTS = {
    "surprise": Experiment(
        "Surprise: planted faults are found",
        "missing",
        ("surprise-nba",),
        measure,
        sections,
        tuple(FAULTS),
        options={"split": "val", "windows": 60, "steps": 1500, "width": 64},
    )
}
