"""Crossed groups: tourism by geography and by purpose, one way of grouping against two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._demand import CUTOFFS, STRIDE, covered, crps, cutoffs_before
from benchmarks.experiment import Experiment, Found, Options, Section, spread
from benchmarks.hierarchical import Study, demand_of
from hierforecast.datasets import Demand

SET = "tourismlarge"
# Roles of the purpose beside the groups state, zone, region.
ARMS: dict[str, Mapping[str, Any]] = {
    "a covariate": {"crossed": (), "static": ("purpose",)},
    "crossed": {"crossed": "purpose", "static": ()},
    "crossed, and a covariate": {"crossed": "purpose", "static": ("purpose",)},
}
WINDOWS = ("validation", "test")
BEFORE = 6  # validation cutoffs


def cutoffs(demand: Demand, window: str) -> list[int]:
    """Ascending cutoffs of the test, or those of which the last horizon ends where they begin."""
    test = cutoffs_before(demand.values().shape[1], demand.horizon, STRIDE[SET], CUTOFFS)
    if window == "test":
        return test
    return cutoffs_before(test[0], demand.horizon, STRIDE[SET], BEFORE)


def study(arm: str, window: str, given: Options) -> Study:
    """The set with its purpose in the roles of an arm."""
    demand = demand_of(SET)
    demand = replace(demand, columns=replace(demand.columns, **ARMS[arm]))
    found = Study(SET, demand, cutoffs(demand, window), given)
    found.folder = given.folder / "fits" / arm
    return found


def measure(arm: str, given: Options) -> dict[str, float]:
    """CRPS of all nodes on both windows, of the purposes' nodes, and coverage, on the test's."""
    found = {}
    for window in WINDOWS:
        one = study(arm, window, given)
        forecasts = list(one.ours("series"))
        demand, horizon = one.demand, one.demand.horizon
        found[window] = crps(forecasts, one.truth, horizon)
    nodes = np.isin(demand.nodes, demand.tags["purpose"])
    found["purposes"] = crps(((q[:, nodes], c) for q, c in forecasts), one.truth[nodes], horizon)
    return found | {"coverage": covered(forecasts, one.truth, horizon)}


def sections(found: Found, given: Options) -> list[Section]:
    """A row for each arm."""
    columns = {
        "validation": "CRPS, validation", "test": "CRPS, test",
        "purposes": "CRPS, test, the purposes", "coverage": "covered by 90 %",
    }  # fmt: skip
    rows = {}
    for arm in ARMS:
        runs = pd.DataFrame([kept for (name, _), kept in found.items() if name == arm])
        cells = {title: spread(runs[name], 4) for name, title in columns.items() if len(runs)}
        rows[f"purpose as {arm}"] = cells
    seeds = len({seed for _, seed in found})
    note = (
        "tourismlarge: 304 series of state, zone, region and purpose, monthly; HiPerformer as in "
        "the table of rolling windows, where the groups are state, zone, region. "
        f"CRPS: mean weighted quantile loss over all nodes and steps. Validation: {BEFORE} cutoffs "
        f"before the test's {CUTOFFS}, {STRIDE[SET]} months apart; a fit before the first of each. "
        "By the former the last row was chosen for `load_hierarchical`. "
        f"{given.steps} steps of 8 windows at most, {seeds} seed(s), mean ± deviation."
    )
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("-")
    return [Section("crossed", "Crossed groups: tourism by geography and purpose", table, note)]


EXPERIMENTS = {
    "crossed": Experiment(
        "Crossed groups: tourism by geography and purpose",
        "demand",
        ("crossed",),
        measure,
        sections,
        tuple(ARMS),
        seeds=(0, 1, 2),
        options={"steps": 200},
    )
}
