"""Soccer: error and certainty against the time since a player was last seen.

python -m benchmarks.soccer_visibility --steps 1500 --folder runs/soccer --independent
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch

from benchmarks import soccer
from benchmarks._results import write_section
from hierforecast import Forecaster
from hierforecast.datasets import load_soccer
from hierforecast.plot import plot_errors

# Steps of 0.2 s since a player was last seen at the cutoff; the context has 40.
BINS = {"in view": (0, 0), "1-5 steps": (1, 5), "6-15 steps": (6, 15), "16-39 steps": (16, 39)}
PICTURE = Path(__file__).parents[1] / "docs" / "soccer_visibility.png"


def binned(rows: pd.DataFrame) -> pd.DataFrame:
    """Cells of players whose truth was seen, with the name of their bin as ``last seen``."""
    rows = rows[(rows["kind"] != "ball") & rows["error"].notna()]
    names = pd.Series(pd.NA, index=rows.index, dtype=object)
    for name, (first, last) in BINS.items():
        names[rows["unseen"].between(first, last)] = name
    return rows.assign(**{"last seen": names})


def by_visibility(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    """Mean error, width and coverage of the 90 % interval of a coordinate, for each bin.

    Args:
        rows: of `binned`.
        model: prefix of its columns.
    """
    width, inside = 0, 0
    for target in ("x", "y"):
        low, high = (rows[f"{model}_{target}-{side}-90"] for side in ("lo", "hi"))
        width = width + (high - low) / 2
        inside = inside + rows[target].between(low, high) / 2
    table = rows.assign(width=width, inside=100 * inside).groupby("last seen")
    found = table[["error", "width", "inside"]].mean().assign(cells=table.size())
    return found.reindex(list(BINS)).fillna({"cells": 0})


def draw(scored: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw each model's mean error for each bin."""
    keys = [*soccer.WINDOW, "ds"]
    together = None
    for name, rows in scored.items():
        points = [f"{name}_{target}" for target in ("x", "y")]
        own = [*keys, *points]
        first = [*own, "x", "y", "last seen"]
        together = rows[first] if together is None else together.merge(rows[own], on=keys)
    assert together is not None
    # Groups are drawn in the order of their names, so they go by numbers and are named after.
    names = [name for name in BINS if (together["last seen"] == name).any()]
    number = {name: f"{i}" for i, name in enumerate(names)}
    together = together.assign(**{"last seen": together["last seen"].map(number)})
    order = [*scored][::-1]  # the first is drawn largest: ours
    title = "Error by time out of view"
    axes = plot_errors(
        together, by="last seen", columns=soccer.COLUMNS, models=order, unit="m", title=title
    )
    axes.set_yticks(axes.get_yticks(), names)
    axes.get_figure().savefig(path, dpi=110)


def main() -> None:
    options = soccer.parser()
    options.add_argument("--picture", default=str(PICTURE))
    options.add_argument("--independent", action="store_true", help="fit an independent head too")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    test = load_soccer(soccer.TEST)
    fitted = soccer.baselines(load_soccer(soccer.TRAIN))
    fitted["HiPerformer"] = soccer.network(given, lambda: load_soccer(soccer.TRAIN))
    scored = {
        name: binned(soccer.scored(each, test, given.stride)) for name, each in fitted.items()
    }
    tables = {name: by_visibility(rows, name) for name, rows in scored.items()}
    result = pd.DataFrame(
        {
            **{name: table["error"].map("{:.2f}".format) for name, table in tables.items()},
            **{
                f"{name}: 90 % interval": table.apply(_interval, axis=1)
                for name, table in tables.items()
                if name in ("Ridge", "HiPerformer")
            },
            "cells": tables["HiPerformer"]["cells"].astype(int).astype(str),
        }
    )
    note = _note(given.stride)
    if given.independent:
        note += f" {_heads(given, fitted['HiPerformer'], test)}"
    print(result.to_string(), note, sep="\n")
    draw(scored, Path(given.picture))
    title = "Soccer, error against visibility"
    write_section("soccer-visibility", title, result, note)


def _interval(row: pd.Series) -> str:
    return f"{row['inside']:.1f} % inside, {row['width']:.1f} m wide"


def _note(stride: int) -> str:
    return (
        f"Players of the test file by the time since they were last seen at the cutoff (steps of "
        f"0.2 s); mean distance in metres over the horizon's 2 s, only where the truth is seen: of "
        f"a player out of view that is after his return, so late steps count more there. Interval: "
        f"mean over x and y. A window every {stride} steps."
    )


def _heads(given: argparse.Namespace, joint: Forecaster, test: pd.DataFrame) -> str:
    """The likelihoods of the joint head and of the independent one, in a sentence."""
    alone = soccer.network(given, lambda: load_soccer(soccer.TRAIN), "gaussian", head="gaussian")
    joint_law, alone_law = (soccer.likelihood(each, test, given.stride) for each in (joint, alone))
    return (
        f"NLL per coordinate over all series: joint head {joint_law['nll_per_coordinate']:.3f}, "
        f"independent head trained alike {alone_law['nll_per_coordinate']:.3f}."
    )


if __name__ == "__main__":
    main()
