"""What the commands reckon of several backbones, as tables and as pictures of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import pandas as pd
import torch
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import Transformation
from hierforecast.image_ssl.cli.backbones import Saved
from hierforecast.image_ssl.cli.output import bars, pivoted
from hierforecast.image_ssl.data.arrays import ImageSet
from hierforecast.image_ssl.data.views import MaskSet, PosedSet
from hierforecast.image_ssl.evaluation import (
    Features,
    balanced_order,
    collect_features,
    dense_probe,
    evaluate,
    learning_curve,
    probe_poses,
    probe_transformations,
    retrieve_objects,
)
from hierforecast.image_ssl.evaluation.features import run_backbone
from hierforecast.image_ssl.nn.resnet import ResNet
from hierforecast.image_ssl.plot import (
    plot_comparison,
    plot_features,
    plot_neighbours,
    plot_r2,
)
from hierforecast.image_ssl.plot.style import FONT, INK, new_figure

# Backbones by their names.
Backbones: TypeAlias = Mapping[str, Saved]

LINES = ("backbone", "features")
# Of a picture of neighbours: views that they are sought among, rows, and columns of each kind.
GALLERY, QUERIES, NEAREST = 2000, 5, 4


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


def all_scores(backbones: Backbones, train: ImageSet, test: ImageSet, device: str) -> pd.DataFrame:
    """`evaluate` of each kind of features of each backbone."""
    how: dict[str, Any] = {"device": device, "progress": bars()}
    found = {n: evaluate(b.net, train, test, b.pools, **how) for n, b in backbones.items()}
    return _joined("backbone", found)


def scores_shown(table: pd.DataFrame) -> Table:
    """A line for each kind of features, a column for each classifier."""
    named = table.assign(
        features=table["dimensions"].astype(str) + " " + table["features"],
        column=table["classifier"] + ", " + table["metric"],
    )
    return pivoted(named, LINES, "column")


def feature_spaces(backbones: Backbones, images: ImageSet, device: str) -> Figure:
    """A figure with the feature space of each backbone, side by side."""
    figure = new_figure(9 * len(backbones), 6)
    axes = figure.subplots(1, len(backbones), squeeze=False)[0]
    for ax, (name, one) in zip(axes, backbones.items(), strict=True):
        plot_features(_features(one.net, images, device), ax, title=name)
    return figure


def all_curves(backbones: Backbones, train: ImageSet, test: ImageSet, device: str) -> pd.DataFrame:
    """`learning_curve` of each backbone's features, averaged over the group."""
    found = {}
    for name, one in backbones.items():
        known, asked = (_features(one.net, images, device) for images in (train, test))
        found[name] = learning_curve(known, asked, progress=bars())
    return _joined("backbone", found)


def curves_shown(table: pd.DataFrame) -> Table:
    """A line for each number of labels, with the spread over draws."""
    shown = Table("backbone", "labels", "linear probe, accuracy", "worst and best draw")
    for (backbone, labels), rows in table.groupby(["backbone", "labels"], sort=False):
        found = rows["accuracy"]
        spread = f"{found.min():.4f} to {found.max():.4f}"
        shown.add_row(backbone, f"{labels:,}", f"{found.mean():.4f}", spread)
    return shown


def all_transformations(
    backbones: Backbones,
    train: ImageSet,
    test: ImageSet,
    chosen: Mapping[str, Transformation],
    seed: int,
    device: str,
) -> pd.DataFrame:
    """`probe_transformations` of each kind of features of each backbone, one after the other."""
    how: dict[str, Any] = {"seed": seed, "device": device, "progress": bars()}
    found = {}
    for name, one in backbones.items():
        scores = {
            title: probe_transformations(one.net, train, test, augmentation, one.pools, **how)
            for title, augmentation in chosen.items()
        }
        found[name] = _joined("transformation", scores)
    return _joined("backbone", found)


def all_poses(
    backbones: Backbones, train: PosedSet, test: PosedSet, seed: int, device: str
) -> pd.DataFrame:
    """`probe_poses` of each kind of features of each backbone."""
    how: dict[str, Any] = {"seed": seed, "device": device, "progress": bars()}
    found = {n: probe_poses(b.net, train, test, b.pools, **how) for n, b in backbones.items()}
    return _joined("backbone", found)


def answers_shown(table: pd.DataFrame) -> Table:
    """A line for each question and each kind of features, a column for each probe."""
    named = table.assign(question=_questions(table) + ", " + table["metric"])
    return pivoted(named.sort_values("question", kind="stable"), ("question", *LINES), "probe")


def answers_drawn(table: pd.DataFrame) -> Figure:
    """Bars of R2."""
    figure = plot_r2(table.assign(target=_questions(table), method=_methods(table)))
    return _with_legend_below(figure, figure.legends[0])


def all_retrievals(
    backbones: Backbones, images: PosedSet, device: str
) -> tuple[pd.DataFrame, dict[str, Tensor]]:
    """`retrieve_objects` of each kind of features, and these features (n, d) by their names."""
    objects = torch.arange(len(images)) // images.views
    found: dict[str, pd.DataFrame] = {}
    features: dict[str, Tensor] = {}
    for name, one in backbones.items():
        x, _ = run_backbone(one.net, images, _whole, device=device, progress=bars())
        pooled = {kind: pool(x) for kind, pool in one.pools.items()}
        scores = {kind: retrieve_objects(rows, objects) for kind, rows in pooled.items()}
        found[name] = _joined("features", scores)
        features |= {f"{name}, {kind}": rows for kind, rows in pooled.items()}
    return _joined("backbone", found), features


def retrievals_shown(table: pd.DataFrame) -> Table:
    """A line for each kind of features, and one for chance; a column for each metric."""
    luck = table.assign(backbone="", features="chance", score=table["chance"])
    both = pd.concat([table, luck.drop_duplicates("metric")])
    return pivoted(both, LINES, "metric")


def neighbours(features: Mapping[str, Tensor], images: PosedSet, seed: int) -> Figure:
    """A figure of some views and of those nearest to them, by each kind of features."""
    count = min(images.n_objects, max(2, GALLERY // images.views))
    order = torch.randperm(images.n_objects, generator=torch.Generator().manual_seed(seed))
    rows = (order[:count, None] * images.views + torch.arange(images.views)).flatten()
    pixels, _ = images.__getitems__(rows.tolist())
    chosen = {name: x[rows] for name, x in features.items()}
    queries = range(0, min(count, QUERIES) * images.views, images.views)
    return plot_neighbours(pixels, chosen, queries, min(NEAREST, len(rows) - 1))


def all_masks(
    backbones: Backbones, train: MaskSet, test: MaskSet, seed: int, device: str
) -> pd.DataFrame:
    """`dense_probe` of each kind of maps of each backbone: its means, and the IoU of each class."""
    how: dict[str, Any] = {"seed": seed, "device": device, "progress": bars()}
    found = {}
    for name, one in backbones.items():
        scores = {}
        for kind, cut in one.kinds.items():
            score = dense_probe(one.net, train, test, cut.map_pool, **how)
            each = {"metric": "IoU", "class": score.classes, "score": score.iou.numpy()}
            scores[kind] = pd.concat([score.table(), pd.DataFrame(each)], ignore_index=True)
        found[name] = _joined("features", scores)
    return _joined("backbone", found)


def masks_shown(table: pd.DataFrame) -> Table:
    """A line for each kind of maps, a column for each mean."""
    return pivoted(table[table["class"].isna()], LINES, "metric")


def masks_drawn(table: pd.DataFrame) -> Figure:
    """Bars of the means."""
    means = table[table["class"].isna()]
    named = means.assign(method=_methods(means))
    figure = new_figure(max(7.0, 2.0 * named["method"].nunique()), 5.5)
    ax = plot_comparison(named, figure.subplots(), group="metric", bar="method")
    return _with_legend_below(figure, ax.get_legend())


def _joined(column: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables one below the other, each named in a first column."""
    for name, table in tables.items():
        table.insert(0, column, name)
    return pd.concat(tables.values(), ignore_index=True)


def _questions(table: pd.DataFrame) -> pd.Series:
    """What each row asks for; where all transformations happen at once, it says so."""
    if "transformation" not in table:
        return table["target"]
    return table["target"].where(table["transformation"] != "all", table["target"] + " among all")


def _methods(table: pd.DataFrame) -> pd.Series:
    return table["backbone"] + ", " + table["features"]


def _with_legend_below(figure: Figure, legend: Any) -> Figure:
    """The same figure, its legend in as many columns as there is room for long names."""
    names = [text.get_text() for text in legend.get_texts()]
    columns = int(figure.get_figwidth() // (0.8 + 0.11 * max(map(len, names))))
    style = {"frameon": False, "fontsize": FONT["legend"], "labelcolor": INK}
    handles = legend.legend_handles
    legend.remove()
    figure.legend(handles, names, loc="outside lower left", ncols=max(1, columns), **style)
    return figure


def _features(net: ResNet, images: ImageSet, device: str) -> Features:
    return collect_features(net, images, device=device, progress=bars())


def _whole(x: Tensor) -> Tensor:
    return x
