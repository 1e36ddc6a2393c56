"""The commands that judge saved backbones; what they reckon and draw stands in `tables`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import torch

from hierforecast._console import Names, option, say
from hierforecast.errors import DataError
from hierforecast.image_ssl.cli import tables
from hierforecast.image_ssl.cli.backbones import Saved, load_all
from hierforecast.image_ssl.cli.options import (
    SMALL,
    Data,
    Device,
    File,
    Folder,
    Folders,
    Images,
    Number,
    Out,
    Seed,
    Size,
    Split,
    Test,
    TestSplit,
    Text,
    Unreadable,
    on_error_of,
)
from hierforecast.image_ssl.cli.output import check_endings, deliver, save_picture
from hierforecast.image_ssl.data.named import (
    MASK_NAMES,
    POSED_NAMES,
    is_posed,
    open_masks,
    open_posed,
    open_set,
)
from hierforecast.image_ssl.evaluation import transformation_sets
from hierforecast.image_ssl.plot import plot_learning_curves, plot_turning_map

TRANSFORMATIONS = transformation_sets()
MANY = 50_000  # views; each is compared with each

Labels = Annotated[Number, option("--labels", "Show the classifiers so many labels only.")]
Curve = Annotated[bool, option("--curve", "Accuracy by the number of labels, instead.")]
Space = Annotated[File, option("--plot", "Picture of the feature space, or of the --curve.")]
What = f"{', '.join(TRANSFORMATIONS)} at once; repeat. [each alone]"
Chosen = Annotated[Names, option("--transformation", What)]
Bars = Annotated[File, option("--plot", "Picture of the scores.")]
Posed = Annotated[Text, option("--data", f"{POSED_NAMES}. [what it learned from, or objects]")]
PosedSplit = Annotated[Text, option("--split", "Of --data: train, val or all.")]
Views = Annotated[Number, option("--images", "Take so many at most, whole objects.", min=1)]
Some = Annotated[
    Number, option("--images", f"As many, whole objects. [all; {MANY:,} of files]", min=1)
]
Near = Annotated[File, option("--plot", "Picture of some views and those nearest to them.")]
Masked = Annotated[str, option("--data", f"{MASK_NAMES}.")]
MaskedTest = Annotated[Text, option("--test-split", "Of --data. [validation]")]
Picture = Annotated[Path, option("--out", "Picture to write.")]
Image = Annotated[int, option("--image", "Its number in the set.")]


def probe(
    folders: Folders,
    data: Data = None,
    split: Split = None,
    test: Test = None,
    test_split: TestSplit = None,
    size: Size = None,
    images: Images = None,
    on_error: Unreadable = "raise",
    labels: Labels = None,
    curve: Curve = False,
    seed: Seed = 0,
    device: Device = None,
    out: Out = None,
    plot: Space = None,
) -> None:
    """Judge frozen backbones by what simple classifiers make of their features.

    Of backbones that were trained in halves, each half is judged as well.
    """
    check_endings(out, plot)
    saved, place = load_all(folders), _place(device)
    name, side = data or _learned_from(saved), size or _side(saved)
    train = open_set(name, side, split, images=images, on_error=on_error_of(on_error))
    asked = open_set(test or name, side, test_split, test=True, on_error=on_error_of(on_error))
    if labels is not None:
        train = tables.some_labels(train, labels, seed)
    say(f"{name}: {len(train):,} images to teach classifiers, {len(asked):,} to judge them by")
    if curve:
        table, chance = tables.all_curves(saved, train, asked, place), 1 / len(train.classes)
        lines = partial(plot_learning_curves, table, "backbone", chance=chance)
        deliver(table, tables.curves_shown(table), out, plot, lambda: lines().figure)
    else:
        table = tables.all_scores(saved, train, asked, place)
        spaces = partial(tables.feature_spaces, saved, asked, place)
        deliver(table, tables.scores_shown(table), out, plot, spaces)


def transformations(
    folders: Folders,
    transformation: Chosen = None,
    data: Data = None,
    split: Split = None,
    test: Test = None,
    test_split: TestSplit = None,
    size: Size = None,
    images: Images = None,
    on_error: Unreadable = "raise",
    seed: Seed = 0,
    device: Device = None,
    out: Out = None,
    plot: Bars = None,
) -> None:
    """Judge frozen backbones by what they tell of the transformation between two views.

    A linear probe and a small network (MLP) say its parameters, judged by R2 (0 is guessing the
    mean), and whether one view is flipped, judged by accuracy (0.5 is guessing). Of backbones that
    were trained in halves, each half is judged as well.
    """
    check_endings(out, plot)
    chosen = transformation or [name for name in TRANSFORMATIONS if name != "all"]
    unknown = [name for name in chosen if name not in TRANSFORMATIONS]
    if unknown:
        raise DataError(f"transformation {unknown[0]!r} is none of {', '.join(TRANSFORMATIONS)}")
    if plot is not None and set(chosen) == {"flip"}:
        raise DataError("--plot draws R2, and a flip has an accuracy: name a transformation more")
    saved, place = load_all(folders), _place(device)
    name, side = data or _learned_from(saved), size or _side(saved)
    train = open_set(name, side, split, images=images, on_error=on_error_of(on_error))
    asked = open_set(test or name, side, test_split, test=True, on_error=on_error_of(on_error))
    say(f"{name}: pairs of {len(train):,} images to teach probes, of {len(asked):,} to judge them")
    wanted = {name: TRANSFORMATIONS[name] for name in chosen}
    table = tables.all_transformations(saved, train, asked, wanted, seed, place)
    deliver(table, tables.answers_shown(table), out, plot, partial(tables.answers_drawn, table))


def poses(
    folders: Folders,
    data: Posed = None,
    split: PosedSplit = None,
    test: Test = None,
    test_split: TestSplit = None,
    size: Size = None,
    images: Views = None,
    on_error: Unreadable = "raise",
    seed: Seed = 0,
    device: Device = None,
    out: Out = None,
    plot: Bars = None,
) -> None:
    """Judge frozen backbones by what they tell of the way between two views of an object.

    How far the object is turned, and how hues and light change, judged by R2 as in transformations.
    """
    check_endings(out, plot)
    saved, place = load_all(folders), _place(device)
    name, side, readable = data or _posed(saved), size or _side(saved), on_error_of(on_error)
    train = open_posed(name, side, split, images=images, on_error=readable)
    asked = open_posed(test or name, side, test_split, test=True, on_error=readable)
    say(f"{name}: {len(train):,} views to teach probes, {len(asked):,} to judge them")
    table = tables.all_poses(saved, train, asked, seed, place)
    deliver(table, tables.answers_shown(table), out, plot, partial(tables.answers_drawn, table))


def retrieve(
    folders: Folders,
    data: Posed = None,
    split: PosedSplit = None,
    size: Size = None,
    images: Some = None,
    on_error: Unreadable = "raise",
    seed: Seed = 0,
    device: Device = None,
    out: Out = None,
    plot: Near = None,
) -> None:
    """Judge frozen backbones by whether a view of an object is near to another view of it.

    MRR is the mean of 1 / the place of the nearest right one among all other views, hit@k how often
    it is among the k nearest, each beside its chance. An invariant half should find it; to an
    equivariant half, views of one object in other poses are far apart.
    """
    check_endings(out, plot)
    saved, place = load_all(folders), _place(device)
    name, side, readable = data or _posed(saved), size or _side(saved), on_error_of(on_error)
    if images is None and not name.startswith("objects"):
        images = MANY
    posed = open_posed(name, side, split, test=True, images=images, on_error=readable)
    say(f"{name}: {posed.n_objects:,} objects of {posed.views} views")
    table, features = tables.all_retrievals(saved, posed, place)
    picture = partial(tables.neighbours, features, posed, seed)
    deliver(table, tables.retrievals_shown(table), out, plot, picture)


def segment(
    folders: Folders,
    data: Masked = "shapes",
    split: Split = None,
    test_split: MaskedTest = None,
    size: Size = None,
    images: Images = None,
    on_error: Unreadable = "raise",
    seed: Seed = 0,
    device: Device = None,
    out: Out = None,
    plot: Bars = None,
) -> None:
    """Judge frozen backbones by what a linear map of their feature maps tells of every pixel.

    mIoU is the intersection over union of what is told and what is true, the mean over the classes;
    mAcc the accuracy within each class, the mean over them; aAcc that of all pixels. The maps of
    all images are held in memory.
    """
    check_endings(out, plot)
    saved, place = load_all(folders), _place(device)
    side, readable = size or _side(saved), on_error_of(on_error)
    train = open_masks(data, side, split, images=images, on_error=readable)
    asked = open_masks(data, side, test_split, test=True, on_error=readable)
    say(f"{data}: {len(train):,} images to teach a probe, {len(asked):,} to judge it by")
    table = tables.all_masks(saved, train, asked, seed, place)
    deliver(table, tables.masks_shown(table), out, plot, partial(tables.masks_drawn, table))


def show(
    folder: Folder,
    out: Picture = Path("turning.png"),
    data: Data = None,
    split: Split = None,
    size: Size = None,
    image: Image = 0,
) -> None:
    """Draw how feature maps turn when an image does."""
    check_endings(None, out)
    saved = load_all([folder])
    (net,) = (one.net for one in saved.values())
    pictures = open_set(data or _learned_from(saved), size or _side(saved), split)
    if not 0 <= image < len(pictures):
        raise DataError(f"there is no image {image} in a set of {len(pictures):,}")
    save_picture(plot_turning_map(net, pictures[image][0]), out)


def _learned_from(saved: dict[str, Saved]) -> str:
    name, first = next(iter(saved.items()))
    if first.data is None:
        raise DataError(f"{name} does not say what it learned from: give --data")
    return first.data


def _posed(saved: dict[str, Saved]) -> str:
    """What the first network learned from, if its poses are known."""
    learned = next(iter(saved.values())).data or ""
    return learned if is_posed(learned) else "objects"


def _side(saved: dict[str, Saved]) -> int:
    """Of images that the first network was made for."""
    return next(iter(saved.values())).net.image_size or SMALL


def _place(device: str | None) -> str:
    return device or ("cuda" if torch.cuda.is_available() else "cpu")
