"""Hierarchical demand: five sets, joint draws summed up or reconciled, rolling windows.

ETS needs the extra `peers`, in an environment of its own if need be; without it its rows are empty.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pandas as pd

from benchmarks._demand import (
    CUTOFFS,
    STRIDE,
    Sums,
    bottom_up,
    covered,
    crps,
    cutoffs_before,
    quantiles_of,
    reconciled,
    seasonal_naive,
)
from benchmarks._ets import smoothed
from benchmarks.experiment import Experiment, Found, Options, Section, spread
from benchmarks.fits import fit_or_load
from hierforecast import HiPerformer, Ridge
from hierforecast.datasets import Demand, load_hierarchical

# The sets, and traffic once more on its last days, one by one.
DAILY, DAYS = "traffic, 40 days", 40
SETS = (*STRIDE, DAILY)
REFIT = ("tourismsmall",)  # so short that everything is fitted again at every cutoff
DRAWS = 400
# Figures of others on the standard window, from the field's tables; no run of ours.
PUBLISHED = {
    "HierE2E (published)": (0.0335, 0.0359, 0.0916, 0.1688, 0.1629),
    "DeepVAR (published)": (0.0367, 0.0334, 0.0953, 0.1394, 0.2081),
    "ARIMA bottom-up (published)": (0.0453, 0.0753, 0.1138, 0.1752, 0.3776),
    "ETS bottom-up (published)": (0.0432, 0.0665, 0.1008, 0.1690, 0.4673),
    "PERMBU-MinT (published)": (0.0393, 0.0679, 0.0763, None, 0.2790),
}
WINDOWS = ("rolling", "standard")
Forecasts = Iterator[tuple[np.ndarray, int]]


def network() -> HiPerformer:
    """The model, one and the same for every set: small, as the sets are."""
    return HiPerformer(width=32, depth=1, heads=4, dropout=0.0)


class Study:
    """One set of demand and one list of cutoffs: the forecasts of every arm.

    Args:
        name: of the set.
        demand: its data.
        cutoffs: ascending; everything is fitted before the first, or before each.
        given: folder, seed, steps.
    """

    def __init__(self, name: str, demand: Demand, cutoffs: list[int], given: Options) -> None:
        self.demand, self.cutoffs, self.given = demand, cutoffs, given
        self.refit = name in REFIT
        self.folder = given.folder / "fits" / name
        self.truth = demand.add_up(demand.values())

    def naive(self, empirical: bool) -> Forecasts:
        """Seasonal naive of every node."""
        season, horizon = self.demand.season, self.demand.horizon
        for cutoff in self.cutoffs:
            yield seasonal_naive(self.truth[:, :cutoff], season, horizon, empirical), cutoff

    def ets(self) -> Forecasts:
        """AutoETS of every series, summed up as if the series were independent."""
        stem = self.folder / f"ets-{self.cutoffs[0]}-{len(self.cutoffs)}"
        mean, scale = smoothed(self.demand, self.cutoffs, self.refit, stem)
        for at, cutoff in enumerate(self.cutoffs):
            yield bottom_up(mean[at], scale[at], self.demand.summing), cutoff

    def fitted(self, kind: str, cutoff: int) -> Sums:
        """The forecaster of an arm, fitted before a cutoff."""
        model = Ridge(scale="series") if kind == "ridge" else network()
        options = {"max_steps": self.given.steps, "batch_size": 8, "series_dropout": 0.0}
        options |= {"seed": self.given.seed, "trainer": {"enable_progress_bar": False}}
        sums = Sums(self.demand, model, kind == "nodes", **options)
        if kind == "ridge":
            sums.forecaster.fit(sums.frame(cutoff))
        else:
            folder = self.folder / f"{kind}-{cutoff}-{self.given.seed}"
            sums.forecaster = fit_or_load(sums.forecaster, folder, sums.frame(cutoff))
        return sums

    def ours(self, kind: str) -> Forecasts:
        """Joint draws of ridge, of HiPerformer on the series, or of it on every node."""
        fitted = None
        for cutoff in self.cutoffs:
            if fitted is None or self.refit:
                fitted = self.fitted(kind, cutoff)
            draws = fitted.draws(cutoff, DRAWS, self.given.seed)
            add_up = self.demand.add_up
            whole = reconciled(draws, self.demand) if kind == "nodes" else add_up(draws)
            yield quantiles_of(whole), cutoff

    def score(self, arm: str) -> tuple[float, float]:
        """CRPS of an arm, and how much its 90 % intervals cover."""
        forecasts = list(ARMS[arm](self))
        horizon = self.demand.horizon
        return crps(forecasts, self.truth, horizon), covered(forecasts, self.truth, horizon)


@functools.cache
def demand_of(name: str, copies: str = "drop") -> Demand:
    """A set of demand, read once."""
    return load_hierarchical(name, copies=copies)


def study(name: str, window: str, given: Options) -> Study:
    """A set on the rolling windows or on the standard one, the last."""
    own = name.partition(",")[0]
    demand = demand_of(own, copies="drop" if window == "rolling" else "keep")
    steps = demand.values().shape[1]
    test = [steps - demand.horizon]
    if window == "rolling":
        stride, count = (1, DAYS) if name == DAILY else (STRIDE[name], CUTOFFS)
        test = cutoffs_before(steps, demand.horizon, stride, count)
    return Study(own, demand, test, given)


def measure(name: str, given: Options) -> dict[str, float] | None:
    """CRPS of an arm on a set, on both windows, and coverage; nothing without its library."""
    data, arm = name.rsplit(": ", 1)
    windows = WINDOWS[:1] if data == DAILY else WINDOWS
    try:
        scores = {window: study(data, window, given).score(arm) for window in windows}
    except ModuleNotFoundError as error:
        print(f"{arm}: {error}; install the extra 'peers'")
        return None
    return {window: score for window, (score, _) in scores.items()} | {
        "coverage": scores["rolling"][1]
    }


def table_of(found: Found, window: str) -> pd.DataFrame:
    """A score of every arm on every set: mean and deviation over seeds, where they differ."""
    rows = {
        name: [
            pd.Series([kept[window] for (key, _), kept in found.items()
                       if key == f"{data}: {name}" and window in kept]).drop_duplicates()
            for data in SETS
        ]
        for name in ARMS
    }  # fmt: skip
    columns = list(STRIDE) if window == "standard" else [*STRIDE, DAILY]
    digits = 3 if window == "coverage" else 4
    cells = {
        name: [spread(values, digits) for values in each[: len(columns)]]
        for name, each in rows.items()
    }
    return pd.DataFrame.from_dict(cells, orient="index", columns=columns)


def sections(found: Found, given: Options) -> list[Section]:
    """CRPS on the rolling windows, and on the standard one beside published figures."""
    rolling, standard = (table_of(found, window) for window in WINDOWS)
    for row, cells in PUBLISHED.items():
        standard.loc[row] = [f"{cell:.4f}" if cell else "-" for cell in cells]
    seeds = len({seed for _, seed in found})
    note = (
        "CRPS: mean weighted quantile loss over all nodes and steps, levels 0.05 to 0.95. "
        f"{CUTOFFS} cutoffs a set, {', '.join(f'{n} ({s})' for s, n in STRIDE.items())} "
        "steps apart, the last at the end of the data; traffic without the days that the file "
        f"repeats, and at its last {DAYS} days one by one. "
        "Everything is fitted once, before the first cutoff (tourismsmall: before each). ETS: "
        "AutoETS of every series, normal, independent. Ridge: of each series in its own units. "
        "HiPerformer chooses its scale by itself (demand); the series' joint draws are summed up, "
        "or every node is forecast and each joint draw reconciled by MinTrace with structural "
        f"weights. {given.steps} steps of 8 windows at most, {seeds} seed(s), mean ± deviation. "
        "How demand is smoothed was chosen on windows before the test's; that totals "
        "belong to the loss, that a short history is only smoothed, and that smoothing alone must "
        "be sure to beat the mean of it and the linear start, after these had been seen. "
        "Goals: at most .0125, .0540, .0735, .1320, .2400, and .0420 for the 40 days."
    )
    later = (
        "One window, the last; traffic as the file is: its last day is a copy of day 99, which "
        "every model here has seen. Published figures are others', on the same window and score. "
        "Goals: at most .080 (tourismsmall), .125 (tourismlarge), .170 (wiki2)."
    )
    title = "Hierarchical demand, "
    return [
        Section("hierarchical", f"{title}rolling windows", rolling, note),
        Section(
            "hierarchical-coverage",
            f"{title}coverage",
            table_of(found, "coverage"),
            "Share of the rolling windows' nodes and steps between the quantiles of 5 and 95 %. "
            "Goal: .85 to .94 on traffic, tourismlarge and wiki2.",
        ),
        Section("hierarchical-standard", f"{title}the standard window", standard, later),
    ]


ARMS: dict[str, Callable[[Study], Forecasts]] = {
    "seasonal naive, normal errors": lambda study: study.naive(empirical=False),
    "seasonal naive, its own errors": lambda study: study.naive(empirical=True),
    "ETS bottom-up": Study.ets,
    "Ridge, series summed up": lambda study: study.ours("ridge"),
    "HiPerformer, series summed up": lambda study: study.ours("series"),
    "HiPerformer, every node, MinTrace": lambda study: study.ours("nodes"),
}
EXPERIMENTS = {
    "hierarchical": Experiment(
        "Hierarchical demand: five sets, joint draws summed up or reconciled",
        "demand",
        ("hierarchical", "hierarchical-coverage", "hierarchical-standard"),
        measure,
        sections,
        tuple(f"{data}: {arm}" for data, arm in product(SETS, ARMS)),
        seeds=(0, 1, 2),
        options={"steps": 200},
    )
}
