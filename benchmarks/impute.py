"""Hidden players: where they were while nobody saw them, against simple ways to fill a gap.

Players of whole scenes are hidden for a while, the others and what came before and after are seen.
The forecaster is one that was fitted to forecast; nothing is trained for gaps, but how wide their
intervals are is learned from held-out windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from benchmarks._draws_data import DATA
from benchmarks._scenes import games
from benchmarks.experiment import Experiment, Found, Options, Section, spread, tidy
from hierforecast import Forecaster
from hierforecast.nn.heads import CoupledHead

KEYS = ["scene", "unique_id", "ds"]
FEET, RATE = 0.3048, 5.0
# Steps of a gap, players hidden in it, steps seen before and after at least, draws.
GAPS, PLAYERS, BEFORE, AFTER, DRAWS = (5, 10, 15, 20), (1, 3, 5), 20, 5, 20
PLACE = ["x", "y"]


def hide(frame: pd.DataFrame, gap: int, players: int, seed: int = 0) -> pd.Series:
    """Which rows of the frame are hidden: in each scene that is long enough, one gap."""
    rng, hidden = np.random.default_rng(seed), pd.Series(False, index=frame.index)
    for _, rows in frame.groupby("scene", sort=True):
        steps = rows["ds"].max() - rows["ds"].min() + 1
        room = steps - BEFORE - gap - AFTER
        if room < 0:
            continue
        names = np.sort(rows.loc[rows["kind"] == "player", "unique_id"].unique())
        start = rows["ds"].min() + BEFORE + rng.integers(room + 1)
        gone = rows["unique_id"].isin(rng.choice(names, players, replace=False))
        hidden.loc[rows.index[gone & rows["ds"].between(start, start + gap - 1)]] = True
    return hidden


def linear(seen: pd.DataFrame) -> pd.DataFrame:
    """Straight lines from where a series was last to where it is next."""
    rows = seen.sort_values(KEYS)
    place = rows.groupby(KEYS[:2])[PLACE].transform(lambda x: x.interpolate())
    return rows.assign(**place)[[*KEYS, *PLACE]]


def still(seen: pd.DataFrame) -> pd.DataFrame:
    """Where a series was last."""
    rows = seen.sort_values(KEYS)
    return rows.assign(**rows.groupby(KEYS[:2])[PLACE].ffill())[[*KEYS, *PLACE]]


SIMPLE: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "last position": still,
    "linear interpolation": linear,
}


def score(forecaster: Forecaster | None, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Errors and coverage of each length of gap and number of players, in meters."""
    rows = []
    for gap in GAPS:
        for players in PLAYERS:
            hidden = hide(frame, gap, players)
            seen = frame.copy()
            seen.loc[hidden, PLACE] = np.nan
            truth = frame.loc[hidden].sort_values(KEYS)
            if forecaster is None:
                found = _scores(truth, truth[KEYS].merge(SIMPLE[name](seen), on=KEYS), gap)
            else:
                found = _asked(forecaster, seen, truth, gap)
            rows.append({"gap": gap, "players": players, **found})
    return pd.DataFrame(rows)


def _paths(rows: pd.DataFrame, gap: int, columns: list[str] = PLACE) -> np.ndarray:
    """(paths, gap, 2), in the order of `KEYS`."""
    return rows.sort_values(KEYS)[columns].to_numpy().reshape(-1, gap, 2)


def _scores(truth: pd.DataFrame, found: pd.DataFrame, gap: int) -> dict[str, float]:
    away = np.linalg.norm(_paths(truth, gap) - _paths(found, gap), axis=-1)
    return {"error": FEET * away.mean()}


def _asked(
    forecaster: Forecaster, seen: pd.DataFrame, truth: pd.DataFrame, gap: int
) -> dict[str, float]:
    """Of points, intervals and draws."""
    names = {f"HiPerformer_{x}": x for x in PLACE}
    point = forecaster.impute(seen, level=90).rename(columns=names)
    found = _scores(truth, point, gap)
    ends = [
        _paths(point, gap, [f"HiPerformer_{x}-{end}-90" for x in PLACE]) for end in ("lo", "hi")
    ]
    real = _paths(truth, gap)
    found["covered"] = float(((real >= ends[0]) & (real <= ends[1])).mean())
    draws = forecaster.impute(seen, n=DRAWS).rename(columns=names)
    each = np.stack([_paths(rows, gap) for _, rows in draws.groupby("sample_id")])
    away = np.linalg.norm(each - real, axis=-1)
    found["best"], found["mean draw"] = FEET * away.mean(-1).min(0).mean(), FEET * away.mean()
    # With the two steps seen before the gap, and the two after it.
    around = _around(seen, truth, gap)
    found["rough"] = _bends(around, each) / _bends(around, real[None])
    return found


def _around(seen: pd.DataFrame, truth: pd.DataFrame, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each hidden player was in the two steps before the gap and after it (paths, 2, 2)."""
    at = seen.set_index(KEYS)[PLACE]
    first = truth.sort_values(KEYS).iloc[::gap]
    ends = []
    for shift in ((-2, -1), (gap, gap + 1)):
        steps = [first.assign(ds=first["ds"] + s)[KEYS] for s in shift]
        ends.append(np.stack([at.loc[pd.MultiIndex.from_frame(s)].to_numpy() for s in steps], 1))
    return ends[0], ends[1]


def _bends(around: tuple[np.ndarray, np.ndarray], paths: np.ndarray) -> float:
    """Root mean square second difference of paths (n, paths, gap, 2), both ends included."""
    before, after = (np.broadcast_to(x, (len(paths), *x.shape)) for x in around)
    whole = np.concatenate([before, paths, after], axis=2)
    return float(np.sqrt(np.square(np.diff(whole, 2, axis=2)).mean()))


def measure(name: str, given: Options) -> pd.DataFrame:
    """The scores of an arm."""
    frame = games(given.split, RATE)
    if name in SIMPLE:
        return score(None, name, frame)
    return score(DATA["nba-gaps"].fit(name, given, CoupledHead(), 0.1), name, frame)


def sections(found: Found, given: Options) -> Iterable[Section]:
    """Errors of all arms, and what else is known of ours."""
    rows = tidy(found)
    rows["length"] = (rows["gap"] / RATE).map("{:g} s".format)
    rows["hidden"] = rows["players"].map("{} hidden, ".format)
    rows["name"] = rows["hidden"] + rows["arm"]
    order = list(dict.fromkeys(rows["length"]))
    error = rows.groupby(["name", "length"], sort=False)["error"].agg(spread).unstack()[order]
    note = (
        "Mean distance in meters from where hidden players were. NBA at 5 Hz, games of the "
        f"{given.split} split; of each scene that is long enough 1, 3 or 5 players are hidden at "
        f"the same time, {BEFORE} steps or more after its beginning and {AFTER} or more before its "
        "end; all others are seen throughout. HiPerformer was fitted to forecast 24 steps from "
        f"20, at most {given.steps} steps of 32 windows, width {given.width}, coupled head, a mean "
        "tenth of the series hidden; gaps were not trained for, how wide they are was learned from "
        "the validation games, which stop the training too."
    )
    yield Section("impute-nba", "Hidden players: NBA", error, note)
    ours = rows[rows["arm"] == "HiPerformer"]
    if len(ours):
        yield Section("impute-nba-draws", "Hidden players: NBA, draws", _of_draws(ours), DRAWN)


def _of_draws(rows: pd.DataFrame) -> pd.DataFrame:
    """What is known of intervals and draws, by players and length of gap."""
    names = {
        "covered": "covered by 90 %",
        "best": f"best of {DRAWS}, m",
        "mean draw": "mean draw, m",
        "rough": "roughness",
    }
    keyed = rows.assign(name=rows["hidden"] + rows["length"])
    return keyed.groupby("name", sort=False)[list(names)].agg(spread).rename(columns=names)


DRAWN = (
    "Of the same gaps: cells of a coordinate inside the central 90 % interval, the mean error of "
    f"the best of {DRAWS} joint draws for each path and of a draw on average, and the root mean "
    "square second difference of draws over the truth's, both ends of the gap included. Published "
    "for other windows, gaps and players hidden (NBA, meters): JointDiff .57 the best, .78 a draw; "
    "U2Diff .62; TranSPORTmer .71."
)
EXPERIMENTS = {
    "impute": Experiment(
        "Hidden players: gaps filled by a forecaster",
        "missing",
        ("impute-nba", "impute-nba-draws"),
        measure,
        sections,
        ("last position", "linear interpolation", "HiPerformer"),
        options={"split": "val", "steps": 1500, "width": 64},
    )
}
