"""One file of text, CSV and its relatives, as a frame whose labels and times are still text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hierforecast._options import number
from hierforecast.errors import DataError, Remedy, import_extra
from hierforecast.frame import Columns
from hierforecast.io.files import PARQUET, ending_of
from hierforecast.io.limits import MIB, Limited

# What a number or a covariate may be written as when it is missing. In labels only an empty cell
# is: "NA" is a ticker.
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")
# What any file may unpack to; a large one may to more.
UNPACKED, UNPACKED_PER_BYTE = 1024 * MIB, 200
CELLS, CELLS_PER_BYTE = 2**28, 1000
SEPARATORS = "\t;|,"
OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
BAD_TEXT = (
    pd.errors.ParserError,
    pd.errors.ParserWarning,
    gzip.BadGzipFile,
    lzma.LZMAError,
    EOFError,
)


@dataclass(frozen=True)
class Reading:
    """How a table is read: the options of `read_table`, which explains them."""

    sep: str | None = None
    decimal: str = "."
    thousands: str | None = None
    encoding: str | None = None
    names: Sequence[str] | None = None
    date_format: str | None = None
    zone: str | None = None
    time_step: float | None = None
    file_column: str | None = None
    fill: Mapping[str, Any] | None = None
    wide: bool = False

    def __post_init__(self) -> None:
        if self.sep is not None and len(self.sep) != 1 and self.sep != r"\s+":
            raise DataError(
                f"sep={self.sep!r} is no separator; give one character, or any run of blanks",
                self.remedy(sep=r"\s+"),
            )
        if self.time_step is not None:
            number("time_step", self.time_step, 0, ends=False)

    def remedy(self, **changes: Any) -> Remedy:
        """Reading once more, with these options too."""
        given = {k: v for k, v in vars(self).items() if v != self.__dataclass_fields__[k].default}
        code = ", ".join(f"{k}={v!r}" for k, v in (given | changes).items())
        options = []
        for name, value in changes.items():
            text = ",".join(value) if isinstance(value, list) else str(value)
            options.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
        return Remedy(f"frame = read_table(paths, columns, {code})", " ".join(options))


def read_file(path: Path, columns: Columns, reading: Reading) -> pd.DataFrame:
    """One file; labels and times of a text file are still text."""
    if ending_of(path) in PARQUET:
        return _read_parquet(path)
    encoding = reading.encoding or _encoding(path)
    try:
        return _read_text(path, columns, reading, encoding)
    except UnicodeError as error:
        other = "latin-1" if encoding.startswith("utf") else "utf-8"
        raise DataError(
            f"'{path}' is no text in {encoding} ({error}); say in which",
            reading.remedy(encoding=other),
        ) from error
    except LookupError as error:
        raise DataError(
            f"encoding={encoding!r} is no encoding: utf-8, latin-1, cp1252 and utf-16 are"
        ) from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"'{path}' is no CSV table: it is empty") from error
    except BAD_TEXT as error:
        reason = " ".join(str(error).split())
        if isinstance(error, pd.errors.ParserWarning):  # whose text is of pandas' own arguments
            reason = (
                "some have more than the first, which must name the columns; delete what is above "
                "the names, or mend these lines"
            )
        raise DataError(
            f"'{path}' is no CSV table with as many cells in each line: {reason}"
        ) from error


def _read_parquet(path: Path) -> pd.DataFrame:
    import_extra("pyarrow", "parquet", "to read Parquet files")
    from pyarrow import parquet

    try:
        head = parquet.read_metadata(path)
        cells, most = (
            head.num_rows * head.num_columns,
            max(CELLS, CELLS_PER_BYTE * path.stat().st_size),
        )
        if cells <= most:
            return pd.read_parquet(path)
    except Exception as error:  # OSError, ArrowException and others: Parquet has many layers
        raise DataError(f"'{path}' is no whole Parquet file ({error}): make it again") from error
    raise DataError(
        f"'{path}' unpacks to {cells:,} cells, and at most {most:,} are read of so small a file: "
        "is it the right one? If so, split it"
    )


def _read_text(path: Path, columns: Columns, reading: Reading, encoding: str) -> pd.DataFrame:
    sep = reading.sep or _separator(path, encoding)
    options: dict[str, Any] = {"sep": sep, "encoding": encoding, "skipinitialspace": True}
    with _unpacked(path) as source:
        first = pd.read_csv(
            source, header=None, nrows=1, dtype=str, keep_default_na=False, **options
        )
    header = _header(path, first.iloc[0].tolist(), columns, reading, sep)
    own = [name for name in header if name in labels_of(columns)]
    with warnings.catch_warnings(), _unpacked(path) as source:
        # Rows longer than the header would be cut, or their first cells taken for an index.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            source,
            header=None,
            names=header,
            skiprows=0 if reading.names else 1,
            index_col=False,
            dtype=dict.fromkeys([*own, columns.time], str),
            keep_default_na=False,
            na_values={name: [""] if name in own else list(MISSING) for name in header},
            decimal=reading.decimal,
            thousands=reading.thousands,
            low_memory=False,  # or a column may be read as text in one piece only
            **options,
        )


@contextmanager
def _unpacked(path: Path) -> Iterator[Any]:
    """What pandas reads: the file itself, or what a packed one unpacks to, within limits."""
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        yield path
        return
    most = max(UNPACKED, UNPACKED_PER_BYTE * path.stat().st_size)
    with opener(path, "rb") as stream:
        yield io.BufferedReader(Limited(stream, most, path))


def _separator(path: Path, encoding: str) -> str:
    """What splits the first line: what the ending promises, or else what splits it most."""
    with OPENERS.get(path.suffix.lower(), open)(path, "rt", encoding=encoding) as stream:
        line = stream.readline(1_000_000).rstrip("\r\n")
    usual = "\t" if ".tsv" in path.name.lower() else ","
    if usual in line:
        return usual
    most = max(SEPARATORS, key=line.count)
    if most in line:
        return most
    return r"\s+" if re.search(r"\S\s+\S", line) else usual


def _encoding(path: Path) -> str:
    with OPENERS.get(path.suffix.lower(), open)(path, "rb") as stream:
        start = stream.read(4)
    return next((name for bom, name in BOMS.items() if start.startswith(bom)), "utf-8")


def _header(
    path: Path, first: list[str], columns: Columns, reading: Reading, sep: str
) -> list[str]:
    """The names of the columns.

    Raises:
        DataError: if a name comes twice, there seems to be no header, or only one column.
    """
    shown = ", ".join(first[:6]) + (", ..." if len(first) > 6 else "")
    if reading.names is not None:
        names = list(reading.names)
        if len(names) != len(first):
            raise DataError(
                f"names={names} are {len(names)} columns, but the first line of "
                f"'{path}' has {len(first)} cells ({shown})"
            )
        return names
    wanted = [name for _, name in columns.roles() if name != reading.file_column]
    if not set(wanted) & set(first):
        if first[0].startswith("#"):
            raise DataError(
                f"'{path}' begins with a comment ({' '.join(first)[:60]}), but its first line must "
                "name the columns: delete the lines above their names"
            )
        if all(re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?", cell) for cell in first):
            raise DataError(
                f"'{path}' seems to have no header, its first line is {shown}; name its "
                f"{len(first)} columns",
                reading.remedy(names=_proposal(wanted, len(first))),
            )
        if len(first) == 1:
            raise DataError(
                f"'{path}' has one column only, {first[0][:60]!r}, if cells are separated by "
                f"{sep!r}; say by what",
                reading.remedy(sep=max(re.sub(r"\w", "", first[0]) or ";", key=first[0].count)),
            )
    twice = [name for name in first if first.count(name) > 1 and name in wanted]
    if twice:
        raise DataError(f"'{path}' has two columns called {twice[0]!r}: rename one in the file")
    return [name if first.count(name) == 1 else f"{name}.{i}" for i, name in enumerate(first)]


def _proposal(wanted: list[str], width: int) -> list[str]:
    return [*wanted, *(f"column_{i}" for i in range(len(wanted), width))][:width]


def labels_of(columns: Columns) -> set[str]:
    """The columns whose cells are labels."""
    roles = ("id", "group", "scene", "group_type", "crossed")
    return {name for role, name in columns.roles() if role in roles}
