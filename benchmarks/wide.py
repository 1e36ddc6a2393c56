"""Training on a very wide scene: windows of all series against windows of some (`max_rows`)."""

from __future__ import annotations

from dataclasses import replace
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.experiment import Found, Options, averaged, rows_of
from benchmarks.hierarchical import demand_of, network
from benchmarks.timing import alone, peak_growth
from hierforecast import Forecaster, HiPerformer

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
CONTEXT = 40
# Rows that a window has at most, by the name of an arm; of the made scene, and of the sets.
COSTS: dict[str, int | None] = {"all": None, "4,000": 4_000, "1,000": 1_000}
SETS: dict[str, tuple[str, int | None]] = {
    f"{name}, {rows or 'all'}": (name, rows)
    for name in ("tourismlarge", "traffic")
    for rows in (None, 100, 30)
}


def made(given: Options) -> pd.DataFrame:
    """One scene of series that move with their group."""
    rng, steps = np.random.default_rng(0), 2 * CONTEXT + 20
    group = np.arange(given.series) % given.groups
    y, cells = np.zeros(given.series), []
    for _ in range(steps):
        y = 0.8 * y + rng.normal(size=given.groups)[group] + rng.normal(size=given.series)
        cells.append(y.astype(np.float32))
    return pd.DataFrame(
        {
            "unique_id": np.tile(np.arange(given.series, dtype=np.int32), steps),
            "ds": np.repeat(np.arange(steps, dtype=np.int32), given.series),
            "group": np.tile(group.astype(np.int16), steps),
            "y": np.concatenate(cells),
        }
    )


def fit(rows: int | None, given: Options) -> dict[str, float]:
    """A fit of the made scene: processor seconds, and memory above the imports and the frame."""
    from hierforecast.training import loop  # noqa: F401  (Lightning is an import too)

    torch.set_num_threads(1)
    frame = made(given)
    options: dict[str, Any] = {"context_length": CONTEXT, "prediction_length": 10}
    options |= {"max_steps": given.steps, "max_rows": rows, "trainer": QUIET}
    model = HiPerformer(width=given.width)
    start = process_time()
    grown = peak_growth(lambda: Forecaster(model, **options).fit(frame))[1]
    return {"seconds": process_time() - start, "bytes": grown or np.nan}


def cost(arm: str, given: Options) -> dict[str, float]:
    """The same in a process of its own."""
    return alone(fit, COSTS[arm], given)


def held_out(arm: str, given: Options) -> dict[str, float]:
    """What the network of a fit is worth on held-out windows, in all series of them."""
    name, rows = SETS[arm]
    demand = demand_of(name)
    forecaster = Forecaster(
        network(),
        context_length=2 * demand.season,
        prediction_length=demand.season,
        columns=replace(demand.columns, crossed=()),
        max_steps=given.steps,
        max_rows=rows,
        seed=given.seed,
        trainer=QUIET,
    )
    rungs = forecaster.fit(demand.frame).report_.rungs.set_index("rung")
    share = rungs.distance["network"] / rungs.distance["linear start"]
    return {"share": float(share), "nll": float(rungs.nll["network"])}


def costs(found: Found) -> pd.DataFrame:
    """A row for each arm."""
    rows = {
        name: {"processor seconds": f"{kept['seconds']:,.0f}", "GB": f"{kept['bytes'] / 1e9:.2f}"}
        for (name, _), kept in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


EXPERIMENTS = {
    "wide": rows_of(
        "wide",
        "speed",
        "One very wide scene",
        cost,
        "A fit of {series:,} series in {groups:,} groups, made, by the rows that a training window "
        f"has at most: {{steps}} steps, {CONTEXT} -> 10, width {{width}}, one thread; memory above "
        "the imports and the frame.",
        table=costs,
        title="One very wide scene: all rows of a window, or some",
        arms=tuple(COSTS),
        options={"series": 20_000, "groups": 600, "steps": 10, "width": 128},
    ),
    "wide-sets": rows_of(
        "wide-sets",
        "speed",
        "Learning from some rows of a window",
        held_out,
        "The network of a fit on held-out windows, in all series of them, by the rows that a "
        "training window has at most (of 304 and 200 series). {steps} steps, mean ± deviation over "
        "{runs} seed(s).",
        table=averaged({"share": "distance, of the linear start's", "nll": "NLL a coordinate"}, 4),
        arms=tuple(SETS),
        seeds=(0, 1, 2),
        options={"steps": 300},
    ),
}
