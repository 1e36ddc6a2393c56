"""`shard`: any table becomes a folder of Parquet files in which each scene lies whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hierforecast._options import whole
from hierforecast._progress import progress
from hierforecast.errors import DataError, Remedy
from hierforecast.frame import Columns
from hierforecast.io.atomic import new_folder
from hierforecast.io.parquet import write_parquet
from hierforecast.shards.hashing import hash_scenes
from hierforecast.shards.sources import Source, open_source

# Rows of a shard, those that are distributed at a time, and buckets of a level.
ROWS, AT_ONCE, BUCKETS = 1_000_000, 2**18, 256


def shard(
    source: Any,
    folder: str | os.PathLike[str],
    columns: Columns = Columns(scene="scene"),  # noqa: B008 (immutable)
    rows: int = ROWS,
    *,
    bar: bool = True,
) -> Path:
    """Write a table as a folder of Parquet files in which each scene lies whole in one file.

    The rows of the table are read twice at most, in batches; they wait in `folder` in between, on
    the disk. About three times `rows` rows are in memory. Which scenes share a file follows from
    their labels alone.

    Args:
        source: a folder, a pattern, a file or several, of Parquet or CSV (a file of CSV is read
            whole, one after another); a polars LazyFrame; a DuckDB relation; anything with
            ``__arrow_c_stream__``; an iterable of pyarrow record batches; or a frame.
        folder: to write; there must be nothing yet.
        columns: the roles; all other columns are kept too. Rows of a file are in the order of
            scene, id and time.
        rows: of a file, about; a scene of more has a file of its own.
        bar: whether to draw a progress bar.

    Returns:
        The folder, for `Forecaster.fit` and the other verbs.

    Raises:
        DataError: if there is no scene column, a column is missing, or `folder` holds anything.
        MissingExtraError: without pyarrow.
    """
    rows, folder = whole("rows", rows), Path(os.path.realpath(folder))
    found = open_source(source, columns)
    check_columns(found.schema, columns)
    with new_folder(folder) as part:
        if not _write(found, part, columns, rows, bar):
            raise DataError("the table has no rows: check how it was read or filtered")
    return folder


def check_columns(schema: Any, columns: Columns) -> None:
    """Check that a table can be cut between scenes.

    Raises:
        DataError: if there is no scene, or a column of `columns` is not there.
    """
    if not columns.scenes:
        raise DataError(
            "there is nothing to cut between: without a scene column all rows are one scene; name "
            "one, or bring the table into memory as it is",
            Remedy("columns = replace(columns, scene='...')", "--scene COLUMN"),
        )
    for role, name in columns.roles():
        if name not in schema.names:
            raise DataError(
                f"the table has no column {name!r} ({role}), it has {', '.join(schema.names)}: "
                f"name another one with Columns({role}=...)"
            )


def _write(source: Source, folder: Path, columns: Columns, rows: int, bar: bool) -> int:
    """Write the shards of a table; returns how many there are."""
    waiting, count = folder / "waiting", 0
    keys = [(name, "ascending") for name in columns.keys]
    total = 0 if source.rows is None else -(-source.rows // AT_ONCE)
    read = progress(_gathered(source, AT_ONCE), "reading", total, bar)
    buckets = _Buckets(waiting, source.schema, columns.scenes)
    buckets.fill(read)
    total = -(-buckets.total // rows)
    for table in progress(buckets.tables(rows), "sorting", total, bar):
        write_parquet(table.sort_by(keys), folder / f"{count:06d}.parquet")
        count += 1
    shutil.rmtree(waiting)
    return count


def _gathered(batches: Iterable[Any], rows: int) -> Iterator[Any]:
    """Batches together, as tables of so many rows."""
    import pyarrow as pa

    waiting: list[Any] = []
    for batch in batches:
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) >= rows:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


class _Buckets:
    """Rows on the disk, by the hash of their scene.

    Args:
        folder: to write to, made here.
        schema: of the rows.
        scenes: the columns that name a scene.
        level: which byte of the hash tells the bucket; a bucket that is too large is distributed
            again by the next one.
    """

    def __init__(self, folder: Path, schema: Any, scenes: tuple[str, ...], level: int = 0) -> None:
        self.folder, self.schema, self.scenes, self.level = folder, schema, scenes, level
        self.counts = np.zeros(BUCKETS, dtype=np.int64)
        self.first = np.zeros(BUCKETS, dtype=np.uint64)  # hash of the first scene of each
        self.several = np.zeros(BUCKETS, dtype=bool)
        folder.mkdir()

    @property
    def total(self) -> int:
        """Rows of all buckets."""
        return int(self.counts.sum())

    def fill(self, tables: Iterable[Any]) -> None:
        """Distribute the rows of tables."""
        import pyarrow as pa

        writers: dict[int, Any] = {}
        try:
            for table in tables:
                for bucket, rows in self._split(table):
                    if bucket not in writers:
                        writers[bucket] = pa.ipc.new_stream(self._path(bucket), self.schema)
                    writers[bucket].write_table(rows)
        finally:
            for writer in writers.values():
                writer.close()

    def tables(self, rows: int) -> Iterator[Any]:
        """Tables of whole scenes, of so many rows at most unless a single scene has more."""
        import pyarrow as pa

        waiting: list[int] = []
        for bucket in np.flatnonzero(self.counts).tolist():
            large = self.counts[bucket] > rows
            if waiting and self.counts[[*waiting, bucket]].sum() > rows:
                yield pa.concat_tables([self._take(one) for one in waiting])
                waiting = []
            if large and self.several[bucket] and self.level < 7:
                finer = self._path(bucket).with_suffix("")
                inner = _Buckets(finer, self.schema, self.scenes, self.level + 1)
                inner.fill(_gathered(self._stream(bucket), AT_ONCE))
                self._path(bucket).unlink()
                yield from inner.tables(rows)
            else:
                waiting.append(bucket)
        if waiting:
            yield pa.concat_tables([self._take(one) for one in waiting])

    def _split(self, table: Any) -> Iterator[tuple[int, Any]]:
        """The rows of a table by bucket."""
        hashes = hash_scenes(table, self.scenes)
        shift = np.uint64(8 * (7 - self.level))
        code = ((hashes >> shift) & np.uint64(BUCKETS - 1)).astype(np.uint8)
        order = np.argsort(code, kind="stable")
        table, hashes = table.take(order), hashes[order]
        edges = np.searchsorted(code[order], np.arange(BUCKETS + 1))
        for bucket in np.flatnonzero(np.diff(edges)).tolist():
            start, stop = edges[bucket], edges[bucket + 1]
            if not self.counts[bucket]:
                self.first[bucket] = hashes[start]
            self.several[bucket] |= (hashes[start:stop] != self.first[bucket]).any()
            self.counts[bucket] += stop - start
            yield bucket, table.slice(start, stop - start)

    def _path(self, bucket: int) -> Path:
        return self.folder / f"{bucket:03d}.arrow"

    def _stream(self, bucket: int) -> Iterator[Any]:
        import pyarrow as pa

        with pa.OSFile(str(self._path(bucket))) as file, pa.ipc.open_stream(file) as reader:
            yield from reader

    def _take(self, bucket: int) -> Any:
        """The rows of a bucket, which is removed."""
        import pyarrow as pa

        table = pa.Table.from_batches(self._stream(bucket), self.schema)
        self._path(bucket).unlink()
        return table
