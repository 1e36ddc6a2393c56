"""Columns of data frames of any library: which one plays which part, and what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.plot.labels import key_of

Frame = Any  # pandas, polars or pyarrow: whatever narwhals reads
Key = tuple[str, ...]  # the columns that name something together; nearly always one
GROUP_NAMES = ("team", "group", "sector")
INTERVAL = re.compile(r"^(?P<name>.+)-(?P<side>lo|hi)-(?P<level>\d+(?:\.\d+)?)$")
NAME_IT = "rename it, or say which column it is with columns=Columns(...)"
QUANTILE = re.compile(r"-q-\d+(?:\.\d+)?$").search


def columns_for(columns: Columns | None, frame: Frame, target: str | None = None) -> Columns:
    """`columns`, or a guess from the usual names of a frame, with one target only if one is named.

    The guess takes `unique_id`, `ds`, the targets `x` and `y` (those that are there), the first of
    `team`, `group`, `sector`, and `scene`.
    """
    names = names_of(frame)
    if columns is None:
        targets = [name for name in ("x", "y") if name in names] or ["y"]
        groups = [name for name in GROUP_NAMES if name in names][:1]
        scene = "scene" if "scene" in names else None
        columns = Columns(target=target or targets, group=groups or None, scene=scene)
    if target is not None and target not in columns.targets:
        raise DataError(f"target={target!r} is none of the targets {list(columns.targets)}")
    return columns if target is None else replace(columns, target=target)


def key_columns(given: str | Sequence[Any]) -> tuple[Any, ...]:
    """One or several columns as a tuple."""
    return (given,) if isinstance(given, str) else tuple(given)


def names_of(frame: Frame) -> list[str]:
    """Column names of any supported frame.

    Raises:
        DataError: if it is not a data frame.
    """
    try:
        return list(nw.from_native(frame, eager_only=True).columns)
    except TypeError as error:
        raise DataError(
            f"expected a pandas, polars or pyarrow frame, got {type(frame).__name__}"
        ) from error


def need(frame: Frame, wanted: Iterable[str], what: str, remedy: str = NAME_IT) -> None:
    """Check that columns are there; `remedy` is what helps if not.

    Raises:
        DataError: naming the missing ones, what there is, and the remedy.
    """
    have = names_of(frame)
    missing = [name for name in dict.fromkeys(wanted) if name not in have]
    if missing:
        raise DataError(
            f"the {what} frame has no column {', '.join(map(repr, missing))} (it has "
            f"{', '.join(map(repr, have[:12]))}): {remedy}"
        )


def say(columns: Key) -> str:
    """The columns of a label, for messages."""
    return repr(columns[0]) if len(columns) == 1 else repr(list(columns))


def scene_in(frame: Frame, columns: Key, scene: Any | None, what: str) -> dict[str, Any]:
    """Column -> value of the rows of one scene; nothing for a frame without scenes.

    Raises:
        DataError: if several scenes are there and none was named, or the named one is not there.
    """
    if not columns:
        if scene is not None:
            raise DataError(
                f"scene={scene!r} was asked for, but no column holds scenes: "
                "name it with columns=Columns(scene=...)"
            )
        return {}
    need(frame, columns, what)
    table = nw.from_native(frame, eager_only=True).select(columns)
    rows = [tuple(row) for row in table.unique().sort(*columns).rows()]
    found = {key_of(row): row for row in rows}
    shown = [repr(row if len(columns) > 1 else row[0]) for row in rows]
    few = ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")
    if scene is None and len(found) != 1:
        raise DataError(
            f"the {what} frame holds {len(found)} scenes in column {say(columns)}: choose one "
            f"of {few} with scene=..."
        )
    chosen = next(iter(found), None) if scene is None else key_of(scene)
    if chosen not in found:
        raise DataError(f"scene={scene!r} is not in column {say(columns)} of the {what}: {few}")
    return dict(zip(columns, found[chosen], strict=True))


def models_of(frame: Frame, columns: Columns, what: str) -> list[str]:
    """Model names, in column order, read off the columns of a forecast.

    With several targets a model is a prefix that has a column for each target (`Name_x`,
    `Name_y`); with one, a numeric column that has no other part.

    Raises:
        DataError: if there is none.
    """
    table = nw.from_native(frame, eager_only=True)
    targets = columns.targets
    parts = {"cutoff", "sample_id", "future_id", "share", *(name for _, name in columns.roles())}
    names = [n for n in names_of(frame) if not (n in parts or INTERVAL.match(n) or QUANTILE(n))]
    ending = f"_{targets[0]}"
    prefixed = [name[: -len(ending)] for name in names if name.endswith(ending)]
    found = [m for m in prefixed if m and all(f"{m}_{t}" in names for t in targets)]
    if not found and len(targets) == 1:
        numeric = [name for name in names if table.schema[name].is_numeric()]
        # What follows a model's name and a dash (`Model-q-10`) is another column of it.
        found = [n for n in numeric if not any(n.startswith(f"{m}-") for m in numeric)]
    if not found:
        wanted = ", ".join(f"'<Model>_{t}'" for t in targets)
        raise DataError(
            f"the {what} frame has no forecast columns such as {wanted}: it has {names}; give "
            "the frame that Forecaster.predict or .sample returned, and columns=... if the "
            "targets are called otherwise"
        )
    return found


def levels_of(frame: Frame, points: Sequence[str]) -> dict[float, list[tuple[str, str]]]:
    """Interval columns of the point columns: level -> one (lo, hi) pair of names per target."""
    names = names_of(frame)
    written = {m["level"] for m in map(INTERVAL.match, names) if m and m["name"] in points}
    found = {
        float(level): [(f"{point}-lo-{level}", f"{point}-hi-{level}") for point in points]
        for level in sorted(written, key=float)
    }
    return {k: pairs for k, pairs in found.items() if {n for p in pairs for n in p} <= set(names)}


def labels_in(table: nw.DataFrame[Any], columns: Key) -> np.ndarray:
    """The labels (n,) of one column as they are, those of several as texts."""
    if len(columns) == 1:
        return np.array(table[columns[0]].to_numpy())
    codes, labels = pd.MultiIndex.from_arrays(
        [np.array(table[name].to_numpy()) for name in columns]
    ).factorize()
    return np.array([key_of(label) for label in labels], dtype=object)[codes]


def times_in(series: nw.Series[Any], what: str) -> np.ndarray:
    """Times (n,): int64, float64 or datetime64 as on the wall."""
    if series.dtype.is_integer():
        return series.to_numpy().astype(np.int64)
    if series.dtype == nw.Date:
        series = series.cast(nw.Datetime("us"))
    if series.dtype == nw.Datetime and getattr(series.dtype, "time_zone", None) is not None:
        series = series.dt.replace_time_zone(None)
    values = np.array(series.to_numpy())
    if values.dtype.kind in "fM":
        return values
    try:  # dates of Python's own, texts
        return pd.to_datetime(pd.Series(values.astype(object))).to_numpy()
    except (TypeError, ValueError) as error:
        raise DataError(f"column {series.name!r} of the {what} frame holds no times") from error


def numbers_in(series: nw.Series[Any], what: str) -> np.ndarray:
    """Numbers (n,), NaN where there is none."""
    if not series.dtype.is_numeric():
        raise DataError(
            f"column {series.name!r} of the {what} frame holds no numbers (its type is "
            f"{series.dtype}): a picture needs numbers there"
        )
    return np.array(series.cast(nw.Float64).to_numpy(), dtype=np.float64)
