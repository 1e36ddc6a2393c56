"""Hierarchical demand: five sets, joint draws summed up or reconciled, rolling windows.

    python -m benchmarks.hierarchical --folder runs/hierarchical

ETS and the reconciliation need the extra `peers`, in an environment of its own if need be; without
it their rows are empty. Fits, recipes and ETS forecasts are kept in the folder and read again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
import pandas as pd
import torch

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
from benchmarks._results import write_section
from benchmarks._runs import arguments, fit_or_load
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
        options: the command's: folder, steps, seeds.
    """

    def __init__(
        self,
        name: str,
        demand: Demand,
        cutoffs: Sequence[int],
        recipe: Recipe,
        options: argparse.Namespace,
    ) -> None:
        self.name, self.demand, self.cutoffs = name, demand, list(cutoffs)
        self.recipe, self.options = recipe, options
        self.folder = Path(options.folder) / name
        self.series = demand.values()
        self.truth = demand.add_up(self.series)

    def naive(self, empirical: bool) -> Forecasts:
        """Seasonal naive of every node."""
        season, horizon = self.demand.season, self.demand.horizon
        for cutoff in self.cutoffs:
            yield seasonal_naive(self.truth[:, :cutoff], season, horizon, empirical), cutoff

    def ets(self) -> Forecasts:
        """AutoETS of every series, summed up as if the series were independent."""
        demand, refit = self.demand, self.name in REFIT
        kept = self.folder / f"ets-{self.cutoffs[0]}-{len(self.cutoffs)}.npz"
        mean, spread = smoothed(
            self.series, self.cutoffs, demand.season, demand.horizon, refit, kept
        )
        for at, cutoff in enumerate(self.cutoffs):
            yield bottom_up(mean[at], spread[at], demand.summing), cutoff

    def grown(self, kind: str, cutoff: int) -> list[Grown]:
        """The forecasters of an arm, fitted before a cutoff: one for ridge, one a seed for ours."""
        found = []
        for seed in range(1 if kind == "ridge" else self.options.seeds):
            season, every_node = self.demand.season, kind == "nodes"
            model = network(self.recipe, season)
            if kind == "ridge":
                model = Ridge(scale=self.recipe.scale)
            grown = Grown(
                self.demand,
                self.recipe,
                model,
                every_node,
                max_steps=self.options.steps,
                batch_size=8,
                series_dropout=0.0,
                seed=seed,
                trainer={"enable_progress_bar": False},
            )
            if kind == "ridge":
                grown.forecaster.fit(grown.frame(cutoff))
            else:
                folder = self.folder / "-".join(
                    map(str, (kind, *astuple(self.recipe), cutoff, seed))
                )
                grown.forecaster = fit_or_load(grown.forecaster, folder, grown.frame(cutoff))
            found.append(grown)
        return found

    def ours(self, kind: str) -> Forecasts:
        """Joint draws of ridge, of HiPerformer on the series, or of it on every node."""
        fitted: list[Grown] = []
        for cutoff in self.cutoffs:
            if not fitted or self.name in REFIT:
                fitted = self.grown(kind, cutoff)
            drawn = [grown.draws(cutoff, DRAWS // len(fitted)) for grown in fitted]
            draws = np.concatenate(drawn)
            if kind == "nodes":
                yield quantiles_of(reconciled(draws, self.demand)), cutoff
            else:
                yield quantiles_of(self.demand.add_up(draws)), cutoff

    def scores(self) -> dict[str, str]:
        """CRPS of every arm; a dash where a library is missing."""
        arms = {
            "seasonal naive, normal errors": self.naive(empirical=False),
            "seasonal naive, its own errors": self.naive(empirical=True),
            "ETS bottom-up": self.ets(),
            "Ridge, series summed up": self.ours("ridge"),
            "HiPerformer, series summed up": self.ours("series"),
            "HiPerformer, every node, MinTrace": self.ours("nodes"),
        }
        cells = {}
        for arm, forecasts in arms.items():
            if self.options.arms and not any(word in arm for word in self.options.arms):
                continue
            try:
                cells[arm] = f"{crps(forecasts, self.truth, self.demand.horizon):.4f}"
            except ModuleNotFoundError as error:
                print(f"{arm}: {error}; install the extra 'peers'")
                cells[arm] = "-"
            print(self.name, len(self.cutoffs), arm, cells[arm], flush=True)
        return cells


def chosen(name: str, demand: Demand, cutoffs: Sequence[int], folder: Path) -> Recipe:
    """The set's recipe, chosen on windows before the test's, or as it was chosen before."""
    path = folder / name / "recipe.json"
    if path.exists():
        return Recipe(**json.loads(path.read_text()))
    recipe, score = choose(demand, cutoffs)
    print(f"{name}: {recipe}, ridge's CRPS on the windows before the test {score:.4f}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(recipe)))
    return recipe


def study(name: str, options: argparse.Namespace) -> tuple[dict[str, str], dict[str, str], Recipe]:
    """CRPS by arm on the rolling windows and on the standard one, and the set's recipe."""
    demand = load_hierarchical(name)
    end = demand.values().shape[1]
    test = cutoffs_before(end, demand.horizon, STRIDE[name])
    before = cutoffs_before(test[0], demand.horizon, STRIDE[name])
    recipe = chosen(name, demand, before, Path(options.folder))
    rolling = Study(name, demand, test, recipe, options).scores()
    whole = load_hierarchical(name, copies="keep")
    last = whole.values().shape[1] - whole.horizon
    return rolling, Study(name, whole, [last], recipe, options).scores(), recipe


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], "runs/hierarchical", 200)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--seeds", type=int, default=1, help="networks whose draws are pooled")
    parser.add_argument("--arms", nargs="+", default=(), help="only arms with one of these words")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = {name: study(name, options) for name in options.sets}
    rolling = pd.DataFrame({name: rows for name, (rows, _, _) in found.items()})
    standard = pd.DataFrame({name: rows for name, (_, rows, _) in found.items()})
    for row, cells in PUBLISHED.items():
        given = dict(zip(SETS, cells, strict=True))
        standard.loc[row] = [f"{given[s]:.4f}" if given[s] else "-" for s in standard.columns]
    recipes = "; ".join(f"{name}: {recipe}" for name, (_, _, recipe) in found.items())
    note = (
        "CRPS: mean weighted quantile loss over all nodes and steps, levels 0.05 to 0.95. "
        f"{CUTOFFS} cutoffs a set, {', '.join(f'{STRIDE[s]} ({s})' for s in options.sets)} steps "
        "apart, the last at the end of the data; traffic without the days that the file repeats. "
        "Everything is fitted once, before the first cutoff (tourismsmall: before each). ETS: "
        "AutoETS of every series, normal, independent. HiPerformer: the series' joint draws "
        "summed up; or every node forecast and each joint draw reconciled by hierarchicalforecast. "
        f"{options.seeds} seed(s), {options.steps} steps at most. Shown to ridge and HiPerformer, "
        f"chosen by ridge's CRPS on ten windows before the first cutoff: {recipes} (tourismsmall: "
        "too short to choose by, the default). That changes are scaled by size alone was chosen on "
        "tourismsmall's first 19 quarters, after ridge's test figures had been seen without it."
    )
    later = (
        "One window, the last; traffic as the file is: its last day is a copy of day 99, which "
        "every model here has seen. Published figures are others', on the same window and score."
    )
    for table, words in ((rolling, note), (standard, later)):
        print(table.to_string(), words, sep="\n")
    if tuple(options.sets) == SETS:
        write_section("hierarchical", "Hierarchical demand, rolling windows", rolling, note)
        title = "Hierarchical demand, the standard window"
        write_section("hierarchical-standard", title, standard, later)


if __name__ == "__main__":
    main()
