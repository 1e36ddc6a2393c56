"""Parts of a model that may be given by name, or as what makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from hierforecast._options import show
from hierforecast.errors import DataError

T = TypeVar("T")


def find_part(option: str, given: str | T, parts: Mapping[str, T]) -> T:
    """What a name stands for; anything callable stands for itself.

    Raises:
        DataError: if it is neither.
    """
    if not isinstance(given, str) and callable(given):
        return given
    if not isinstance(given, str) or given not in parts:
        raise DataError(f"{option}={show(given)} is not one of {sorted(parts)}, nor makes a module")
    return parts[given]


def name_part(option: str, given: str | T, parts: Mapping[str, T]) -> str:
    """The name of a part, for saving: no code is kept in a file.

    Raises:
        TypeError: if it has none.
    """
    if isinstance(given, str):
        return given
    for name, part in parts.items():
        if part is given:
            return name
    raise TypeError(
        f"{option}={show(given)} cannot be saved without a name: register it, "
        f"{option.upper()}S['my_{option}'] = ..."
    )
