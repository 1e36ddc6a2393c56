"""Random walks, a small forecaster of them, and frames of other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster, LastValue
from tests.helpers import QUIET

CONTEXT, HORIZON = 6, 2
PLAIN = Columns(group=None)
LIBRARIES = ["pandas", "polars", "pyarrow"]


def series(
    time: Any, names: str = "abc", seed: int = 0, columns: dict[str, Any] | None = None
) -> pd.DataFrame:
    """Random walks, one for each name, a noisy week in them."""
    rng, days = np.random.default_rng(seed), np.arange(len(time))
    frames = [
        pd.DataFrame({"unique_id": name, "ds": time}).assign(
            y=20 + rng.normal(size=len(time)).cumsum() + 3 * np.sin(days * 2 * np.pi / 7)
        )
        for name in names
    ]
    return pd.concat(frames, ignore_index=True).assign(**(columns or {}))


def daily(days: int = 40, **options: Any) -> pd.DataFrame:
    return series(pd.date_range("2024-01-01", periods=days), **options)


def forecaster(model: Any = None, columns: Columns = PLAIN, **options: Any) -> Forecaster:
    given = {"max_steps": 3, "batch_size": 8, "trainer": QUIET, **options}
    model = LastValue() if model is None else model
    return Forecaster(
        model, context_length=CONTEXT, prediction_length=HORIZON, columns=columns, **given
    )


def library(frame: pd.DataFrame, name: str) -> Any:
    if name == "pandas":
        return frame
    module = pytest.importorskip(name)
    if name == "polars":
        return module.from_pandas(frame)
    return module.Table.from_pandas(frame, preserve_index=False)


def as_pandas(frame: Any) -> pd.DataFrame:
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
