"""Saved backbones, and the features that each of them has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hierforecast.errors import DataError
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
