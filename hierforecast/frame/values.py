"""Targets and covariates as numbers, still in the rows of the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame.categories import check_range, encode
from hierforecast.frame.labels import Rows
from hierforecast.frame.remedies import assign_roles
from hierforecast.frame.vocabulary import Covariate, Vocabulary


@dataclass(frozen=True)
class Values:
    """The numbers of a frame of n rows and R series.

    Args:
        targets: (n,) float64 each, NaN where missing.
        observed: (n,) bool, where no target is missing.
        past, known: (n,) float64 each: numbers with NaN for missing, or category codes with 0 for
            missing and unknown ones.
        static: (R, Cs) float64, likewise.
        covariates: what they are, in the order past, known, static.
    """

    targets: list[np.ndarray]
    observed: np.ndarray
    past: list[np.ndarray]
    known: list[np.ndarray]
    static: np.ndarray
    covariates: tuple[Covariate, ...]

    @classmethod
    def read(cls, rows: Rows, vocabulary: Vocabulary | None) -> Values:
        """Read every column of numbers and categories.

        Args:
            rows: the series of the frame.
            vocabulary: of the training frame; None learns the categories from this one.

        Raises:
            DataError: for a column that cannot be used, or is not as it was in training.
        """
        columns, table = rows.table.columns, rows.table
        targets, observed = _targets(rows, vocabulary)
        coded = {
            role: [encode(table, name, role, vocabulary) for name in names]
            for role, names in (
                ("past", columns.past_covariates),
                ("known", columns.known_covariates),
                ("static", columns.static),
            )
        }
        covariates = tuple(covariate for one in coded.values() for _, covariate in one)
        past, known = ([values for values, _ in coded[role]] for role in ("past", "known"))
        static = np.empty((len(rows), len(columns.static)))
        for c, (values, covariate) in enumerate(coded["static"]):
            static[:, c] = _by_series(rows, values, covariate)
        return cls(targets, observed, past, known, static, covariates)


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
            raise DataError(
                f"target column {name!r} of {table.what} is missing (NaN) in every row: check how "
                "it was read or joined, or name another one as the target"
            )
        observed &= ~missing
        targets.append(column)
    if not observed.any():
        raise DataError(
            f"no row of {table.what} has all the targets {list(names)}: a step is observed only "
            "where none of them is missing; fill them, or forecast one of them",
            assign_roles(table.columns, target=names[0]),
        )
    return targets, observed


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
