"""What the gallery shows: scenes and sales that are made or simulated, and forecasts of them.

`gallery.py` beside it draws them.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import hierforecast
from hierforecast import Columns, Forecaster, Ridge
from hierforecast.datasets import simulate_basketball

TRACKS = simulate_basketball.columns
QUIET = {"accelerator": "cpu", "enable_progress_bar": False}


class Play(NamedTuple):
    """A scene, and what was forecast of it."""

    history: pd.DataFrame
    forecast: pd.DataFrame
    samples: pd.DataFrame
    truth: pd.DataFrame
    forecaster: Forecaster


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
