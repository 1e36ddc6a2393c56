"""What ``hierforecast ssl probe`` reckons, prints and draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from rich.console import Console
from rich.table import Table

from hierforecast._console import say
from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import ImageSet
from hierforecast.image_ssl.evaluation import (
    FEATURES,
    Features,
    balanced_order,
    collect_features,
    evaluate,
    learning_curve,
)
from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.image_ssl.plot import plot_features
from hierforecast.image_ssl.plot.style import new_figure

PICTURES = (".png", ".pdf", ".svg")


def some_labels(train: ImageSet, labels: int, seed: int) -> ImageSet:
    """Some of the images, as many of each class as can be.

    Raises:
        DataError: if there are not so many, or images show several classes.
    """
    if train.multi_label:
        raise DataError("--labels takes as many of each class: it needs one class an image")
    if not 1 <= labels <= len(train):
        raise DataError(f"--labels {labels}: give 1 to {len(train):,}, the number of images")
    return train.subset(balanced_order(train.labels, seed)[:labels])


def all_scores(
    backbones: Mapping[str, ResNet], train: ImageSet, test: ImageSet, device: str
) -> pd.DataFrame:
    """`evaluate` of each backbone, named in a first column; a plain one has one kind of features.

    Args:
        backbones: by their names.
        train, test, device: as for `evaluate`.
    """
    tables = []
    for name, net in backbones.items():
        kinds = FEATURES if net.group.order > 1 else {"plain": FEATURES["invariant"]}
        found = evaluate(net, train, test, kinds, device=device, progress=_bars())
        tables.append(_named(name, found))
    return pd.concat(tables, ignore_index=True)


def all_curves(
    backbones: Mapping[str, ResNet], train: ImageSet, test: ImageSet, device: str
) -> pd.DataFrame:
    """`learning_curve` of each backbone's invariant features, named in a first column.

    Args:
        backbones: by their names.
        train, test, device: as for `collect_features`.
    """
    tables = []
    for name, net in backbones.items():
        known, asked = (_features(net, one, device) for one in (train, test))
        tables.append(_named(name, learning_curve(known, asked, progress=_bars())))
    return pd.concat(tables, ignore_index=True)


def scores_shown(table: pd.DataFrame) -> Table:
    """A row for each kind of features, a column for each classifier."""
    classifiers = table["classifier"].unique()
    metric = table["metric"].iloc[0]
    shown = Table("backbone", "features", *(f"{name}, {metric}" for name in classifiers))
    kinds = ["backbone", "features", "dimensions"]
    for (backbone, features, dimensions), rows in table.groupby(kinds, sort=False):
        found = rows.set_index("classifier")["score"]
        values = (f"{found[name]:.4f}" for name in classifiers)
        shown.add_row(backbone, f"{dimensions} {features}", *values)
    return shown


def curves_shown(table: pd.DataFrame) -> Table:
    """A row for each number of labels, with the spread over draws."""
    shown = Table("backbone", "labels", "linear probe, accuracy", "worst and best draw")
    for (backbone, labels), rows in table.groupby(["backbone", "labels"], sort=False):
        found = rows["accuracy"]
        spread = f"{found.min():.4f} to {found.max():.4f}"
        shown.add_row(backbone, f"{labels:,}", f"{found.mean():.4f}", spread)
    return shown


def feature_spaces(backbones: Mapping[str, ResNet], images: ImageSet, device: str) -> Any:
    """A figure with the feature space of each backbone, side by side."""
    figure = new_figure(9 * len(backbones), 6)
    axes = figure.subplots(1, len(backbones), squeeze=False)[0]
    for ax, (name, net) in zip(axes, backbones.items(), strict=True):
        plot_features(_features(net, images, device), ax, title=name)
    return figure


def check_ending(path: Path | None, endings: tuple[str, ...]) -> None:
    """Refuse a name that nothing can be written to; worth asking before hours of work.

    Raises:
        DataError: if the name does not end as one of these.
    """
    if path is not None and path.suffix.lower() not in endings:
        raise DataError(f"'{path}' cannot be written: name it {' or '.join(endings)}")


def save_picture(figure: Any, path: Path) -> None:
    """Write a figure, and say so; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    say(f"wrote {path}")


def save_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, and say so; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    say(f"wrote {path}: {len(table):,} rows, columns {', '.join(table.columns)}")


def _named(name: str, table: pd.DataFrame) -> pd.DataFrame:
    table.insert(0, "backbone", name)
    return table


def _features(net: ResNet, images: ImageSet, device: str) -> Features:
    return collect_features(net, images, device=device, progress=_bars())


def _bars() -> bool:
    """Whether somebody looks on; a bar would leave empty lines in a file."""
    return Console().is_terminal
