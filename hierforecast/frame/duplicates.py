"""Rows of one series and time: what they are, and so what mends them."""

from __future__ import annotations

from collections.abc import Sequence

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame.codes import TEXT, factorize, pair, rank
from hierforecast.frame.remedies import assign_roles
from hierforecast.frame.table import Table

MOST = 3  # columns that may be needed beside the id to name a series


def check_duplicates(table: Table, row: np.ndarray, cell: np.ndarray, n_cells: int) -> None:
    """Raise if two rows of a frame fill one cell of the panel.

    Series that share an id are told apart by another column, which is proposed as part of the id.
    Only rows that say the same are to be dropped.

    Args:
        table: the frame, of n rows.
        row, cell: (n,) row and cell of the panel.
        n_cells: of the panel.

    Raises:
        DataError: with the remedy that fits the rows.
    """
    seen = np.zeros(n_cells, dtype=bool)
    seen[cell] = True
    extra = len(cell) - int(np.count_nonzero(seen))
    if not extra:
        return
    columns, keys = table.columns, list(table.columns.keys)
    first = int(np.argmax(pd.Series(cell).duplicated().to_numpy()))
    text = (
        f"{extra} rows of {table.what} are duplicated in ({', '.join(keys)}), the first is "
        f"{table.where(first)}"
    )
    alike = all(agrees(cell, table.numbers(name)) for name in columns.targets)
    # A small overlap that says the same is one delivery after another, not series that share ids.
    overlap = np.bincount(cell, minlength=n_cells)[cell] > 1
    names = () if alike and overlap.mean() < 0.5 else tell_apart(table, row, cell)
    if names:
        raise _shared_label(table, text, names, overlap)
    if alike:
        remedy = table.rebuild("drop_duplicates", keys=keys)
        raise DataError(f"{text}; they have the same targets, keep one row each", remedy)
    remedy = table.rebuild("average", keys=keys, targets=list(columns.targets))
    raise DataError(f"{text}; their targets differ, make one of them, such as the mean", remedy)


def _shared_label(
    table: Table, text: str, names: tuple[str, ...], overlap: np.ndarray
) -> DataError:
    """The error for rows that columns tell apart: scenes that share a label, or series."""
    columns = table.columns
    text += f"; these rows differ in {' and '.join(map(repr, names))}: "
    if columns.scenes and _are_scenes(table, names, overlap):
        return DataError(
            f"{text}scenes that share a label are named by both (or make it part of the id, if "
            "all its series meet in one scene)",
            assign_roles(columns, scene=(*names, *columns.scenes)),
        )
    apart = "" if columns.scenes else " (or make it the scene, if its series never meet)"
    return DataError(
        f"{text}series that share an id are named by both{apart}",
        assign_roles(columns, id=(*names, *columns.ids)),
    )


def _are_scenes(table: Table, names: Sequence[str], overlap: np.ndarray) -> bool:
    """Whether columns tell whole scenes apart: without a role, and each part has most of the ids.

    Args:
        table: the frame, of n rows.
        names: what tells apart rows of one cell.
        overlap: (n,) bool, rows of such cells.
    """
    columns = table.columns
    if any(name in names for _, name in columns.roles()):
        return False
    scene, part = (table.keys(keys)[0] for keys in (columns.scenes, (*columns.scenes, *names)))
    ids = table.keys(columns.ids)[0]
    doubled = np.isin(scene, scene[overlap])

    def n_ids(codes: np.ndarray) -> np.ndarray:
        """Ids (n,) of what each row is in."""
        pairs = pair(codes, ids, int(ids.max()) + 1)[1]
        return np.bincount(pairs // (int(ids.max()) + 1))[codes]

    return bool((2 * n_ids(part) > n_ids(scene))[doubled].all())


def tell_apart(
    table: Table, row: np.ndarray, cell: np.ndarray, besides: Sequence[str] = ()
) -> tuple[str, ...]:
    """The columns, if any, that tell apart all rows of one cell, as labels of series would.

    Args:
        table: the frame, of n rows.
        row: (n,) codes of series.
        cell: (n,) codes of series and time.
        besides: columns that are none of them.
    """
    columns, found = table.columns, list[str]()
    other = {*columns.keys, *columns.targets, *besides}
    other |= {*columns.past_covariates, *columns.known_covariates}
    names = sorted(table.frame.columns, key=lambda n: n not in columns.groups)
    codes = {n: c for n in names if n not in other and (c := _codes(table, n)) is not None}
    series = row
    while codes and len(found) < MOST:
        finer = {n: pair(cell, c, int(c.max()) + 1) for n, c in codes.items()}
        best = max(finer, key=lambda n: len(finer[n][1]))
        before, (cell, cells) = len(rank(cell)[1]), finer[best]
        if len(cells) == before:
            break
        own = codes.pop(best)
        series, n_series = pair(series, own, int(own.max()) + 1)
        found.append(best)
        # What numbers the rows names no series.
        if len(cells) == len(cell):
            return tuple(found) if 2 * len(n_series) <= len(cell) else ()
    return ()


def _codes(table: Table, name: str) -> np.ndarray | None:
    """Codes (n,) of a column that can be a label, else None."""
    series = table.frame[name]
    if (
        not (series.dtype in (*TEXT, nw.Boolean) or series.dtype.is_integer())
        or series.null_count()
    ):
        return None
    return factorize(series)[0]


def agrees(cell: np.ndarray, values: np.ndarray) -> bool:
    """Whether the rows (n,) of one cell have the same values (n,); NaN is equal to NaN."""
    order = np.argsort(cell, kind="stable")
    same, values = np.diff(cell[order]) == 0, values[order]
    equal = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    return bool(equal[same].all())
