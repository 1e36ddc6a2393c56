"""Tables on disk: which names they have, where they are, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob, has_magic
from os import PathLike
from pathlib import Path

import pandas as pd

from hierforecast.errors import DataError, import_extra
from hierforecast.io.atomic import write_atomically

TEXT, PACKED, PARQUET = (".csv", ".tsv", ".txt"), ("", ".gz", ".bz2", ".xz"), (".parquet", ".pq")
WRITTEN = (".csv", ".csv.gz", ".tsv", ".tsv.gz", *PARQUET)
KINDS = ".csv, .tsv and .txt are (also with .gz, .bz2 or .xz), and .parquet"

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


def find_tables(paths: Paths) -> list[Path]:
    """The files of a path, a pattern, a folder or a list of these, each once.

    Raises:
        FileNotFoundError: if nothing is there.
        DataError: if the ending is not known, or a folder holds no tables or several kinds.
    """
    given = [paths] if isinstance(paths, str | PathLike) else list(paths)
    if not given:
        raise DataError("no table is given: give a file, a pattern, a folder or a list of these")
    found: dict[Path, None] = {}
    for one in given:
        found |= dict.fromkeys(_expand(Path(one)))
    return list(found)


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        files = [f for f in sorted(path.iterdir()) if ending_of(f) and not f.name.startswith(".")]
        endings = sorted({ending_of(f) for f in files})
        if not files:
            raise FileNotFoundError(f"folder '{path}' holds no table: {KINDS}")
        if len(endings) > 1:
            raise DataError(
                f"folder '{path}' holds tables of several kinds ({', '.join(endings)}): give a "
                f"pattern, e.g. '{path}/*{endings[0]}'"
            )
        return files
    if path.exists() or not has_magic(str(path)):
        files = [path]
    else:
        files = [Path(name) for name in sorted(glob(str(path), recursive=True))]
        files = [file for file in files if file.is_file()]
        if not files:
            raise FileNotFoundError(f"no file fits the pattern '{path}'")
    for file in files:
        if not ending_of(file):
            raise DataError(f"'{file}' is no table that can be read: {KINDS}")
        if not file.is_file():
            raise FileNotFoundError(f"there is no file '{file}'")
    return files


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table, CSV, TSV or Parquet by the name of the file, whole or not at all."""
    check_kind(path)
    if ending_of(path) in PARQUET:
        import_extra("pyarrow", "parquet", "to write Parquet files")
        write_atomically(path, lambda stream: frame.to_parquet(stream, index=False))
        return
    packed = "gzip" if path.name.lower().endswith(".gz") else None
    sep = "\t" if ".tsv" in path.name.lower() else ","
    write_atomically(
        path,
        lambda stream: frame.to_csv(stream, sep=sep, index=False, mode="wb", compression=packed),
    )


def check_kind(path: Path) -> None:
    """Whether a table can be written there; worth asking before hours of work are to be saved.

    Raises:
        DataError: if the name says no kind of table that can be written.
    """
    if ending_of(path) not in WRITTEN:
        raise DataError(f"'{path}' is no table to write: name it .csv, .csv.gz, .tsv or .parquet")


def ending_of(path: Path) -> str:
    """The ending of a table that can be read, in lower case, or nothing: ``".csv.gz"``."""
    name = path.name.lower()
    texts = (text + packed for text in TEXT for packed in PACKED)
    return next((ending for ending in (*texts, *PARQUET) if name.endswith(ending)), "")
