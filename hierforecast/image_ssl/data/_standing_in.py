"""What takes the place of files that cannot be read, where a set may go on without them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

from hierforecast.errors import DataError
from hierforecast.image_ssl.data._decoding import OnError, UnreadableImageWarning

T = TypeVar("T")


def first_readable(
    numbers: Iterable[int], read: Callable[[int], T], broken: set[int]
) -> tuple[int, T] | None:
    """The first of some items that can be read, with its number; None if none can.

    Args:
        numbers: items in the order of preference.
        read: reads one, and raises `DataError` if it cannot.
        broken: items known to be unreadable, which are passed over; new ones are added, and warned
            of, once each.
    """
    for number in numbers:
        if number in broken:
            continue
        try:
            return number, read(number)
        except DataError as error:
            broken.add(number)
            warnings.warn(
                f"{error} The next that can be read stands in for it.",
                UnreadableImageWarning,
                stacklevel=3,
            )
    return None


def check_options(size: int, on_error: OnError) -> None:
    """Refuse what no set of files takes.

    Raises:
        ValueError: for an option out of its range.
    """
    if size < 1:
        raise ValueError(f"size={size}: give the side of the images in pixels")
    if on_error not in ("raise", "skip"):
        raise ValueError(f'on_error={on_error!r} is neither "raise" nor "skip"')
