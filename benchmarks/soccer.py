"""Soccer with half of the player-frames unseen: 8 s in, 2 s out at 5 Hz, three files -> a fourth.

python -m benchmarks.soccer --steps 1500 --folder runs/soccer
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks._results import write_section
from hierforecast import Columns, ConstantVelocity, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.datasets import load_soccer
from hierforecast.training import LAST

COLUMNS = Columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
LENGTHS = {"context_length": 40, "prediction_length": 10}
TRAIN, TEST = (7, 8, 9), (10,)


def errors(forecaster: Forecaster, test: pd.DataFrame, stride: int) -> dict[str, str]:
    """ADE/FDE in metres over the observed cells: all, by kind, by time since last seen."""
    name = type(forecaster.model).__name__
    rows = forecaster.backtest(test, stride=stride)
    error = np.hypot(rows[f"{name}_x"] - rows["x"], rows[f"{name}_y"] - rows["y"])
    rows = rows.assign(error=error, ahead=rows["ds"] - rows["cutoff"])
    kinds = test.drop_duplicates(["scene", "unique_id"])[["scene", "unique_id", "kind"]]
    rows = rows.merge(kinds, on=["scene", "unique_id"])
    keys = ["scene", "unique_id", "cutoff"]
    seen = test.rename(columns={"ds": "cutoff"})[keys].assign(visible=True)
    rows = rows.merge(seen, on=keys, how="left")
    rows["visible"] = rows["visible"].notna()
    horizon = LENGTHS["prediction_length"]

    def cell(part: pd.DataFrame) -> str:
        path = part.groupby(keys)["error"].mean().mean()
        return f"{path:.3f}/{part.loc[part['ahead'] == horizon, 'error'].mean():.3f}"

    return {
        "all": cell(rows),
        "players": cell(rows[rows["kind"] != "ball"]),
        "ball": cell(rows[rows["kind"] == "ball"]),
        "in view at the cutoff": cell(rows[rows["visible"]]),
        "out of view at the cutoff": cell(rows[~rows["visible"]]),
        "cells": f"{int(rows['error'].notna().sum())}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="runs/soccer")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--stride", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train, test = load_soccer(TRAIN), load_soccer(TEST)
    folder, saved = Path(arguments.folder), Path(arguments.folder) / "forecaster"
    if saved.exists():
        network = Forecaster.load(saved)
    else:
        network = Forecaster(
            HiPerformer(dropout=0.0),
            columns=COLUMNS,
            max_steps=arguments.steps,
            batch_size=32,
            trainer={"default_root_dir": str(folder)},
            **LENGTHS,
        )
        network.fit(train, resume=(folder / LAST).exists()).save(saved)
    table = {}
    for model in (LastValue(), ConstantVelocity(), Ridge()):
        baseline = Forecaster(model, columns=COLUMNS, **LENGTHS).fit(train)
        table[type(model).__name__] = errors(baseline, test, arguments.stride)
    table["HiPerformer"] = errors(network, test, arguments.stride)
    result = pd.DataFrame(table).T
    law = network.evaluate(test, ["nll_per_coordinate", "coverage"], stride=arguments.stride)
    law = law[law["part"] == "all"].set_index("metric")["value"]
    slots = test.groupby("scene")[["ds"]].nunique()["ds"].sum() * 22
    share = (test["kind"] != "ball").sum() / slots
    note = (
        f"Files {TRAIN} to train, {TEST} to test, one match; {share:.0%} of the test file's "
        f"player-frames are seen. ADE/FDE in metres over the cells that are observed, a window "
        f"every {arguments.stride} steps. HiPerformer: NLL per coordinate "
        f"{law['nll_per_coordinate']:.3f}, 90 % interval covers {law['coverage']:.3f}."
    )
    print(result.to_string())
    print(note)
    write_section("soccer", "Soccer, half of the players unseen", result, note)


if __name__ == "__main__":
    main()
