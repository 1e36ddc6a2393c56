"""Scenes and series as integers: the rows of a panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np

from hierforecast.frame.codes import one_of_each, pair
from hierforecast.frame.table import Table


@dataclass(frozen=True)
class Labels:
    """The label columns of the frame, kept in its own library and types.

    Args:
        scene: (S,) scene labels in order, one column or several; none without a scene column.
        id: (I,) distinct ids in order, one column or several.
        ids: (I,) the same as one array, of tuples if there are several columns.
        row_id: (R,) int64 index of each row's id.
        time: (1,) any time of the frame: its type is what counts.
    """

    scene: tuple[nw.Series[Any], ...]
    id: tuple[nw.Series[Any], ...]
    ids: np.ndarray
    row_id: np.ndarray
    time: nw.Series[Any]


@dataclass(frozen=True)
class Rows:
    """The series of each scene, sorted by scene, then id: the R rows of the panel.

    Args:
        table: the frame, of n rows.
        of_row: (n,) int32 panel row of each row of the frame.
        scene: (n,) int32 scene of each row of the frame.
        row_scene: (R,) int64.
        scene_labels: (S,) labels, tuples if several columns name a scene.
        labels: the label columns.
    """

    table: Table
    of_row: np.ndarray
    scene: np.ndarray
    row_scene: np.ndarray
    scene_labels: np.ndarray
    labels: Labels

    @classmethod
    def read(cls, table: Table) -> Rows:
        """Read scenes and ids.

        Raises:
            DataError: for labels that are missing or cannot be compared.
        """
        columns = table.columns
        scene, scene_labels = np.zeros(len(table), dtype=np.int32), np.zeros(1, dtype=np.int64)
        if columns.scenes:
            scene, scene_labels = table.keys(columns.scenes)
        ids, id_labels = table.keys(columns.ids)
        of_row, pairs = pair(scene, ids, len(id_labels))
        row_scene, row_id = np.divmod(pairs, len(id_labels))
        labels = Labels(
            examples(table, columns.scenes, one_of_each(scene, len(scene_labels))),
            examples(table, columns.ids, one_of_each(ids, len(id_labels))),
            id_labels,
            row_id,
            table.frame[columns.time][:1],
        )
        return cls(table, of_row, scene, row_scene, scene_labels, labels)

    def __len__(self) -> int:
        return len(self.row_scene)

    def series_name(self, at: int) -> str:
        """``series 'a' of scene 0`` of a row of the frame, or ``series store 1, item 'a'``."""
        columns = self.table.columns
        name = self.table.cells(columns.ids, at)
        if len(columns.ids) == 1:
            name = name.removeprefix(f"{columns.id} ")
        scene = self.table.cells(columns.scenes, at)
        return f"series {name}" + (f" of {scene}" if scene else "")


def examples(table: Table, names: tuple[str, ...], at: np.ndarray) -> tuple[nw.Series[Any], ...]:
    """The columns at some rows."""
    return tuple(nw.maybe_reset_index(table.frame[name][at]) for name in names)
