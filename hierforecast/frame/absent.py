"""Columns that are not there: which others are meant, or how a frame becomes a long one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError, Remedy
from hierforecast.frame.duplicates import tell_apart
from hierforecast.frame.remedies import ROLES, Recipe, assign_roles
from hierforecast.frame.spellings import recognize
from hierforecast.frame.table import Table

Missing = list[tuple[str, str]]  # (role, column)


@dataclass(frozen=True)
class Fix:
    """What helps, for a message: a hint, advice, and the remedy if there is one."""

    hint: str
    advice: str
    remedy: Remedy | None


def require(table: Table, roles: Sequence[tuple[str, str]], fitted: bool = False) -> None:
    """Check that every column is there.

    Args:
        table: the frame.
        roles: those that are needed.
        fitted: whether a fit has used the roles, so that none can be given to another column.

    Raises:
        DataError: naming the first missing column, its role, and what helps.
    """
    missing = _missing(table, roles)
    if not missing:
        return
    (role, name), fix = missing[0], _fix(table, missing)
    if fitted and (fix.remedy is None or ROLES in fix.remedy.code):
        fix = _as_in_training(table, missing)
    names = [repr(n) for n in table.frame.columns]
    few = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
    raise DataError(
        f"{table.what} has no column {name!r}{fix.hint} for the role {role!r}; it has {few}; "
        f"{fix.advice}",
        fix.remedy,
    )


def _missing(table: Table, roles: Iterable[tuple[str, str]]) -> Missing:
    return [(role, name) for role, name in roles if name not in table.frame.columns]


def _fix(table: Table, missing: Missing) -> Fix:
    """What makes all columns that are missing."""
    fixes = (_index, _no_time, _wide, _one_series)
    for one in fixes if table.variable == "frame" else (_index, _as_in_training):
        fix = one(table, missing)
        if fix is not None:
            return fix
    return _other_names(table, missing)


def _index(table: Table, missing: Missing) -> Fix | None:
    """Columns that are the index of a pandas frame, or have names of two lines."""
    frame, lost, hint = table.frame.to_native(), [name for _, name in missing], ""
    if not table.frame.implementation.is_pandas():
        return None
    index, time = frame.index, table.columns.time
    named = [name for name in index.names if name in lost]
    if frame.columns.nlevels == 2 and frame.columns.get_level_values(0).nunique() == 1:
        own, frame = table.rebuild("drop_level"), frame.droplevel(0, axis=1)
    elif named:
        own, frame = table.rebuild("reset_index", levels=named), frame.reset_index(named)
        hint = " (it is the frame's index: call reset_index() first)"
    elif isinstance(index, pd.DatetimeIndex) and time in lost:
        own = table.rebuild("name_index", column=time)
        frame = frame.rename_axis(index=time).reset_index()
    elif isinstance(index, pd.PeriodIndex) and time in lost:
        own = table.rebuild("name_periods", column=time)
        frame = frame.to_timestamp().rename_axis(index=time).reset_index()
    else:
        return None
    long = Table.open(frame, table.columns, table.variable)
    rest = _missing(long, missing)
    if not rest:
        return Fix(hint, "make it a column", own)
    fix = _fix(long, rest)
    return replace(fix, hint=hint or fix.hint, remedy=fix.remedy and own.then(fix.remedy))


def _no_time(table: Table, missing: Missing) -> Fix | None:
    """Numbers alone: their rows are the steps."""
    columns, schema = table.columns, table.frame.schema
    if not {("time", columns.time), ("id", columns.ids[0])} <= set(missing):
        return None
    if not all(schema[n].is_numeric() for n in table.frame.columns) or _close(table, columns.time):
        return None
    own, frame = table.rebuild("count_rows", column=columns.time), table.frame
    steps = nw.new_series(columns.time, np.arange(len(table)), backend=frame.implementation)
    long = Table(frame.with_columns(steps), columns, table.variable)
    fix = _fix(long, _missing(long, missing))
    return replace(fix, remedy=fix.remedy and own.then(fix.remedy))


def _as_in_training(table: Table, missing: Missing) -> Fix:
    """Another frame than the one that the columns were named for: its names are changed."""
    names = {close: name for _, name in missing if (close := _close(table, name))}
    close = _close(table, missing[0][1])
    hint = f" (did you mean {close!r}?)" if close else ""
    remedy = table.rebuild("rename", names=names) if len(names) == len(missing) else None
    advice = "give it as in the fit" if remedy is None else "name them as in the fit"
    return Fix(hint, advice, remedy)


def _wide(table: Table, missing: Missing) -> Fix | None:
    """Numbers that stand in a column for each series, or for each time."""
    columns, lost = table.columns, {name for _, name in missing}
    if columns.targets[0] not in lost or len(columns.targets) > 1:
        return None
    many, time = _spare(table), columns.time
    if columns.ids[0] in lost and len(columns.ids) == 1 and _ids(table) == ():
        (time,) = _times(table)
        name, what, made = columns.ids[0], "series", ("id", "target")
        words = table.frame[time].to_list() if table.frame[time].dtype == nw.String else []
    elif lost.isdisjoint(columns.ids) and time in lost:
        words = many = [n for n in many if re.search(r"\d", str(n))]
        name, what, made = time, "time", ("time", "target")
    else:
        return None
    if len(many) < 2:
        return None
    chosen, recipe = set(many), _reading(words)
    kept = [n for n in table.frame.columns if n not in chosen]
    remedy = table.rebuild("melt", kept=kept, name=name, value=columns.targets[0])
    if recipe is not None:
        remedy = remedy.then(table.convert(recipe, time))
    rest = [(r, n) for r, n in missing if r not in made]
    return _then(Fix("", f"it has a column for each {what}, make it long", remedy), table, rest)


def _reading(words: list[Any]) -> str | Recipe | None:
    """What makes times of names of columns, or of texts."""
    text = pd.Series([*map(str, dict.fromkeys(words))], dtype=object)
    if not len(text):
        return None
    numbered = text.str.fullmatch(r"[A-Za-z]+_?\d+").all()
    return "numbered" if numbered else recognize(text)[1]


def _one_series(table: Table, missing: Missing) -> Fix | None:
    """Rows that are one series without a name."""
    columns = table.columns
    if ("id", columns.ids[0]) not in missing or len(columns.ids) > 1 or _ids(table) != ():
        return None
    remedy = table.rebuild("one_series", column=columns.ids[0])
    rest = [(r, n) for r, n in missing if r != "id"]
    return _then(Fix("", "its rows are one series, give them an id", remedy), table, rest)


def _then(fix: Fix, table: Table, rest: Missing) -> Fix:
    """The same, and other names for what is still missing."""
    if not rest or fix.remedy is None:
        return fix
    more = _other_names(table, rest).remedy
    return Fix(fix.hint, fix.advice, None if more is None else fix.remedy.then(more))


def _other_names(table: Table, missing: Missing) -> Fix:
    """Other columns for the roles, or none where a role may be left out."""
    columns, (role, name) = table.columns, missing[0]
    close = _close(table, name)
    hint = f" (did you mean {close!r}?)" if close else ""
    changes: dict[str, Any] = {}
    chosen: list[tuple[str, ...]] = []
    for one, lost in missing:
        found = _meant(table, one, lost, sum(chosen, ()))
        chosen.append(found)
        if not found and one in ("id", "time", "target", "scene"):
            roles = dict.fromkeys(role for role, _ in missing)
            return Fix(hint, "name yours: " + ", ".join(f"Columns({r}=...)" for r in roles), None)
        changes[one] = _replaced(changes.get(one, getattr(columns, one)), lost, found)
    leave = "" if close or role in ("id", "time", "target", "scene") else ", or leave it out"
    return Fix(hint, f"name yours{leave}", assign_roles(columns, **changes))


def _replaced(given: Any, lost: str, found: tuple[str, ...]) -> Any:
    """The columns of a role, nested as given, with others for one of them."""
    if isinstance(given, str):
        names = found if given == lost else (given,)
        return names[0] if len(names) == 1 else names or None
    kept = tuple(_replaced(one, lost, found) for one in given)
    return tuple(one for one in kept if one is not None) or None


def _meant(table: Table, role: str, name: str, taken: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The columns, none of those taken, that a role is probably played by; none if none is."""
    close, frame = _close(table, name), table.frame
    if close is not None:
        return (close,)
    found: list[str] = []
    if role == "id" and len(table.columns.ids) == 1:
        return _ids(table) or ()
    if role == "time":
        found = [n for n in frame.columns if frame.schema[n].is_temporal()] or _dates(table)
    if role == "target" and len(table.columns.targets) == 1:
        found = [n for n in _spare(table) if n not in taken]
        if len(found) > 1:
            found = [n for n in found if frame.schema[n].is_float()]
    return tuple(found) if len(found) == 1 else ()


def _close(table: Table, name: str) -> str | None:
    roles = {n for _, n in table.columns.roles()}
    names = {
        str(n).lower(): n for n in table.frame.columns if n not in roles and isinstance(n, str)
    }
    close = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return names[close[0]] if close else None


def _spare(table: Table) -> list[Any]:
    """Numeric columns without a role."""
    roles, schema = {name for _, name in table.columns.roles()}, table.frame.schema
    return [n for n in table.frame.columns if n not in roles and schema[n].is_numeric()]


def _times(table: Table) -> tuple[str, ...]:
    """The time column, or the one that is probably meant."""
    time = table.columns.time
    return (time,) if time in table.frame.columns else _meant(table, "time", "")


def _dates(table: Table) -> list[str]:
    """Columns of text that are dates, by their first cells."""
    roles, schema = {name for _, name in table.columns.roles()}, table.frame.schema
    texts = [n for n in table.frame.columns if n not in roles and schema[n] == nw.String]
    cells = {n: pd.Series(table.frame[n].head(100).unique().drop_nulls().to_list()) for n in texts}
    return [n for n, some in cells.items() if len(some) and recognize(some.astype(str))[1]]


def _ids(table: Table) -> tuple[str, ...] | None:
    """The columns that name the series: none if it is one, None if they cannot be told."""
    columns = table.columns
    times = _times(table)
    if not times or any(name not in table.frame.columns for name in columns.scenes):
        return None
    moment, _ = table.keys([*columns.scenes, *times])
    if len(np.unique(moment)) == len(table):
        return ()
    return tell_apart(table, np.zeros(len(table), dtype=np.int64), moment, besides=times) or None
