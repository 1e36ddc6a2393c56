"""Any table as a stream of Arrow record batches: files, lazy frames, readers, frames."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hierforecast.errors import DataError, FrameTypeError, import_extra
from hierforecast.frame import Columns
from hierforecast.io.files import PARQUET, ending_of, find_tables
from hierforecast.io.parquet import BATCH, Part, find_parts, plain, plain_schema
from hierforecast.io.reading import read_table

# What can be sharded, for messages.
KINDS = (
    "a folder, a pattern or a file of Parquet or CSV, a polars LazyFrame, a DuckDB relation, a "
    "frame, or an iterable of pyarrow record batches"
)


@dataclass(frozen=True)
class Source:
    """A table that comes in batches.

    Args:
        schema: its columns, an Arrow schema.
        stream: begins it: record batches of that schema.
        rows: how many rows there are; None where that is not known before.
    """

    schema: Any
    stream: Callable[[], Iterable[Any]]
    rows: int | None = None

    def __iter__(self) -> Iterator[Any]:
        """Record batches with the types of the schema, none of them empty."""
        for batch in self.stream():
            if batch.num_rows:
                yield _fitting(plain(batch), self.schema)

    def select(self, names: Iterable[str]) -> Source:
        """Some of the columns, as far as there are any of them."""
        import pyarrow as pa

        wanted = [name for name in dict.fromkeys(names) if name in self.schema.names]
        schema = pa.schema([self.schema.field(name) for name in wanted])
        return replace(self, schema=schema)


def open_source(source: Any, columns: Columns) -> Source:
    """A table of any kind as a stream.

    Args:
        source: see `hierforecast.shard`.
        columns: the roles, for files of text.

    Raises:
        FrameTypeError: for any other object.
        FileNotFoundError, DataError: if files are missing or damaged, or have different columns.
    """
    pa = import_extra("pyarrow", "parquet", "to cut tables into shards")
    if isinstance(source, str | PathLike) or _are_paths(source):
        return _files(source, columns)
    if is_lazy(source) and not hasattr(source, "__arrow_c_stream__"):
        return _sunk(source)
    if hasattr(source, "to_batches") and hasattr(source, "schema"):  # a table, a data set
        rows = source.num_rows if hasattr(source, "num_rows") else source.count_rows()
        return Source(plain_schema(source.schema), source.to_batches, rows)
    if hasattr(source, "to_arrow_reader"):  # of DuckDB, which is asked for batches of this size
        source = source.to_arrow_reader(BATCH)
    if hasattr(source, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(source)
        rows = len(source) if hasattr(source, "__len__") else None
        return Source(plain_schema(reader.schema), lambda: reader, rows)
    if isinstance(source, Iterable) and not hasattr(source, "columns"):
        return _batches(source)
    raise FrameTypeError(
        f"cannot shard a {type(source).__module__}.{type(source).__qualname__}: give {KINDS}"
    )


def is_lazy(source: Any) -> bool:
    """Whether it is a lazy frame of polars, or a relation of DuckDB."""
    kind = type(source)
    return (kind.__module__.partition(".")[0].strip("_"), kind.__name__) in {
        ("polars", "LazyFrame"),
        ("duckdb", "DuckDBPyRelation"),
    }


def _holds_parquet(folder: Path) -> bool:
    """Whether a folder holds no table itself, or Parquet files alone."""
    endings = {ending_of(file) for file in folder.iterdir()} - {""}
    return endings <= set(PARQUET)


def _are_paths(source: Any) -> bool:
    some = isinstance(source, Sequence) and not isinstance(source, str) and len(source)
    return bool(some) and all(isinstance(one, str | PathLike) for one in source)


def _files(paths: Any, columns: Columns) -> Source:
    """Files one after another; those of text are read whole, one at a time."""
    folder = isinstance(paths, str | PathLike) and Path(paths).is_dir()
    texts = [] if folder and _holds_parquet(Path(paths)) else find_tables(paths)
    if texts and not all(ending_of(file) in PARQUET for file in texts):
        return _texts(texts, columns)
    parts = find_parts(paths)
    footers = {part.path: part.footer() for part in parts}
    schema = check_alike({path: found for path, (found, _) in footers.items()})
    rows = sum(count for _, count in footers.values())
    return Source(schema, lambda: (batch for part in parts for batch in part.batches()), rows)


def _texts(files: list[Path], columns: Columns) -> Source:
    """Tables as text."""
    import pyarrow as pa

    def read(file: Path) -> Any:
        return plain(pa.Table.from_pandas(read_table(file, columns), preserve_index=False))

    schema = plain_schema(read(files[0]).schema)

    def stream() -> Iterator[Any]:
        for file in files:
            try:
                yield from _fitting(read(file), schema).to_batches(BATCH)
            except DataError as error:
                raise DataError(f"'{file}': {error}") from error

    return Source(schema, stream)


def check_alike(schemas: dict[Path, Any]) -> Any:
    """The schema of all files; the order of columns does not matter.

    Raises:
        DataError: if columns differ in name or type, naming both files and the column.
    """
    first, schema = next(iter(schemas.items()))
    wanted = {field.name: field.type for field in schema}
    for file, other in schemas.items():
        found = {field.name: field.type for field in other}
        for name in {**wanted, **found}:
            then, now = (str(each.get(name, "missing")) for each in (wanted, found))
            if then != now:
                raise DataError(
                    f"'{first}' and '{file}' differ in column {name!r}: {then} there, {now} here; "
                    "write both with the same columns and types"
                )
    return schema


def _sunk(frame: Any) -> Source:
    """A lazy frame of polars, which its streaming engine brings batch after batch."""
    schema = plain_schema(frame.collect_schema().to_frame(eager=True).to_arrow().schema)

    def stream() -> Iterator[Any]:
        # A `TemporaryDirectory` of a stream left halfway may warn before the stream is closed.
        folder = mkdtemp(prefix="hierforecast-")
        try:
            frame.sink_parquet(file := Path(folder, "frame.parquet"))
            yield from Part(file).batches()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return Source(schema, stream)


def _batches(source: Iterable[Any]) -> Source:
    """Record batches of any origin; the first one says which columns there are."""
    several = iter(source)
    first: Any = next(several, None)
    if not hasattr(first, "schema") or not hasattr(first, "num_rows"):
        what = "nothing" if first is None else f"{type(first).__module__}.{type(first).__name__}"
        raise FrameTypeError(f"expected pyarrow record batches, and got {what}: give {KINDS}")

    def stream() -> Iterator[Any]:
        yield first
        yield from several

    return Source(plain_schema(first.schema), stream)


def _fitting(batch: Any, schema: Any) -> Any:
    """The columns of a schema, in its types.

    Raises:
        DataError: if one is missing or cannot be.
    """
    import pyarrow as pa

    columns = []
    for field in schema:
        if field.name not in batch.schema.names:
            raise DataError(f"a batch has no column {field.name!r}: give batches of one kind")
        column = batch.column(field.name)
        if column.type != field.type:
            try:
                column = column.cast(field.type)
            except pa.ArrowException as error:
                raise DataError(
                    f"column {field.name!r} is {field.type} first and then {column.type} "
                    f"({error}): give it one type throughout"
                ) from error
        columns.append(column)
    return type(batch).from_arrays(columns, schema=schema)
