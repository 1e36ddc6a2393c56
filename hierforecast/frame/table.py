"""One column of any frame at a time: checked codes, numbers and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from narwhals.exceptions import DuplicateError

from hierforecast.errors import DataError, FrameTypeError, Remedy
from hierforecast.frame.codes import TEXT, factorize, join
from hierforecast.frame.columns import Columns
from hierforecast.frame.formats import marks_of
from hierforecast.frame.remedies import Recipe, convert, rebuild

# What is read piece by piece, by the verbs of a forecaster.
PIECES = "a folder of Parquet, a polars LazyFrame and a DuckDB relation"
# Numbers beyond this are refused: float32 ends at 3.4e38.
LARGEST = 1e38


def zone_of(series: nw.Series[Any]) -> Any:
    """Time zone of a datetime column, as pandas takes it, or None."""
    if series.implementation.is_pandas() and hasattr(series.to_native().dtype, "tz"):
        return series.to_native().dtype.tz  # narwhals 2 misses zones with an underscore
    return getattr(series.dtype, "time_zone", None)


@dataclass
class Table:
    """A frame of the user, read column by column and never changed.

    Args:
        frame: the frame.
        columns: the roles.
        variable: how remedies call the frame: ``frame``, ``known`` or ``val``.
    """

    frame: nw.DataFrame[Any]
    columns: Columns
    variable: str = "frame"

    @property
    def what(self) -> str:
        """How messages call the frame."""
        return "the frame" if self.variable == "frame" else f"the {self.variable} frame"

    @property
    def backend(self) -> str:
        """``"pandas"``, ``"polars"`` or ``"pyarrow"``."""
        return str(self.frame.implementation)

    def convert(self, recipe: str | Recipe, column: str) -> Remedy:
        """A remedy that replaces a column, see `remedies.CONVERSIONS`."""
        return convert(self.backend, recipe, column, self.variable)

    def rebuild(self, recipe: str | Recipe, **words: Any) -> Remedy:
        """A remedy that replaces the frame, see `remedies.REBUILDS`."""
        return rebuild(self.backend, recipe, self.variable, **words)

    @classmethod
    def open(cls, frame: Any, columns: Columns, variable: str = "frame") -> Table:
        """Wrap a pandas, polars or pyarrow frame.

        Raises:
            FrameTypeError: for any other object.
            DataError: if the frame is empty or has a column name twice.
        """
        what = cls(frame, columns, variable).what
        try:
            table = nw.from_native(frame, eager_only=True)
            known = table.implementation
            if not (known.is_pandas() or known.is_polars() or known.is_pyarrow()):
                raise TypeError("not one of the three")
        except DuplicateError as error:
            library = "pandas" if hasattr(frame, "iloc") else "pyarrow"
            raise DataError(
                f"{what} has a column name twice ({' '.join(str(error).split())}); rename one, or "
                "keep the first",
                rebuild(library, "first_columns", variable),
            ) from error
        except TypeError as error:
            lazy = hasattr(frame, "collect")
            more = f" (a forecaster also takes {PIECES})" if variable == "frame" else ""
            raise FrameTypeError(
                f"expected a pandas DataFrame, a polars DataFrame or a pyarrow Table{more}, "
                f"got {type(frame).__module__}.{type(frame).__qualname__}"
                + ("; call .collect() on it first" if lazy else ""),
                Remedy(f"{variable} = {variable}.collect()", "") if lazy else None,
            ) from error
        if not len(table):
            raise DataError(f"{what} is empty: it has no rows; check how it was read or filtered")
        if known.is_pyarrow():
            # pyarrow cannot take from views, so they are made plain text.
            views = [
                n
                for n, t in zip(table.columns, frame.schema.types, strict=True)
                if "view" in str(t)
            ]
            table = table.with_columns(nw.col(*views).cast(nw.String())) if views else table
        return cls(table, columns, variable)

    def __len__(self) -> int:
        return len(self.frame)

    def keys(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Codes (n,) int32 of columns that name something together, and their labels (k,), sorted.

        The labels are tuples if there are several columns.
        """
        return join([self.labels(name) for name in names])

    def labels(self, name: str, *, nulls: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Codes (n,) int32 of a column and its labels (k,), sorted; a null has code -1.

        Raises:
            DataError: if labels of different kinds are mixed, or a null is met without `nulls`.
        """
        series = self.frame[name]
        try:
            codes, labels = factorize(series)
        except (TypeError, ValueError) as error:
            if series.dtype.is_nested() or "unhashable" in str(error):
                raise DataError(
                    f"column {name!r} of {self.what} holds {self.type_of(name)}, which is no "
                    "label: give text, numbers or several columns"
                ) from error
            kinds = pd.unique(np.asarray(series.to_native(), dtype=object))
            alike = len({str(label) for label in kinds}) < len(kinds)  # 1 and "1"
            raise DataError(
                f"column {name!r} of {self.what} mixes labels that cannot be compared ({error}); "
                "make them one kind",
                self.convert("quoted" if alike else "text", name),
            ) from error
        if not nulls and codes.min() < 0:
            self.reject_nulls(name, codes < 0)
        return codes, labels

    def reject_nulls(self, name: str, null: np.ndarray) -> None:
        """Raise for the null cells (n,) bool of a column that must have none."""
        at = np.flatnonzero(null)
        if len(at):
            recipe = "drop_nans" if self.frame[name].dtype.is_float() else "drop_nulls"
            raise DataError(
                f"column {name!r} of {self.what} has {len(at)} null values, the first in row "
                f"{at[0]} (counted from 0); fill them or drop these rows",
                self.rebuild(recipe, column=name),
            )

    def numbers(self, name: str, exact: bool = False) -> np.ndarray:
        """A numeric or bool column (n,) in float64, NaN where missing; perhaps a view: only read.

        Args:
            name: the column.
            exact: refuse whole numbers that float64 would round.

        Raises:
            DataError: if the column is not numeric, or holds numbers beyond 1e38 or infinite ones.
        """
        series = self.frame[name]
        kind = series.dtype
        if series.null_count() == len(series):
            return np.full(len(series), np.nan)
        if not (kind.is_numeric() or kind == nw.Boolean):
            raise self._no_numbers(name)
        if exact and kind.is_integer():
            self._reject_rounding(name, series)
        if kind in (nw.Boolean, nw.Int128, nw.UInt128) or kind.is_decimal():
            series = series.cast(nw.Float64())
        values = series.to_numpy().astype(np.float64, copy=False)
        if max(np.fmax.reduce(values), -np.fmin.reduce(values)) > LARGEST:
            at = np.flatnonzero(np.abs(values) > LARGEST)
            raise DataError(
                f"column {name!r} of {self.what} has {len(at)} infinite values (or beyond the "
                f"range of float32, {LARGEST:g}), the first at {self.where(at[0])}: replace them "
                "by NaN, which means missing, or by numbers",
                self.convert("finite", name),
            )
        return values

    def _reject_rounding(self, name: str, series: nw.Series[Any]) -> None:
        low, high = series.min(), series.max()
        if low is not None and max(int(high), -int(low)) > 2**53:
            raise DataError(
                f"column {name!r} of {self.what} holds whole numbers beyond 2**53, which float64 "
                "rounds; take a constant off them, or convert it if their last digits do not "
                "matter",
                self.convert("floats", name),
            )

    def _no_numbers(self, name: str) -> DataError:
        """The error for a column that holds none; its remedy reads what the column holds."""
        text = f"column {name!r} of {self.what} is not numeric (its type is {self.type_of(name)})"
        if self.frame[name].dtype not in (*TEXT, nw.Object):
            return DataError(f"{text}: give a column of numbers")
        cells = pd.Series(self.frame[name].to_list(), dtype=object)
        bad = pd.to_numeric(cells, errors="coerce").isna() & cells.notna()
        if not bad.any():
            return DataError(f"{text}; convert it", self.convert("numbers", name))
        marks = marks_of(cells[cells.notna()].astype(str))
        if marks is not None:
            recipe = "decimal_comma" if "decimal" in marks else "thousands_comma"
            return DataError(f"{text}; convert it", self.convert(recipe, name))
        first = f"{cells[bad].iloc[0]!r} in row {bad.argmax()} (counted from 0)"
        if bad[cells.notna()].all():
            return DataError(f"{text}: none of its cells is a number, the first is {first}")
        return DataError(
            f"{text}; {bad.sum()} of its cells are no numbers, the first is {first}; convert it, "
            "so that these are missing",
            self.convert("numbers_or_missing", name),
        )

    def type_of(self, name: str) -> str:
        """The library's own name of a column's type, for messages."""
        native = self.frame[name].to_native()
        return str(getattr(native, "dtype", None) or getattr(native, "type", "unknown"))

    def where(self, row: int) -> str:
        """``scene 3, unique_id 'a', ds 12`` of one row, for messages."""
        return self.cells(self.columns.keys, row)

    def cells(self, names: Sequence[str], row: int) -> str:
        """``store 1, item 'a'`` of one row, for messages."""
        there = [n for n in names if n in self.frame.columns]
        return ", ".join(f"{n} {show(self.frame[n][int(row)])}" for n in there)


def show(value: Any) -> str:
    """A label or a time as a person would write it."""
    if isinstance(value, np.timedelta64):
        return str(pd.Timedelta(value))
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).removesuffix("T00:00:00")
    return repr(value.item() if isinstance(value, np.generic) else value)
