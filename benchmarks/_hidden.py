"""Players who are hidden for a while, and simple ways to say where they were meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks._draws_data import DATA, Motion
from benchmarks._scenes import games
from benchmarks.experiment import Options
from benchmarks.soccer import TEST, TRAIN, matches
from benchmarks.tracks import FOLDS, fold
from hierforecast import Forecaster
from hierforecast.nn.head import Head
from hierforecast.nn.heads import CoupledHead, RowsHead

SERIES, PLACE = ["scene", "unique_id"], ["x", "y"]
KEYS = [*SERIES, "ds"]
RATE = 5.0  # steps a second
# Steps of a gap, players hidden in it, steps seen before and after at least.
GAPS, PLAYERS, BEFORE, AFTER = (5, 10, 15, 20), (1, 3, 5), 20, 5
# Steps that players are really lost for, at most.
RETURNS = (5, 15, 40)
# Steps of the scenes that a recording without end is cut into.
CHUNK = 64


@dataclass(frozen=True)
class Players:
    """A data set.

    Args:
        title: its name.
        unit: of distances in the tables.
        size: of the frame's unit in it.
        test: options -> the frame in which players are hidden.
        motion: options -> what is learned from.
        head: of HiPerformer.
        players: how many are hidden at the same time; None: `PLAYERS`.
        times: how often each scene is asked about.
        returns: whether players really get lost, and come back.
        note: what a reader must know of it.
    """

    title: str
    unit: str
    size: float
    test: Callable[[Options], pd.DataFrame]
    motion: Callable[[Options], Motion]
    head: Head
    players: tuple[int, ...] | None = None
    times: int = 1
    returns: bool = False
    note: str = ""

    def fit(self, name: str, given: Options) -> Forecaster:
        """HiPerformer, fitted to forecast, a mean tenth of the series hidden."""
        return self.motion(given).fit(name, given, self.head, 0.1)

    def questions(self, frame: pd.DataFrame) -> Iterator[tuple[str, str, int, pd.Series]]:
        """Who is hidden, for how long, how many steps of each path, and the rows."""
        for gap in GAPS:
            for players in self.players or PLAYERS:
                for seed in range(self.times):
                    rows = hide(frame, gap, players, seed)
                    yield f"{players} hidden", f"{gap / RATE:g} s", gap, rows
        if self.returns:
            shortest = 1
            for longest in RETURNS:
                length = f"1 s after {shortest / RATE:g} to {longest / RATE:g} s"
                yield "on return", length, AFTER, delay(frame, AFTER, shortest, longest)
                shortest = longest + 1


def hide(frame: pd.DataFrame, gap: int, players: int, seed: int = 0) -> pd.Series:
    """Which rows of the frame are hidden: in each scene that is long enough, one gap.

    Players are hidden that are seen all the while, and for `AFTER` steps before and after it.
    """
    rng, hidden = np.random.default_rng(seed), pd.Series(False, index=frame.index)
    for _, rows in frame[frame["kind"] != "ball"].groupby("scene", sort=True):
        first, last = rows["ds"].min(), rows["ds"].max()
        room = last - first + 1 - BEFORE - gap - AFTER
        if room < 0:
            continue
        start = first + BEFORE + rng.integers(room + 1)
        around = rows["ds"].between(start - AFTER, start + gap - 1 + AFTER)
        steps = rows[around].groupby("unique_id").size()
        names = np.sort(steps.index[steps == gap + 2 * AFTER])
        if len(names) < players:
            continue
        gone = rows["unique_id"].isin(rng.choice(names, players, replace=False))
        hidden.loc[rows.index[gone & rows["ds"].between(start, start + gap - 1)]] = True
    return hidden


def delay(frame: pd.DataFrame, steps: int, shortest: int, longest: int) -> pd.Series:
    """Which rows of the frame are hidden: the first steps of players who had been lost.

    They were lost for so many steps, seen for `AFTER` steps before, and are for as many after.
    """
    rows = frame[frame["kind"] != "ball"].sort_values(KEYS)
    since = rows.groupby(SERIES)["ds"].diff()
    run = (since != 1).cumsum()
    size = rows.groupby(run)["ds"].transform("size")
    before = size.groupby([rows[name] for name in SERIES]).shift()
    lost = (since - 1).between(shortest, longest)
    back = lost & (before >= AFTER) & (size >= steps + AFTER)
    hidden = run.isin(run[back]) & (rows.groupby(run).cumcount() < steps)
    return hidden.reindex(frame.index, fill_value=False)


def linear(wide: pd.DataFrame, teams: pd.Series) -> pd.DataFrame:
    """Straight lines from where a series was last to where it is next."""
    return wide.interpolate(limit_area="inside")


def still(wide: pd.DataFrame, teams: pd.Series) -> pd.DataFrame:
    """Where a series was last."""
    return wide.ffill()


def moving(wide: pd.DataFrame, teams: pd.Series) -> pd.DataFrame:
    """On from where a series was last, as in its last observed step."""
    return wide.ffill() + wide.diff().ffill().fillna(0.0) * _age(wide)


def led(wide: pd.DataFrame, teams: pd.Series) -> pd.DataFrame:
    """On from where a series was last, as its team moves on average."""
    moved = wide.copy()
    for target in PLACE:
        steps = wide[target].diff()
        mean = steps.T.groupby(steps.columns.map(teams)).mean().T.fillna(0.0).cumsum()
        moved[target] = mean[teams[steps.columns]].to_numpy()
    return wide.ffill() + moved - moved.where(wide.notna()).ffill()


def _age(wide: pd.DataFrame) -> pd.DataFrame:
    """Steps since each cell was last observed."""
    steps = pd.DataFrame(1.0, wide.index, wide.columns).cumsum()
    return steps - steps.where(wide.notna()).ffill()


SIMPLE: dict[str, Callable[[pd.DataFrame, pd.Series], pd.DataFrame]] = {
    "last position": still,
    "constant velocity": moving,
    "team's mean movement": led,
    "linear interpolation": linear,
}


def filled(name: str, seen: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame, filled in a simple way, scene by scene."""
    found = []
    for scene, rows in seen.groupby("scene"):
        wide = rows.pivot(index="ds", columns="unique_id", values=PLACE)
        wide = wide.reindex(range(rows["ds"].min(), rows["ds"].max() + 1))
        teams = rows.drop_duplicates("unique_id").set_index("unique_id")["team"]
        made = SIMPLE[name](wide, teams).stack(level=1, future_stack=True)
        found.append(made.reset_index().assign(scene=scene))
    return pd.concat(found)[[*KEYS, *PLACE]]


def chunks(frame: pd.DataFrame, every: int) -> pd.DataFrame:
    """A recording without end, cut into scenes, of which one in so many is taken."""
    part = frame["ds"] // CHUNK
    cut = frame.assign(scene=frame["scene"].astype(str) + "/" + part.astype(str))
    return cut[part % every == 0].reset_index(drop=True)


def _slow(frame: pd.DataFrame) -> pd.DataFrame:
    """Every second step of ten a second."""
    kept = frame[frame["ds"] % 2 == 0]
    return kept.assign(ds=kept["ds"] // 2).reset_index(drop=True)


def _fold(given: Options) -> Motion:
    """Plays of three folds, at five steps a second."""
    split = fold(given.seed % FOLDS)
    assert split.val is not None
    train, val = _slow(split.train), _slow(split.val)
    return Motion(20, 24, lambda: train, lambda: val, 8, "yards, 0.2 s")


def _soccer(given: Options) -> Motion:
    return Motion(20, 24, lambda: matches(TRAIN[:2]), lambda: matches(TRAIN[2:]), 8, "m, 0.2 s")


PLAYERS_OF = {
    "nba": Players(
        "NBA",
        "meters",
        0.3048,
        lambda given: games(given.split, RATE),
        lambda _: DATA["nba-gaps"],
        CoupledHead(),
        note="5 Hz, a gap in each scene of held-out games that is long enough.",
    ),
    "nfl": Players(
        "NFL",
        "yards",
        1.0,
        lambda given: _slow(fold(given.seed % FOLDS).test),
        _fold,
        RowsHead(),
        times=4,
        note="Every second step of 10 Hz, four gaps in each of seven plays; each seed another "
        "fold of four.",
    ),
    "soccer": Players(
        "soccer",
        "meters",
        1.0,
        lambda _: chunks(matches(TEST), every=2),
        _soccer,
        RowsHead(),
        players=(3,),
        returns=True,
        note=f"Files {TRAIN[:2]} to train, {TRAIN[2:]} to choose, {TEST} to test, cut into scenes "
        f"of {CHUNK} steps, every second one, half of the player-frames unseen. On return: a "
        "player who was really lost is shown a second later than he was seen again.",
    ),
}
