"""Crossed groups: tourism by geography and by purpose, one way of grouping against two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks._demand import CUTOFFS, STRIDE, covered, crps, cutoffs_before
from benchmarks.experiment import Options, averaged, rows_of
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


COLUMNS = {
    "validation": "CRPS, validation",
    "test": "CRPS, test",
    "purposes": "CRPS, test, the purposes",
    "coverage": "covered by 90 %",
}
NOTE = (
    "tourismlarge: 304 series of state, zone, region and purpose, monthly; HiPerformer as in the "
    "table of rolling windows, where the groups are state, zone, region. CRPS: mean weighted "
    f"quantile loss over all nodes and steps. Validation: {BEFORE} cutoffs before the test's "
    f"{CUTOFFS}, {STRIDE[SET]} months apart; a fit before the first of each. By the former the "
    "last row was chosen for `load_hierarchical`. {steps} steps of 8 windows at most, {runs} "
    "seed(s), mean ± deviation."
)
EXPERIMENTS = {
    "crossed": rows_of(
        "crossed",
        "demand",
        "Crossed groups: tourism by geography and purpose",
        measure,
        NOTE,
        table=lambda found: averaged(COLUMNS, 4)(found).rename("purpose as {}".format),
        arms=tuple(ARMS),
        seeds=(0, 1, 2),
        options={"steps": 200},
    )
}
