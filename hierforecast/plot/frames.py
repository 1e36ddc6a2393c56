"""The plots' door: any data frame in, small pandas tables with columns of fixed names out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.plot.labels import key_of

if TYPE_CHECKING:
    from hierforecast.frame import Columns

Frame = Any  # pandas, polars or pyarrow: whatever narwhals reads
Key = tuple[str, ...]  # the columns that name something together; nearly always one
Where = tuple[Key, tuple[Any, ...]] | None  # columns and the values that kept rows have
GROUP_NAMES = ("team", "group", "sector")
INTERVAL = re.compile(r"^(?P<name>.+)-(?P<side>lo|hi)-(?P<level>\d+(?:\.\d+)?)$")
QUANTILE = re.compile(r"-q-\d+(?:\.\d+)?$").search
# Columns of the tables that `pick` returns; no user's column has such a name.
SERIES, TIME, DRAW, GROUP = "*series", "*time", "*draw", "*group"


@dataclass(frozen=True)
class Roles:
    """Which columns play which part in a picture."""

    id: Key
    time: str
    targets: tuple[str, ...]
    groups: tuple[Key, ...]
    scene: Key | None

    @property
    def group(self) -> Key | None:
        """The coarsest level of groups: the one that gives colours."""
        return self.groups[0] if self.groups else None

    @property
    def names(self) -> set[str]:
        """Every column that has a part."""
        keys = [self.id, *self.groups, self.scene or ()]
        return {self.time, *self.targets, *(name for key in keys for name in key)}


def key(given: str | Sequence[str]) -> Key:
    """The columns of a label that one or several of them hold."""
    return (given,) if isinstance(given, str) else tuple(given)


def say(columns: Key) -> str:
    """The columns of a label, for messages."""
    return repr(columns[0]) if len(columns) == 1 else repr(list(columns))


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


def roles_of(columns: Columns | None, frame: Frame, target: str | None = None) -> Roles:
    """Column roles: those of `columns`, or a guess from the usual names.

    The guess takes `unique_id`, `ds`, the targets `x` and `y` (those that are there), the
    first of `team`, `group`, `sector`, and `scene`.

    Args:
        columns: what the forecaster was given, or None.
        frame: history or any frame whose names decide the guess.
        target: use this target only.
    """
    names = names_of(frame)
    if columns is None:
        targets = tuple(t for t in ("x", "y") if t in names) or ("y",)
        named = tuple((name,) for name in GROUP_NAMES if name in names)[:1]
        scene = ("scene",) if "scene" in names else None
        roles = Roles(("unique_id",), "ds", targets, named, scene)
    else:
        given = columns.group or ()
        levels = tuple(key(level) for level in ((given,) if isinstance(given, str) else given))
        scenes = None if columns.scene is None else key(columns.scene)
        roles = Roles(key(columns.id), columns.time, columns.targets, levels, scenes)
    if target is None:
        return roles
    if columns is not None and target not in roles.targets:
        raise DataError(f"target={target!r} is none of the targets {list(roles.targets)}")
    return replace(roles, targets=(target,))


def need(names: Iterable[str], wanted: Iterable[str], what: str) -> None:
    """Check that columns are there.

    Raises:
        DataError: naming the missing ones, what there is, and the remedy.
    """
    have = list(names)
    missing = [name for name in dict.fromkeys(wanted) if name not in have]
    if missing:
        raise DataError(
            f"the {what} frame has no column {', '.join(map(repr, missing))} (it has "
            f"{', '.join(map(repr, have[:12]))}): rename it, or say which column it is with "
            "columns=Columns(...)"
        )


def pick(
    frame: Frame,
    what: str,
    where: Where = None,
    *,
    labels: dict[str, Key] | None = None,
    time: str | None = None,
    values: Sequence[str] = (),
) -> pd.DataFrame:
    """A small table of what a picture needs; the frame given is left as it is.

    Args:
        frame: pandas, polars or pyarrow.
        what: how errors call the frame, e.g. `"history"`.
        where: columns and the values that kept rows have.
        labels: name in the table -> the columns that hold this label; of several columns one text.
        time: the time column, `TIME` in the table: int64, float64 or datetime64 as on the wall.
        values: numeric columns, float64 in the table; NaN where there is none.

    Raises:
        DataError: naming a column that is missing or holds no numbers.
    """
    labels = labels or {}
    wanted = [name for columns in labels.values() for name in columns]
    need(names_of(frame), [*wanted, *([] if time is None else [time]), *values], what)
    table = nw.from_native(frame, eager_only=True)
    if where is not None:
        pairs = zip(*where, strict=True)
        table = table.filter(*(nw.col(name) == value for name, value in pairs))
    found: dict[str, Any] = {name: _labels(table, columns) for name, columns in labels.items()}
    if time is not None:
        found[TIME] = _times(table[time], what)
    found |= {name: _numbers(table[name], what) for name in values}
    return pd.DataFrame(found)


def pick_samples(frame: Frame, roles: Roles, where: Where, values: Sequence[str]) -> pd.DataFrame:
    """The same of joint draws, with the column DRAW.

    Raises:
        DataError: also if a draw holds a series twice at one time.
    """
    labels = {SERIES: roles.id, DRAW: ("sample_id",)}
    where = where_in(frame, where)
    table = pick(frame, "samples", where, labels=labels, time=roles.time, values=values)
    if table.duplicated([SERIES, TIME, DRAW]).any():
        raise DataError(
            f"the samples hold {say(roles.id)}, {roles.time!r} and 'sample_id' of one draw several "
            "times: give those of one scene, or say how scenes are told apart with "
            "columns=Columns(scene=...)"
        )
    return table


def _labels(table: nw.DataFrame[Any], columns: Key) -> np.ndarray:
    """The labels (n,) of one column as they are, those of several as texts."""
    if len(columns) == 1:
        return np.array(table[columns[0]].to_numpy())
    codes, labels = pd.MultiIndex.from_arrays(
        [np.array(table[name].to_numpy()) for name in columns]
    ).factorize()
    return np.array([key_of(label) for label in labels], dtype=object)[codes]


def _times(series: nw.Series[Any], what: str) -> np.ndarray:
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


def _numbers(series: nw.Series[Any], what: str) -> np.ndarray:
    if not series.dtype.is_numeric():
        raise DataError(
            f"column {series.name!r} of the {what} frame holds no numbers (its type is "
            f"{series.dtype}): a picture needs numbers there"
        )
    return np.array(series.cast(nw.Float64).to_numpy(), dtype=np.float64)


def choose_scene(frame: Frame, roles: Roles, scene: Any | None, what: str) -> Where:
    """The columns and values that select one scene, or None for a frame without scenes.

    Raises:
        DataError: if several scenes are there and none was named, or the named one is not there.
    """
    if roles.scene is None:
        if scene is not None:
            raise DataError(
                f"scene={scene!r} was asked for, but no column holds scenes: "
                "name it with columns=Columns(scene=...)"
            )
        return None
    need(names_of(frame), roles.scene, what)
    table = nw.from_native(frame, eager_only=True).select(roles.scene)
    rows = [tuple(row) for row in table.unique().sort(*roles.scene).rows()]
    found = {key_of(row): row for row in rows}
    several = len(roles.scene) > 1
    shown = [repr(row if several else row[0]) for row in rows]
    few = ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")
    if scene is None and len(found) != 1:
        raise DataError(
            f"the {what} frame holds {len(found)} scenes in column {say(roles.scene)}: choose one "
            f"of {few} with scene=..."
        )
    chosen = next(iter(found), None) if scene is None else key_of(scene)
    if chosen not in found:
        raise DataError(f"scene={scene!r} is not in column {say(roles.scene)} of the {what}: {few}")
    return roles.scene, found[chosen]


def where_in(frame: Frame, where: Where) -> Where:
    """`where`, if the frame has these columns; a frame cut to one scene may have dropped them."""
    return where if where is not None and set(where[0]) <= set(names_of(frame)) else None


def models_of(frame: Frame, roles: Roles, what: str = "forecast") -> list[str]:
    """Model names, in column order, read off the columns of a forecast.

    With several targets a model is a prefix that has a column for each target (`Name_x`,
    `Name_y`); with one, a numeric column that has no other part.

    Raises:
        DataError: if there is none.
    """
    table = nw.from_native(frame, eager_only=True)
    parts = roles.names | {"cutoff", "sample_id"}
    names = [n for n in table.columns if n not in parts and not (INTERVAL.match(n) or QUANTILE(n))]
    first = roles.targets[0]
    prefixed = [name[: -len(first) - 1] for name in names if name.endswith(f"_{first}")]
    found = [m for m in prefixed if m and all(f"{m}_{t}" in names for t in roles.targets)]
    if not found and len(roles.targets) == 1:
        numeric = [name for name in names if table.schema[name].is_numeric()]
        # What follows a model's name and a dash (`Model-q-10`) is another column of that model.
        found = [name for name in numeric if not any(name.startswith(f"{m}-") for m in numeric)]
    if not found:
        wanted = ", ".join(f"'<Model>_{t}'" for t in roles.targets)
        raise DataError(
            f"the {what} frame has no forecast columns such as {wanted}: it has {names}; give "
            "the frame that Forecaster.predict or .sample returned, and columns=... if the "
            "targets are called otherwise"
        )
    return found


def model_columns(frame: Frame, roles: Roles, model: str | None, what: str) -> list[str]:
    """The columns that hold the point forecast (or one joint draw) of each target.

    Raises:
        DataError: if the model named is not there.
    """
    found = models_of(frame, roles, what)
    if model is not None and model not in found:
        raise DataError(f"the {what} frame has no model {model!r}: choose one of {found}")
    name = found[0] if model is None else model
    several = [f"{name}_{target}" for target in roles.targets]
    return several if all(c in names_of(frame) for c in several) else [name]


def levels_of(frame: Frame, points: Sequence[str]) -> dict[float, list[tuple[str, str]]]:
    """Interval columns of the point columns: level -> one (lo, hi) pair of names per target."""
    names = set(names_of(frame))
    written = {m["level"] for m in map(INTERVAL.match, names) if m and m["name"] in points}
    levels = {}
    for level in sorted(written, key=float):
        pairs = [(f"{point}-lo-{level}", f"{point}-hi-{level}") for point in points]
        if all(name in names for pair in pairs for name in pair):
            levels[float(level)] = pairs
    return levels
