"""Parquet files in batches: what they hold by their footers, their rows as a stream, new ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from glob import has_magic
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hierforecast.errors import DataError, import_extra
from hierforecast.io.atomic import write_atomically
from hierforecast.io.files import PARQUET, Paths, ending_of, find_tables
from hierforecast.io.limits import open_file
from hierforecast.io.text import CELLS, CELLS_PER_BYTE

# Rows of a batch, and of a row group.
BATCH, ROW_GROUP = 2**16, 2**17


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`, of which the footer alone is read so far.

    Raises:
        DataError: if the file is damaged, now or while it is read, or unpacks to far more than it
            has bytes.
    """
    pa = import_extra("pyarrow", "parquet", "to read Parquet files")
    from pyarrow.parquet import ParquetFile

    with open_file(path):  # a regular file
        pass
    size = path.stat().st_size
    try:
        with ParquetFile(path) as file:
            cells = file.metadata.num_rows * file.metadata.num_columns
            if cells > max(CELLS, CELLS_PER_BYTE * size):
                raise DataError(
                    f"'{path}' has {size:,} bytes and says that it holds {cells:,} cells: is it "
                    "the right file?"
                )
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"'{path}' is damaged, cut short or no Parquet file ({error}): write it again"
        ) from error


@dataclass(frozen=True)
class Part:
    """A Parquet file and what the names of its folders say of all of its rows.

    Args:
        path: of the file.
        labels: column -> the value of all rows, from folders ``season=2024/team=LAL``.
    """

    path: Path
    labels: Mapping[str, str | int] = field(default_factory=dict)

    def footer(self) -> tuple[Any, int]:
        """The schema, with `plain` types, and the number of rows."""
        pa = import_extra("pyarrow", "parquet", "to read Parquet files")
        with open_parquet(self.path) as file:
            schema, rows = plain_schema(file.schema_arrow), file.metadata.num_rows
        for name, label in self.labels.items():
            schema = schema.append(pa.field(name, pa.scalar(label).type))
        return schema, rows

    def batches(self, names: Sequence[str] | None = None) -> Iterator[Any]:
        """The rows as record batches, of some columns or all."""
        import pyarrow as pa

        inside = None if names is None else [name for name in names if name not in self.labels]
        with open_parquet(self.path) as file:
            for batch in file.iter_batches(BATCH, columns=inside):
                batch = plain(batch)
                for name, label in self.labels.items():
                    batch = batch.append_column(name, pa.repeat(label, batch.num_rows))
                yield batch if names is None else batch.select(list(names))


def find_parts(paths: Paths) -> list[Part]:
    """The Parquet files of a path, a pattern or a folder; of its inner folders if it has none.

    Raises:
        FileNotFoundError: if nothing is there.
        DataError: for tables of other kinds.
    """
    folder = Path(paths) if isinstance(paths, str | PathLike) else Path()
    inner = _inner_files(folder) if isinstance(paths, str | PathLike) else []
    if not inner:
        if isinstance(paths, str | PathLike) and not (has_magic(str(paths)) or folder.exists()):
            raise FileNotFoundError(f"there is no folder and no file '{paths}'")
        files = find_tables(paths)
        other = next((file for file in files if ending_of(file) not in PARQUET), None)
        if other is not None:
            raise DataError(f"'{other}' is no Parquet file: read it with hierforecast.read_table")
        return [Part(file) for file in files]
    texts = [_labels(file.relative_to(folder)) for file in inner]
    whole = {name for one in texts for name in one}
    whole = {name for name in whole if all(_is_whole(one.get(name, "")) for one in texts)}
    return [
        Part(file, {name: int(text) if name in whole else text for name, text in one.items()})
        for file, one in zip(inner, texts, strict=True)
    ]


def _inner_files(folder: Path) -> list[Path]:
    """Parquet files of the folders in a folder that has none itself."""
    if not folder.is_dir() or any(ending_of(file) for file in folder.iterdir()):
        return []
    found = (f for f in sorted(folder.rglob("*")) if ending_of(f) in PARQUET and f.is_file())
    return [f for f in found if not any(p[0] in "._" for p in f.relative_to(folder).parts)]


def _labels(path: Path) -> dict[str, str]:
    pairs = (part.partition("=") for part in path.parts[:-1])
    return {unquote(name): unquote(text) for name, equals, text in pairs if equals}


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text) is not None


def write_parquet(table: Any, path: Path) -> None:
    """Write an Arrow table, whole or not at all."""
    from pyarrow import parquet

    write_atomically(
        path, lambda stream: parquet.write_table(table, stream, row_group_size=ROW_GROUP)
    )


def plain(table: Any) -> Any:
    """A table or a batch whose texts are texts, neither views nor dictionaries."""
    schema = plain_schema(table.schema)
    if schema.equals(table.schema):
        return table
    columns = [column.cast(kind) for column, kind in zip(table.columns, schema.types, strict=True)]
    return type(table).from_arrays(columns, schema=schema)


def plain_schema(schema: Any) -> Any:
    """The same for a schema; notes of other libraries are left out."""
    import pyarrow as pa

    def of(kind: Any) -> Any:
        if pa.types.is_dictionary(kind):
            return of(kind.value_type)
        views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
        return views.get(kind, kind)

    return pa.schema([pa.field(each.name, of(each.type)) for each in schema])
