"""Soccer with half of the player-frames unseen: 8 s in, 2 s out at 5 Hz, three files -> a fourth.

python -m benchmarks.soccer --steps 1500 --folder runs/soccer
python -m benchmarks.soccer --choose --steps 400 --folder runs/soccer-choose  # on a training file
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks._results import write_section
from benchmarks._runs import arguments, fit_or_load
from hierforecast import Columns, ConstantVelocity, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.datasets import load_soccer

COLUMNS = Columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
LENGTHS = {"context_length": 40, "prediction_length": 10}
TRAIN, TEST = (7, 8, 9), (10,)
# Options are chosen on the last of the training files.
CHOOSE_TRAIN, CHOOSE_TEST = (7, 8), (9,)
SERIES = ["scene", "unique_id"]
WINDOW = [*SERIES, "cutoff"]
BASELINES = (LastValue, ConstantVelocity, Ridge)


def baselines(train: pd.DataFrame) -> dict[str, Forecaster]:
    """The fitted baselines, by name."""
    plans = {model.__name__: Forecaster(model(), columns=COLUMNS, **LENGTHS) for model in BASELINES}
    return {name: plan.fit(train) for name, plan in plans.items()}


def network(
    given: argparse.Namespace, train: Callable[[], pd.DataFrame], name: str = "", **options: Any
) -> Forecaster:
    """HiPerformer, fitted once and then loaded.

    Args:
        given: steps, seed and the folder of the fits.
        train: makes the training frame.
        name: of an arm, beside the one with the default options.
        options: of the arm's model.
    """
    plan = Forecaster(
        HiPerformer(**{"dropout": 0.0, "scale": "mirrored", **options}),
        columns=COLUMNS,
        max_steps=given.steps,
        batch_size=32,
        seed=given.seed,
        **LENGTHS,
    )
    folder = Path(given.folder)
    return fit_or_load(plan, folder.with_name(f"{folder.name}-{name}") if name else folder, train)


def scored(forecaster: Forecaster, test: pd.DataFrame, stride: int) -> pd.DataFrame:
    """A row per series, cutoff and step: error, interval and steps since the series was last seen.

    Returns:
        The backtest with ``error`` (metres, NaN where the truth was not seen), ``ahead`` (steps
        after the cutoff), ``kind`` of series, ``unseen`` (steps since it was last seen, 0 in view).
    """
    name = type(forecaster.model).__name__
    rows = forecaster.backtest(test, stride=stride, level=[90])
    error = np.hypot(rows[f"{name}_x"] - rows["x"], rows[f"{name}_y"] - rows["y"])
    rows = rows.assign(error=error, ahead=rows["ds"] - rows["cutoff"])
    kinds = test.drop_duplicates(SERIES)[[*SERIES, "kind"]]
    rows = rows.merge(kinds, on=SERIES).sort_values("cutoff", kind="stable")
    seen = test[[*SERIES, "ds"]].rename(columns={"ds": "last"}).sort_values("last")
    rows = pd.merge_asof(rows, seen, left_on="cutoff", right_on="last", by=SERIES)
    return rows.assign(unseen=rows["cutoff"] - rows["last"])


def errors(rows: pd.DataFrame) -> dict[str, str]:
    """ADE/FDE in metres over the observed cells: all, by kind, by whether it is in view."""

    def cell(part: pd.DataFrame) -> str:
        path = part.groupby(WINDOW)["error"].mean().mean()
        last = part.loc[part["ahead"] == LENGTHS["prediction_length"], "error"].mean()
        return f"{path:.3f}/{last:.3f}"

    return {
        "all": cell(rows),
        "players": cell(rows[rows["kind"] != "ball"]),
        "ball": cell(rows[rows["kind"] == "ball"]),
        "in view at the cutoff": cell(rows[rows["unseen"] == 0]),
        "out of view at the cutoff": cell(rows[rows["unseen"] > 0]),
        "cells": f"{int(rows['error'].notna().sum())}",
    }


def choose(given: argparse.Namespace) -> None:
    """Print the arms of a choice, judged on a file held out of training; nothing is written."""
    test = load_soccer(CHOOSE_TEST)
    table = {}
    for scale in ("coordinates", "mirrored"):
        fitted = network(given, lambda: load_soccer(CHOOSE_TRAIN), scale, scale=scale)
        law = likelihood(fitted, test, given.stride)
        table[scale] = {**errors(scored(fitted, test, given.stride)), **law.round(3).to_dict()}
    print(pd.DataFrame(table).T.to_string())


def likelihood(forecaster: Forecaster, test: pd.DataFrame, stride: int) -> pd.Series:
    """NLL per coordinate (nats, metres) and coverage of the 90 % interval over all series."""
    law = forecaster.evaluate(test, ["nll_per_coordinate", "coverage"], stride=stride)
    return law[law["part"] == "all"].set_index("metric")["value"]


def parser() -> argparse.ArgumentParser:
    """The options that both soccer tables have."""
    options = arguments(__doc__.splitlines()[0], "runs/soccer", steps=1500)
    options.add_argument("--stride", type=int, default=5, help="steps between test windows")
    return options


def main() -> None:
    options = parser()
    options.add_argument("--choose", action="store_true", help="only compare options, on training")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    if given.choose:
        return choose(given)
    test = load_soccer(TEST)
    fitted = baselines(load_soccer(TRAIN))
    fitted["HiPerformer"] = network(given, lambda: load_soccer(TRAIN))
    result = pd.DataFrame({k: errors(scored(v, test, given.stride)) for k, v in fitted.items()}).T
    law = likelihood(fitted["HiPerformer"], test, given.stride)
    slots = test.groupby("scene")[["ds"]].nunique()["ds"].sum() * 22
    share = (test["kind"] != "ball").sum() / slots
    note = (
        f"Files {TRAIN} to train, {TEST} to test, one match; {share:.0%} of the test file's "
        f"player-frames are seen. ADE/FDE in metres over the cells that are observed, a window "
        f"every {given.stride} steps. HiPerformer: NLL per coordinate "
        f"{law['nll_per_coordinate']:.3f}, 90 % interval covers {law['coverage']:.3f}."
    )
    print(result.to_string())
    print(note)
    write_section("soccer", "Soccer, half of the players unseen", result, note)


if __name__ == "__main__":
    main()
