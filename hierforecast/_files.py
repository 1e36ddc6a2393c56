"""Tables on disk, CSV and Parquet, as the command line reads and writes them."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from hierforecast._atomic import write_atomically
from hierforecast.errors import DataError, import_extra
from hierforecast.frame import Columns

CSV, PARQUET = (".csv", ".csv.gz"), (".parquet", ".pq")
# What a number or a covariate may be written as when it is missing. In labels only an empty cell
# is: "NA" is a ticker.
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")
BAD_CSV = (
    pd.errors.ParserError,
    pd.errors.ParserWarning,
    pd.errors.EmptyDataError,
    UnicodeDecodeError,
    gzip.BadGzipFile,
    EOFError,
)


def read_table(path: Path, columns: Columns) -> pd.DataFrame:
    """Read a table; in CSV, labels keep their spelling and times become integers or dates.

    Args:
        path: ``.csv``, ``.csv.gz`` or ``.parquet``.
        columns: says which columns hold labels and time.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if its kind is unknown, it is empty or damaged, or a time cannot be read.
        MissingExtraError: for Parquet without pyarrow.
    """
    kind = check_kind(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file '{path}'")
    if kind == "parquet":
        pyarrow = import_extra("pyarrow", "parquet", "to read Parquet files")
        try:
            return pd.read_parquet(path)
        except pyarrow.ArrowException as error:
            raise DataError(
                f"'{path}' is no whole Parquet file ({error}): make it again"
            ) from error
    labels = [columns.id, *columns.groups, columns.scene, columns.group_type]
    try:
        header = pd.read_csv(path, nrows=0).columns
        own = [name for name in header if name in labels]
        missing = {name: [""] if name in own else list(MISSING) for name in header}
        text: Any = dict.fromkeys([*own, columns.time], str)
        with warnings.catch_warnings():
            # Rows longer than the header would be cut, or their first cells taken for an index.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path, index_col=False, dtype=text, keep_default_na=False, na_values=missing
            )
    except BAD_CSV as error:
        reason = " ".join(str(error).split())
        raise DataError(f"'{path}' is no CSV table with a header in UTF-8: {reason}") from error
    for name in own:
        frame[name] = _whole_numbers(frame[name])
    if columns.time in header:
        frame[columns.time] = _times(frame[columns.time], path)
    return frame


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table, CSV or Parquet by the name of the file, whole or not at all."""
    if check_kind(path) == "parquet":
        import_extra("pyarrow", "parquet", "to write Parquet files")
        write_atomically(path, lambda stream: frame.to_parquet(stream, index=False))
    else:
        packed = "gzip" if path.name.lower().endswith(".gz") else None
        write_atomically(
            path, lambda stream: frame.to_csv(stream, index=False, mode="wb", compression=packed)
        )


def check_kind(path: Path) -> str:
    """``"csv"`` or ``"parquet"``, by the name; worth asking before hours of work are to be saved.

    Raises:
        DataError: for any other name.
    """
    for kind, endings in (("csv", CSV), ("parquet", PARQUET)):
        if path.name.lower().endswith(endings):
            return kind
    raise DataError(f"'{path}' is no table this program knows: name it .csv, .csv.gz or .parquet")


def _whole_numbers(text: pd.Series) -> pd.Series:
    """Integers where that is what all labels are; 007 is none, for it would lose its zeros."""
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.isna().any() or not len(text) or (numbers % 1 != 0).any():
        return text
    whole = numbers.astype("int64")
    return whole if (whole.astype(str) == text).all() else text


def _times(text: pd.Series, path: Path) -> pd.Series:
    """Integers stay what they are; anything else must be a date or a date and time."""
    whole = text.str.fullmatch(r"[+-]?\d{1,18}").eq(True)
    if whole.all():
        return text.astype("int64")
    try:
        return pd.to_datetime(text, format="ISO8601")
    except ValueError as error:
        date = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True).notna()
        bad = ~date & ~whole & text.notna()
        if not bad.any() and not (whole & ~date).any():
            remedy = "give all of them the same offset from UTC, or none"
            raise DataError(f"column {text.name!r} of '{path}' mixes times: {remedy}") from error
        row = int((bad if bad.any() else whole & ~date).to_numpy().argmax())
        raise DataError(
            f"column {text.name!r} of '{path}' has {text.iloc[row]!r} in line {row + 2}: all must "
            "be whole numbers, or all dates such as 2024-01-31 or 2024-01-31 13:00:00"
        ) from error
