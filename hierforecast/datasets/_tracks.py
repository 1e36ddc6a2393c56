"""What every source of tracks shares: who they belong to, tracks to frame, change of rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hierforecast._options import number
from hierforecast.frame.newsteps import stride_of
from hierforecast.frame.resampling import blend

COURT = (94.0, 50.0)  # feet, origin at a corner
HOOPS = ((5.25, 25.0), (88.75, 25.0))
TEAM_SIZE = 5


class Agent(NamedTuple):
    """Who a track belongs to."""

    unique_id: str
    team: str
    kind: str


BALL = Agent("ball", "ball", "ball")
AGENTS = (
    BALL,
    *(Agent(f"{team}_{i}", team, "player") for team in ("home", "away") for i in range(TEAM_SIZE)),
)
COLUMNS = ("scene", "ds", *Agent._fields, "x", "y")
BY_ID = np.argsort([agent.unique_id for agent in AGENTS])

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


def strings(labels: Sequence[str], codes: Integers) -> pd.Series:
    """A text column from a few labels and one code a row, without a Python object per row."""
    return pd.Series(pd.Series(list(labels), dtype="str").array.take(codes))


def scene_and_step(lengths: Integers) -> tuple[Integers, Integers]:
    """Scene number and step of every step of scenes laid end to end."""
    scene = np.repeat(np.arange(len(lengths)), lengths)
    return scene, np.arange(len(scene)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def tracks_to_frame(
    tracks: Floats, lengths: Integers, agents: Sequence[Agent], scenes: Sequence[str] | None = None
) -> pd.DataFrame:
    """Long rows ``scene, ds, unique_id, team, kind, x, y``, sorted by scene, step and slot.

    Who has no place at a step has no row there.

    Args:
        tracks: ``(sum(lengths), slots, 2)``, scenes end to end; NaN for no place.
        lengths: ``(scenes,)`` number of steps.
        agents: of each slot.
        scenes: labels of the scenes; None numbers them.
    """
    row, slot = np.nonzero(np.isfinite(tracks).all(axis=-1))
    scene, step = (column[row] for column in scene_and_step(lengths))
    frame = {"scene": scene if scenes is None else strings(scenes, scene), "ds": step}
    for name, labels in zip(Agent._fields, zip(*agents, strict=True), strict=True):
        distinct, codes = np.unique(labels, return_inverse=True)
        frame[name] = strings(distinct.tolist(), codes[slot])
    frame["x"], frame["y"] = tracks[row, slot].T
    return pd.DataFrame(frame)


def check_rate(rate: float, native: float) -> None:
    """Refuse a rate that is not above 0 and at most the recorded one."""
    if not 0 < number("rate", rate) <= native:
        raise ValueError(f"rate={rate}: give steps per second, above 0 and at most {native:g}")


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
    _, step = scene_and_step(kept)
    before, rest = np.divmod(step * stride.numerator, stride.denominator)
    start = np.repeat(np.cumsum(lengths) - lengths, kept)
    after = start + np.minimum(before + 1, np.repeat(lengths, kept) - 1)
    return blend(tracks, start + before, after, rest / stride.denominator), kept
