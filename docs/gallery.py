"""The pictures of the gallery, light and dark: `python docs/gallery.py [FOLDER] [NAME ...]`.

`make docs` runs it where a picture is missing or older than what draws it. All data are made here
or simulated, so that no network and no data of others is needed.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

if __name__ == "__main__":
    matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import hierforecast
from hierforecast import Columns, Forecaster, Ridge, SeasonalNaive, plot
from hierforecast.datasets import simulate_basketball

HERE = Path(__file__).parent
STYLES = {"light": "default", "dark": "dark_background"}
TRACKS = simulate_basketball.columns
QUIET = {"accelerator": "cpu", "enable_progress_bar": False}


class Play(NamedTuple):
    """A scene, and what was forecast of it."""

    history: pd.DataFrame
    forecast: pd.DataFrame
    samples: pd.DataFrame
    truth: pd.DataFrame
    forecaster: Forecaster


# What is shown


@functools.cache
def basketball() -> Play:
    """Simulated basketball, forecast by the forecaster that comes with the package."""
    forecaster = hierforecast.pretrained("basketball")
    play = simulate_basketball(n_scenes=1, n_steps=60, seed=5)
    return asked(forecaster, play, 50, gone=["away_3"])


def asked(forecaster: Forecaster, play: pd.DataFrame, cutoff: int, gone: list[str]) -> Play:
    """The answers for a scene, of which some series are hidden."""
    history = play[(play["ds"] < cutoff) & ~play["unique_id"].isin(gone)]
    forecast, samples = forecaster.predict(history, level=[50, 90]), forecaster.sample(history, 40)
    return Play(history, forecast, samples, play, forecaster)


def moving(n_scenes: int, sizes: dict[str, int], ground: Any, seed: int, ball: str) -> pd.DataFrame:
    """Made games: a ball or puck goes about, teams keep their shape and follow it.

    Args:
        n_scenes: of 60 steps each.
        sizes: of teams.
        ground: low and high corners (2, 2).
        seed: of everything random.
        ball: what it is called.
    """
    rng, (low, high) = np.random.default_rng(seed), np.array(ground, float)
    middle, half, t = (low + high) / 2, (high - low) / 2, np.arange(60)
    rows = []
    for scene in range(n_scenes):
        phase, pace = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.03, 0.06, 2)
        leader = middle + half * 0.7 * np.sin(phase + np.outer(t, pace))
        tracks = {(ball, ball, ball): leader + 0.02 * half * rng.normal(size=(60, 2))}
        for side, (team, n) in enumerate(sizes.items()):
            for i in range(n):
                shape = half * [0.75 * (i % 4 / 3 - 0.5), 1.3 * (i / max(n - 1, 1) - 0.5)]
                shape = shape + half * [0.2 * (2 * side - 1), 0]
                own = np.cumsum(rng.normal(size=(60, 2)), axis=0) * 0.006 * half
                late = np.concatenate([np.repeat(leader[:1], 6, 0), leader[:-6]])
                track = middle + shape * 0.8 + 0.45 * (late - middle) + own
                tracks[f"{team}_{i + 1}", team, "player"] = np.clip(track, low, high)
        for (name, team, kind), xy in tracks.items():
            rows.append(pd.DataFrame({
                "scene": scene, "ds": t, "unique_id": name, "team": team, "kind": kind,
                "x": xy[:, 0], "y": xy[:, 1],
            }))  # fmt: skip
    return pd.concat(rows, ignore_index=True)


@functools.cache
def game(
    sizes: tuple[tuple[str, int], ...], ground: tuple[tuple[float, float], ...], ball: str = "ball"
) -> Play:
    """A made game and its linear forecast."""
    train, test = (moving(n, dict(sizes), ground, seed, ball) for n, seed in ((12, 0), (1, 7)))
    lengths = {"context_length": 20, "prediction_length": 20}
    forecaster = Forecaster(Ridge(), **lengths, columns=TRACKS, trainer=QUIET).fit(train)
    return asked(forecaster, test, 40, gone=[])


@functools.cache
def square() -> Play:
    """People who cross a square, half of them one way; they come and go."""
    rng, rows = np.random.default_rng(3), []
    for scene in range(8):
        for person in range(14):
            begin, length = rng.integers(-30, 35), rng.integers(25, 60)
            speed, side = rng.uniform(0.4, 0.6), 1 if person % 2 else -1
            t = np.arange(length)
            sway = 0.25 * np.cumsum(rng.normal(size=length)) * 0.3
            x = 9 - side * 9 + side * speed * t
            y = rng.uniform(1, 11) + sway + 0.1 * rng.normal() * t
            frame = {"scene": scene, "ds": begin + t, "unique_id": f"{person}", "x": x, "y": y}
            rows.append(pd.DataFrame(frame))
    walks = pd.concat(rows, ignore_index=True)
    walks = walks[walks["ds"].between(0, 45)]
    columns = Columns(target=["x", "y"], group=None, scene="scene")
    lengths = {"context_length": 12, "prediction_length": 12, "min_context": 4}
    forecaster = Forecaster(Ridge(), **lengths, columns=columns, trainer=QUIET)
    forecaster.fit(walks[walks["scene"] > 0])
    return asked(forecaster, walks[walks["scene"] == 0], 30, gone=[])


@functools.cache
def shop() -> tuple[pd.DataFrame, pd.DataFrame, Forecaster]:
    """Made sales by the day: nine products of three categories, with a week and a trend."""
    rng, days = np.random.default_rng(1), pd.date_range("2026-01-05", periods=140)
    shared = {name: np.cumsum(rng.normal(size=140)) for name in ("dairy", "fruit", "bread")}
    rows = []
    for k, name in enumerate(f"{c} {i}" for c in shared for i in (1, 2, 3)):
        level, week = rng.uniform(60, 110), rng.uniform(0.1, 0.3)
        weekly = 1 + week * np.sin(2 * np.pi * np.arange(140) / 7 + k)
        y = level * weekly + 2 * shared[name[:5]] + 4 * rng.normal(size=140)
        rows.append(pd.DataFrame({"unique_id": name, "category": name[:5], "ds": days, "y": y}))
    sales = pd.concat(rows, ignore_index=True)
    columns = Columns(group="category")
    lengths = {"context_length": 56, "prediction_length": 14}
    forecaster = Forecaster(Ridge(scale="series"), **lengths, columns=columns, trainer=QUIET)
    past = sales[sales["ds"] < days[-14]]
    return past, sales, forecaster.fit(past)


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
