"""Labels as numbers: categories learned in training, and labels of another kind than then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError, Remedy, UnknownLabelsWarning, warn_user
from hierforecast.frame.codes import TEXT
from hierforecast.frame.remedies import padded
from hierforecast.frame.table import Table
from hierforecast.frame.vocabulary import Covariate, Units, Vocabulary

CATEGORICAL = (*TEXT, nw.Boolean, nw.Object)


def encode(
    table: Table, name: str, role: str, vocabulary: Vocabulary | None
) -> tuple[np.ndarray, Covariate]:
    """A covariate column as numbers, and what it is.

    Args:
        table, name: the column.
        role: ``"past"``, ``"known"`` or ``"static"``.
        vocabulary: of the training frame; None learns the categories from this column.

    Returns:
        (n,) float64: numbers with NaN for missing, or codes with 0 for missing and unknown
        categories.

    Raises:
        DataError: if the column's type cannot be a covariate, or is not that of training, or its
            numbers are not of the order of those of training.
    """
    learned = None
    if vocabulary is not None:
        learned = next((c for c in vocabulary.of(role) if c.name == name), None)
        if learned is None:
            raise DataError(f"{role} covariate {name!r} was not there in training: fit again")
    series = table.frame[name]
    if learned is not None and learned.categories is not None and _all_missing(series):
        return np.zeros(len(table)), learned
    categorical = series.dtype in CATEGORICAL and not (learned and _all_missing(series))
    if learned is not None and (learned.categories is not None) != categorical:
        raise _other_kind(table, name, learned)
    if not categorical:
        values = table.numbers(name)
        if learned is not None:
            check_range(table, name, values, learned.units)
        return values, learned or Covariate(name, role, gaps=bool(np.isnan(values).any()))
    codes, labels = table.labels(name, nulls=True)
    if learned is None:
        learned = Covariate(name, role, categories_of(table, name, labels))
    elif len(labels) and not set(labels.tolist()) & set(learned.categories or ()):
        _reject_unknown(table, name, labels.tolist(), learned)
    position = {label: i + 1 for i, label in enumerate(learned.categories or ())}
    # The last entry is what the code -1 of a null finds.
    lookup = np.array([*(position.get(label, 0) for label in labels.tolist()), 0], dtype=float)
    return lookup[codes], learned


def _all_missing(series: nw.Series[Any]) -> bool:
    """Whether no row has a value: then a library may have given the column any type."""
    missing = series.is_null() | series.is_nan() if series.dtype.is_float() else series.is_null()
    return bool(missing.all())


def categories_of(table: Table, name: str, labels: np.ndarray) -> tuple[Any, ...]:
    """Labels as plain values that JSON can hold.

    Raises:
        DataError: for numbers stored as objects, and for values that are no labels.
    """
    labels_ = tuple(labels.tolist())
    odd = next((v for v in labels_ if not isinstance(v, (str, bool, int, float))), None)
    loose = table.frame[name].dtype == nw.Object and not all(
        isinstance(v, str | bool) for v in labels_
    )
    if odd is not None or loose:
        raise DataError(
            f"column {name!r} of {table.what} (its type is {table.type_of(name)}) holds neither "
            "numbers nor labels such as text; convert it",
            table.convert("text" if odd is not None else "numbers", name),
        )
    return labels_


def check_range(table: Table, name: str, values: np.ndarray, units: Units) -> None:
    """Refuse numbers (n,) so far from those of training that float32 could not hold both.

    Raises:
        DataError: naming the column.
    """
    far = units.beyond(values)
    if far is not None:
        raise DataError(
            f"column {name!r} of {table.what} goes to {far:g}, but the numbers of training lie "
            f"within {units.unit:g} of {units.offset:g}: give it in the units of training, or fit "
            "again with such numbers"
        )


# How labels of one kind may be respelled as those of another, and the recipe that does it.
RESPELLED: dict[str, Callable[[Any], Any]] = {
    "text": str,
    "whole_text": lambda label: str(int(label)) if label == int(label) else None,
    "whole_labels": int,
    "spelled_truth": lambda label: {"true": True, "false": False}[label.lower()],
    "truth": lambda label: {0: False, 1: True}[label],
}


def respell(table: Table, name: str, labels: list[Any], learned: Covariate) -> Remedy | None:
    """What turns labels into such as training knew, if anything does."""
    if learned.categories is None:
        text = pd.to_numeric(pd.Series(labels, dtype=object), errors="coerce")
        return None if text.isna().any() else table.convert("numbers", name)
    for recipe, spell in RESPELLED.items():
        try:
            found = [spell(label) for label in labels]
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        kinds = {type(label) for label in learned.categories}  # a truth is equal to its number
        if any(label in learned.categories and type(label) in kinds for label in found):
            return table.convert(recipe, name)
    width = {len(label) for label in learned.categories if isinstance(label, str)}
    if len(width) == 1 and {str(label).zfill(*width) for label in labels} & set(learned.categories):
        return table.convert(padded(*width), name)
    return None


def _other_kind(table: Table, name: str, learned: Covariate) -> DataError:
    """The error for a number that was a category in training, or the other way round."""
    now, then = ("a number", "a category")[:: 1 if learned.categories is not None else -1]
    labels = table.labels(name, nulls=True)[1].tolist()
    return DataError(
        f"covariate {name!r} of {table.what} is {now} (its type is {table.type_of(name)}), but was "
        f"{then} in training; convert it as then",
        respell(table, name, labels, learned),
    )


def _reject_unknown(table: Table, name: str, labels: list[Any], learned: Covariate) -> None:
    """Say that training knew none of these labels; of another type they are a mistake."""
    known = list(learned.categories or ())
    text = (
        f"training knew none of the labels of {learned.role} covariate {name!r} of {table.what}: "
        f"they are {_few(labels)} now (its type is {table.type_of(name)}) and were {_few(known)}"
    )
    if known and {type(label) for label in labels} != {type(label) for label in known}:
        raise DataError(f"{text}; convert it as then", respell(table, name, labels, learned))
    warn_user(f"{text}; all of them count as unknown", UnknownLabelsWarning)


def _few(labels: list[Any]) -> str:
    return ", ".join(map(repr, labels[:3])) + (", ..." if len(labels) > 3 else "")
