"""Every model that the promises are made of, fitted, and frames to hold it to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import (
    Columns,
    ConstantVelocity,
    Forecaster,
    HiPerformer,
    LastValue,
    Ridge,
    SeasonalNaive,
)
from hierforecast.nn.heads import CoupledHead, LowRankHead
from tests.helpers import COLUMNS, CROSSED_COLUMNS, DOUBLE, EVERYTHING, make_frame, randomized, tiny

pytestmark = pytest.mark.usefixtures("networks")  # what is promised is promised of them

NOW = 20  # history ends before this step
KEYS = ["scene", "unique_id", "ds"]
MODELS: dict[str, tuple[Any, Columns]] = {
    "lowrank": (HiPerformer(12, 2, 2, dropout=0.1, patch=4), COLUMNS),
    "everything": (HiPerformer(12, 1, 2, head="gaussian", patch=3), EVERYTHING),
    "mixture, mirrored": (
        HiPerformer(12, 1, 2, head="mixture", patch=4, scale="mirrored", n_frequencies=3),
        COLUMNS,
    ),
    "coupled": (
        HiPerformer(12, 1, 2, head=CoupledHead(2, 2, 2), patch=4),
        COLUMNS,
    ),
    "rows": (HiPerformer(12, 1, 2, head="rows", patch=4), COLUMNS),
    "returns": (HiPerformer(12, 1, 2, scale="returns"), COLUMNS),
    "demand": (HiPerformer(12, 1, 2, patch=4, scale="demand"), EVERYTHING),
    "latents of groups": (
        HiPerformer(12, 1, 2, head=LowRankHead(4, 2, memory=2, group_rank=2), patch=4),
        EVERYTHING,
    ),
    "crossed": (
        HiPerformer(12, 1, 2, head=LowRankHead(4, 2, memory=2, group_rank=2), patch=4),
        CROSSED_COLUMNS,
    ),
    "crossed, demand": (HiPerformer(12, 1, 2, patch=4, scale="demand"), CROSSED_COLUMNS),
    "student, by series": (HiPerformer(12, 1, 2, head="student", scale="series"), COLUMNS),
    "last value": (LastValue(), COLUMNS),
    "constant velocity": (ConstantVelocity(), COLUMNS),
    "seasonal naive": (SeasonalNaive(2), COLUMNS),
    "ridge": (Ridge(), COLUMNS),
}
_FITTED: dict[str, Forecaster] = {}


def fitted(name: str) -> Forecaster:
    """Trained a few steps in float64, then given large random weights."""
    if name not in _FITTED:
        model, columns = MODELS[name]
        forecaster = tiny(model, columns=columns, trainer=DOUBLE).fit(make_frame())
        randomized(forecaster.model_)
        _FITTED[name] = forecaster
    return _FITTED[name]


@pytest.fixture(params=MODELS, scope="module")
def forecaster(request) -> Forecaster:
    return fitted(request.param)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame(seed=7, missing=0.0)


def holes(frame: pd.DataFrame, share: float = 0.2) -> pd.DataFrame:
    """The same with rows missing, but for each scene's last time."""
    gone = np.random.default_rng(0).random(len(frame)) < share
    return frame[~gone | (frame.ds >= NOW - 1)]


def predict(forecaster: Forecaster, frame: pd.DataFrame, now: int = NOW) -> pd.DataFrame:
    """The forecast from `now` on; what is known in advance comes from the frame itself."""
    known = None
    if forecaster.columns.known_covariates:
        known = frame.loc[frame.ds >= now, [*KEYS, "plan", "weather"]]
    return forecaster.predict(holes(frame)[lambda f: f.ds < now], level=[80], known=known)


def worst(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """The largest difference of two forecasts of the same rows, relative above one."""
    one, other = (f.sort_values(KEYS).set_index(KEYS) for f in (one, other))
    pd.testing.assert_index_equal(one.index, other.index)
    error = (one - other).abs().max().max()
    assert one.notna().all().all() and other.notna().all().all()
    return float(error / max(1.0, one.abs().max().max()))


def renamed(frame: pd.DataFrame, column: str, names: dict) -> pd.DataFrame:
    return frame.assign(**{column: frame[column].map(lambda name: names.get(name, name))})


def predict_exactly(
    forecaster: Forecaster, history: pd.DataFrame, frame: pd.DataFrame
) -> pd.DataFrame:
    """A forecast from rows as they are."""
    known = frame[frame.ds >= NOW] if forecaster.columns.known_covariates else None
    return forecaster.predict(history[history.ds < NOW], [80], known=known)
