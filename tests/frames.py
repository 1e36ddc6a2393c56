"""Series by their times in every library of frames, the labels of their forecasts, and remedies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, DataError, Forecaster, LastValue, read_table

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pc = pytest.importorskip("pyarrow.compute")

LIBRARIES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}
PLAIN = Columns(group=None)
days = pd.date_range


def series(times: Any, name: str = "a") -> pd.DataFrame:
    """One series, which counts up from 1."""
    return pd.DataFrame({"unique_id": name, "ds": times, "y": np.arange(len(times)) + 1.0})


def jitter(most: float, n: int) -> np.ndarray:
    """What a clock that jitters adds to n times."""
    return np.random.default_rng(0).uniform(-most, most, n)


def both(first: Any, second: Any) -> pd.DataFrame:
    """Two series, a and b."""
    return pd.concat([series(first), series(second, "b")], ignore_index=True)


def naive(columns: Columns = PLAIN, horizon: int = 3) -> Forecaster:
    """A forecaster that repeats the last value."""
    lengths = {"context_length": 8, "prediction_length": horizon}
    return Forecaster(LastValue(), columns=columns, trainer={"accelerator": "cpu"}, **lengths)


def fit(frame: Any, columns: Columns = PLAIN, horizon: int = 3) -> Forecaster:
    return naive(columns, horizon).fit(frame)


def to_pandas(frame: Any) -> pd.DataFrame:
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()


def type_of(frame: Any, name: str = "ds") -> Any:
    """The library's own type of a column."""
    return frame[name].type if isinstance(frame, pa.Table) else frame[name].dtype


def values_of(frame: Any, name: str = "ds") -> list[Any]:
    """The cells of a column, as the library gives them."""
    return frame[name].to_pylist() if isinstance(frame, pa.Table) else frame[name].to_list()


def ahead(frame: Any, columns: Columns = PLAIN, history: Any = None) -> list[str]:
    """The labels of the first series' forecast, as text."""
    history = frame if history is None else history
    labels = to_pandas(fit(frame, columns).predict(history))["ds"].iloc[:3]
    return [str(t).removesuffix(" 00:00:00") for t in labels]


def mend(error: DataError, **scope: Any) -> dict[str, Any]:
    """The names after the remedy of an error has been run; its message ends with its code."""
    assert error.remedy is not None and str(error).endswith(error.remedy), error
    names = {"pd": pd, "np": np, "pl": pl, "pa": pa, "pc": pc, "Columns": Columns}
    names |= {"read_table": read_table, **scope}
    exec(error.remedy, names)
    return names


def mended(message: str, call: Callable[[], Any], **scope: Any) -> dict[str, Any]:
    """The names after a call has failed with a message, and its remedy has been run."""
    with pytest.raises(DataError, match=message) as caught:
        call()
    return mend(caught.value, **scope)
