"""Small forecasters of scenes and of a market, fitted once, for the tests of the contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster, HiPerformer
from tests.helpers import COLUMNS, make_frame, tiny

pytestmark = pytest.mark.usefixtures("networks")

NOW = 20
KEYS = ["scene", "unique_id", "ds"]
ONE = Columns()  # Nixtla's names: unique_id, ds, y, group


def market(days: int = 60, per_group: tuple[int, ...] = (3, 2), seed: int = 0) -> pd.DataFrame:
    """Business days of some tickers, one target, no scenes."""
    rng = np.random.default_rng(seed)
    time = pd.bdate_range("2024-01-01", periods=days)
    frames = []
    for group, size in enumerate(per_group):
        for member in range(size):
            one = pd.DataFrame({"unique_id": f"t{group}{member}", "ds": time})
            frames.append(one.assign(group=f"s{group}", y=100 + rng.normal(size=days).cumsum()))
    return pd.concat(frames, ignore_index=True)


def small(model: Any = None, columns: Columns = ONE, **options: Any) -> Forecaster:
    return tiny(HiPerformer(8, 1, 2) if model is None else model, columns=columns, **options)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame(seed=3)


@pytest.fixture(scope="module")
def several() -> Forecaster:
    return small(columns=COLUMNS).fit(make_frame())


@pytest.fixture(scope="module")
def single() -> Forecaster:
    return small().fit(market())
