"""Demand, given what one series sells: what that says of the total of all others.

A store that sells more than was expected may say that a week is good everywhere, or nothing. The
joint draws are conditioned on its horizon, exactly; nothing is trained for it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks._panels import COLUMNS, windows_of
from benchmarks.experiment import Found, Options, averaged, rows_of
from benchmarks.fits import Setting
from benchmarks.hierarchical import study
from hierforecast import Forecaster, HiPerformer

CONTEXT = {"Walmart": 52}
SETS = ("Walmart", "traffic", "tourismlarge")
# Series that are given, one at a time, spread over the set; joint draws.
GIVEN, DRAWS, SEED = 6, 400, 0
UNTOLD, TOLD = "unconditional", "given"
FIGURES = [
    f"{what}, {name}"
    for what in ("total: CRPS, %", "total: inside 90 %", "each: CRPS, %")
    for name in (UNTOLD, TOLD)
]


class Asked(NamedTuple):
    """A fitted forecaster and what it is asked about.

    Args:
        forecaster: fitted before the first cutoff.
        frame: ``unique_id, ds, y`` and labels, all steps.
        cutoffs: numbers of the steps at which horizons start.
    """

    forecaster: Forecaster
    frame: pd.DataFrame
    cutoffs: list[int]


def asked(name: str, given: Options) -> Asked:
    """HiPerformer on a set, as the tables of demand have it."""
    if name not in CONTEXT:
        of_set = study(name, "rolling", given)
        sums = of_set.fitted("bottom", of_set.cutoffs[0])
        return Asked(sums.forecaster, sums.frame(len(sums.times)), of_set.cutoffs)
    windows = windows_of(name)
    setting = Setting(COLUMNS, CONTEXT[name], windows.horizon, lambda: windows.train)
    options = {"batch_size": 16, "trainer": {"enable_progress_bar": False}}
    forecaster = setting.fit(name, given, HiPerformer(), **options)
    return Asked(forecaster, windows.frame, windows.cutoffs)


def measure(name: str, given: Options) -> dict[str, Any]:
    """Means over cutoffs and given series."""
    forecaster, frame, cutoffs = asked(name, given)
    times = np.sort(frame["ds"].unique())
    rows = []
    for cutoff in cutoffs:
        history = frame[frame["ds"] < times[cutoff]]
        ahead = times[cutoff : cutoff + forecaster.prediction_length]
        future = frame[frame["ds"].isin(ahead)]
        untold = draws(forecaster, history)
        truth = future.pivot(index="unique_id", columns="ds", values="y").loc[untold[1]].to_numpy()
        for row in np.linspace(0, len(truth) - 1, GIVEN).round().astype(int):
            plan = future[future["unique_id"] == untold[1][row]][["unique_id", "ds", "y"]]
            told = draws(forecaster, history, given=plan)[0]
            others = np.arange(len(truth)) != row
            found: dict[str, float] = {}
            for title, each in ((UNTOLD, untold[0]), (TOLD, told)):
                found |= scores(title, each[:, others], truth[others])
            rows.append(found)
    return pd.DataFrame(rows)[FIGURES].mean().to_dict()


def draws(
    forecaster: Forecaster, history: pd.DataFrame, **how: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Joint draws (n, series, h), and the ids."""
    name = type(forecaster.model).__name__
    found = forecaster.sample(history, DRAWS, seed=SEED, **how)
    wide = found.set_index(["sample_id", "unique_id", "ds"])[name].unstack()
    ids = wide.index.get_level_values("unique_id").unique()
    return wide.to_numpy().reshape(DRAWS, len(ids), -1), ids.to_numpy()


def scores(title: str, found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """CRPS, in percent of the mean truth, and coverage.

    Args:
        title: end of their names.
        found: (n, series, h) draws.
        truth: (series, h).
    """
    total, real = found.sum(1), truth.sum(0)
    low, high = np.quantile(total, [0.05, 0.95], axis=0)
    return {
        f"total: CRPS, %, {title}": 100 * crps(total, real) / np.abs(real).mean(),
        f"total: inside 90 %, {title}": 100 * float(((low <= real) & (real <= high)).mean()),
        f"each: CRPS, %, {title}": 100 * crps(found, truth) / np.abs(truth).mean(),
    }


def crps(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean CRPS of draws (n, ...) for truths (...), by their order statistics."""
    n = len(found)
    rank = (2 * np.arange(1, n + 1) - n - 1).reshape(-1, *[1] * truth.ndim)
    spread = (rank * np.sort(found, axis=0)).sum(0) / (n * (n - 1))
    return float((np.abs(found - truth).mean(0) - spread).mean())


def note(found: Found, given: Options) -> str:
    """What a reader must know of the table."""
    return (
        f"The others of a set, when the horizon of one series is given, one of {GIVEN} spread over "
        f"the set at a time; {DRAWS} joint draws with and without. CRPS in percent of the mean of "
        "the truth: of the total of the others at each step, and of each of them. Walmart: 45 "
        f"stores, 8 weeks, {CONTEXT['Walmart']} of context, ten cutoffs; traffic and tourismlarge "
        "as in their table, rolling. Fitted once before the first cutoff, "
        f"{given.steps} steps; seeds {', '.join(map(str, given.seeds))}."
    )


EXPERIMENTS = {
    "demand-what-if": rows_of(
        "demand-what-if",
        "demand",
        "Demand: the total of the others, given one series",
        measure,
        note,
        table=averaged({name: name for name in FIGURES}, lambda name: 1 if "90" in name else 3),
        title="Demand: the total of all others, given what one series sells",
        arms=SETS,
        seeds=(0, 1, 2),
        options={"steps": 200},
    )
}
