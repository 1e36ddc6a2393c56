"""Hierarchical demand: five sets, joint draws summed up or reconciled, rolling windows.

ETS and the reconciliation need the extra `peers`, in an environment of its own if need be; without
it their rows are empty.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple
from itertools import product

import numpy as np

from benchmarks._demand import (
    CUTOFFS,
    STRIDE,
    Grown,
    Recipe,
    bottom_up,
    choose,
    crps,
    cutoffs_before,
    quantiles_of,
    seasonal_naive,
)
from benchmarks._ets import smoothed
from benchmarks.experiment import (
    Experiment,
    Found,
    Options,
    Section,
    crossed,
    once,
)
from benchmarks.fits import fit_or_load
from hierforecast import HiPerformer, Ridge
from hierforecast.datasets import Demand, load_hierarchical

SETS = tuple(STRIDE)
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


def network(recipe: Recipe, season: int) -> HiPerformer:
    """The model, one and the same for every set but for its patch: the context is one token."""
    patch = recipe.context(season)
    return HiPerformer(width=32, depth=1, heads=4, dropout=0.0, patch=patch, scale=recipe.scale)


def reconciled(draws: np.ndarray, demand: Demand) -> np.ndarray:
    """Draws (n, nodes, h) of every node made coherent, one by one, by hierarchicalforecast.

    MinTrace with structural weights (a node weighs by the inverse of its number of series) needs no
    residuals. What falls below zero at the bottom is set to zero before it is summed up again.
    """
    from hierarchicalforecast.methods import MinTrace

    n, nodes, horizon = draws.shape
    flat = draws.transpose(1, 0, 2).reshape(nodes, n * horizon)
    made = MinTrace("wls_struct").fit_predict(S=demand.summing, y_hat=flat)["mean"]
    bottom = made[-demand.summing.shape[1] :].clip(min=0)
    return demand.add_up(bottom.reshape(-1, n, horizon).transpose(1, 0, 2))


class Study:
    """One set of demand and one list of cutoffs: the forecasts of every arm.

    Args:
        name: of the set.
        demand: its data.
        cutoffs: ascending; everything is fitted before the first, or before each.
        recipe: how models see it.
        given: folder, steps, pooled.
    """

    def __init__(
        self, name: str, demand: Demand, cutoffs: list[int], recipe: Recipe, given: Options
    ) -> None:
        self.demand, self.cutoffs, self.recipe, self.given = demand, cutoffs, recipe, given
        self.refit = name in REFIT
        self.folder = given.folder / "fits" / name
        self.series = demand.values()
        self.truth = demand.add_up(self.series)

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

    def grown(self, kind: str, cutoff: int) -> list[Grown]:
        """The forecasters of an arm, fitted before a cutoff: one for ridge, some of ours."""
        found, options = [], {"max_steps": self.given.steps, "batch_size": 8, "series_dropout": 0.0}
        for seed in range(1 if kind == "ridge" else self.given.pooled):
            model = (
                Ridge(scale=self.recipe.scale)
                if kind == "ridge"
                else network(self.recipe, self.demand.season)
            )
            options |= {"seed": seed, "trainer": {"enable_progress_bar": False}}
            grown = Grown(self.demand, self.recipe, model, kind == "nodes", **options)
            if kind == "ridge":
                grown.forecaster.fit(grown.frame(cutoff))
            else:
                name = "-".join(map(str, (kind, *astuple(self.recipe), cutoff, seed)))
                fitted = fit_or_load(grown.forecaster, self.folder / name, grown.frame(cutoff))
                grown.forecaster = fitted
            found.append(grown)
        return found

    def ours(self, kind: str) -> Forecasts:
        """Joint draws of ridge, of HiPerformer on the series, or of it on every node."""
        fitted: list[Grown] = []
        for cutoff in self.cutoffs:
            if not fitted or self.refit:
                fitted = self.grown(kind, cutoff)
            drawn = [grown.draws(cutoff, DRAWS // len(fitted)) for grown in fitted]
            draws = np.concatenate(drawn)
            if kind == "nodes":
                yield quantiles_of(reconciled(draws, self.demand)), cutoff
            else:
                yield quantiles_of(self.demand.add_up(draws)), cutoff

    def score(self, arm: str) -> str:
        """CRPS of an arm."""
        return f"{crps(ARMS[arm](self), self.truth, self.demand.horizon):.4f}"


@functools.cache
def demand_of(name: str, copies: str = "drop") -> Demand:
    """A set of demand, read once."""
    return load_hierarchical(name, copies=copies)


def recipe_of(name: str, demand: Demand, cutoffs: list[int], given: Options) -> Recipe:
    """The set's recipe, chosen on windows before the test's, or as it was chosen before."""
    stem = given.folder / "fits" / name / "recipe"
    return Recipe(**once(stem, lambda: asdict(choose(demand, cutoffs)[0])))


def study(name: str, window: str, given: Options) -> Study:
    """A set on the rolling windows or on the standard one, the last."""
    demand = demand_of(name)
    test = cutoffs_before(demand.values().shape[1], demand.horizon, STRIDE[name])
    recipe = recipe_of(name, demand, cutoffs_before(test[0], demand.horizon, STRIDE[name]), given)
    if window == "standard":
        demand = demand_of(name, copies="keep")
        test = [demand.values().shape[1] - demand.horizon]
    return Study(name, demand, test, recipe, given)


def measure(name: str, given: Options) -> dict[str, str] | None:
    """CRPS of an arm on a set, on both windows; nothing where a library is missing."""
    data, arm = name.split(", ", 1)
    try:
        return {window: study(data, window, given).score(arm) for window in WINDOWS}
    except ModuleNotFoundError as error:
        print(f"{arm}: {error}; install the extra 'peers'")
        return None


def sections(found: Found, given: Options) -> list[Section]:
    """CRPS on the rolling windows, and on the standard one beside published figures."""
    rolling, standard = (crossed(found, window) for window in WINDOWS)
    for row, cells in PUBLISHED.items():
        known = dict(zip(SETS, cells, strict=True))
        standard.loc[row] = [f"{known[s]:.4f}" if known[s] else "-" for s in standard.columns]
    recipes = "; ".join(f"{s}: {study(s, 'rolling', given).recipe}" for s in rolling.columns)
    note = (
        "CRPS: mean weighted quantile loss over all nodes and steps, levels 0.05 to 0.95. "
        f"{CUTOFFS} cutoffs a set, {', '.join(f'{STRIDE[s]} ({s})' for s in rolling.columns)} "
        "steps apart, the last at the end of the data; traffic without the days that the file "
        "repeats. "
        "Everything is fitted once, before the first cutoff (tourismsmall: before each). ETS: "
        "AutoETS of every series, normal, independent. HiPerformer: the series' joint draws "
        "summed up; or every node forecast and each joint draw reconciled by hierarchicalforecast. "
        f"{given.pooled} seed(s), {given.steps} steps at most. Shown to ridge and HiPerformer, "
        f"chosen by ridge's CRPS on ten windows before the first cutoff: {recipes} (tourismsmall: "
        "too short to choose by, the default). That changes are scaled by size alone was chosen on "
        "tourismsmall's first 19 quarters, after ridge's test figures had been seen without it."
    )
    later = (
        "One window, the last; traffic as the file is: its last day is a copy of day 99, which "
        "every model here has seen. Published figures are others', on the same window and score."
    )
    title = "Hierarchical demand, "
    return [
        Section("hierarchical", f"{title}rolling windows", rolling, note),
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
        ("hierarchical", "hierarchical-standard"),
        measure,
        sections,
        tuple(f"{data}, {arm}" for data, arm in product(SETS, ARMS)),
        options={"steps": 200, "pooled": 1},  # pooled: networks whose draws are pooled
    )
}
