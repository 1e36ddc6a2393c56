"""A bar for long work."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
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
    silent = not bar or total < 2
    return track(each, what, total=total, console=console_of_bars(beside=True), disable=silent)


def console_of_bars(beside: bool = False) -> Console:
    """Where bars are drawn.

    In a notebook rich needs ipywidgets to move a bar, and advises them at each. Without them a bar
    is shown once, when it is full.

    Args:
        beside: on the error stream, beside an answer on the output.
    """
    console = Console(stderr=beside)
    if console.is_jupyter and find_spec("ipywidgets") is None:
        return Console(force_jupyter=False)
    return console
