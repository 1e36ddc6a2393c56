"""Groups and their types as integers: one of each for every series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame.categories import categories_of, respell
from hierforecast.frame.codes import pair
from hierforecast.frame.labels import Rows
from hierforecast.frame.remedies import assign_roles
from hierforecast.frame.table import Table, show
from hierforecast.frame.vocabulary import Covariate, Vocabulary


@dataclass(frozen=True)
class Groups:
    """The groups of R series.

    Args:
        paths: (R, levels) int64 path codes, coarse to fine: a code has one parent. One level of
            zeros without group columns.
        types: (R,) int64 index into `known_types`; zeros without a column of types.
        known_types: labels of the types, sorted; those of training where it is known.
    """

    paths: np.ndarray
    types: np.ndarray
    known_types: tuple[Any, ...]

    @classmethod
    def read(cls, rows: Rows, vocabulary: Vocabulary | None) -> Groups:
        """Read the columns of groups and types.

        Args:
            rows: the series of the frame.
            vocabulary: of the training frame; None learns the types from this one.

        Raises:
            DataError: if a series of a scene has two groups or types, or a type is not known from
                training.
        """
        path, levels = np.zeros(len(rows), dtype=np.int32), []
        for names in rows.table.columns.levels:
            for name in names:
                codes, labels = rows.table.labels(name)
                path, _ = pair(path, _constant(rows, name, codes, labels, "group"), len(labels))
            levels.append(path)
        paths = np.stack(levels or [path], axis=1).astype(np.int64)
        kind = rows.table.columns.group_type
        if kind is None:
            return cls(paths, np.zeros(len(rows), dtype=np.int64), ())
        codes, labels = rows.table.labels(kind)
        plain = categories_of(rows.table, kind, labels)
        known = plain if vocabulary is None else vocabulary.types
        _check_types(rows.table, kind, plain, known)
        lookup = np.array([known.index(label) for label in plain], dtype=np.int64)
        return cls(paths, lookup[_constant(rows, kind, codes, labels, "type")], known)


def _constant(
    rows: Rows, name: str, codes: np.ndarray, labels: np.ndarray, what: str
) -> np.ndarray:
    """The one code of each panel row (R,), checked to be one."""
    value = np.empty(len(rows), dtype=np.int32)
    value[rows.of_row] = codes
    clash = np.flatnonzero(value[rows.of_row] != codes)
    if len(clash):
        at, columns = clash[0], rows.table.columns
        both = f"{show(labels[codes[at]])} and {show(labels[value[rows.of_row[at]]])}"
        raise DataError(
            f"{rows.series_name(at)} is in two {what}s of column {name!r}, {both}: a series has "
            f"one {what} within a scene; correct the column, or take it into the id",
            assign_roles(columns, id=(name, *columns.ids)),
        )
    return value


def _check_types(table: Table, name: str, labels: tuple[Any, ...], known: tuple[Any, ...]) -> None:
    """Check that training knew all group types.

    Raises:
        DataError: naming the first that it did not.
    """
    unknown = [label for label in labels if label not in known]
    if not unknown:
        return
    text = (
        f"column {name!r} of {table.what} has the group type {unknown[0]!r}, "
        f"which was not there in training: known are {list(known)}; "
    )
    if len(unknown) == len(labels):
        remedy = respell(table, name, unknown, Covariate(name, "type", known))
        raise DataError(f"{text}rename it, or fit again with it", remedy)
    kept = [label for label in labels if label in known]
    remedy = table.rebuild("keep", column=name, labels=kept)
    raise DataError(f"{text}drop its series, or fit again with it", remedy)
