"""What a frame says of its series and steps, as numbers and codes in the rows of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hierforecast.errors import DataError, NothingToForecastError
from hierforecast.frame.categories import categories_of, check_range, encode, respell
from hierforecast.frame.codes import pair
from hierforecast.frame.crossing import check_crossed
from hierforecast.frame.labels import Rows
from hierforecast.frame.remedies import assign_roles
from hierforecast.frame.table import Table, show
from hierforecast.frame.vocabulary import Covariate, Vocabulary


@dataclass(frozen=True)
class Values:
    """The content of a frame of n rows and R series.

    Args:
        targets: (n,) float64 each, NaN where missing.
        observed: (n,) bool, where no target is missing.
        groups: (R, levels) int64 path codes; see `Panel`.
        crossed: the same for each further way of grouping.
        types: (R,) int64 index into ``vocabulary.types``; zeros without a column of types.
        past, known: (n,) float64 each: numbers with NaN for missing, or category codes with 0 for
            missing and unknown ones.
        static: (R, Cs) float64, likewise.
        vocabulary: that of training, or the one that this frame gives.
    """

    targets: list[np.ndarray]
    observed: np.ndarray
    groups: np.ndarray
    crossed: tuple[np.ndarray, ...]
    types: np.ndarray
    past: list[np.ndarray]
    known: list[np.ndarray]
    static: np.ndarray
    vocabulary: Vocabulary

    @classmethod
    def read(cls, rows: Rows, given: Vocabulary | None) -> Values:
        """Read the columns of every role but those of ids, scenes and the time.

        Args:
            rows: the series of the frame.
            given: vocabulary of the training frame; None learns it from this one.

        Raises:
            DataError: for a column that cannot be used, or is not as it was in training.
        """
        columns = rows.table.columns
        targets, observed = _targets(rows, given)
        groups, *crossed = (_paths(rows, levels) for levels in columns.partitions)
        if given is None:
            check_crossed(columns, rows.row_scene, groups, crossed)
        types, known_types = _types(rows, given)
        names = {"past": columns.past_covariates, "known": columns.known_covariates}
        coded = {
            role: [encode(rows.table, name, role, given) for name in some]
            for role, some in (names | {"static": columns.static}).items()
        }
        static = np.empty((len(rows), len(columns.static)))
        for c, (values, covariate) in enumerate(coded["static"]):
            static[:, c] = _by_series(rows, values, covariate)
        covariates = tuple(covariate for one in coded.values() for _, covariate in one)
        vocabulary = given or Vocabulary(covariates, known_types)
        past, known = ([values for values, _ in coded[role]] for role in names)
        labels = groups, tuple(crossed), types
        return cls(targets, observed, *labels, past, known, static, vocabulary)


def _targets(rows: Rows, vocabulary: Vocabulary | None) -> tuple[list[np.ndarray], np.ndarray]:
    """Targets (n,) and where all are observed (n,).

    Raises:
        DataError: if a target is not numeric, infinite, whole and rounded by float64, not of the
            order of training, or never observed.
    """
    table, names = rows.table, rows.table.columns.targets
    targets, observed = [], np.ones(len(table), dtype=bool)
    for d, name in enumerate(names):
        column = table.numbers(name, exact=True)
        if vocabulary is not None and vocabulary.targets:
            check_range(table, name, column, vocabulary.targets[d])
        missing = np.isnan(column)
        if missing.all():
            raise NothingToForecastError(
                f"target column {name!r} of {table.what} is missing (NaN) in every row: check how "
                "it was read or joined, or name another one as the target"
            )
        observed &= ~missing
        targets.append(column)
    if not observed.any():
        raise NothingToForecastError(
            f"no row of {table.what} has all the targets {list(names)}: a step is observed only "
            "where none of them is missing; fill them, or forecast one of them",
            assign_roles(table.columns, target=names[0]),
        )
    return targets, observed


def _paths(rows: Rows, partition: Sequence[tuple[str, ...]]) -> np.ndarray:
    """Path codes (R, levels) int64, coarse to fine; one level of zeros without columns.

    Raises:
        DataError: if a series of a scene is in two groups.
    """
    path, levels = np.zeros(len(rows), dtype=np.int32), []
    for names in partition:
        for name in names:
            codes, labels = rows.table.labels(name)
            path, _ = pair(path, constant(rows, name, codes, labels, "group"), len(labels))
        levels.append(path)
    return np.stack(levels or [path], axis=1).astype(np.int64)


def _types(rows: Rows, vocabulary: Vocabulary | None) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Group types (R,) int64, and their labels; zeros and none without a column.

    Raises:
        DataError: if a series of a scene has two types, or a type is not known from training.
    """
    name = rows.table.columns.group_type
    if name is None:
        return np.zeros(len(rows), dtype=np.int64), ()
    codes, labels = rows.table.labels(name)
    plain = categories_of(rows.table, name, labels)
    known = plain if vocabulary is None else vocabulary.types
    _check_types(rows.table, name, plain, known)
    lookup = np.array([known.index(label) for label in plain], dtype=np.int64)
    return lookup[constant(rows, name, codes, labels, "type")], known


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


def constant(rows: Rows, name: str, codes: np.ndarray, labels: np.ndarray, what: str) -> np.ndarray:
    """The one code of each panel row (R,), checked to be one."""
    value = np.empty(len(rows), dtype=np.int32)
    value[rows.of_row] = codes
    clash = np.flatnonzero(value[rows.of_row] != codes)
    if len(clash):
        at, columns = clash[0], rows.table.columns
        both = f"{show(labels[codes[at]])} and {show(labels[value[rows.of_row[at]]])}"
        if what == "total":
            raise DataError(
                f"by= sums whole series, but {rows.series_name(at)} has two labels in column "
                f"{name!r}, {both}: name a column that stays the same within a series"
            )
        raise DataError(
            f"{rows.series_name(at)} is in two {what}s of column {name!r}, {both}: a series has "
            f"one {what} within a scene; correct the column, or take it into the id",
            assign_roles(columns, id=(name, *columns.ids)),
        )
    return value


def _by_series(rows: Rows, values: np.ndarray, covariate: Covariate) -> np.ndarray:
    """A static covariate (R,) of values (n,); a series' missing cells take its others' value.

    Raises:
        DataError: if it changes within a series of a scene.
    """
    out = np.full(len(rows), covariate.missing)
    given = ~covariate.lacks(values)
    out[rows.of_row[given]] = values[given]
    change = np.abs(out[rows.of_row] - values)
    noise = np.flatnonzero(change > 0)  # the mean of a group, say, may be rounded twice
    clash = noise[change[noise] > 1e-12 * np.abs(values[noise])]
    if len(clash):
        name, columns = covariate.name, rows.table.columns
        raise DataError(
            f"static column {name!r} changes within {rows.series_name(clash[0])}; make it one "
            "value per series, or a past covariate",
            assign_roles(
                columns,
                past_covariates=(*columns.past_covariates, name),
                static=tuple(n for n in columns.static if n != name),
            ),
        )
    np.minimum.at(out, rows.of_row[noise], values[noise])  # for rows in any order
    return out
