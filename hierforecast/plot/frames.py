"""The plots' door: any data frame in, small pandas copies of the needed columns out."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError

if TYPE_CHECKING:
    from hierforecast.frame import Columns

Frame = Any  # pandas, polars or pyarrow: whatever narwhals reads
GROUP_NAMES = ("team", "group", "sector")
INTERVAL = re.compile(r"^(?P<name>.+)-(?P<side>lo|hi)-(?P<level>\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class Roles:
    """Which column plays which part in a picture."""

    id: str
    time: str
    targets: tuple[str, ...]
    groups: tuple[str, ...]
    scene: str | None

    @property
    def group(self) -> str | None:
        """The coarsest group column: the one that gives colours."""
        return self.groups[0] if self.groups else None


def _as_tuple(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]


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
        targets: tuple[str, ...] = tuple(t for t in ("x", "y") if t in names) or ("y",)
        groups = tuple(name for name in GROUP_NAMES if name in names)[:1]
        scene = "scene" if "scene" in names else None
        roles = Roles("unique_id", "ds", targets, groups, scene)
    else:
        targets = _as_tuple(getattr(columns, "targets", None) or getattr(columns, "target", None))
        groups = _as_tuple(getattr(columns, "groups", None) or getattr(columns, "group", None))
        roles = Roles(columns.id, columns.time, targets, groups, columns.scene)  # type: ignore[arg-type]
    if target is None:
        return roles
    if columns is not None and target not in roles.targets:
        raise DataError(f"target={target!r} is none of the targets {list(roles.targets)}")
    return Roles(roles.id, roles.time, (target,), roles.groups, roles.scene)


def need(names: Iterable[str], wanted: Sequence[str], what: str) -> None:
    """Check that columns are there.

    Raises:
        DataError: naming the missing ones, what there is, and the remedy.
    """
    have = list(names)
    missing = [name for name in wanted if name not in have]
    if missing:
        raise DataError(
            f"the {what} frame has no column {', '.join(map(repr, missing))} (it has "
            f"{', '.join(map(repr, have[:12]))}): rename it, or say which column it is with "
            "columns=Columns(...)"
        )


def pick(
    frame: Frame, wanted: Sequence[str], what: str, where: tuple[str, Any] | None = None
) -> pd.DataFrame:
    """Copy of the `wanted` columns as pandas; the frame given is left as it is.

    Args:
        frame: pandas, polars or pyarrow.
        wanted: names of columns.
        what: how errors call the frame, e.g. `"history"`.
        where: (column, value) that kept rows have.
    """
    need(names_of(frame), wanted, what)
    table = nw.from_native(frame, eager_only=True)
    if where is not None:
        table = table.filter(nw.col(where[0]) == where[1])
    return pd.DataFrame({name: np.array(table[name].to_numpy()) for name in dict.fromkeys(wanted)})


def choose_scene(frame: Frame, roles: Roles, scene: Hashable | None, what: str) -> Any:
    """The (column, value) that selects one scene, or None for a frame without scenes.

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
    need(names_of(frame), [roles.scene], what)
    found = nw.from_native(frame, eager_only=True)[roles.scene].unique().sort().to_list()
    few = ", ".join(map(repr, found[:5])) + (", ..." if len(found) > 5 else "")
    if scene is None and len(found) != 1:
        raise DataError(
            f"the {what} frame holds {len(found)} scenes in column {roles.scene!r}: choose one "
            f"of {few} with scene=..."
        )
    if scene is not None and scene not in found:
        raise DataError(f"scene={scene!r} is not in column {roles.scene!r} of the {what}: {few}")
    value = found[0] if scene is None else scene
    return roles.scene, value.item() if isinstance(value, np.generic) else value


def where_in(frame: Frame, where: tuple[str, Any] | None) -> tuple[str, Any] | None:
    """`where`, if the frame has that column; a frame cut to one scene may have dropped it."""
    return where if where is not None and where[0] in names_of(frame) else None


def models_of(frame: Frame, roles: Roles, what: str = "forecast") -> list[str]:
    """Model names, in column order, read off the columns of a forecast.

    With several targets a model is a prefix that has a column for each target (`Name_x`,
    `Name_y`); with one, a numeric column that has no other part.

    Raises:
        DataError: if there is none.
    """
    table = nw.from_native(frame, eager_only=True)
    parts = {roles.id, roles.time, roles.scene, "cutoff", "sample_id", *roles.targets}
    parts |= set(roles.groups)
    names = [name for name in table.columns if name not in parts and not INTERVAL.match(name)]
    first = roles.targets[0]
    prefixed = [name[: -len(first) - 1] for name in names if name.endswith(f"_{first}")]
    found = [m for m in prefixed if m and all(f"{m}_{t}" in names for t in roles.targets)]
    if not found and len(roles.targets) == 1:
        found = [name for name in names if table.schema[name].is_numeric()]
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
