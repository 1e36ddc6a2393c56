"""`Shards`: a folder of Parquet files in which each scene lies whole in one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from hierforecast._options import whole
from hierforecast._progress import progress
from hierforecast.errors import DataError, Remedy, import_extra
from hierforecast.frame import Columns
from hierforecast.io.parquet import find_parts
from hierforecast.shards.cutting import check_columns
from hierforecast.shards.hashing import hash_scenes
from hierforecast.shards.sources import check_alike

MEMORY_ROWS = 2_000_000


class Shards:
    """A folder of Parquet files in which each scene lies whole in one; `hierforecast.shard` cuts.

    Opening it reads the footers alone.

    Args:
        folder: the folder, or a pattern or a list of files. Without files of its own it may have
            folders such as ``scene=3``, whose names are a column.
        memory_rows: rows that a fit holds at a time; a table of no more is learned from as if it
            had been in memory all along.

    Attributes:
        rows: (n,) int64 of each file.
        schema: of all files, an Arrow schema.

    Raises:
        FileNotFoundError: if there are no files.
        DataError: if one is damaged, or no Parquet file, or has other columns than the first.
        MissingExtraError: without pyarrow.
    """

    def __init__(
        self, folder: str | PathLike[str] | Sequence[Any], memory_rows: int = MEMORY_ROWS
    ) -> None:
        import_extra("pyarrow", "parquet", "to read Parquet files")
        self.folder, self.memory_rows = folder, whole("memory_rows", memory_rows)
        self.parts = find_parts(folder)
        footers = [part.footer() for part in self.parts]
        self.schema = check_alike(
            {p.path: f for p, (f, _) in zip(self.parts, footers, strict=True)}
        )
        self.rows = np.array([rows for _, rows in footers], dtype=np.int64)

    def __repr__(self) -> str:
        return f"Shards({str(self.folder)!r}, memory_rows={self.memory_rows})"

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def total(self) -> int:
        """Rows of all files."""
        return int(self.rows.sum())

    @property
    def fits(self) -> bool:
        """Whether all rows may be in memory together."""
        return self.total <= self.memory_rows

    def read(self, numbers: Iterable[int], names: Sequence[str] | None = None) -> Any:
        """Some of the files as one Arrow table, of some columns or all."""
        import pyarrow as pa

        names = list(self.schema.names if names is None else names)
        schema = pa.schema([self.schema.field(name) for name in names])
        batches = (batch for n in numbers for batch in self.parts[n].batches(names))
        return pa.Table.from_batches(batches, schema)

    def names_of(self, columns: Columns) -> list[str]:
        """The columns that play a role, those that there are."""
        wanted = dict.fromkeys(name for _, name in columns.roles())
        return [name for name in wanted if name in self.schema.names]

    def hashes(self, columns: Columns, bar: bool = True) -> list[np.ndarray]:
        """Hashes of the scenes of each file, see `hash_scenes`; only their columns are read.

        Raises:
            DataError: if a scene lies in two files, or `columns` names what is not there.
        """
        check_columns(self.schema, columns)
        found = []
        for number in progress(range(len(self)), "looking at scenes", len(self), bar):
            batches = self.parts[number].batches(columns.scenes)
            each = [np.unique(hash_scenes(batch, columns.scenes)) for batch in batches]
            found.append(np.unique(np.concatenate([np.zeros(0, np.uint64), *each])))
        every = np.concatenate(found)
        order = np.argsort(every, kind="stable")
        twice = order[1:][every[order][1:] == every[order][:-1]]
        if len(twice):
            home = np.repeat(np.arange(len(found)), [len(one) for one in found])
            self._check_split(every[twice[0]], home[every == every[twice[0]]], columns)
        return found

    def _check_split(self, value: np.uint64, numbers: np.ndarray, columns: Columns) -> None:
        """Name the scene of a hash that several files have, unless it is of two scenes."""
        labels: dict[tuple[Any, ...], Path] = {}
        for number in numbers.tolist():
            here = set()
            for batch in self.parts[number].batches(columns.scenes):
                own = batch.filter(hash_scenes(batch, columns.scenes) == value)
                here |= set(zip(*(own.column(n).to_pylist() for n in columns.scenes), strict=True))
            for label in here:
                path = self.parts[number].path
                if label in labels:
                    name = ", ".join(
                        f"{n} {v!r}" for n, v in zip(columns.scenes, label, strict=True)
                    )
                    raise DataError(
                        f"{name} lies in two files, '{labels[label]}' and '{path}', and each "
                        "scene must lie whole in one: cut the table between scenes",
                        Remedy(
                            f"hierforecast.shard({str(self.folder)!r}, 'shards', columns)",
                            f"hierforecast shard {self.folder} shards",
                        ),
                    )
                labels[label] = path

    def each(self, names: Sequence[str]) -> Iterator[Any]:
        """Some columns of all files, batch after batch."""
        for part in self.parts:
            yield from part.batches(names)
