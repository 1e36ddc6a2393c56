"""Checks of options: an error of one line names the option and what it may be.

Each check returns a plain Python value (numpy's scalars are converted), so that it can be saved
as JSON, and raises a `DataError` for everything else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from math import inf
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

from hierforecast.errors import DataError

T = TypeVar("T")
R = TypeVar("R")


def whole(
    name: str, value: Any, minimum: int = 1, maximum: int | None = None, other: str | None = None
) -> int:
    """A whole number from `minimum` to `maximum`; 2.0, True and "2" are none.

    What else the option may be, `other`, is only named.

    Raises:
        DataError: for anything else.
    """
    fits = isinstance(value, Integral) and not _is_no_number(value)
    if fits and minimum <= value and (maximum is None or value <= maximum):
        return int(value)
    bounds = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    else_ = "" if other is None else f", or {other!r}"
    raise DataError(f"{name}={show(value)} must be a whole number {bounds}{else_}")


def number(
    name: str, value: Any, low: float = -inf, high: float = inf, *, ends: bool = True
) -> float:
    """A finite number between `low` and `high`, with or without these ends.

    Raises:
        DataError: for anything else.
    """
    if isinstance(value, Real) and not _is_no_number(value):
        found = float(value)
        inside = low <= found <= high if ends else low < found < high
        if inside and abs(found) < inf:
            return found
    bounds = f" between {low:g} and {high:g}"
    if high == inf:
        bounds = "" if low == -inf else f" {'of at least' if ends else 'above'} {low:g}"
    raise DataError(f"{name}={show(value)} must be a number{bounds}")


def share(name: str, value: Any, low: float = 0.0, high: float = 1.0) -> float:
    """A number between 0 and 1 (or narrower bounds), ends included."""
    return number(name, value, low, high)


def levels(value: Any, name: str = "level") -> list[float]:
    """Coverages of central intervals in percent: one or several, None for none.

    Raises:
        DataError: if one is not between 0 and 100, or is below 1 and so probably a share.
    """
    found = [_between(name, each, 100, "percent", "[80, 95]") for each in _several(value)]
    for percent in found:
        if percent < 1:
            raise DataError(
                f"{name}={percent:.10g} is {percent:.10g} percent: did you mean "
                f"{100 * percent:.10g}?"
            )
    return found


def quantiles(value: Any, name: str = "quantiles") -> list[float]:
    """Probabilities of quantiles: one or several, None for none.

    Raises:
        DataError: if one is not between 0 and 1.
    """
    for each in _several(value):
        if isinstance(each, Real) and 1 < float(each) < 100:
            raise DataError(
                f"{name}={show(each)} must lie between 0 and 1: did you mean "
                f"{float(each) / 100:.10g}?"
            )
    return [_between(name, each, 1, "a probability", "[0.1, 0.5]") for each in _several(value)]


def choice(what: str, name: str, table: Mapping[str, T]) -> T:
    """What stands under a name in a table.

    Raises:
        DataError: for another name; those that there are are listed.
    """
    return table[one_of(what, name, table)]


def one_of(what: str, name: str, allowed: Collection[str]) -> str:
    """The name itself, if it is allowed.

    Raises:
        DataError: for another name; those that there are are listed.
    """
    if name not in allowed:
        raise DataError(f"{what} {name!r} is none of {', '.join(allowed)}")
    return name


def show(value: Any) -> str:
    """A value as its user wrote it, on one short line."""
    if isinstance(value, np.datetime64) or hasattr(value, "isoformat"):
        return str(value).removesuffix(" 00:00:00")
    value = value.item() if isinstance(value, np.generic) else value
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _several(value: Any) -> Sequence[Any]:
    """One value or several, each once, in the order given."""
    if value is None:
        return []
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return [value]
    return list(dict.fromkeys(np.asarray(value, dtype=object).reshape(-1).tolist()))


def _between(name: str, value: Any, high: float, unit: str, example: str) -> float:
    try:
        return number(name, value, 0, high, ends=False)
    except DataError:
        raise DataError(
            f"{name}={show(value)} must lie between 0 and {high} ({unit}), e.g. {example}"
        ) from None


def _is_no_number(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_, np.timedelta64))


def renamed(**now: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Options that have another name now: the old one works and warns (former name = new name)."""

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        @wraps(function)
        def call(*args: Any, **options: Any) -> R:
            for old in now.keys() & options.keys():
                warn_former(old, now[old])
                options[now[old]] = options.pop(old)
            return function(*args, **options)

        return call

    return decorate


def warn_former(old: str, new: str) -> None:
    """Warn the caller of the function that calls this."""
    warnings.warn(f"the option {old} is called {new} now", DeprecationWarning, stacklevel=3)
