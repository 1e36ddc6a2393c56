"""How tables come in: the options of `read_table`, given to every command that reads one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd

from hierforecast._console import Names, declare, option, say
from hierforecast.cli.options import Text
from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.io.reading import read_table

OPTIONS: dict[str, Any] = {
    "sep": Annotated[Text, option("--sep", r"Between cells: ';', '\t', '\s+'. [as seen]")],
    "decimal": Annotated[Text, option("--decimal", "Mark in numbers. [.]")],
    "thousands": Annotated[Text, option("--thousands", "Mark of thousands in numbers. [none]")],
    "encoding": Annotated[Text, option("--encoding", "E.g. latin-1. [utf-8]")],
    "names": Annotated[Text, option("--names", "Names A,B,C of columns without a header.")],
    "date_format": Annotated[Text, option("--date-format", "E.g. %d/%m/%y. [ISO dates]")],
    "zone": Annotated[Text, option("--zone", "E.g. Europe/Berlin, of times with offsets.")],
    "time_step": Annotated[float | None, option("--time-step", "Size of a step, e.g. 0.04.")],
    "file_column": Annotated[Text, option("--file-column", "Column to add: the file's name.")],
    "fill": Annotated[Names, option("--fill", "COLUMN=VALUE for empty cells; repeat.")],
    "wide": Annotated[bool | None, option("--wide", "A column for each series, or each time.")],
}


class Tables:
    """Reads tables as a command's options say.

    Args:
        options: of `OPTIONS`, None where they were not given.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        if "sep" in given:
            given["sep"] = {r"\t": "\t", "tab": "\t"}.get(given["sep"], given["sep"])
        if "names" in given:
            given["names"] = [name.strip() for name in given["names"].split(",")]
        if "fill" in given:
            given["fill"] = dict(_pair(text) for text in given["fill"])
        self.options, self.notes = given, list[str]()

    def read(self, paths: str | Path | Sequence[str | Path], columns: Columns) -> pd.DataFrame:
        """One table; rows that repeat another in every column used are left out."""
        return self._once(read_table(paths, columns, **self.options), columns)

    def read_long(self, paths: str | Path, columns: Columns) -> pd.DataFrame:
        """The same of a table that is long, whatever the others are: an answer, or a plan."""
        return self._once(self.read_answer(paths, columns), columns)

    def read_answer(self, path: str | Path, columns: Columns) -> pd.DataFrame:
        """A table that a command wrote, with all of its rows."""
        return read_table(path, columns, **{**self.options, "wide": False})

    def _once(self, frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
        used = [name for _, name in columns.roles() if name in frame]
        repeated = frame.duplicated(used) if used else pd.Series(False, frame.index)
        if repeated.any():
            self.notes.append(f"left out {int(repeated.sum()):,} rows that repeat another wholly")
        return frame[~repeated]

    def say_notes(self) -> None:
        """Tell what was left out, once all is done: an error is one line."""
        for note in self.notes:
            say(note)

    def restore(self, answer: pd.DataFrame, columns: Columns) -> pd.DataFrame:
        """An answer whose times are those of the files again, where --time-step counted them."""
        step = self.options.get("time_step")
        if step is None:
            return answer
        times = {c: (answer[c] * step).round(9) for c in (columns.time, "cutoff") if c in answer}
        return answer.assign(**times)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise DataError(f"--fill {text}: give COLUMN=VALUE")
    return name, value


reads_tables = declare("tables", OPTIONS, Tables)
