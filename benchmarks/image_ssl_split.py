"""Split features: reconstruction, SIE, VICReg and others, method by probe, on objects or CIFAR-10.

Runs of earlier calls count as well: with ``--set train_only=true`` networks are only trained, some
at a time on a GPU, and a later call evaluates them.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from benchmarks._split import ARMS, POSED_ARMS, load, pretrained, scores_of
from benchmarks.experiment import Experiment, Found, Options, Section, spread, tidy
from hierforecast.image_ssl.plot import plot_r2

# What probes predict of augmented views, and of two poses of an object.
VIEWS = ("rotation", "colour", "blur", "translation", "crop", "flip")
TARGETS = (*VIEWS, "background hue", "light hue", "light direction")
# Columns of the tables: target, probe, metric, and what is printed above.
COLUMNS = {
    "class, linear": ("class", "linear probe", "accuracy"),
    "class, kNN": ("class", "kNN", "accuracy"),
    **{
        f"{target}, {probe}": (target, probe, "accuracy" if target == "flip" else "R2")
        for probe in ("MLP", "linear")
        for target in TARGETS
    },
    "masks, mIoU": ("masks", "linear", "mIoU"),
    "other view, MRR": ("other view", "nearest", "MRR"),
}
# Wang, Krajsek and Scharr, arXiv 2412.03314: CIFAR-10, R2 of rotation, colour, blur, translation.
PUBLISHED = {
    "SIE (rotation)": (0.989, 0.887, 0.836, 0.911),
    "SIE (all)": (0.845, 0.864, 0.889, 0.886),
    "reconstruction": (0.826, 0.906, 0.972, 0.890),
}
# The same with the parameters of 80 % of the images unknown.
PUBLISHED_UNKNOWN = {
    "regression, 20 % known": (0.214, 0.229, 0.437, 0.386),
    "SIE (all), 20 % known": (0.402, 0.395, 0.511, 0.479),
    "reconstruction": (0.815, 0.879, 0.944, 0.878),
}


def arms(given: Options) -> list[str]:
    """The methods of a table, in its order."""
    return list(POSED_ARMS if given.data == "poses" else ARMS)


def measure(name: str, given: Options) -> pd.DataFrame | None:
    """Train a method's network, or find it trained, and evaluate it by every probe."""
    if given.train_only:
        pretrained(name, given)
        return None
    return scores_of(name, given)


def summary(scores: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Method x probe, the mean and the deviation over seeds, of all features."""
    rows = scores[scores["features"].isin(("all", "maps"))]
    return _table(rows, order, {title: (rows, *column) for title, column in COLUMNS.items()})


def halves(scores: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """What each half of split features shows, where halves are evaluated apart."""
    rows = scores[scores["features"].str.endswith("half")]
    shown = {key: COLUMNS[key] for key in COLUMNS if "linear" not in key or "class" in key}
    columns = {
        f"{title}: {kind}": (rows[rows["features"] == f"{kind} half"], *column)
        for title, column in shown.items()
        for kind in ("invariant", "equivariant")
    }
    return _table(rows, order, columns)


def _table(
    rows: pd.DataFrame, order: list[str], columns: dict[str, tuple[Any, ...]]
) -> pd.DataFrame:
    """Methods in order x columns of (rows, target, probe, metric), but for empty columns."""
    there = [name for name in order if name in set(rows["method"])]
    table = pd.DataFrame(
        {
            title: [_cell(part[part["method"] == name], *probe) for name in there]
            for title, (part, *probe) in columns.items()
        },
        index=there,
    )
    return table.loc[:, (table != "-").any()]


def _cell(rows: pd.DataFrame, target: str, probe: str, metric: str) -> str:
    chosen = (rows["target"] == target) & (rows["probe"] == probe) & (rows["metric"] == metric)
    return spread(rows[chosen]["score"])


def beside_published(table: pd.DataFrame) -> pd.DataFrame:
    """Four R2 of the MLP and the published ones of another network on all of CIFAR-10."""
    targets = ("rotation", "colour", "blur", "translation")
    shown = table[[f"{target}, MLP" for target in targets]].copy()
    for title, published in (("", PUBLISHED), (", 80 % unknown", PUBLISHED_UNKNOWN)):
        shown[f"published{title}: {' / '.join(targets)}"] = [
            " / ".join(f"{value:.3f}" for value in published[name]) if name in published else "-"
            for name in shown.index
        ]
    return shown


def sections(found: Found, given: Options) -> list[Section]:
    """Method by probe, the linear probes, the halves, and on CIFAR-10 what was published."""
    scores, sets, order = tidy(found), load(given.data), arms(given)
    if given.picture:
        draw(scores, ["random", "VICReg", "SIE (all)", "reconstruction"], given.picture)
    seconds = scores[scores["steps"] > 0].groupby("method")["seconds"].median()
    weights = ", ".join(map("{:,}".format, sorted(scores["weights"].unique())))
    seeds = ", ".join(map(str, sorted(scores["seed"].unique())))
    note = (
        f"{len(sets.train):,} images to learn from and to fit the probes to, {len(sets.test):,} to "
        f"test; mean ± deviation over seeds {seeds}, one seed where no deviation stands. "
        f"{given.steps:,} steps of {given.batch_size} images for every method, weights of the "
        f"network {weights}; weight of the reconstruction {given.weight:g}, invariant share "
        f"{given.split:g}; trained on {given.hardware}; median seconds of a training "
        f"{seconds.min():.0f} to {seconds.max():.0f}. All features "
        "of both views go to the probes, the same for every method; R² as in `regression`. "
        "'random' is untrained. Runs are kept in the folder: they may be older than the commit "
        "below."
    )
    table, title = summary(scores, order), f"Image SSL, split features: {given.data}"
    key = f"image-ssl-split-{given.data}"
    linear = [name for name in table if name.endswith(", linear") and "class" not in name]
    written = [
        Section(key, f"{title}, MLP probes", table.drop(columns=linear), note),
        Section(f"{key}-linear", f"{title}, linear probes", table[linear]),
        Section(f"{key}-halves", f"{title}, the halves apart", halves(scores, order)),
    ]
    if given.data == "cifar":
        beside = beside_published(table.loc[[m for m in table.index if "C4" not in m]])
        written.append(Section(f"{key}-published", f"{title}, beside the published ones", beside))
    return written


def draw(scores: pd.DataFrame, methods: list[str], path: str) -> None:
    """Draw the R2 of some methods as bars."""
    shown = scores[(scores["features"] == "all") & (scores["probe"] == "MLP")]
    shown = shown[shown["method"].isin(methods)]
    order = {name: number for number, name in enumerate(methods)}
    shown = shown.sort_values("method", key=lambda column: column.map(order), kind="stable")
    plot_r2(shown).savefig(path, dpi=80)


EXPERIMENTS = {
    "image-ssl-split": Experiment(
        "Image SSL, split features: method by probe, on objects, poses or CIFAR-10",
        "image_ssl",
        ("image-ssl-split-*",),
        measure,
        sections,
        arms,
        seeds=(0, 1, 2),
        options={
            "data": "objects",  # objects, poses or cifar
            "steps": 1500,
            "batch_size": 128,
            "learning_rate": 2e-3,
            "width": 16,
            "weight": 20.0,  # of the reconstruction
            "split": 0.5,  # invariant share of channels
        },
        beside={
            "device": "cuda" if torch.cuda.is_available() else "cpu",
            "train_only": False,
            "hardware": "this machine",
            "picture": "",
        },
    )
}
