"""A bar for long work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def progress(each: Iterable[T], what: str, total: int, bar: bool = True) -> Iterable[T]:
    """Things one by one, with a bar if there are several.

    It is drawn beside the answer, which the command line may send elsewhere.

    Args:
        each: the things.
        what: is done with them.
        total: how many there are.
        bar: whether the user wants one.
    """
    return track(
        each, what, total=total, console=Console(stderr=True), disable=not bar or total < 2
    )
