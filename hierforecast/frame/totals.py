"""Which series make a total, by columns of the frame; and totals as a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np

from hierforecast.errors import DataError
from hierforecast.frame.codes import one_of_each
from hierforecast.frame.columns import Columns
from hierforecast.frame.labels import Rows, examples
from hierforecast.frame.panel import Panel
from hierforecast.frame.table import Table, show
from hierforecast.frame.values import constant

HOW = ("sum", "mean")


@dataclass(frozen=True)
class Totals:
    """A total for each scene and label; total ``scene * n_labels + code``.

    Args:
        by: names of the columns.
        labels: those columns, a row for each label; none for whole scenes.
        n_labels: G.
        total: (R,) int64, the total that each row of the panel goes into.
        weight: (R,) float64.
        mean: weights are divided by their sum over the series that are forecast.
    """

    by: tuple[str, ...]
    labels: tuple[nw.Series[Any], ...]
    n_labels: int
    total: np.ndarray
    weight: np.ndarray
    mean: bool

    @classmethod
    def read(
        cls, frame: Any, columns: Columns, by: Any, how: str, weights: str | None
    ) -> Totals | None:
        """Read the columns that name totals, and the one of weights.

        Args:
            frame: the history, as it was read into a panel.
            columns: the roles.
            by: a column, several, or ``()`` for whole scenes; a series has one label of each. None
                for no totals.
            how: ``"sum"`` or ``"mean"``.
            weights: a numeric column, one number for each series; None weighs all alike.

        Raises:
            DataError: if `how` is none of these, a column is not there, is the time, or changes
                within a series, or a weight is missing.
        """
        if by is None:
            if how != "sum" or weights is not None:
                raise DataError("how= and weights= are of totals: give by= too, or leave them out")
            return None
        if how not in HOW:
            raise DataError(f"how={show(how)} must be one of {list(HOW)}")
        names = _names(by, columns)
        rows = Rows.read(Table.open(frame, columns))
        _require(rows.table, {"by": names, "weights": [weights] if weights else []})
        code, n_labels = np.zeros(len(rows), dtype=np.int64), 1
        labels: tuple[nw.Series[Any], ...] = ()
        if names:
            codes, found = rows.table.keys(names)
            code = constant(rows, names[0], codes, found, "total").astype(np.int64)
            n_labels = len(found)
            labels = examples(rows.table, names, one_of_each(codes, n_labels))
        weight = np.ones(len(rows)) if weights is None else _weights(rows, weights)
        return cls(names, labels, n_labels, rows.row_scene * n_labels + code, weight, how == "mean")

    def shares(self, rows: np.ndarray) -> np.ndarray:
        """Weights (P,) of the rows forecast (P,) in their totals."""
        weight = self.weight[rows]
        if not self.mean:
            return weight
        whole = np.bincount(self.total[rows], weight)
        if (whole[self.total[rows]] == 0).any():
            raise DataError("how='mean' needs weights whose sum is not zero: give others, or none")
        return np.asarray(weight / whole[self.total[rows]])

    def to_frame(
        self, panel: Panel, totals: np.ndarray, steps: np.ndarray, data: Mapping[str, Any]
    ) -> Any:
        """As `Panel.to_frame`, for totals (m,): ``[scene,] *by, time``, then the data."""
        scene, label = np.divmod(totals, self.n_labels)
        out = [nw.maybe_reset_index(column[scene]) for column in panel.labels.scene]
        out += [nw.maybe_reset_index(column[label]) for column in self.labels]
        return panel.assemble(out, scene, steps, data)


def _names(by: Any, columns: Columns) -> tuple[str, ...]:
    """The columns of `by`.

    Raises:
        DataError: if it is neither text nor a sequence of texts, or names the time or a scene.
    """
    names = (by,) if isinstance(by, str) else by
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise DataError(f"by={show(by)} must be a column, a list of them, or () for whole scenes")
    taken = {columns.time, *columns.scenes, *columns.targets}
    wrong = next((name for name in names if name in taken), None)
    if wrong is not None:
        raise DataError(
            f"by={show(by)} names {wrong!r}: totals are of series at each time of a scene; name a "
            "group column, several, or () for the whole scene"
        )
    return tuple(dict.fromkeys(names))


def _require(table: Table, asked: Mapping[str, Sequence[str]]) -> None:
    """Refuse a column that is not there."""
    for argument, names in asked.items():
        for name in names:
            if name not in table.frame.columns:
                raise DataError(
                    f"{argument} names {name!r}, but {table.what} has only the columns "
                    f"{list(table.frame.columns)}: name one of them"
                )


def _weights(rows: Rows, name: str) -> np.ndarray:
    """A number (R,) for each series."""
    numbers = rows.table.numbers(name)
    known = ~np.isnan(numbers)
    found = np.full(len(rows), np.nan)
    found[rows.of_row[known]] = numbers[known]
    if np.isnan(found).any():
        at = int(np.flatnonzero(rows.of_row == np.argmax(np.isnan(found)))[0])
        raise DataError(
            f"column {name!r} of {rows.table.what} has no weight for {rows.series_name(at)}: give "
            "each series one"
        )
    changes = np.flatnonzero(known & (found[rows.of_row] != numbers))
    if len(changes):
        raise DataError(
            f"column {name!r} of {rows.table.what} changes within {rows.series_name(changes[0])}: "
            "a weight is one number for each series"
        )
    return found
