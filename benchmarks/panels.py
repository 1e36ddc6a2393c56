"""Panels of demand: Walmart's weeks, hours of PJM's load, days of eight products of M5.

`HiPerformer()` stands there without an option. ETS needs the extra `peers`, in an environment of
its own if need be; without it its rows are empty.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pandas as pd

from benchmarks._ets import smoothed
from benchmarks._panels import COLUMNS, Windows, windows_of
from benchmarks._panels import Found as Forecasts
from benchmarks.experiment import Experiment, Found, Options, Section, once, spread, tidy
from benchmarks.fits import Setting
from hierforecast import HiPerformer, LastValue, Ridge, SeasonalNaive
from hierforecast.models import Model

CONTEXTS = {"Walmart": (8, 26, 52), "PJM": (48, 168, 336), "M5": (28, 56, 182)}
NAIVE = {"Walmart": (52,), "PJM": (24, 168), "M5": (7,)}
GOALS = {
    "Walmart": "Goal: an MAE of at most 38,000 in the last 8 weeks, and better than Ridge and ETS.",
    "PJM": "Goal: better than both naive forecasts and Ridge.",
    "M5": "Goal: at most 1.55 nats, no bound below zero, .85 to .94 covered.",
}
UNITS = {"Walmart": "dollars a week", "PJM": "MW", "M5": "units a day"}
TITLES = {"Walmart": "Weekly sales, Walmart", "PJM": "Hourly load, PJM", "M5": "Daily units, M5"}
NATS = (
    "Nats: negative log probability of the number sold, per cell; of a continuous distribution the "
    "probability of y is that of [y - 1/2, y + 1/2], with all below zero counted as zero."
)
ETS = {
    "Walmart": " (a season of 52 is too long for it)",
    "PJM": " (it chooses one without a season); MSTL, with AutoETS of the trend, fitted to the "
    "twelve weeks before each cutoff",
    "M5": "",
}
DIGITS = {"Walmart": 0, "PJM": 1, "M5": 3}


def context_of(name: str, given: Options) -> int:
    """Steps of context, by Ridge's CRPS on as many windows before the first cutoff."""
    stem = given.folder / "fits" / f"{name}-context"
    return once(stem, lambda: choose(windows_of(name).before(), CONTEXTS[name]))


def forecasts_of(name: str, windows: Windows, arm: str, given: Options) -> Forecasts:
    """Forecasts of an arm on windows of a panel, fitted before the first cutoff."""
    if arm in SMOOTHED:
        place, seasons = f"{name}-{len(windows.cutoffs)}-{arm}", SMOOTHED[arm]
        stem = given.folder / "fits" / place
        found = smoothed(windows, windows.cutoffs, bool(seasons), stem, seasons)
        return Forecasts.normal(*found, windows)
    model, context = ARMS[arm](name), context_of(name, given)
    if isinstance(model, SeasonalNaive):
        context = max(context, model.season)
    return fitted(model, context, windows, given, f"{name}, {arm}, {len(windows.cutoffs)}")


def fitted(model: Model, context: int, windows: Windows, given: Options, name: str) -> Forecasts:
    """Forecasts of a model that is fitted before the first cutoff."""
    setting = Setting(COLUMNS, context, windows.horizon, lambda: windows.train)
    options = {"batch_size": given.batch_size, "trainer": {"enable_progress_bar": False}}
    forecaster = setting.fit(name, given, model, **options)
    return Forecasts.of(forecaster, windows)


def choose(windows: Windows, contexts: tuple[int, ...]) -> int:
    """The context under which Ridge has the least CRPS."""
    nowhere = Options(folder=Path(), seed=0, steps=1, batch_size=64)
    scores = {
        context: fitted(ridge(), context, windows, nowhere, "").scores()["CRPS"]
        for context in contexts
    }
    return min(scores, key=lambda context: scores[context])


def ridge() -> Ridge:
    """Ridge regression of each series in its own units."""
    return Ridge(scale="series")


ARMS: dict[str, Callable[[str], Model]] = {
    "LastValue": lambda name: LastValue(scale="series"),
    "SeasonalNaive": lambda name: SeasonalNaive(NAIVE[name][0], scale="series"),
    "SeasonalNaive, a week": lambda name: SeasonalNaive(NAIVE[name][-1], scale="series"),
    "Ridge": lambda name: ridge(),
    "HiPerformer": lambda name: HiPerformer(),
}
# Arms by statsforecast: seasons that are taken away before, where there are several.
SMOOTHED: dict[str, tuple[int, ...]] = {"AutoETS": (), "MSTL, day and week": (24, 168)}
ROWS = (*list(ARMS)[:4], *SMOOTHED, "HiPerformer")


def arms(given: Options) -> list[str]:
    """The rows of each panel."""
    every = [(name, arm) for name, arm in product(NAIVE, ROWS)]
    return [f"{name}, {arm}" for name, arm in every if "week" not in arm or len(NAIVE[name]) > 1]


def measure(name: str, given: Options) -> pd.DataFrame | None:
    """Scores of an arm on a panel; nothing where a library is missing."""
    panel, arm = name.split(", ", 1)
    windows = windows_of(panel)
    try:
        found = forecasts_of(panel, windows, arm, given)
        scores = found.scores()
        if panel == "M5":
            scores["nats"] = found.nats()
        if panel == "Walmart":
            last = forecasts_of(panel, windows.last(), arm, given)
            scores["MAE, last 8 weeks"] = last.scores()["MAE"]
    except ModuleNotFoundError as error:
        print(f"{arm}: {error}; install the extra 'peers'")
        return None
    return pd.DataFrame([scores])


def sections(found: Found, given: Options) -> list[Section]:
    """A table for each panel."""
    every = tidy(found)
    every[["panel", "row"]] = every["arm"].str.split(", ", n=1, expand=True)
    return [section(name, part, given) for name, part in every.groupby("panel", sort=False)]


def section(name: str, found: pd.DataFrame, given: Options) -> Section:
    """Mean over seeds and their deviation, for each arm and score."""
    scores = found.drop(columns=["arm", "seed", "panel", "row"]).dropna(axis=1, how="all")
    rows = {}
    for row in dict.fromkeys(found["row"]):
        of_row = scores[found["row"] == row]
        rows[row] = {score: cell(of_row[score], score, name) for score in scores}
    seeds = found[found["row"] == "HiPerformer"]["seed"].nunique()
    table = pd.DataFrame(rows).T.fillna("-")
    return Section(f"panels-{name.lower()}", TITLES[name], table, note(name, seeds, given))


def note(name: str, seeds: int, given: Options) -> str:
    """What a reader of a panel's table must know."""
    windows = windows_of(name)
    parts = [
        f"{len(windows.series)} series, {windows.steps} steps. {windows.count} cutoffs, "
        f"{windows.stride} steps apart, the last {windows.horizon} steps before the end; horizon "
        f"{windows.horizon}; everything is fitted once, before the first cutoff"
        f"{', and anew before the last 8 weeks' * (name == 'Walmart')}.",
        f"MAE (of the point forecast) and CRPS (twice the pinball loss, mean of 99 levels) in "
        f"{UNITS[name]}, share of cells within the 90 % interval, share whose lower bound is below "
        "zero.",
        NATS * (name == "M5"),
        f"Context {context_of(name, given)}, of "
        f"{', '.join(map(str, CONTEXTS[name]))} by Ridge's CRPS on as many windows before.",
        f"HiPerformer() without options, {given.steps} steps of {given.batch_size} windows at "
        f"most, {seeds} seed(s), mean ± deviation.",
        "AutoETS of each series by itself, normal, its form chosen before the first cutoff"
        f"{ETS[name]}.",
        GOALS[name],
    ]
    return " ".join(part for part in parts if part)


def cell(values: pd.Series, score: str, name: str) -> str:
    """A score of one row; one that no seed changes has no deviation."""
    digits = 2 if score in ("coverage", "below zero") else DIGITS[name]
    return spread(values.drop_duplicates() if values.nunique() == 1 else values, digits)


EXPERIMENTS = {
    "panels": Experiment(
        "Panels of demand: Walmart, PJM's load, M5, by HiPerformer() as it comes",
        "demand",
        tuple(f"panels-{name.lower()}" for name in NAIVE),
        measure,
        sections,
        arms,
        options={"steps": 300, "batch_size": 16},
    )
}
