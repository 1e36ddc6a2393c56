"""What ``ssl evaluate`` can evaluate: a task is one object, named in `TASKS`."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import torch
from matplotlib.figure import Figure
from rich.table import Table

from hierforecast._console import say
from hierforecast.errors import DataError
from hierforecast.image_ssl.cli.options import EvaluateOptions, on_error_of
from hierforecast.image_ssl.cli.output import bars, joined, legend_below, pivoted
from hierforecast.image_ssl.cli.task import Run, Saved, Task
from hierforecast.image_ssl.data.named import open_masks, open_posed
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
    transformation_sets,
)
from hierforecast.image_ssl.evaluation.features import run_backbone
from hierforecast.image_ssl.evaluation.targets import POOLED
from hierforecast.image_ssl.plot import (
    plot_comparison,
    plot_features,
    plot_learning_curves,
    plot_neighbors,
    plot_r2,
)
from hierforecast.image_ssl.plot.style import new_figure

LINES = ("backbone", "features")
MANY = 50_000  # views; each is compared with each
# Of a picture of neighbors: views that they are sought among, rows, and columns of each kind.
GALLERY, QUERIES, NEAREST = 2000, 5, 4


class Classification(Task):
    """Accuracy of simple classifiers, drawn as feature spaces side by side."""

    takes: ClassVar[tuple[str, ...]] = ("test", "test_split", "labels")

    def open(self, run: Run) -> tuple[Any, Any]:
        """The sets, the first cut to --labels, as many of each class as can be."""
        train, test = super().open(run)
        labels = run.options.labels
        if labels is None:
            return train, test
        if train.multi_label:
            raise DataError("--labels takes as many of each class: it needs one class an image")
        if not 1 <= labels <= len(train):
            raise DataError(f"--labels {labels}: give 1 to {len(train):,}, the number of images")
        return train.subset(balanced_order(train.labels, run.options.seed)[:labels]), test

    def scores(self, one: Saved, train: Any, test: Any, run: Run) -> pd.DataFrame:
        """`evaluate` of each kind of features."""
        return evaluate(one.net, train, test, one.kinds, **run.how)

    def shown(self, table: pd.DataFrame) -> Table:
        """A line for each kind of features, a column for each classifier."""
        named = table.assign(
            features=table["dimensions"].astype(str) + " " + table["features"],
            column=table["classifier"] + ", " + table["metric"],
        )
        return pivoted(named, LINES, "column")

    def draw(self, table: pd.DataFrame, run: Run, test: Any) -> Figure:
        """The feature space of each backbone."""
        figure = new_figure(9 * len(run.saved), 6)
        axes = figure.subplots(1, len(run.saved), squeeze=False)[0]
        for ax, (name, one) in zip(axes, run.saved.items(), strict=True):
            plot_features(_features(one, test, run), ax, title=name)
        return figure


class LearningCurve(Classification):
    """Accuracy by the number of labels, of features averaged over the group."""

    def scores(self, one: Saved, train: Any, test: Any, run: Run) -> pd.DataFrame:
        """`learning_curve`."""
        train, test = (_features(one, images, run) for images in (train, test))
        return learning_curve(train, test, progress=bars())

    def shown(self, table: pd.DataFrame) -> Table:
        """A line for each number of labels, with the range over draws."""
        shown = Table("backbone", "labels", "linear probe, accuracy", "worst and best draw")
        for (backbone, labels), rows in table.groupby(["backbone", "labels"], sort=False):
            found = rows["accuracy"]
            ends = f"{found.min():.4f} to {found.max():.4f}"
            shown.add_row(backbone, f"{labels:,}", f"{found.mean():.4f}", ends)
        return shown

    def draw(self, table: pd.DataFrame, run: Run, test: Any) -> Figure:
        """The curves."""
        figure = plot_learning_curves(table, "backbone", chance=1 / len(test.classes)).figure
        assert isinstance(figure, Figure)
        return figure


class TwoViews(Task):
    """R2 of what lies between two views: what its tasks show and draw."""

    def shown(self, table: pd.DataFrame) -> Table:
        """A line for each question and each kind of features, a column for each probe."""
        question = _questions(table)
        named = table.assign(question=question + ", " + table["metric"])
        # Of one dimension, both definitions of R2 are the same.
        pooled = table.assign(question=question + ", " + POOLED, score=table[POOLED])
        both = pd.concat([named, pooled[(table["metric"] == "R2") & (table["dimensions"] > 1)]])
        return pivoted(both.sort_values("question", kind="stable"), ("question", *LINES), "probe")

    def draw(self, table: pd.DataFrame, run: Run, test: Any) -> Figure:
        """Bars of R2."""
        figure = plot_r2(table.assign(target=_questions(table), method=_methods(table)))
        return legend_below(figure, figure.legends[0])


class Transformations(TwoViews):
    """Probes of the transformation between two views of an image."""

    takes = ("test", "test_split", "transformation")
    known = transformation_sets()

    def check(self, options: EvaluateOptions) -> None:
        """Refuse unknown transformations, and a picture of none that has an R2."""
        super().check(options)
        unknown = [name for name in options.transformation or () if name not in self.known]
        if unknown:
            raise DataError(f"transformation {unknown[0]!r} is none of {', '.join(self.known)}")
        if options.plot is not None and set(options.transformation or ()) == {"flip"}:
            raise DataError("--plot draws R2, a flip has an accuracy: name a transformation more")

    def scores(self, one: Saved, train: Any, test: Any, run: Run) -> pd.DataFrame:
        """`probe_transformations` of each kind of features, one transformation after the other."""
        chosen = run.options.transformation or [name for name in self.known if name != "all"]
        how = {"seed": run.options.seed, **run.how}
        scores = {
            name: probe_transformations(one.net, train, test, self.known[name], one.kinds, **how)
            for name in chosen
        }
        return joined("transformation", scores)


class Poses(TwoViews):
    """Probes of the way between two views of an object."""

    opener = staticmethod(open_posed)
    unit = "views"

    def data(self, run: Run) -> str:
        """--data, or what the first backbone learned from if its poses are known, or objects."""
        return run.posed

    def scores(self, one: Saved, train: Any, test: Any, run: Run) -> pd.DataFrame:
        """`probe_poses` of each kind of features."""
        return probe_poses(one.net, train, test, one.kinds, seed=run.options.seed, **run.how)


class Retrieval(Task):
    """Whether a view of an object is near to another view of it."""

    takes = ()

    def open(self, run: Run) -> tuple[Any, Any]:
        """One set of views."""
        given, name = run.options, run.posed
        images = given.images
        if images is None and not name.startswith("objects"):
            images = MANY
        readable = on_error_of(given.on_error)
        posed = open_posed(name, run.side, given.split, test=True, images=images, on_error=readable)
        say(f"{name}: {posed.n_objects:,} objects of {posed.views} views")
        return posed, posed

    def scores(self, one: Saved, train: Any, test: Any, run: Run) -> pd.DataFrame:
        """`retrieve_objects` of each kind of features."""
        objects = torch.arange(len(test)) // test.views
        x, _ = run_backbone(one.net, test, **run.how)
        scores = {kind: retrieve_objects(pool(x), objects) for kind, pool in one.kinds.items()}
        return joined("features", scores)

    def shown(self, table: pd.DataFrame) -> Table:
        """A line for each kind of features, and one for chance; a column for each metric."""
        luck = table.assign(backbone="", features="chance", score=table["chance"])
        both = pd.concat([table, luck.drop_duplicates("metric")])
        return pivoted(both, LINES, "metric")

    def draw(self, table: pd.DataFrame, run: Run, test: Any) -> Figure:
        """Some views and those nearest to them, by each kind of features."""
        generator = torch.Generator().manual_seed(run.options.seed)
        count = min(test.n_objects, max(2, GALLERY // test.views))
        order = torch.randperm(test.n_objects, generator=generator)[:count, None]
        rows = (order * test.views + torch.arange(test.views)).flatten()
        some = test.subset(rows.tolist())
        features: dict[str, Any] = {}
        for name, one in run.saved.items():
            x, _ = run_backbone(one.net, some, **run.how)
            features |= {f"{name}, {kind}": pool(x) for kind, pool in one.kinds.items()}
        queries = range(0, min(count, QUERIES) * test.views, test.views)
        pixels, _ = test.__getitems__(rows.tolist())
        return plot_neighbors(pixels, features, queries, min(NEAREST, len(rows) - 1))


class Segmentation(Task):
    """The class of every pixel, by a linear map of feature maps: means, and the IoU of each."""

    takes = ("test_split",)
    opener = staticmethod(open_masks)

    def data(self, run: Run) -> str:
        """--data, or shapes."""
        return run.options.data or "shapes"

    def scores(self, one: Saved, train: Any, test: Any, run: Run) -> pd.DataFrame:
        """`dense_probe` of each kind of maps."""
        scores, how = {}, {"seed": run.options.seed, **run.how}
        for kind, pool in one.kinds.items():
            score = dense_probe(one.net, train, test, pool, **how)
            each = {"metric": "IoU", "class": score.classes, "score": score.iou.numpy()}
            scores[kind] = pd.concat([score.table(), pd.DataFrame(each)], ignore_index=True)
        return joined("features", scores)

    def shown(self, table: pd.DataFrame) -> Table:
        """A line for each kind of maps, a column for each mean."""
        return pivoted(table[table["class"].isna()], LINES, "metric")

    def draw(self, table: pd.DataFrame, run: Run, test: Any) -> Figure:
        """Bars of the means."""
        means = table[table["class"].isna()]
        named = means.assign(method=_methods(means))
        figure = new_figure(max(7.0, 2.0 * named["method"].nunique()), 5.5)
        ax = plot_comparison(named, figure.subplots(), group="metric", bar="method")
        return legend_below(figure, ax.get_legend())


TASKS: dict[str, Task] = {
    "probe": Classification(),
    "curve": LearningCurve(),
    "transformations": Transformations(),
    "poses": Poses(),
    "retrieval": Retrieval(),
    "segmentation": Segmentation(),
}


def _features(one: Saved, images: Any, run: Run) -> Features:
    return collect_features(one.net, images, **run.how)


def _questions(table: pd.DataFrame) -> pd.Series:
    """What each row asks for; where all transformations happen at once, it says so."""
    if "transformation" not in table:
        return table["target"]
    return table["target"].where(table["transformation"] != "all", table["target"] + " among all")


def _methods(table: pd.DataFrame) -> pd.Series:
    return table["backbone"] + ", " + table["features"]
