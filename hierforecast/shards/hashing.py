"""A number for each scene that follows from its label alone, on any machine and in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hierforecast.errors import DataError

_ODD = np.uint64(0x9E3779B97F4A7C15)  # spreads what columns have in common over all bits


def hash_scenes(table: Any, scenes: Sequence[str]) -> np.ndarray:
    """Hashes (n,) uint64 of the scene of each row of an Arrow table or record batch.

    Raises:
        DataError: if a label is missing.
    """
    total = np.zeros(table.num_rows, dtype=np.uint64)
    for name in scenes:
        column = table.column(name)
        if column.null_count:
            raise DataError(
                f"column {name!r} has {column.null_count} null values, and a scene must have a "
                "label: fill them, or drop these rows"
            )
        total = (total ^ (total >> np.uint64(31))) * _ODD + _hashes(column)
    return total


def _hashes(column: Any) -> np.ndarray:
    """Hashes (n,) of the cells of a column; equal numbers of several integer types are equal."""
    import pyarrow as pa

    coded = column.dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    if isinstance(coded, pa.ChunkedArray):  # older pyarrow keeps the chunk of one
        coded = coded.chunk(0) if coded.num_chunks else pa.array([], coded.type)
    labels, kind = coded.dictionary, coded.type.value_type
    if pa.types.is_temporal(kind):
        labels = labels.cast(pa.int64() if kind.bit_width == 64 else pa.int32())
    if pa.types.is_integer(labels.type) and not pa.types.is_uint64(labels.type):
        labels = labels.cast(pa.int64())
    if pa.types.is_decimal(labels.type) or pa.types.is_boolean(labels.type):
        labels = labels.cast(pa.string())
    values = labels.to_numpy(zero_copy_only=False)
    hashes = np.asarray(pd.util.hash_array(values, categorize=False), dtype=np.uint64)
    return hashes[coded.indices.to_numpy(zero_copy_only=False)]
