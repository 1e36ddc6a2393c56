"""What every basketball source shares: the court, the names, tracks to frame, change of rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hierforecast.frame.newsteps import stride_of
from hierforecast.frame.resampling import blend

COURT = (94.0, 50.0)  # feet, origin at a corner
HOOPS = ((5.25, 25.0), (88.75, 25.0))
TEAM_SIZE = 5
AGENTS = ("ball", *(f"{team}_{i}" for team in ("home", "away") for i in range(TEAM_SIZE)))
TEAMS = ("ball", *("home",) * TEAM_SIZE, *("away",) * TEAM_SIZE)
KINDS = ("ball", *("player",) * (2 * TEAM_SIZE))

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


def strings(labels: Sequence[str], codes: Integers) -> pd.Series:
    """A text column from a few labels and one code a row, without a Python object per row."""
    return pd.Series(pd.Series(list(labels), dtype="str").array.take(codes))


def rows_of(
    lengths: Integers, order: Sequence[int] | Integers
) -> tuple[Integers, Integers, Integers]:
    """Scene number, step and agent of every cell of tracks laid end to end, one row a cell."""
    scene = np.repeat(np.arange(len(lengths)), lengths)
    step = np.arange(len(scene)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    width = len(order)
    return np.repeat(scene, width), np.repeat(step, width), np.tile(order, len(scene))


def tracks_to_columns(tracks: Floats, lengths: Integers) -> tuple[Integers, dict[str, object]]:
    """Columns of eleven tracks per scene, sorted by scene, step and id.

    Args:
        tracks: ``(sum(lengths), 11, 2)`` feet, scenes end to end, agents in the order of `AGENTS`.
        lengths: ``(scenes,)`` number of steps.

    Returns:
        The scene number of each row, and the columns ``ds, unique_id, team, kind, x, y``.
    """
    order = np.argsort(AGENTS)
    scene, step, agent = rows_of(lengths, order)
    flat = tracks[:, order].reshape(-1, 2)
    columns: dict[str, object] = {
        "ds": step,
        "unique_id": strings(AGENTS, agent),
        "team": strings(("away", "ball", "home"), np.repeat([1, 2, 0], [1, 5, 5])[agent]),
        "kind": strings(("ball", "player"), np.minimum(agent, 1)),
        "x": flat[:, 0],
        "y": flat[:, 1],
    }
    return scene, columns


def resample(
    tracks: Floats, lengths: Integers, native: float, rate: float
) -> tuple[Floats, Integers]:
    """Bring scenes from one rate to another, each on a uniform grid from its first step.

    Where ``native / rate`` is a whole number (to 0.1 %, so that 8.33 means 100/12) steps are
    picked and no value changes; otherwise they are interpolated linearly. Nothing is extrapolated:
    what is left of a scene after the last whole step is dropped. A NaN makes NaN only of the steps
    that need it.

    Args:
        tracks: ``(sum(lengths), ..., 2)``, scenes end to end.
        lengths: ``(scenes,)`` steps per scene, each at least 1.
        native: steps per second of `tracks`.
        rate: steps per second wanted; above `native` is allowed and adds no information.

    Raises:
        ValueError: if `rate` is not a positive finite number.
    """
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"rate must be a positive number of steps per second, not {rate!r}")
    stride = stride_of(native, rate)
    if stride == 1:
        return tracks, lengths
    kept = (lengths - 1) * stride.denominator // stride.numerator + 1
    _, step, _ = rows_of(kept, [0])
    before, rest = np.divmod(step * stride.numerator, stride.denominator)
    start = np.repeat(np.cumsum(lengths) - lengths, kept)
    after = start + np.minimum(before + 1, np.repeat(lengths, kept) - 1)
    return blend(tracks, start + before, after, rest / stride.denominator), kept
