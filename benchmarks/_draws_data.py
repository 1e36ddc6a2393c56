"""Moving players of five data sets: what is trained on, and what draws are held against."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from benchmarks._scenes import COLUMNS, games
from benchmarks.experiment import Options
from benchmarks.fits import Setting
from benchmarks.soccer import matches
from hierforecast import Forecaster, HiPerformer
from hierforecast.datasets import load_nfl, simulate_basketball
from hierforecast.nn.head import Head

Frame = Callable[[], pd.DataFrame]


@dataclass(frozen=True)
class Motion:
    """A data set.

    Args:
        context, horizon: steps.
        train, test: make the frames; tests are of other games, those that choices are made on.
        stride: steps between test windows.
        unit: of distances, and how long a step takes.
        model: options of HiPerformer.
    """

    context: int
    horizon: int
    train: Frame
    test: Frame
    stride: int
    unit: str
    model: dict[str, Any] = field(default_factory=dict)

    def fit(self, name: str, given: Options, head: Head, series_dropout: float) -> Forecaster:
        """A head on this data, fitted once under its name; the tests also choose its weights."""
        setting = Setting(COLUMNS, self.context, self.horizon, self.train, self.test)
        options = {"dropout": 0.0, "scale": "mirrored", "n_frequencies": 24, **self.model}
        model = HiPerformer(given.width, 2, head=head, **options)
        more = {"learning_rate": 2e-3, "batch_size": 32, "series_dropout": series_dropout}
        every = {"trainer": {"val_check_interval": max(1, given.steps // 4)}}
        return setting.fit(name, given, model, **more, **every)


@functools.cache
def plays() -> list[pd.DataFrame]:
    """NFL, a frame a play, in the order of their names."""
    return [play for _, play in load_nfl().groupby("scene")]


def some_plays(start: int | None, stop: int | None) -> pd.DataFrame:
    """Plays start to stop, end to end."""
    return pd.concat(plays()[start:stop], ignore_index=True)


@functools.cache
def simulated(n_scenes: int, seed: int) -> pd.DataFrame:
    """Games that are made."""
    return simulate_basketball(n_scenes=n_scenes, seed=seed)


DATA = {
    "nba": Motion(
        40, 10, lambda: games("train"), lambda: games("val"), 20, "feet, 0.16 s", {"patch": 20}
    ),
    "nba-5hz": Motion(
        10, 20, lambda: games("train", 5.0), lambda: games("val", 5.0), 20, "feet, 0.2 s"
    ),
    "nba-gaps": Motion(
        20, 24, lambda: games("train", 5.0), lambda: games("val", 5.0), 24, "feet, 0.2 s"
    ),
    "soccer": Motion(40, 10, lambda: matches((7, 8)), lambda: matches((9,)), 5, "meters, 0.2 s"),
    "nfl": Motion(
        20, 10, lambda: some_plays(None, -8), lambda: some_plays(-8, -4), 3, "yards, 0.1 s"
    ),
    "simulated": Motion(40, 10, lambda: simulated(200, 0), lambda: simulated(60, 1), 10, "feet"),
}
