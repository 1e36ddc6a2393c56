"""One column of any frame at a time: codes, numbers and labels, with the checks at the door.

pandas, polars and pyarrow frames come through narwhals. The one thing narwhals lacks, integer codes
of a text column, is asked of each library in its own way, so that no text leaves the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from narwhals.exceptions import DuplicateError

from hierforecast.errors import DataError, FrameTypeError, Remedy
from hierforecast.frame.columns import Columns
from hierforecast.frame.remedies import Recipe, convert, rebuild

# Numbers beyond this are refused: float32 ends at 3.4e38.
LARGEST = 1e38


def rank(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Dense codes of integers, in increasing order, without sorting them.

    Args:
        keys: (n,) integers, n >= 1.

    Returns:
        codes (n,) int32 and the distinct keys (k,), sorted, with ``keys == distinct[codes]``.
    """
    low, high = int(keys.min()), int(keys.max())
    size = high - low + 1
    if size <= 2 * len(keys) + 65_536:
        shifted = np.subtract(keys, low, dtype=np.int64) if low else keys
        seen = np.zeros(size, dtype=bool)
        seen[shifted] = True
        distinct = np.flatnonzero(seen)
        table = np.zeros(size, dtype=np.int32)
        table[distinct] = np.arange(len(distinct), dtype=np.int32)
        return table[shifted], (distinct + low).astype(keys.dtype, copy=False)
    codes, distinct = pd.factorize(keys)
    order = np.argsort(distinct)
    table = np.empty(len(order), dtype=np.int32)
    table[order] = np.arange(len(order), dtype=np.int32)
    return table[codes], distinct[order]


def pair(first: np.ndarray, second: np.ndarray, n_second: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n,) of pairs of codes, and the distinct ``first * n_second + second``, sorted."""
    key = first.astype(np.int64)
    key *= n_second
    key += second
    return rank(key)


def factorize(series: nw.Series[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Codes of a column and its distinct labels, sorted.

    Returns:
        codes (n,) int32, -1 where null, and labels (k,), with ``column == labels[codes]``.

    Raises:
        TypeError: if the labels cannot be sorted or hashed.
    """
    native, implementation = series.to_native(), series.implementation
    text = series.dtype in (nw.String, nw.Categorical, nw.Enum)
    if series.dtype.is_integer() and series.dtype != nw.UInt64 and not series.null_count():
        return rank(series.to_numpy())
    if implementation.is_pyarrow() and text:
        arrow = native.unify_dictionaries().combine_chunks().dictionary_encode()
        codes = arrow.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        labels = arrow.dictionary.to_numpy(zero_copy_only=False)
    elif implementation.is_polars() and text:
        pl = implementation.to_native_namespace()
        physical = native.cast(pl.Categorical).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
        codes, values = rank(physical)
        at = np.empty(len(values), dtype=np.int64)
        at[codes] = np.arange(len(codes))
        labels = native.gather(at).cast(pl.String).to_numpy()
    else:
        codes, labels = pd.factorize(native if implementation.is_pandas() else series.to_numpy())
    return _sorted_labels(codes, np.asarray(labels))


def _sorted_labels(codes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same column with sorted labels: those that some row has, each once, and none null.

    Args:
        codes: (n,) -1 where null.
        labels: (k,) as a dictionary holds them, which may know more than the rows have.
    """
    distinct, labels = pd.factorize(labels)
    codes = np.append(distinct, -1)[codes]  # the code -1 of a null finds the last entry
    used = np.zeros(len(labels) + 1, dtype=bool)
    used[codes] = True
    kept = np.flatnonzero(used[:-1])
    kept = kept[np.argsort(labels[kept], kind="stable")]
    table = np.full(len(labels) + 1, -1, dtype=np.int32)
    table[kept] = np.arange(len(kept), dtype=np.int32)
    return table[codes], labels[kept]


def join(
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Codes and labels of several columns read together: each label is a tuple.

    Labels are told apart by their codes, never by a text made of them.
    """
    codes, labels = parts[0]
    if len(parts) == 1:
        return codes, labels
    for more, others in parts[1:]:
        codes, distinct = pair(codes, more, len(others))
    at = np.empty(len(distinct), dtype=np.int64)
    at[codes] = np.arange(len(codes))
    together = np.empty(len(at), dtype=object)
    together[:] = list(zip(*(names[own[at]].tolist() for own, names in parts), strict=True))
    return codes, together


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
    def library(self) -> str:
        """``"pandas"``, ``"polars"`` or ``"pyarrow"``."""
        return str(self.frame.implementation)

    def convert(self, recipe: str | Recipe, column: str) -> Remedy:
        """A remedy that replaces a column, see `remedies.CONVERSIONS`."""
        return convert(self.library, recipe, column, self.variable)

    def rebuild(self, recipe: str | Recipe, **words: Any) -> Remedy:
        """A remedy that replaces the frame, see `remedies.REBUILDS`."""
        return rebuild(self.library, recipe, self.variable, **words)

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
            raise DataError(f"{what} has a column name twice: {error}; rename one") from error
        except TypeError as error:
            lazy = hasattr(frame, "collect")
            raise FrameTypeError(
                "expected a pandas DataFrame, a polars DataFrame or a pyarrow Table, "
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

    def require(self, roles: list[tuple[str, str]]) -> None:
        """Check that every column is there.

        Raises:
            DataError: naming the first missing column, its role and the closest name.
        """
        names = self.frame.columns
        for role, name in roles:
            if name in names:
                continue
            close = get_close_matches(name, [str(n) for n in names], n=1, cutoff=0.6)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            if name in (getattr(getattr(self.frame.to_native(), "index", None), "names", ()) or ()):
                hint = " (it is the frame's index: call reset_index() first)"
            without = ", or group=None for one group" if role == "group" else ""
            raise DataError(
                f"{self.what} has no column {name!r}{hint} for the role {role!r}; it has "
                f"{', '.join(map(repr, names))}; name yours with Columns({role}=...){without}"
            )

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
        try:
            codes, labels = factorize(self.frame[name])
        except TypeError as error:
            raise DataError(
                f"column {name!r} of {self.what} mixes labels that cannot be compared ({error}); "
                "make them one kind",
                self.convert("text", name),
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
        if not (kind.is_numeric() or kind == nw.Boolean):
            raise DataError(
                f"column {name!r} of {self.what} is not numeric (its type is "
                f"{self.type_of(name)}); convert it",
                self.convert("floats" if self._is_long(series) else "numbers", name),
            )
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

    @staticmethod
    def _is_long(series: nw.Series[Any]) -> bool:
        """Whether a column holds Python's integers, which `pd.to_numeric` leaves as they are."""
        native = series.to_native()
        return series.dtype == nw.Object and pd.api.types.infer_dtype(native) == "integer"

    def _reject_rounding(self, name: str, series: nw.Series[Any]) -> None:
        low, high = series.min(), series.max()
        if low is not None and max(int(high), -int(low)) > 2**53:
            raise DataError(
                f"column {name!r} of {self.what} holds whole numbers beyond 2**53, which float64 "
                "rounds; take a constant off them, or convert it if their last digits do not "
                "matter",
                self.convert("floats", name),
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
