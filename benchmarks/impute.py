"""Hidden players: where they were while nobody saw them, against simple ways to fill a gap.

Players of whole scenes are hidden for a while, the others and what came before and after are seen.
The forecaster is one that was fitted to forecast; nothing is trained for gaps, but how wide their
intervals are is learned from held-out windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._hidden import AFTER, BEFORE, KEYS, PLACE, PLAYERS_OF, SIMPLE, Players, filled
from benchmarks.experiment import Experiment, Found, Options, Section, spread, tidy
from hierforecast import Forecaster

DRAWS, NETWORK = 20, "HiPerformer"


def score(
    data: Players, forecaster: Forecaster | None, name: str, frame: pd.DataFrame
) -> pd.DataFrame:
    """Errors in the table's unit, coverage and roughness: a row for each kind of gap."""
    rows = []
    for who, length, gap, hidden in data.questions(frame):
        seen = frame.copy()
        seen.loc[hidden, PLACE] = np.nan
        truth = frame.loc[hidden].sort_values(KEYS)
        if forecaster is None:
            found = _scores(truth, truth[KEYS].merge(filled(name, seen), on=KEYS), gap)
        else:
            found = _asked(forecaster, seen, truth, gap)
        paths = len(truth) // gap
        sums = {key: paths * value for key, value in found.items()}
        rows.append({"who": who, "length": length, "paths": paths, **sums})
    table = pd.DataFrame(rows).groupby(["who", "length"], sort=False).sum().reset_index()
    table[[*found]] = table[[*found]].div(table["paths"], axis=0)
    if "bends" in table:
        table["rough"] = np.sqrt(table.pop("bends") / table.pop("true bends"))
    distances = table.columns.intersection(["error", "best", "mean draw"])
    table[distances] *= data.size
    return table


def _paths(rows: pd.DataFrame, gap: int, columns: list[str] = PLACE) -> np.ndarray:
    """(paths, gap, 2), in the order of `KEYS`."""
    return rows.sort_values(KEYS)[columns].to_numpy().reshape(-1, gap, 2)


def _scores(truth: pd.DataFrame, found: pd.DataFrame, gap: int) -> dict[str, float]:
    away = np.linalg.norm(_paths(truth, gap) - _paths(found, gap), axis=-1)
    return {"error": away.mean()}


def _asked(
    forecaster: Forecaster, seen: pd.DataFrame, truth: pd.DataFrame, gap: int
) -> dict[str, float]:
    """Of points, intervals and draws."""
    names = {f"{NETWORK}_{x}": x for x in PLACE}
    point = truth[KEYS].merge(forecaster.impute(seen, level=90).rename(columns=names))
    found = _scores(truth, point, gap)
    ends = [_paths(point, gap, [f"{NETWORK}_{x}-{end}-90" for x in PLACE]) for end in ("lo", "hi")]
    real = _paths(truth, gap)
    found["covered"] = float(((real >= ends[0]) & (real <= ends[1])).mean())
    draws = truth[KEYS].merge(forecaster.impute(seen, n=DRAWS).rename(columns=names))
    each = np.stack([_paths(rows, gap) for _, rows in draws.groupby("sample_id")])
    away = np.linalg.norm(each - real, axis=-1)
    found["best"], found["mean draw"] = away.mean(-1).min(0).mean(), away.mean()
    # With the two steps seen before the gap, and the two after it.
    around = _around(seen, truth, gap)
    found["bends"], found["true bends"] = _bends(around, each), _bends(around, real[None])
    return found


def _around(seen: pd.DataFrame, truth: pd.DataFrame, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each hidden player was in the two steps before the gap and after it (paths, 2, 2).

    NaN where he was not seen.
    """
    at = seen.set_index(KEYS)[PLACE]
    first = truth.sort_values(KEYS).iloc[::gap]
    ends = []
    for shift in ((-2, -1), (gap, gap + 1)):
        steps = [first.assign(ds=first["ds"] + s)[KEYS] for s in shift]
        ends.append(
            np.stack([at.reindex(pd.MultiIndex.from_frame(s)).to_numpy() for s in steps], 1)
        )
    return ends[0], ends[1]


def _bends(around: tuple[np.ndarray, np.ndarray], paths: np.ndarray) -> float:
    """Mean square second difference of paths (n, paths, gap, 2), both ends included."""
    before, after = (np.broadcast_to(x, (len(paths), *x.shape)) for x in around)
    whole = np.concatenate([before, paths, after], axis=2)
    return float(np.nanmean(np.square(np.diff(whole, 2, axis=2))))


def measure(data: str, name: str, given: Options) -> pd.DataFrame:
    """The scores of an arm."""
    about = PLAYERS_OF[data]
    forecaster = None if name in SIMPLE else about.fit(name, given)
    return score(about, forecaster, name, about.test(given))


def sections(data: str, found: Found, given: Options) -> Iterable[Section]:
    """Errors of all arms, and what else is known of ours."""
    rows, about = tidy(found), PLAYERS_OF[data]
    rows["gap"] = rows["who"] + ", " + rows["length"]
    arms = list(dict.fromkeys(rows["arm"]))
    by = rows.groupby(["gap", "arm"], sort=False)
    error = by["error"].agg(spread).unstack()[arms]
    paths = rows.groupby(["gap", "arm"], sort=False)["paths"].sum().unstack().max(axis=1)
    error["paths"] = paths.astype(int).astype(str)
    title = f"Hidden players: {about.title}"
    note = (
        f"Mean distance in {about.unit} from where hidden players were. {about.note} Players are "
        f"hidden at the same time, {BEFORE} steps of 0.2 s or more after a scene's beginning; they "
        f"are seen for {AFTER} steps or more before and after. HiPerformer was fitted to forecast "
        f"24 steps from 20, at most {given.steps} steps of 32 windows, width {given.width}, "
        f"{type(about.head).__name__}, a mean tenth of the series hidden; gaps were not trained "
        "for, how wide they are was learned from validation data, which stop the training too."
    )
    yield Section(f"impute-{data}", title, error, note)
    ours = rows[rows["arm"] == NETWORK]
    if len(ours):
        yield Section(f"impute-{data}-draws", f"{title}, draws", _of_draws(ours), DRAWN)


def _of_draws(rows: pd.DataFrame) -> pd.DataFrame:
    """What is known of intervals and draws, by players and length of gap."""
    names = {
        "covered": "covered by 90 %",
        "best": f"best of {DRAWS}",
        "mean draw": "mean draw",
        "rough": "roughness",
    }
    return rows.groupby("gap", sort=False)[list(names)].agg(spread).rename(columns=names)


DRAWN = (
    "Of the same gaps: cells of a coordinate inside the central 90 % interval, the mean error of "
    f"the best of {DRAWS} joint draws for each path and of a draw on average, and the root mean "
    "square second difference of draws over the truth's, both ends of the gap included. Published "
    "for other windows, gaps and players hidden (NBA, meters): JointDiff .57 the best, .78 a draw; "
    "U2Diff .62; TranSPORTmer .71."
)


def _experiment(data: str, **options: Any) -> Experiment:
    return Experiment(
        f"Hidden players: gaps filled by a forecaster, {PLAYERS_OF[data].title}",
        "missing",
        (f"impute-{data}", f"impute-{data}-draws"),
        partial(measure, data),
        partial(sections, data),
        (*SIMPLE, NETWORK),
        options={"width": 64, **options},
    )


EXPERIMENTS = {
    "impute": _experiment("nba", split="val", steps=1500),
    "impute-nfl": _experiment("nfl", steps=600),
    "impute-soccer": _experiment("soccer", steps=1500),
}
