"""Whole scenes of a frame: each by itself, some of them, and a stream cut between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import narwhals as nw
import numpy as np

from hierforecast.errors import import_extra
from hierforecast.frame import Columns
from hierforecast.frame.codes import one_of_each
from hierforecast.frame.table import Table
from hierforecast.inference.draws import plain

Key = tuple[Any, ...]


def rows_by_scene(frame: Any, columns: Columns) -> dict[Key, np.ndarray]:
    """Row numbers of each scene, by its label as plain numbers and texts."""
    table = Table(nw.from_native(frame, eager_only=True), columns)
    if not columns.scenes:
        return {(): np.arange(len(table))}
    codes, labels = table.keys(columns.scenes)
    at = one_of_each(codes, len(labels))
    keys = zip(*(plain(table.frame[name][at]) for name in columns.scenes), strict=True)
    parts = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    return dict(zip(keys, parts, strict=True))


def take(frame: Any, rows: Sequence[int] | np.ndarray) -> Any:
    """Some rows of a frame, in its own library."""
    return nw.from_native(frame, eager_only=True)[list(map(int, rows))].to_native()


def name_of_scene(key: Key, columns: Columns) -> str:
    """``league 'a', match 3``, for messages."""
    parts = zip(columns.scenes, key, strict=True)
    return ", ".join(f"{name} {label!r}" for name, label in parts) or "the frame"


@dataclass(frozen=True)
class Beside:
    """A frame that travels with a job, such as known covariates, and is cut down to some scenes.

    Args:
        frame: of pandas, polars or pyarrow.
        columns: the roles.
    """

    frame: Any
    columns: Columns

    @cached_property
    def _rows(self) -> Mapping[Key, np.ndarray]:
        return rows_by_scene(self.frame, self.columns)

    def of(self, frame: Any) -> Any:
        """The rows of the scenes of another frame; None without any."""
        names = nw.from_native(self.frame, eager_only=True).columns
        if not self.columns.scenes or not set(self.columns.scenes) <= set(names):
            return self.frame
        rows = [self._rows[key] for key in rows_by_scene(frame, self.columns) if key in self._rows]
        return take(self.frame, np.concatenate(rows)) if rows else None


def whole_scenes(
    batches: Iterable[Any], scenes: Sequence[str] | None, rows: int = 2**16
) -> Iterator[Any]:
    """Cut a stream of Arrow record batches, in which scenes lie one after another, between scenes.

    Args:
        batches: with all rows of a scene next to each other, in any number of batches.
        scenes: columns that name one; () where all is one scene, None to cut anywhere.
        rows: give so many at a time or more, but for the last.

    Yields:
        Arrow tables of whole scenes.
    """
    pa = import_extra("pyarrow", "parquet", "to pass tables on")
    waiting: list[Any] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        waiting.append(batch)
        if scenes == () or sum(each.num_rows for each in waiting) < rows:
            continue
        table = pa.Table.from_batches(waiting)
        start = len(table) if scenes is None else _last_start(table, scenes)
        if start:
            yield table.slice(0, start)
            waiting = table.slice(start).combine_chunks().to_batches()
    if waiting:
        yield pa.Table.from_batches(waiting)


def _last_start(table: Any, scenes: Sequence[str]) -> int:
    """The row at which the last scene begins."""
    changes = np.zeros(len(table) - 1, dtype=bool)
    for name in scenes:
        codes = table[name].combine_chunks().dictionary_encode()
        index = (codes.combine_chunks() if hasattr(codes, "chunks") else codes).indices
        changes |= np.diff(index.fill_null(-1).to_numpy(zero_copy_only=False)) != 0
    return int(np.flatnonzero(changes)[-1]) + 1 if changes.any() else 0
