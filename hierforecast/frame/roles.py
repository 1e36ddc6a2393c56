"""The columns of each role as arrays: targets, groups, types, static and covariates."""

from __future__ import annotations

from typing import Any

import numpy as np

from hierforecast.errors import DataError, Remedy
from hierforecast.frame.categories import categories_of, check_range, encode, respell
from hierforecast.frame.codes import pair
from hierforecast.frame.columns import Covariate, Vocabulary
from hierforecast.frame.remedies import assign_roles
from hierforecast.frame.table import Table, show


class Roles:
    """Reads the columns of each role of one frame.

    Args:
        table: the frame.
        row: (n,) panel row of each row of the frame.
        n_rows: R.
        vocabulary: of the training frame, or None to learn it.
    """

    def __init__(
        self, table: Table, row: np.ndarray, n_rows: int, vocabulary: Vocabulary | None
    ) -> None:
        self.table, self.row, self.n_rows, self.given = table, row, n_rows, vocabulary
        self.learned: list[Covariate] = []
        self.learned_types: tuple[Any, ...] = ()

    def vocabulary(self) -> Vocabulary:
        """The given vocabulary, or what has been learned; call it after everything is read."""
        return self.given or Vocabulary(tuple(self.learned), self.learned_types)

    def targets(self, cell: np.ndarray, n_cells: int) -> tuple[np.ndarray, np.ndarray]:
        """Values (cells, D), 0 where missing, and present (cells,) bool.

        Raises:
            DataError: if a target is not numeric, infinite, whole and rounded by float64, not of
                the order of training, or never observed.
        """
        names = self.table.columns.targets
        values = np.zeros((n_cells, len(names)))
        observed = np.ones(len(cell), dtype=bool)
        for d, name in enumerate(names):
            column = self.table.numbers(name, exact=True)
            if self.given is not None and self.given.targets:
                check_range(self.table, name, column, self.given.targets[d])
            missing = np.isnan(column)
            if missing.all():
                raise DataError(
                    f"target column {name!r} of {self.table.what} is missing (NaN) in every row: "
                    "check how it was read or joined, or name another one as the target"
                )
            observed &= ~missing
            values[cell, d] = column
        if not observed.any():
            raise DataError(
                f"no row of {self.table.what} has all the targets {list(names)}: a step is "
                "observed only where none of them is missing; fill them, or forecast one of them",
                assign_roles(self.table.columns, target=names[0]),
            )
        present = np.zeros(n_cells, dtype=bool)
        present[cell] = observed
        values[~present] = 0  # assigned, because 0 times NaN would stay NaN
        return values, present

    def groups(self) -> np.ndarray:
        """Path codes (R, levels) int64, coarse to fine; one level of zeros without groups.

        Raises:
            DataError: if a series of a scene is in two groups.
        """
        path, levels = np.zeros(self.n_rows, dtype=np.int32), []
        for names in self.table.columns.levels:
            for name in names:
                codes, labels = self.table.labels(name)
                path, _ = pair(path, self._constant(name, codes, labels, "group"), len(labels))
            levels.append(path)
        return np.stack(levels or [path], axis=1).astype(np.int64)

    def types(self) -> np.ndarray:
        """Group type (R,) int64 of each row; zeros without types.

        Raises:
            DataError: if a series of a scene has two types, or a type is not known from training.
        """
        name = self.table.columns.group_type
        if name is None:
            return np.zeros(self.n_rows, dtype=np.int64)
        codes, labels = self.table.labels(name)
        plain = categories_of(self.table, name, labels)
        self.learned_types = plain
        if self.given is not None:
            self._check_types(name, plain, self.given.types)
        known = self.vocabulary().types
        lookup = np.array([known.index(label) for label in plain], dtype=np.int64)
        return lookup[self._constant(name, codes, labels, "type")]

    def _check_types(self, name: str, labels: tuple[Any, ...], known: tuple[Any, ...]) -> None:
        unknown = [label for label in labels if label not in known]
        if not unknown:
            return
        text = (
            f"column {name!r} of {self.table.what} has the group type {unknown[0]!r}, "
            f"which was not there in training: known are {list(known)}; "
        )
        if len(unknown) == len(labels):
            remedy = respell(self.table, name, unknown, Covariate(name, "type", known))
            raise DataError(f"{text}rename it, or fit again with it", remedy)
        kept = [label for label in labels if label in known]
        remedy = self.table.rebuild("keep", column=name, labels=kept)
        raise DataError(f"{text}drop its series, or fit again with it", remedy)

    def static(self) -> np.ndarray:
        """Static covariates (R, Cs); missing cells of a series take its other cells' value.

        Raises:
            DataError: if one changes within a series of a scene.
        """
        out = np.empty((self.n_rows, len(self.table.columns.static)))
        for c, name in enumerate(self.table.columns.static):
            values, covariate = self._encode(name, "static")
            out[:, c], given = _missing(covariate), _given(values, covariate)
            out[self.row[given], c] = values[given]
            change = np.abs(out[self.row, c] - values)
            noise = np.flatnonzero(change > 0)  # the mean of a group, say, may be rounded twice
            clash = noise[change[noise] > 1e-12 * np.abs(values[noise])]
            if len(clash):
                raise DataError(
                    f"static column {name!r} changes within {self._series(clash[0])}; make it one "
                    "value per series, or a past covariate",
                    self._as_past(name),
                )
            np.minimum.at(out[:, c], self.row[noise], values[noise])  # for rows in any order
        return out

    def _as_past(self, name: str) -> Remedy:
        columns = self.table.columns
        static = tuple(n for n in columns.static if n != name)
        past = (*columns.past_covariates, name)
        return assign_roles(columns, past_covariates=past, static=static)

    def cells(self, role: str, cell: np.ndarray, n_cells: int) -> np.ndarray:
        """Covariates (cells, C) of ``"past"`` or ``"known"``; missing where there is no row."""
        names = getattr(self.table.columns, f"{role}_covariates")
        out = np.empty((n_cells, len(names)))
        for c, name in enumerate(names):
            values, covariate = self._encode(name, role)
            out[:, c] = _missing(covariate)
            out[cell, c] = values
        return out

    def _encode(self, name: str, role: str) -> tuple[np.ndarray, Covariate]:
        values, covariate = encode(self.table, name, role, self.given)
        self.learned.append(covariate)
        return values, covariate

    def _constant(self, name: str, codes: np.ndarray, labels: np.ndarray, what: str) -> np.ndarray:
        """The one code of each panel row (R,), checked to be one."""
        value = np.empty(self.n_rows, dtype=np.int32)
        value[self.row] = codes
        clash = np.flatnonzero(value[self.row] != codes)
        if len(clash):
            at = clash[0]
            both = f"{show(labels[codes[at]])} and {show(labels[value[self.row[at]]])}"
            columns = self.table.columns
            raise DataError(
                f"{self._series(at)} is in two {what}s of column {name!r}, {both}: a series has "
                f"one {what} within a scene; correct the column, or take it into the id",
                assign_roles(columns, id=(name, *columns.ids)),
            )
        return value

    def _series(self, at: int) -> str:
        """``series 'a' of scene 0``, or ``series store 1, item 'a'``."""
        columns = self.table.columns
        name = self.table.cells(columns.ids, at)
        if len(columns.ids) == 1:
            name = name.removeprefix(f"{columns.id} ")
        scene = self.table.cells(columns.scenes, at)
        return f"series {name}" + (f" of {scene}" if scene else "")


def _missing(covariate: Covariate) -> float:
    return np.nan if covariate.categories is None else 0.0


def _given(values: np.ndarray, covariate: Covariate) -> np.ndarray:
    return ~np.isnan(values) if covariate.categories is None else values != 0
