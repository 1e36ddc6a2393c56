"""Split features: the data sets, the methods, and one run of a method scored by every probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from time import monotonic
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.experiment import Options, stem
from benchmarks.image_ssl import STEM, Sets
from hierforecast.image_ssl.augment import Identity
from hierforecast.image_ssl.cli.task import kinds as pools_of
from hierforecast.image_ssl.data import (
    ImageSet,
    RenderedObjects,
    RenderedShapes,
    ShapeMasks,
    load_cifar10,
)
from hierforecast.image_ssl.evaluation import (
    MLPProbe,
    SegmentedImages,
    collect_features,
    dense_probe,
    evaluate,
    flatten_group,
    probe_poses,
    probe_transformations,
    retrieve_objects,
    transformation_sets,
)
from hierforecast.image_ssl.evaluation.features import Pool
from hierforecast.image_ssl.methods import build_method
from hierforecast.image_ssl.nn import ResNet, small_resnet
from hierforecast.image_ssl.split import Poses, SplitChannels, SplitGroup
from hierforecast.image_ssl.storage import load_backbone, read_made_by, save_backbone
from hierforecast.image_ssl.training import Schedule, pretrain

SIZE = 33
# Objects lie within 45 degrees of upright, so that two views are within 90 of each other.
WITHIN = 45.0


@dataclass(frozen=True)
class Arm:
    """One row of the table.

    Attributes:
        method: as `build_method` calls it; None is untrained.
        group: of the backbone.
        options: of the method.
        apart: whether its halves are evaluated apart as well.
    """

    method: str | None
    group: str = "C1"
    options: Mapping[str, Any] = field(default_factory=dict)
    apart: bool = False

    def with_defaults(self, given: Options) -> Arm:
        """The same, with the weight and the split of all reconstructions."""
        if self.method != "reconstruction":
            return self
        usual = {"weight": given.weight, "split": given.split}
        return replace(self, options={**usual, **self.options})


def _sie(fed: str, known: float = 1.0) -> Arm:
    return Arm("sie", options={"fed": fed, "known": known}, apart=fed in ("rotation", "all"))


def _reconstruction(group: str = "C1", **options: Any) -> Arm:
    return Arm("reconstruction", group, options, apart=True)


KINDS = ("rotation", "color", "blur", "translation", "crop", "flip")
ARMS: dict[str, Arm] = {
    "random": Arm(None),
    "VICReg": Arm("vicreg"),
    "reconstruction": _reconstruction(),
    **{f"SIE ({kind})": _sie(kind) for kind in KINDS},
    "SIE (all)": _sie("all"),
    "SIE (one at a time)": _sie("one at a time"),
    "supervised": Arm("supervised"),
    # Parameters of 80 % of the images unknown; the reconstruction needs none.
    "SIE (all), 20 % known": _sie("all", 0.2),
    "regression, 20 % known": Arm("regression", options={"known": 0.2}),
    "regression": Arm("regression"),
    "reconstruction, whitened": _reconstruction(error="whitened"),
    "reconstruction, between": _reconstruction(between=True),
    "MoCo": Arm("moco"),
    "reconstruction, MoCo": _reconstruction(learner="moco"),
    "random, C4": Arm(None, "C4"),
    "VICReg, C4": Arm("vicreg", "C4"),
    "reconstruction, C4": _reconstruction("C4", split="group"),
}


POSES = {"augment": Poses()}
# The views are two of one object, and nothing is done to them.
POSED_ARMS: dict[str, Arm] = {
    "random": Arm(None),
    "VICReg": Arm("vicreg", options=POSES),
    "reconstruction": _reconstruction(**POSES),
    "SIE (pose)": Arm("sie", options={"fed": "pose", **POSES}, apart=True),
    "SIE (hue)": Arm("sie", options={"fed": "hue", **POSES}),
    "SIE (all)": Arm("sie", options={"fed": "all", **POSES}, apart=True),
    "supervised": Arm("supervised", options={"augment": Identity()}),
    "SIE (all), 20 % known": Arm("sie", options={"fed": "all", "known": 0.2, **POSES}),
    "regression, 20 % known": Arm("regression", options={"known": 0.2, **POSES}),
    "regression": Arm("regression", options=POSES),
}


@cache
def load(name: str) -> Sets:
    """The sets of a table: ``cifar``, ``objects``, or ``poses``, more views of the objects."""
    if name == "cifar":
        return Sets(*(load_cifar10(split).resized(SIZE) for split in ("train", "test")))
    views = 8 if name == "poses" else 4
    made = [
        RenderedObjects(n, views, seed, SIZE, within=WITHIN) for n, seed in ((1024, 0), (512, 1))
    ]
    return Sets(*(images.in_memory() for images in made))


def network(group: str, width: int) -> ResNet:
    """A backbone with as many weights as the plain one of `width`; it sees images as they are."""
    return small_resnet(group, width, match="parameters", stem=STEM, standardize=False)


def halves(arm: Arm, backbone: ResNet) -> dict[str, Pool]:
    """The halves of an arm's features, as pools; of no halves, none."""
    if not arm.apart:
        return {}
    share = arm.options.get("split", 0.5)
    split = SplitGroup(backbone) if share == "group" else SplitChannels(backbone, share)
    return {kind: pool for kind, pool in pools_of(backbone, split).items() if "half" in kind}


def pretrained(name: str, given: Options) -> tuple[Arm, ResNet, dict[str, int]]:
    """An arm's network, trained or found trained in the folder, and how it was made.

    Args:
        name: of the arm.
        given: data, seed, steps, batch_size, learning_rate, width, device, and, for the
            reconstruction, weight and split; the network stays in the folder.
    """
    arm = (POSED_ARMS if given.data == "poses" else ARMS)[name].with_defaults(given)
    stem_of_run = stem(name, given)
    kept = stem_of_run.with_name(f"{stem_of_run.name}.backbone")
    torch.manual_seed(given.seed)
    backbone = network(arm.group, given.width)
    if arm.method is None:
        return arm, backbone, {"steps": 0, "seconds": 0}
    if not kept.exists():
        begun = monotonic()
        train(arm, backbone, load(given.data).train, given)
        about = {"steps": given.steps, "seconds": round(monotonic() - begun)}
        save_backbone(backbone, kept, about)
    return arm, load_backbone(kept), read_made_by(kept)


def scores_of(name: str, given: Options) -> pd.DataFrame:
    """All scores of an arm; arguments as `pretrained`."""
    arm, backbone, about = pretrained(name, given)
    scores = probed(arm, backbone, load(given.data), given)
    weights = sum(p.numel() for p in backbone.parameters())
    return scores.assign(method=name, seed=given.seed, weights=weights, **about)


def train(arm: Arm, backbone: ResNet, images: ImageSet, given: Options) -> nn.Module:
    """Pretrain a backbone by an arm; the method with its heads comes back."""
    options = dict(arm.options)
    if arm.method == "supervised":
        options["classes"] = len(images.classes)
    learning = build_method(str(arm.method), backbone, size=SIZE, width=128, **options)
    schedule = Schedule(given.steps, given.batch_size, given.learning_rate, seed=given.seed)
    accelerator = "gpu" if given.device.startswith("cuda") else "cpu"
    settings = {"accelerator": accelerator, "devices": 1, "enable_progress_bar": False}
    pretrain(learning, images, schedule, trainer=settings)
    return learning


def probed(arm: Arm, backbone: ResNet, sets: Sets, given: Options) -> pd.DataFrame:
    """Every probe: classes, what lies between two views, masks, other views of the object."""
    quiet: dict[str, Any] = {"device": given.device, "progress": False}
    kinds = {"all": flatten_group, **halves(arm, backbone)}
    classes = evaluate(backbone, sets.train, sets.test, kinds, **quiet)
    tables = [classes.rename(columns={"classifier": "probe"}).assign(target="class")]
    probes = [
        partial(probe_transformations, augmentation=augmentation)
        for title, augmentation in transformation_sets().items()
        if title != "all"
    ]
    if given.data == "poses":
        probes = [probe_poses]
    for number, probe in enumerate(probes):
        common, both = (backbone, sets.train, sets.test), {"seed": given.seed, **quiet}
        tables.append(probe(*common, features={"all": flatten_group}, **both))
        if len(kinds) > 1 and number < 2:  # rotation and colour, or all of a pose
            parts = {key: pool for key, pool in kinds.items() if key != "all"}
            tables.append(probe(*common, features=parts, probes={"MLP": MLPProbe}, **both))
    tables += [masks(backbone, quiet), views(backbone, kinds, quiet)]
    return pd.concat(tables, ignore_index=True)


@cache
def segmented() -> tuple[SegmentedImages, ...]:
    """Rendered shapes and the class of every pixel, to train and to test."""
    made = (ShapeMasks(RenderedShapes(n, seed, SIZE)) for n, seed in ((1024, 2), (512, 3)))
    return tuple(SegmentedImages.of(images) for images in made)


def masks(backbone: ResNet, quiet: Mapping[str, Any]) -> pd.DataFrame:
    """A linear map of feature maps, fitted to segment rendered shapes."""
    train, test = segmented()
    score = dense_probe(backbone, train, test, **quiet).table()
    return score.assign(features="maps", target="masks", probe="linear")


@cache
def other_views() -> tuple[ImageSet, Tensor]:
    """Four views of each of 256 objects, and the object of each."""
    posed = RenderedObjects(256, 4, 4, SIZE, within=WITHIN)
    return posed.in_memory(), posed.parameters(range(len(posed)))["object"]


def views(backbone: ResNet, kinds: Mapping[str, Pool], quiet: Mapping[str, Any]) -> pd.DataFrame:
    """How near another view of the same object is, among 1,024 views of 256 objects."""
    images, objects = other_views()
    tables = []
    for kind, pool in kinds.items():
        features = collect_features(backbone, images, pool, **quiet).x
        tables.append(retrieve_objects(features, objects).assign(features=kind))
    return pd.concat(tables).assign(target="other view", probe="nearest")
