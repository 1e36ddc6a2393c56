"""A frame that cannot be read as it is, and what its error must say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hierforecast import Columns
from tests.frames import LIBRARIES, PLAIN


def long(*ids: Any, n: int = 24, **columns: Any) -> pd.DataFrame:
    """Daily series: that of the k-th id counts up from 100 k."""
    days = pd.date_range("2024-01-01", periods=n)
    parts = [
        pd.DataFrame({"unique_id": i, "ds": days, "y": np.arange(n) + 100.0 * k})
        for k, i in enumerate(ids or ("a", "b"))
    ]
    return pd.concat(parts, ignore_index=True).assign(**columns)


def put(frame: pd.DataFrame, column: str, row: int, value: Any) -> pd.DataFrame:
    kept = frame[column].astype(object)
    kept[row] = value
    return frame.assign(**{column: kept.infer_objects()})


@dataclass
class Case:
    """A frame that cannot be read as it is.

    Args:
        frame: made in pandas.
        message: what the error must say (a regular expression).
        options: what it must say on the command line.
        ids: labels of the forecast after the remedy; or point forecasts by label.
        columns: the roles.
        start: first time of the forecast.
        last: point forecast of each label, to see that the right rows are kept.
        only: libraries in which the frame exists.
    """

    frame: pd.DataFrame
    message: str
    options: str
    ids: Any = ("a", "b")
    columns: Columns = PLAIN
    start: str = "2024-01-25"
    last: tuple[float, ...] = (23, 123)
    only: tuple[str, ...] = tuple(LIBRARIES)
