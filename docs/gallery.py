"""The pictures of the gallery, light and dark: `python docs/gallery.py [FOLDER] [NAME ...]`.

`make docs` runs it where a picture is missing or older than what draws it. All data are made in
`gallery_data.py` or simulated, so that no network and no data of others is needed.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

if __name__ == "__main__":
    matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from gallery_data import QUIET, TRACKS, Play, basketball, game, shop, square
from matplotlib.figure import Figure

from hierforecast import Forecaster, SeasonalNaive, plot
from hierforecast.datasets import simulate_basketball

HERE = Path(__file__).parent
STYLES = {"light": "default", "dark": "dark_background"}


# Pictures: each is a function whose first line is its caption


def scene(play: Play, title: str, **options: Any) -> Figure:
    """A rollout of a play."""
    given = {"truth": play.truth, "forecast": play.forecast, "title": title, **options}
    return plot.plot_rollout(play.history, **given).figure


def rollout() -> Figure:
    """`plot_rollout(history, forecast, truth)`: against the truth; who is hidden is hollow."""
    return scene(basketball(), "Forecast and truth")


def samples() -> Figure:
    """`plot_rollout(..., samples=samples)`: twenty joint futures and regions of 90 %."""
    few = basketball().samples.query("sample_id < 20")
    return scene(basketball(), "Twenty joint futures", samples=few, truth=None)


def density() -> Figure:
    """The same of many series: paths become densities by themselves (`max_paths=`)."""
    play = game((("home", 11), ("away", 11)), ((-52.5, -34), (52.5, 34)))
    options = {"samples": play.samples, "truth": None, "level": None}
    return scene(play, "Forty futures of 23 series", **options)


def futures() -> Figure:
    """`plot_rollout(..., samples=forecaster.futures(history, 5))`: the wider, the likelier."""
    few = basketball().forecaster.futures(basketball().history, 5, seed=0)
    return scene(basketball(), "Five representative futures", samples=few, truth=None, level=None)


def what_if() -> Figure:
    """`plot_rollout(..., given=plan)`: squares are what was assumed."""
    play = basketball()
    names = {"HiPerformer_x": "x", "HiPerformer_y": "y"}
    plan = play.forecast[play.forecast["unique_id"] == "ball"].rename(columns=names)
    plan = plan[["scene", "unique_id", "ds", "x", "y"]]
    plan = plan.assign(y=plan["y"] + np.linspace(0, 10, len(plan)))
    forecast = play.forecaster.predict(play.history, given=plan, level=[90])
    return scene(play, "If the ball goes up", forecast=forecast, given=plan, truth=None)


def imputed() -> Figure:
    """`plot_rollout(history, imputed=forecaster.impute(history))`: rings where nobody saw them."""
    play = basketball()
    hidden = play.truth["unique_id"].isin(["home_1", "away_2"]) & play.truth["ds"].between(30, 37)
    seen = play.truth[~hidden & (play.truth["ds"] < 50)]
    found = play.forecaster.impute(seen)
    title = "Two were out of view"
    return plot.plot_rollout(seen, imputed=found, columns=TRACKS, title=title).figure


def ice() -> Figure:
    """`court="ice"`: a rink of the NHL in feet, origin at center ice."""
    play = game((("home", 6), ("away", 6)), ((-92, -38), (92, 38)), "puck")
    return scene(play, "On ice", court="ice")


def field() -> Figure:
    """`court="nfl"`: an American football field in yards; `labels=None` leaves numbers out."""
    play = game((("KC", 11), ("BUF", 11)), ((25, 5), (100, 49)))
    return scene(play, "Two teams of eleven", court="nfl", labels=None)


def grid() -> Figure:
    """`court="grid"`: neutral ground for pedestrians, robots, animals; `unit=` names its unit."""
    options = {"court": "grid", "unit": "m", "columns": square().forecaster.columns}
    return scene(square(), "Crossing a square", labels=str, **options)


def fans() -> Figure:
    """`plot_forecast(history, forecast, truth)`: a panel a series, intervals of 50 and 90 %."""
    past, sales, forecaster = shop()
    forecast = forecaster.predict(past, level=[50, 90])
    options = {"unit": "units a day", "title": "Daily sales"}
    return plot.plot_forecast(past, forecast, sales, **options)[0].figure


def totals() -> Figure:
    """`plot_groups(history, samples=samples, by="category", aggregate="sum")`."""
    past, sales, forecaster = shop()
    drawn = forecaster.sample(past, 200)
    options = {"by": "category", "aggregate": "sum", "columns": forecaster.columns}
    more = {"unit": "units a day", "title": "Sums of categories"}
    return plot.plot_groups(past, truth=sales, samples=drawn, **options, **more)[0].figure


def correlation() -> Figure:
    """`plot_correlation(samples, history=history)`: who moves with whom."""
    play = basketball()
    drawn, title = play.forecaster.sample(play.history, 200), "How forecasts move together"
    return plot.plot_correlation(drawn, history=play.history, title=title).figure


def surprise() -> Figure:
    """`plot_surprise(forecaster.surprise(frame))`: one sensor froze."""
    faulty = simulate_basketball(n_scenes=1, n_steps=60, seed=1)
    frozen = (faulty["unique_id"] == "home_2") & faulty["ds"].between(54, 59)
    faulty.loc[frozen, ["x", "y"]] = [47.0, 25.0]
    scores = basketball().forecaster.surprise(faulty)
    return plot.plot_surprise(scores, title="What was surprising").figure


def influence() -> Figure:
    """`plot_influence(forecaster.influence(history))`: whose absence changes whose forecast."""
    history = basketball().history
    matters = influences()
    return plot.plot_influence(matters, history=history, unit="ft", title="Who matters").figure


@functools.cache
def influences() -> pd.DataFrame:
    """Each series left out in turn."""
    return basketball().forecaster.influence(basketball().history)


@functools.cache
def backtest() -> pd.DataFrame:
    """Two models after the same cutoffs."""
    _, sales, forecaster = shop()
    lengths = {"context_length": 56, "prediction_length": 14}
    naive = Forecaster(
        SeasonalNaive(scale="series"), **lengths, columns=forecaster.columns, trainer=QUIET
    )
    naive.fit(sales[sales["ds"] < "2026-04-01"])
    ours, theirs = (one.backtest(sales, n_windows=3) for one in (forecaster, naive))
    return ours.merge(theirs.drop(columns="y"), on=["unique_id", "ds", "cutoff"])


def errors() -> Figure:
    """`plot_errors(backtest)`: error against steps ahead, a line a model."""
    options = {"unit": "units", "columns": shop()[2].columns, "title": "How errors grow"}
    return plot.plot_errors(backtest(), **options).figure


def calibration() -> Figure:
    """`plot_calibration(forecaster.report_.coverage)`: on the diagonal, as often as said."""
    coverage = basketball().forecaster.report_.coverage
    return plot.plot_calibration(coverage, title="Are intervals honest?").figure


PICTURES: tuple[Callable[[], Figure], ...] = (
    rollout, samples, density, futures, what_if, imputed, ice, field, grid, fans, totals,
    correlation, surprise, influence, errors, calibration,
)  # fmt: skip


def draw(folder: Path, names: list[str]) -> None:
    """Draw some pictures, or all, for both backgrounds."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        if names and picture.__name__ not in names:
            continue
        for name, style in STYLES.items():
            with plt.style.context(style):
                figure = picture()
                figure.savefig(folder / f"{picture.__name__}-{name}.png", dpi=60)
                plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "_build" / "gallery", sys.argv[2:])
