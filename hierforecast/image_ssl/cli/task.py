"""What the tasks of ``ssl evaluate`` share: saved backbones, and the contract of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from matplotlib.figure import Figure
from rich.table import Table

from hierforecast._console import say
from hierforecast._words import flag
from hierforecast.errors import DataError
from hierforecast.image_ssl.cli.options import SMALL, EvaluateOptions, on_error_of
from hierforecast.image_ssl.cli.output import bars, joined
from hierforecast.image_ssl.data.named import is_posed, open_set
from hierforecast.image_ssl.evaluation import average_maps, flatten_maps
from hierforecast.image_ssl.evaluation.features import Pool
from hierforecast.image_ssl.methods import METHODS, options_of
from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.image_ssl.split import Split, SplitChannels, SplitGroup
from hierforecast.image_ssl.storage import load_backbone, read_made_by


@dataclass(frozen=True)
class Saved:
    """A backbone that was saved.

    Attributes:
        data: name of the set that it learned from, or None if that is not known.
        kinds: of its features, by name: pools of features (b, c, g) and of maps (b, c, g, h, w).
    """

    net: ResNet
    data: str | None
    kinds: Mapping[str, Pool]


def load_all(folders: Sequence[Path]) -> dict[str, Saved]:
    """Saved backbones, named as their folders, or by the whole path where two are named alike."""
    tails = [folder.resolve().name for folder in folders]
    found = {}
    for folder, tail in zip(folders, tails, strict=True):
        net, made_by = load_backbone(folder), read_made_by(folder)
        data = made_by.get("data")
        try:
            split = split_of(net, made_by)
        except (AttributeError, TypeError, ValueError) as error:
            raise DataError(f"{folder} was trained by no split that is known: {error}") from error
        name = tail if tails.count(tail) == 1 else str(folder)
        found[name] = Saved(net, data if isinstance(data, str) else None, kinds(net, split))
    return found


def split_of(net: ResNet, made_by: Mapping[str, Any]) -> Split | None:
    """What parts a network's features in two halves, if its method did."""
    options = made_by.get("options") or {}
    method = str(made_by.get("method"))
    split = options_of(method).get("split") if method in METHODS else None
    if split is None:
        return None
    share = options.get("split", split.default)
    return SplitGroup(net) if share == "group" else SplitChannels(net, share)


def kinds(net: ResNet, split: Split | None = None) -> dict[str, Pool]:
    """The kinds of a network's features.

    Of a plain network: all. Of an equivariant one: those averaged over the group, which are
    invariant, and all of them. Of a network trained in halves, each half as well.
    """
    found: dict[str, Pool] = {"invariant": average_maps, "equivariant": flatten_maps}
    if net.group.order == 1:
        found = {"all": flatten_maps}
    if split is not None:
        # What a loss made invariant is, by a group's head, the mean over the group.
        found["invariant half"] = lambda x: average_maps(split(x).invariant)
        found["equivariant half"] = lambda x: flatten_maps(split(x).equivariant)
    return found


# Options that some tasks take only.
SPECIAL = ("labels", "transformation", "test", "test_split")


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
