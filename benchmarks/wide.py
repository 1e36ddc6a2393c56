"""Training on a very wide scene: windows of all series against windows of some (`max_rows`)."""

from __future__ import annotations

from dataclasses import replace
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.experiment import Experiment, Found, Options, Section, spread
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
    from hierforecast import training  # noqa: F401  (Lightning is an import too)

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


def costs(found: Found, given: Options) -> list[Section]:
    """A row for each arm."""
    rows = {
        name: {"processor seconds": f"{kept['seconds']:,.0f}", "GB": f"{kept['bytes'] / 1e9:.2f}"}
        for (name, _), kept in found.items()
    }
    note = (
        f"A fit of {given.series:,} series in {given.groups:,} groups, made, by the rows that a "
        f"training window has at most: {given.steps} steps, {CONTEXT} -> 10, width {given.width}, "
        "one thread; memory above the imports and the frame."
    )
    table = pd.DataFrame.from_dict(rows, orient="index")
    return [Section("wide", "One very wide scene", table, note)]


def errors(found: Found, given: Options) -> list[Section]:
    """A row for each arm."""
    rows = {}
    for arm in SETS:
        runs = pd.DataFrame([kept for (name, _), kept in found.items() if name == arm])
        if len(runs):
            names = {"distance, of the linear start's": "share", "NLL a coordinate": "nll"}
            rows[arm] = {title: spread(runs[name], 4) for title, name in names.items()}
    note = (
        "The network of a fit on held-out windows, in all series of them, by the rows that a "
        f"training window has at most (of 304 and 200 series). {given.steps} steps, mean ± "
        f"deviation over {len({seed for _, seed in found})} seed(s)."
    )
    table = pd.DataFrame.from_dict(rows, orient="index")
    return [Section("wide-sets", "Learning from some rows of a window", table, note)]


EXPERIMENTS = {
    "wide": Experiment(
        "One very wide scene: all rows of a window, or some",
        "speed",
        ("wide",),
        cost,
        costs,
        tuple(COSTS),
        options={"series": 20_000, "groups": 600, "steps": 10, "width": 128},
    ),
    "wide-sets": Experiment(
        "What is learned from some rows of a window",
        "speed",
        ("wide-sets",),
        held_out,
        errors,
        tuple(SETS),
        seeds=(0, 1, 2),
        options={"steps": 300},
    ),
}
