"""Random walks, at any level, and forecasters of them, for the tests of values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster, HiPerformer, LastValue
from tests.helpers import QUIET

ONE, TWO = Columns(group=None), Columns(target=["y", "x"], group=None)

pytestmark = pytest.mark.usefixtures("networks")

KEYS = ["unique_id", "ds"]


def net(**options: Any) -> HiPerformer:
    return HiPerformer(16, 1, 2, patch=4, dropout=0.0, **options)


def forecaster(model: Any = None, columns: Columns = ONE, **options: Any) -> Forecaster:
    given = {"max_steps": 4, "batch_size": 8, "trainer": QUIET, **options}
    model = LastValue() if model is None else model
    return Forecaster(model, context_length=8, prediction_length=3, columns=columns, **given)


def walks(ids: str = "abc", steps: int = 48, seed: int = 0) -> pd.DataFrame:
    """Random walks `y` and `x`, some of their cells missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"unique_id": np.repeat(list(ids), steps), "ds": np.tile(np.arange(steps), len(ids))}
    )
    for name in ("y", "x"):
        frame[name] = rng.normal(size=(len(ids), steps)).cumsum(1).reshape(-1)
    gone = (rng.random(len(frame)) < 0.1) & (frame.ds < steps - 1)
    return frame.assign(y=frame.y.mask(gone), x=frame.x.mask(gone))


def lifted(frame: pd.DataFrame, **by: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frame with its columns lifted, and what is left of it once they are let down again."""
    high = frame.assign(**{name: frame[name] + offset for name, offset in by.items()})
    low = high.assign(**{name: high[name] - offset for name, offset in by.items()})
    return low, high


def numbers(frame: pd.DataFrame, name: str, targets: tuple[str, ...] = ("y",)) -> np.ndarray:
    """Forecasts (rows, targets, columns): point and bounds of each target."""
    stems = [name] if len(targets) == 1 else [f"{name}_{target}" for target in targets]
    return np.stack([frame[[c for c in frame if c.startswith(s)]].to_numpy() for s in stems], 1)
