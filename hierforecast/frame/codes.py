"""Integer codes of columns: of integers, of labels, and of several columns together.

pandas, polars and pyarrow frames come through narwhals. Codes of a text column, which narwhals
lacks, are made by each library's own function, so that no text is copied out of the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

TEXT = (nw.String, nw.Categorical, nw.Enum)  # columns of labels in words


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


def one_of_each(codes: np.ndarray, n_codes: int) -> np.ndarray:
    """A position (k,) at which each of the codes (n,) stands."""
    at = np.empty(n_codes, dtype=np.int64)
    at[codes] = np.arange(len(codes))
    return at


def factorize(series: nw.Series[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Codes of a column and its distinct labels, sorted.

    Returns:
        codes (n,) int32, -1 where null, and labels (k,), with ``column == labels[codes]``.

    Raises:
        TypeError: if the labels cannot be sorted or hashed.
    """
    native, implementation = series.to_native(), series.implementation
    text = series.dtype in TEXT
    if series.dtype.is_integer() and series.dtype != nw.UInt64 and not series.null_count():
        return rank(series.to_numpy())
    if implementation.is_pyarrow() and text:
        codes, labels = _arrow_dictionary(native.dictionary_encode())
    elif implementation.is_polars() and text:
        pl = implementation.to_native_namespace()
        physical = native.cast(pl.Categorical).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
        codes, values = rank(physical)
        labels = native.gather(one_of_each(codes, len(values))).cast(pl.String).to_numpy()
    else:
        codes, labels = pd.factorize(native if implementation.is_pandas() else series.to_numpy())
    return _sorted_labels(codes, np.asarray(labels))


def _arrow_dictionary(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Codes and labels of a chunked array of dictionaries, those of its chunks end to end."""
    codes, labels, n_labels = [], [], 0
    for chunk in column.chunks:
        own = chunk.indices.cast("int64").fill_null(-1).to_numpy()
        codes.append(np.where(own < 0, -1, own + n_labels))
        labels.append(chunk.dictionary.to_numpy(zero_copy_only=False))
        n_labels += len(labels[-1])
    return np.concatenate(codes), np.concatenate(labels)


def _sorted_labels(codes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same column with sorted labels: those that some row has, each once, and none null.

    Args:
        codes: (n,) -1 where null.
        labels: (k,) as a dictionary holds them, which may know more than the rows have.
    """
    own, labels = pd.factorize(labels)
    own = np.append(own, -1)  # the code -1 of a null finds the last entry
    used = np.zeros(len(own), dtype=bool)
    used[codes] = True
    seen = np.zeros(len(labels) + 1, dtype=bool)
    seen[own[used]] = True
    kept = np.flatnonzero(seen[:-1])
    kept = kept[np.argsort(labels[kept], kind="stable")]
    table = np.full(len(labels) + 1, -1, dtype=np.int32)
    table[kept] = np.arange(len(kept), dtype=np.int32)
    return table[own][codes], labels[kept]


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
    at = one_of_each(codes, len(distinct))
    together = np.empty(len(at), dtype=object)
    together[:] = list(zip(*(names[own[at]].tolist() for own, names in parts), strict=True))
    return codes, together
