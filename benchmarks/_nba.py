"""What two NBA experiments share: arms and their fits, windows, removal, errors by agent."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._scenes import COLUMNS, CONTEXT, HORIZON, LENGTH, WIDTH, games, reflect
from benchmarks.fits import fit_or_load
from hierforecast import Columns, Forecaster, HiPerformer

AGENTS = 11
KEYS = ["scene", "unique_id"]
# One size and one budget for every arm, small enough for many fits on one CPU core.
SIZE: dict[str, Any] = {
    "width": 64,
    "depth": 2,
    "patch": 20,
    "dropout": 0.0,
    "head": "lowrank",
    "scale": "mirrored",
    "block": "sa3",
}
STEPS, SCENES_PER_BATCH, LEARNING_RATE = 250, 32, 2e-3
# Fewer validations than early stopping is patient for: every arm gets all of its steps.
VALIDATIONS = 5

Forecast = Callable[[Forecaster, pd.DataFrame], pd.DataFrame]


def one_shot(forecaster: Forecaster, history: pd.DataFrame) -> pd.DataFrame:
    """The point forecast of each scene's next steps: scene, unique_id, ds, x, y."""
    name = type(forecaster.model_).__name__
    rows = forecaster.predict(history)
    return rows.rename(columns={f"{name}_x": "x", f"{name}_y": "y"})


def averaged(forecaster: Forecaster, history: pd.DataFrame) -> pd.DataFrame:
    """The mean of the forecasts of a history and of its three mirror images, mirrored back."""
    rows = one_shot(forecaster, reflect(history))
    scene, _, image = (rows["scene"].str.partition("/")[i] for i in range(3))
    rows["x"] = rows["x"].where(~image.isin(["x", "xy"]), LENGTH - rows["x"])
    rows["y"] = rows["y"].where(~image.isin(["y", "xy"]), WIDTH - rows["y"])
    rows["scene"] = scene.astype(history["scene"].dtype)
    return rows.groupby([*KEYS, "ds"], as_index=False)[["x", "y"]].mean()


def rolled(forecaster: Forecaster, history: pd.DataFrame) -> pd.DataFrame:
    """Forecasts fed back as if they had been observed, until the horizon is full."""
    labels = history.drop_duplicates(KEYS)[[*KEYS, "team", "kind"]]
    known, parts = history[[*KEYS, "ds", "team", "kind", "x", "y"]], []
    for _ in range(HORIZON // forecaster.prediction_length):
        parts.append(one_shot(forecaster, known))
        known = pd.concat([known, parts[-1].merge(labels, on=KEYS)], ignore_index=True)
    return pd.concat(parts, ignore_index=True)


def sized(**changes: Any) -> HiPerformer:
    """A plan of the one size, but for some options."""
    return HiPerformer(**{**SIZE, **changes})


@dataclass(frozen=True)
class Arm:
    """One fit of an experiment.

    Args:
        name: of its folder.
        model: the plan.
        columns: with or without class information.
        series_dropout: see `Forecaster`.
        seed: of everything random.
        learning_rate: at its peak.
        prediction_length: steps that the model forecasts at once.
        train: changes the training frame.
        forecast: makes the point forecast of the whole horizon.
    """

    name: str
    model: HiPerformer = field(default_factory=sized)
    columns: Columns = COLUMNS
    series_dropout: float = 0.0
    seed: int = 0
    learning_rate: float = LEARNING_RATE
    prediction_length: int = HORIZON
    train: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame
    forecast: Forecast = one_shot

    def fit(self, folder: Path, steps: int, start: str = "") -> Forecaster:
        """The fitted forecaster, from its folder if it was fitted before.

        Args:
            folder: of the fits, which experiments share.
            steps: of training.
            start: folder of a fitted forecaster to start from, warm.
        """
        plan = (
            Forecaster.load(start)
            if start
            else Forecaster(
                self.model,
                context_length=CONTEXT,
                prediction_length=self.prediction_length,
            )
        )
        plan.set_params(
            columns=self.columns,
            learning_rate=self.learning_rate,
            batch_size=SCENES_PER_BATCH,
            max_steps=steps,
            series_dropout=self.series_dropout,
            seed=self.seed,
            trainer={"val_check_interval": max(1, steps // VALIDATIONS)},
        )
        train, val = (lambda: self.train(games("train"))), (lambda: games("val"))
        place = folder / f"{steps}-steps" / self.name
        return fit_or_load(plan, place, train, val, warm_start=bool(start))


@functools.cache
def windows(split: str, count: int) -> pd.DataFrame:
    """Random windows of a split, the same for every arm; see `windows_of`."""
    return windows_of(games(split), count)


def windows_of(frame: pd.DataFrame, count: int, seed: int = 0) -> pd.DataFrame:
    """Random windows of CONTEXT + HORIZON steps, each a scene of its own.

    Args:
        frame: scenes sorted by scene, ds and unique_id, all eleven agents at every step.
        count: windows, drawn without repetition.
        seed: of the draw of windows, and of the order in which players will be removed.

    Returns:
        The rows of the windows with one column more: ``rank``, 0 for the player of a team that is
        removed first, 4 for the last; 5 for the ball.
    """
    rng, steps = np.random.default_rng(seed), CONTEXT + HORIZON
    rows = frame.groupby("scene", sort=False).size().to_numpy()
    room = np.maximum(rows // AGENTS - steps + 1, 0)
    if (rows % AGENTS).any() or room.sum() < count:
        raise ValueError(f"frame must hold {count} windows, with {AGENTS} agents at every step")
    picked = np.sort(rng.choice(room.sum(), count, replace=False))
    scene = np.searchsorted(room.cumsum(), picked, side="right")
    start = (rows.cumsum() - rows)[scene] + AGENTS * (picked - (room.cumsum() - room)[scene])
    at = start[:, None] + np.arange(AGENTS * steps)
    taken = frame.iloc[at.reshape(-1)].reset_index(drop=True)
    taken["scene"] = np.repeat(np.arange(count), AGENTS * steps)
    taken["ds"] = np.tile(np.repeat(np.arange(steps), AGENTS), count)
    team = taken["team"].to_numpy()[:AGENTS]
    rank = np.full((count, AGENTS), 5)
    for side in ("home", "away"):
        draws = rng.random((count, (team == side).sum()))
        rank[:, team == side] = draws.argsort(1).argsort(1)
    taken["rank"] = np.repeat(rank[:, None], steps, axis=1).reshape(-1)
    return taken


def remove(frame: pd.DataFrame, home: int, away: int) -> pd.DataFrame:
    """The frame without the first players of each team to go: their rows are not there at all.

    Who goes with fewer removed goes with more removed, so the players of rank 4 always stay.
    """
    gone = frame["team"].map({"home": home, "away": away, "ball": 0})
    return frame[frame["rank"] >= gone]


def agent_errors(
    forecaster: Forecaster, frame: pd.DataFrame, forecast: Forecast = one_shot
) -> pd.DataFrame:
    """Displacement of each agent of each window: mean over the horizon, and at its last step.

    Args:
        forecaster: fitted.
        frame: windows, whose horizon is not shown to the forecaster.
        forecast: makes the point forecast.

    Returns:
        ``ade, fde, kind, rank`` by (scene, unique_id), in the units of the targets.
    """
    found = forecast(forecaster, frame[frame["ds"] < CONTEXT])
    truth = frame[frame["ds"] >= CONTEXT]
    both = truth.merge(found, on=[*KEYS, "ds"], suffixes=("", "_hat"), validate="one_to_one")
    if len(both) != len(truth):
        raise ValueError(f"{len(truth)} cells to forecast, but {len(both)} forecasts match them")
    both["ade"] = np.hypot(both["x"] - both["x_hat"], both["y"] - both["y_hat"])
    both["fde"] = both["ade"].where(both["ds"] == CONTEXT + HORIZON - 1)
    rules = {"ade": "mean", "fde": "max", "kind": "first", "rank": "first"}
    return both.groupby(KEYS).agg(rules)


def summary(errors: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Errors by agent of all, of the players, of the ball, and of those never removed."""
    ball = errors["kind"] == "ball"
    parts = {"all": ~ball | ball, "players": ~ball, "ball": ball, "core": errors["rank"] >= 4}
    return {name: errors.loc[rows, ["ade", "fde"]] for name, rows in parts.items()}
