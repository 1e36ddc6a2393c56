"""Error and certainty of a forecast against the time since a player was last seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from hierforecast import Columns
from hierforecast.plot import plot_errors

NOTE = (
    "Players of the test file by the time since they were last seen at the cutoff (steps of "
    "0.2 s); mean distance in metres over the horizon's 2 s, and at its end, only where the truth "
    "is seen: of a player out of view that is after his return, so late steps count more there. "
    "Interval: mean over x and y. A window every {stride} steps; means over fits of seeds {seeds}."
)
# Steps of 0.2 s since a player was last seen at the cutoff; the context has 40.
BINS = {"in view": (0, 0), "1-5 steps": (1, 5), "6-15 steps": (6, 15), "16-39 steps": (16, 39)}
SHARED = ("x", "y", "last seen")


def binned(rows: pd.DataFrame) -> pd.DataFrame:
    """Cells of players whose truth was seen, with the name of their bin as ``last seen``."""
    rows = rows[(rows["kind"] != "ball") & rows["error"].notna()]
    names = pd.Series(pd.NA, index=rows.index, dtype=object)
    for name, (first, last) in BINS.items():
        names[rows["unseen"].between(first, last)] = name
    return rows.assign(**{"last seen": names})


def by_visibility(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    """Mean error, error at the end, width and coverage of a coordinate's 90 % interval, by bin.

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
    last = rows[rows["ahead"] == rows["ahead"].max()].groupby("last seen")["error"].mean()
    return found.assign(last=last).reindex(list(BINS)).fillna({"cells": 0})


def table(scored: Mapping[str, pd.DataFrame], runs: int = 1) -> pd.DataFrame:
    """A row a bin: the error of each model, the intervals of two of them, the cells of a run.

    Args:
        scored: rows of `binned` of all runs, by model.
        runs: how many there are, of one seed each.
    """
    found = {name: by_visibility(rows, name) for name, rows in scored.items()}
    columns = {
        name: each["error"].map("{:.2f}".format) + each["last"].map("/{:.2f}".format)
        for name, each in found.items()
    }
    for name in ("Ridge", "HiPerformer"):
        columns[f"{name}: 90 % interval"] = found[name].apply(_interval, axis=1)
    columns["cells"] = (found["HiPerformer"]["cells"] // runs).astype(int).astype(str)
    return pd.DataFrame(columns)


def draw(
    scored: Mapping[str, pd.DataFrame], window: Sequence[str], columns: Columns, path: str
) -> None:
    """Draw each model's mean error for each bin.

    Args:
        scored: rows of `binned` by model.
        window: columns that name a series and a cutoff.
        columns: of the frame.
        path: of the picture.
    """
    keys = [*window, "ds"]
    together = pd.concat(
        [
            rows.set_index(keys)[[f"{name}_x", f"{name}_y"] + [*SHARED] * (number == 0)]
            for number, (name, rows) in enumerate(scored.items())
        ],
        axis=1,
    ).reset_index()
    # Groups are drawn in the order of their names, so they go by numbers and are named after.
    names = [name for name in BINS if (together["last seen"] == name).any()]
    number = {name: f"{i}" for i, name in enumerate(names)}
    together = together.assign(**{"last seen": together["last seen"].map(number)})
    order = [*scored][::-1]  # the first is drawn largest: ours
    title = "Error by time out of view"
    axes = plot_errors(
        together, by="last seen", columns=columns, models=order, unit="m", title=title
    )
    axes.set_yticks(axes.get_yticks(), names)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    axes.get_figure().savefig(path, dpi=110)


def _interval(row: pd.Series) -> str:
    return f"{row['inside']:.1f} % inside, {row['width']:.1f} m wide"
