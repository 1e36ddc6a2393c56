"""Every remedy that an error prints is run on the very frame that caused it, and leads to a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast import Columns, Forecaster
from hierforecast.errors import DataError
from hierforecast.models import LastValue

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pc = pytest.importorskip("pyarrow.compute")

LIBRARIES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}
PLAIN = Columns(group=None)
TRAINER = {"accelerator": "cpu"}


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


def forecaster(columns: Columns) -> Forecaster:
    return Forecaster(
        LastValue(), context_length=8, prediction_length=3, columns=columns, trainer=TRAINER
    )


def mend(error: DataError, **scope: Any) -> dict[str, Any]:
    """Run the remedy of an error; what it must not do is change the frame in place."""
    assert error.remedy is not None and str(error).endswith(error.remedy), error
    names = {"pd": pd, "pl": pl, "pa": pa, "pc": pc, "np": np, "Columns": Columns, **scope}
    exec(error.remedy, names)
    return names


@dataclass
class Case:
    """A frame that cannot be read as it is.

    Args:
        frame: made in pandas.
        message: what the error must say (a regular expression).
        options: what it must say on the command line.
        ids: labels of the forecast after the remedy, or None: a and b.
        columns: the roles.
        last: point forecast by id, to see that the right rows are kept.
        only: libraries in which the frame exists.
    """

    frame: pd.DataFrame
    message: str
    options: str
    ids: Any = ("a", "b")
    columns: Columns = PLAIN
    last: tuple[float, ...] | None = None
    only: tuple[str, ...] = tuple(LIBRARIES)


CASES = {
    "text numbers": Case(
        long().assign(y=lambda f: f.y.astype(str)),
        r"column 'y' of the frame is not numeric \(its type is .*\); convert it",
        "write plain numbers in the column y",
        last=(23, 123),
    ),
    "infinite": Case(
        put(long(), "y", 30, np.inf),
        r"column 'y' .* 1 infinite values .*, the first at unique_id 'b', ds 2024-01-07",
        "leave the infinite cells of the column y empty",
        last=(23, 123),
    ),
    "null id": Case(
        put(long(), "unique_id", 47, None),
        r"column 'unique_id' of the frame has 1 null values, the first in row 47",
        "fill the empty cells of the column unique_id",
        last=(23, 122),
    ),
    "NaN id": Case(
        put(long(1.5, 2.5), "unique_id", 47, np.nan),
        r"column 'unique_id' of the frame has 1 null values, the first in row 47",
        "fill the empty cells",
        ids=(1.5, 2.5),
    ),
    "mixed ids": Case(
        long("a", 1),
        r"column 'unique_id' of the frame mixes labels that cannot be compared",
        "write the column unique_id as text",
        ids=("1", "a"),
        only=("pandas",),
        last=(123, 23),
    ),
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", CASES)
def test_remedies_lead_to_a_fit(case: str, library: str) -> None:
    given = CASES[case]
    if library not in given.only:
        pytest.skip(f"{library} has no such frame")
    frame = LIBRARIES[library](given.frame)
    with pytest.raises(DataError, match=given.message) as caught:
        forecaster(given.columns).fit(frame)
    error = caught.value
    told = error.on_command_line()
    assert given.options in told
    assert not any(word in told for word in ("frame[", "frame.", "Columns(", "pd.", "pl.", "pa."))
    scope = mend(error, frame=frame, columns=given.columns)
    columns, frame = scope["columns"], scope["frame"]
    forecast = forecaster(columns).fit(frame).predict(frame)
    assert type(forecast) is type(LIBRARIES[library](given.frame))
    answer = forecast if library == "pandas" else forecast.to_pandas()
    assert tuple(dict.fromkeys(answer[columns.id])) == given.ids
    assert str(answer[columns.time].iloc[0]).startswith("2024-01-25")
    if given.last is not None:
        assert tuple(answer.groupby(columns.id)["LastValue"].first()) == given.last
