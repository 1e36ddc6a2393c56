"""Series by their times, in every library of frames, and the labels of their forecasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster
from hierforecast.models import LastValue

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

LIBRARIES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}
PLAIN = Columns(group=None)
days = pd.date_range


def series(times: Any, name: str = "a") -> pd.DataFrame:
    return pd.DataFrame({"unique_id": name, "ds": times, "y": np.arange(len(times)) + 1.0})


def both(first: Any, second: Any) -> pd.DataFrame:
    return pd.concat([series(first), series(second, "b")], ignore_index=True)


def fit(frame: Any, columns: Columns = PLAIN) -> Forecaster:
    trainer = {"accelerator": "cpu"}
    return Forecaster(
        LastValue(), context_length=8, prediction_length=3, columns=columns, trainer=trainer
    ).fit(frame)


def answer(forecast: Any) -> pd.DataFrame:
    return forecast if isinstance(forecast, pd.DataFrame) else forecast.to_pandas()


def ahead(frame: Any, columns: Columns = PLAIN, history: Any = None) -> list[str]:
    """The labels of the first series' forecast, as text."""
    history = frame if history is None else history
    labels = answer(fit(frame, columns).predict(history))["ds"].iloc[:3]
    return [str(t).removesuffix(" 00:00:00") for t in labels]
