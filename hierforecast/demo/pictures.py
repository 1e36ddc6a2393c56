"""Which scene a demo shows, and its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hierforecast.forecaster import Forecaster
from hierforecast.io.atomic import write_atomically

HORIZON, CUTOFF = 10, 60  # steps of 0.16 s; the cutoff of the picture
LEFT, RIGHT = (-2.0, 52.0), (42.0, 96.0)  # the halves of the court, feet
# In the order in which they are hidden; what is left of the eleven is evaluated every time.
HIDDEN = ("home_0", "away_0", "home_1", "away_1")


def look_ahead(
    forecaster: Forecaster, test: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[pd.DataFrame]]:
    """Histories with two players hidden, their forecasts, and both with the truth of one scene."""
    history = test[(test["ds"] < CUTOFF) & ~test["unique_id"].isin(HIDDEN[:2])]
    forecast = forecaster.predict(history, level=[90])
    scene, truth = typical_scene(forecast, test), test[test["ds"] < CUTOFF + HORIZON]
    return history, forecast, [f[f["scene"] == scene] for f in (history, forecast, truth)]


def typical_scene(forecast: pd.DataFrame, test: pd.DataFrame) -> Any:
    """The scene of median error, of those in one half of the court: neither the best nor the worst.

    A scene that crosses the court would need a picture twice as wide.
    """
    both = forecast.merge(test, on=["scene", "unique_id", "ds"])
    error = np.hypot(both["HiPerformer_x"] - both["x"], both["HiPerformer_y"] - both["y"])
    ordered = error.groupby(both["scene"]).mean().sort_values()
    shown = test[test["ds"].between(CUTOFF - 20, CUTOFF + HORIZON - 1)]
    sides = shown.groupby("scene")["x"].agg(["min", "max"]).loc[ordered.index]
    half = ordered[(sides["max"] < LEFT[1]) | (sides["min"] > RIGHT[0])]
    ordered = half if len(half) else ordered
    return ordered.index[len(ordered) // 2]


def draw_rollout(history: pd.DataFrame, truth: pd.DataFrame, forecaster: Forecaster) -> Figure:
    """One scene twice, in the half of the court where it is: against the truth, and as samples."""
    from hierforecast.plot import plot_rollout

    figure = Figure(figsize=(13.33, 7.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    forecast, samples = forecaster.predict(history), forecaster.sample(history, 20)
    against = f"Forecast and truth, {HORIZON * 0.16:.1f} s ahead"
    plot_rollout(history, forecast, truth, ax=left, level=None, title=against)
    plot_rollout(history, forecast, samples=samples, ax=right, title="Twenty joint samples of it")
    shown = truth.loc[truth["ds"] >= CUTOFF - 20, "x"]
    for ax in (left, right):
        start, end = ax.get_xlim()  # beyond the court where a region is
        if shown.max() < LEFT[1] or shown.min() > RIGHT[0]:
            ax.set_xlim((start, LEFT[1]) if shown.max() < LEFT[1] else (RIGHT[0], end))
    return figure


def save_picture(figure: Figure, path: Path) -> None:
    """Write it, all or nothing."""
    write_atomically(path, lambda stream: figure.savefig(stream, format="png", dpi=110))
