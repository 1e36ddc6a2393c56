"""How a set of images gets a name: its file says so, with `register`, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data._files import OnError


@dataclass(frozen=True)
class Request:
    """What is wanted of a set; see `named.open_set`."""

    name: str
    size: int
    split: str | None = None
    test: bool = False
    images: int | None = None
    on_error: OnError = "raise"

    @property
    def rest(self) -> str:
        """The name behind the colon."""
        return self.name.partition(":")[2]

    @property
    def root(self) -> str:
        """The folder behind the colon; raises `DataError` if there is none."""
        word, _, root = self.name.partition(":")
        if not root:
            raise DataError(f"{word} lies in a folder of its own: give {word}:ROOT")
        return root

    def split_or(self, train: str, test: str) -> str:
        """The split that is wanted, or else the usual one to train or to evaluate on."""
        return self.split or (test if self.test else train)

    def count(self, default: int, views: int = 1) -> int:
        """How many things of so many views are wanted; `default` where nobody says."""
        if self.images is None:
            return default
        if self.images < views:
            raise DataError(f"{self.images} images are not one object: it has {views} views")
        return self.images // views

    def drawn(self, n: int, views: int = 1) -> Tensor | None:
        """Which of `n` things of so many views are taken, always the same; None for all."""
        count = self.count(n, views)
        if count >= n:
            return None
        return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:count]


Opener: TypeAlias = Callable[[Request], Any]


@dataclass(frozen=True)
class Source:
    """What opens a name.

    Attributes:
        usage: how the name may be written, e.g. ``("objects", "objects:DEGREES")``.
        openers: by the kind of set: `ImageSet`, `PosedSet` or `MaskSet`.
    """

    usage: tuple[str, ...]
    openers: Mapping[type, Opener]


SOURCES: dict[str, Source] = {}


def in_folder(make: Callable[..., Any], train: str, test: str) -> Opener:
    """The opener of a set in a folder of its own, by its usual splits to train and to test on."""

    def opened(request: Request) -> Any:
        split = request.split_or(train, test)
        return make(request.root, size=request.size, split=split, on_error=request.on_error)

    return opened


def register(*usage: str, openers: Mapping[type, Opener]) -> None:
    """Make a set known to ``--data`` and `open_set`; its name is the first usage, up to the colon.

    Args:
        usage: how the name may be written; ROOT stands for a folder.
    """
    SOURCES[usage[0].partition(":")[0]] = Source(usage, openers)
