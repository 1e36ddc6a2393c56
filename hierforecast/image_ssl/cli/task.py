"""What the tasks of ``ssl evaluate`` share: the contract of a task, and what it is run on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import torch
from matplotlib.figure import Figure
from rich.table import Table

from hierforecast._console import say
from hierforecast._words import flag
from hierforecast.errors import DataError
from hierforecast.image_ssl.cli.backbones import Saved
from hierforecast.image_ssl.cli.options import SMALL, EvaluateOptions, on_error_of
from hierforecast.image_ssl.cli.output import bars, joined
from hierforecast.image_ssl.data.named import is_posed, open_set

# Options that some tasks take only.
SPECIAL = ("labels", "curve", "transformation", "test", "test_split")


@dataclass(frozen=True)
class Run:
    """What a task is run on."""

    saved: Mapping[str, Saved]
    options: EvaluateOptions

    @property
    def first(self) -> Saved:
        """The first backbone."""
        return next(iter(self.saved.values()))

    @property
    def learned_from(self) -> str:
        """--data, or what the first backbone learned from."""
        found = self.options.data or self.first.data
        if found is None:
            name = next(iter(self.saved))
            raise DataError(f"{name} does not say what it learned from: give --data")
        return found

    @property
    def posed(self) -> str:
        """--data, or what the first backbone learned from if its poses are known, or objects."""
        learned = self.first.data or ""
        return self.options.data or (learned if is_posed(learned) else "objects")

    @property
    def side(self) -> int:
        """--size, or that of the images that the first backbone was made for."""
        return self.options.size or self.first.net.image_size or SMALL

    @property
    def how(self) -> dict[str, Any]:
        """How networks are run."""
        device = self.options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return {"device": device, "progress": bars()}


class Task(ABC):
    """Something that saved backbones are evaluated on.

    Attributes:
        takes: which of `SPECIAL`.
        opener: opens its sets by name.
        unit: what they hold.
    """

    takes: ClassVar[tuple[str, ...]] = ("test", "test_split")
    opener: ClassVar[Callable[..., Any]] = staticmethod(open_set)
    unit: ClassVar[str] = "images"

    def check(self, options: EvaluateOptions) -> None:
        """Refuse options that it does not take, before anything is loaded."""
        for name in SPECIAL:
            if getattr(options, name) and name not in self.takes:
                raise DataError(f"{flag(name)} is no option of --task {options.task}")

    def __call__(self, run: Run) -> tuple[pd.DataFrame, Any]:
        """All scores, and the test set."""
        train, test = self.open(run)
        found = {name: self.scores(one, train, test, run) for name, one in run.saved.items()}
        return joined("backbone", found), test

    def data(self, run: Run) -> str:
        """The name of its set."""
        return run.learned_from

    def open(self, run: Run) -> tuple[Any, Any]:
        """The sets to train and to test on."""
        given, name = run.options, self.data(run)
        readable = {"on_error": on_error_of(given.on_error)}
        train = self.opener(name, run.side, given.split, images=given.images, **readable)
        other = given.test or name
        test = self.opener(other, run.side, given.test_split, test=True, **readable)
        say(f"{name}: {len(train):,} {self.unit} to train on, {len(test):,} to test on")
        return train, test

    @abstractmethod
    def scores(self, one: Saved, train: Any, test: Any, run: Run) -> pd.DataFrame:
        """The scores of a backbone."""

    @abstractmethod
    def shown(self, table: pd.DataFrame) -> Table:
        """The table for the console."""

    @abstractmethod
    def draw(self, table: pd.DataFrame, run: Run, test: Any) -> Figure:
        """The picture."""
