"""Tables as people have them: one file, several, a folder or a pattern; CSV and its relatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.frame.formats import marks_of
from hierforecast.io.files import Paths, ending_of, find_tables
from hierforecast.io.text import Reading, labels_of, read_file
from hierforecast.io.times import Place, read_times


def read_table(
    paths: Paths,
    columns: Columns = Columns(),  # noqa: B008 (immutable)
    *,
    sep: str | None = None,
    decimal: str = ".",
    thousands: str | None = None,
    encoding: str | None = None,
    names: Sequence[str] | None = None,
    date_format: str | None = None,
    zone: str | None = None,
    time_step: float | None = None,
    file_column: str | None = None,
    fill: Mapping[str, Any] | None = None,
    wide: bool = False,
) -> pd.DataFrame:
    r"""Read one long table from one or several files.

    Labels keep their spelling ("007" stays text), times become integers or dates, and in labels
    only an empty cell is missing. Quarters (``1998 Q1``) and ISO weeks (``2024-W05``) become their
    first day.

    Args:
        paths: a file, a pattern (``"plays/*.tsv"``), a folder of tables, or a list of these.
            Endings: .csv, .tsv, .txt (also with .gz, .bz2, .xz) and .parquet.
        columns: says which columns hold labels, time and targets.
        sep: between cells; None: what splits the first line. ``"\s+"`` is any run of blanks.
        decimal, thousands: marks within numbers, ``","`` in much of Europe.
        encoding: None: UTF-8, or what a byte-order mark says.
        names: of the columns, for files without a header.
        date_format: of the time column, as in `datetime.strptime`: ``"%d/%m/%y"``.
        zone: time zone of times with offsets from UTC: ``"Europe/Berlin"``.
        time_step: size of a step of a time column of numbers, which becomes a count of steps:
            0.04 for seconds at 25 frames a second.
        file_column: a column to add, with the name of each row's file (without its ending).
        fill: what an empty cell of a column means: ``{"team": "ball"}``.
        wide: the table has a column for each series, or for each time, and is made long: the
            columns that `columns` does not name hold the target. The first where it has a time
            column and none of ids, the second where it is the other way round.

    Returns:
        The rows of all files, one file after another in the order of their names.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: if a file is damaged, or not as the arguments say; with the file and the remedy.
        MissingExtraError: for Parquet without pyarrow.
    """
    reading = Reading(
        sep,
        decimal,
        thousands,
        encoding,
        names,
        date_format,
        zone,
        time_step,
        file_column,
        fill,
        wide,
    )
    files = find_tables(paths)
    parts = [read_file(file, columns, reading) for file in files]
    _check_same_columns(files, parts)
    if file_column is not None:
        parts = [
            _name_file(part, file, file_column) for file, part in zip(files, parts, strict=True)
        ]
    frame = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    frame = _filled(frame, fill or {})
    place = _places(files, parts, header=names is None)
    if wide:
        place, frame = _beside(place, len(frame)), _long(frame, columns, place, reading)
    for name in frame.columns:
        if name in labels_of(columns):
            frame[name] = _whole_numbers(frame[name])
        elif name == columns.time:
            frame[name] = read_times(frame[name], place, reading)
        elif name in columns.targets:
            _check_numbers(frame[name], place, reading)
    return frame


def _check_same_columns(files: list[Path], parts: list[pd.DataFrame]) -> None:
    first = set(parts[0].columns)
    for file, part in zip(files[1:], parts[1:], strict=True):
        if set(part.columns) != first:
            only = [sorted(map(str, a - b)) for a, b in ((first, set(part)), (set(part), first))]
            raise DataError(
                f"'{files[0]}' and '{file}' have different columns: only the first has {only[0]}, "
                f"only the second {only[1]}; give files of one kind together"
            )


def _name_file(part: pd.DataFrame, file: Path, column: str) -> pd.DataFrame:
    if column in part:
        raise DataError(
            f"'{file}' has a column {column!r}, so file_column={column!r} cannot add it: give "
            "another name"
        )
    return part.assign(**{column: file.name[: -len(ending_of(file))]})


def _filled(frame: pd.DataFrame, fill: Mapping[str, Any]) -> pd.DataFrame:
    """The frame with its empty cells filled, numbers by numbers."""
    missing = [name for name in fill if name not in frame]
    if missing:
        raise DataError(f"fill={dict(fill)}: no column is called {missing[0]!r}")
    numeric = {name for name in fill if pd.api.types.is_numeric_dtype(frame[name])}
    return frame.fillna({n: float(v) if n in numeric else v for n, v in fill.items()})


def _long(frame: pd.DataFrame, columns: Columns, place: Place, reading: Reading) -> pd.DataFrame:
    """One row for each cell of a table with a column for each series, or each time.

    Raises:
        DataError: if it is neither, with what there is; if a cell is no number.
    """
    named, target = {name for _, name in columns.roles()}, columns.targets[0]
    kept = [name for name in frame if name in named or _is_text(frame[name])]
    lost = {columns.time, *columns.ids} - set(kept)
    if len(columns.targets) > 1 or len(lost) != 1 or target in kept or len(kept) == frame.shape[1]:
        raise DataError(
            "wide=True reads one target from a column for each series, beside the time, or for "
            f"each time, beside what names the series; time={columns.time!r} and id="
            f"{list(columns.ids)} are to name one of the two, and there are "
            f"{', '.join(map(repr, frame.columns[:12]))}",
            on_command_line="--wide reads one target from a column for each series, beside the "
            "column that --time names, or for each time, beside those that --id names; there are "
            f"{', '.join(map(repr, frame.columns[:12]))}",
        )
    for name in frame.columns.drop(kept):
        _check_numbers(frame[name], place, reading)
    return frame.melt(kept, var_name=lost.pop(), value_name=target)


def _is_text(column: pd.Series) -> bool:
    """Whether no cell is a number."""
    text = pd.api.types.is_string_dtype(column)
    return text and bool(pd.to_numeric(column, errors="coerce").isna().all())


def _beside(place: Place, rows: int) -> Place:
    """The file and the line of each row of a table made long, column after column."""
    return lambda row: place(row % rows)


def _places(files: list[Path], parts: list[pd.DataFrame], header: bool) -> Place:
    """The file and the line of each row of all files together."""
    starts = np.cumsum([0, *(len(part) for part in parts)])

    def place(row: int) -> tuple[Path, int]:
        at = int(np.searchsorted(starts, row, side="right")) - 1
        return files[at], row - int(starts[at]) + 1 + header

    return place


def _whole_numbers(text: pd.Series) -> pd.Series:
    """Integers where that is what all labels are; 007 is none, for it would lose its zeros."""
    codes, labels = pd.factorize(text)
    if not len(labels) or (codes < 0).any() or not pd.api.types.is_string_dtype(text):
        return text
    numbers = pd.to_numeric(pd.Series(labels), errors="coerce")
    if numbers.isna().any() or (numbers % 1 != 0).any():
        return text
    whole = numbers.astype("int64")
    if not (whole.astype(str) == labels).all():
        return text
    return pd.Series(whole.to_numpy()[codes], index=text.index, name=text.name)


def _check_numbers(column: pd.Series, place: Place, reading: Reading) -> None:
    """Say which cell of a target is no number, and how it may be read as one."""
    if not pd.api.types.is_string_dtype(column):
        return
    codes, cells = pd.factorize(column)
    bad = pd.to_numeric(pd.Series(cells), errors="coerce").isna().to_numpy()
    if not bad.any():
        return
    row = int((bad[codes] & (codes >= 0)).argmax())
    cell, (file, line) = str(column.iloc[row]), place(row)
    marks = marks_of(pd.Series(cells))
    remedy = None if marks is None else reading.remedy(**marks)
    raise DataError(
        f"column {column.name!r} of '{file}' has {cell!r} in line {line}, which is no number"
        + ("; say how numbers are written" if remedy else ": correct it, or leave the cell empty"),
        remedy,
    )
