"""What the benchmarks of trajectories share: columns, games, mirror images, tables of errors."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pandas as pd

from hierforecast import Columns, Forecaster
from hierforecast.datasets import load_nba

COLUMNS = Columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
CONTEXT, HORIZON = 40, 10
LENGTH, WIDTH = 94.0, 50.0
PARTS = {"all": "all", "players": "player", "ball": "ball"}


@functools.cache
def games(split: str, rate: float = 6.25) -> pd.DataFrame:
    """The scenes of a split at so many steps a second, read once."""
    return load_nba(split=split, rate=rate)


def reflect(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame and its three mirror images: a court has no preferred end and no preferred side."""
    images = []
    for name, x, y in (("", 0, 0), ("/x", 1, 0), ("/y", 0, 1), ("/xy", 1, 1)):
        image = frame.copy()
        image["scene"] = frame["scene"].astype(str) + name
        image["x"] = LENGTH - frame["x"] if x else frame["x"]
        image["y"] = WIDTH - frame["y"] if y else frame["y"]
        images.append(image)
    return pd.concat(images, ignore_index=True)


def errors(
    forecaster: Forecaster, frame: pd.DataFrame, stride: int, more: Sequence[str] = ()
) -> dict[str, str]:
    """ADE/FDE of all, players and ball as cells, and more metrics of all."""
    rows = forecaster.evaluate(frame, ["ade", "fde", *more], stride=stride)
    value = rows.set_index(["part", "metric"])["value"]
    cells = {name: f"{value[p, 'ade']:.3f}/{value[p, 'fde']:.3f}" for name, p in PARTS.items()}
    return cells | {metric: f"{value['all', metric]:.3f}" for metric in more}
