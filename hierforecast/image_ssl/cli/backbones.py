"""Saved backbones, and the features that each of them has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import (
    average_group,
    average_maps,
    flatten_group,
    flatten_maps,
)
from hierforecast.image_ssl.evaluation.dense import MapPool
from hierforecast.image_ssl.evaluation.features import Pool
from hierforecast.image_ssl.methods import METHODS, options_of
from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.image_ssl.split import Split, SplitChannels, SplitGroup
from hierforecast.image_ssl.storage import load_backbone, read_made_by


@dataclass(frozen=True)
class Kind:
    """Some of what a network says of an image.

    Attributes:
        cut: features (b, c, g) or maps (b, c, g, h, w) to those that are meant, of the same axes.
        invariant: whether the mean over the group is meant, or every element of it.
    """

    cut: Callable[[Tensor], Tensor]
    invariant: bool

    @property
    def pool(self) -> Pool:
        """Features (b, c, g) to (b, d)."""
        return self._after(average_group if self.invariant else flatten_group)

    @property
    def map_pool(self) -> MapPool:
        """Maps (b, c, g, h, w) to (b, d, h, w)."""
        return self._after(average_maps if self.invariant else flatten_maps)

    def _after(self, pool: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: pool(self.cut(x))


@dataclass(frozen=True)
class Saved:
    """A backbone that was saved.

    Attributes:
        data: name of the set that it learned from, or None if that is not known.
        kinds: of its features, by name.
    """

    net: ResNet
    data: str | None
    kinds: Mapping[str, Kind]

    @property
    def pools(self) -> dict[str, Pool]:
        """The kinds as pools of features."""
        return {name: kind.pool for name, kind in self.kinds.items()}


def load_all(folders: Sequence[Path]) -> dict[str, Saved]:
    """Saved backbones, named as their folders, or by the whole path where two are named alike.

    Raises:
        FileNotFoundError, DataError: as `load_backbone` does, or for a split that is unknown.
    """
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


def kinds(net: ResNet, split: Split | None = None) -> dict[str, Kind]:
    """The kinds of a network's features.

    Of a plain network: all. Of an equivariant one: those averaged over the group, which are
    invariant, and all of them. Of a network trained in halves, each half as well.
    """
    if net.group.order == 1:
        found = {"all": Kind(_whole, False)}
    else:
        found = {"invariant": Kind(_whole, True), "equivariant": Kind(_whole, False)}
    if split is not None:
        # What a loss made invariant is, by a group's head, the mean over the group.
        found["invariant half"] = Kind(lambda x: split(x).invariant, True)
        found["equivariant half"] = Kind(lambda x: split(x).equivariant, False)
    return found


def _whole(x: Tensor) -> Tensor:
    return x
