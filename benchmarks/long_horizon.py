"""Long horizons, a sanity row: ETTh1, ETTh2 and exchange, 336 steps -> 96, z-scored."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import product
from typing import Any

import pandas as pd

from benchmarks.experiment import Found, Options, rows_of
from benchmarks.fits import Setting
from hierforecast import Columns, Forecaster, HiPerformer, Ridge, SeasonalNaive
from hierforecast.datasets import load_long_horizon
from hierforecast.datasets.long_horizon import SPLITS

CONTEXT, HORIZON = 336, 96
SEASON = {"ETTh1": 24, "ETTh2": 24, "exchange": 1}
COLUMNS = Columns(group=None)


def split(
    frame: pd.DataFrame, lengths: tuple[int, int, int], context: int = CONTEXT
) -> dict[str, pd.DataFrame]:
    """Parts by time, each series z-scored by its training part.

    Validation and test begin a context early, so that their first forecast is of their first step.
    """
    step = frame.groupby("unique_id", sort=False).cumcount()
    train = frame[step < lengths[0]].groupby("unique_id", sort=False)["y"]
    by = frame["unique_id"]
    scaled = (frame["y"] - by.map(train.mean())) / by.map(train.std(ddof=0))
    frame = frame.assign(y=scaled)
    parts, start = {}, 0
    for name, length in zip(("train", "val", "test"), lengths, strict=True):
        before = context if start else 0
        parts[name] = frame[(step >= start - before) & (step < start + length)]
        start += length
    return parts


def errors(forecaster: Forecaster, test: pd.DataFrame) -> str:
    """MSE / MAE over every window of the test part."""
    found = forecaster.evaluate(test, ["mse", "mae"], stride=1)
    value = found[found["part"] == "all"].set_index("metric")["value"]
    return f"{value['mse']:.3f}/{value['mae']:.3f}"


@functools.cache
def parts_of(name: str) -> dict[str, pd.DataFrame]:
    """The parts of a set, read once."""
    return split(load_long_horizon(name), SPLITS[name], CONTEXT)


MODELS: dict[str, Callable[[str], Any]] = {
    "seasonal naive": lambda name: SeasonalNaive(SEASON[name]),
    "Ridge": lambda name: Ridge(),
    "HiPerformer": lambda name: HiPerformer(width=32, depth=1, heads=4, patch=48),
}


def measure(name: str, given: Options) -> dict[str, str]:
    """MSE/MAE of a model on a set."""
    data, row = name.split(", ")
    parts = parts_of(data)
    setting = Setting(COLUMNS, CONTEXT, HORIZON, lambda: parts["train"], lambda: parts["val"])
    options = {"batch_size": 32, "series_dropout": 0.0, "trainer": {"enable_progress_bar": False}}
    fitted = setting.fit(name, given, MODELS[row](data), **options)
    return {"errors": errors(fitted, parts["test"])}


def table(found: Found) -> pd.DataFrame:
    """A row a model, a column a set."""
    cells: dict[str, dict[str, str]] = {}
    for (name, _), kept in found.items():
        data, row = name.split(", ")
        cells.setdefault(data, {})[row] = kept["errors"]
    return pd.DataFrame(cells).fillna("-")


EXPERIMENTS = {
    "long-horizon": rows_of(
        "long-horizon",
        "demand",
        "Long horizons, 336 -> 96",
        measure,
        f"{CONTEXT} steps in, {HORIZON} out, every window of the test part; MSE/MAE of values "
        "z-scored by the training part; split 12, 4, 4 months (ETT), 7 : 1 : 2 (exchange). The "
        "season is a day (ETT) or a single step (exchange: the last value). A sanity row: one "
        "seed, {steps} steps at most, options not searched.",
        table=table,
        arms=tuple(f"{data}, {row}" for data, row in product(SPLITS, MODELS)),
        options={"steps": 300},
    )
}
