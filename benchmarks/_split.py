"""Split features: the data sets, the methods, and one run of a method judged by every probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hierforecast.image_ssl.augment import Identity
from hierforecast.image_ssl.data import (
    ImageSet,
    PosedPairs,
    PosedSet,
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
    part,
    probe_poses,
    probe_transformations,
    retrieve_objects,
    transformation_sets,
)
from hierforecast.image_ssl.evaluation.features import Pool
from hierforecast.image_ssl.methods import build_method
from hierforecast.image_ssl.nn import ResNet, Sampling, small_resnet
from hierforecast.image_ssl.split import Poses, SplitChannels, SplitGroup
from hierforecast.image_ssl.training import Schedule, pretrain

SIZE = 33
# Objects lie within 45 degrees of upright, so that two views are within 90 of each other.
WITHIN = 45.0
STEM = (Sampling(3, 2, 1),)


@dataclass(frozen=True)
class Arm:
    """One row of the table.

    Attributes:
        method: as `build_method` calls it; None is untrained.
        group: of the backbone.
        options: of the method.
        apart: whether its halves are judged apart as well.
    """

    method: str | None
    group: str = "C1"
    options: Mapping[str, Any] = field(default_factory=dict)
    apart: bool = False

    def with_defaults(self, options: Mapping[str, Any]) -> Arm:
        """The same, with the weight and the split of all reconstructions."""
        if self.method != "reconstruction":
            return self
        usual = {"weight": options["weight"], "split": options["split"]}
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


@dataclass(frozen=True)
class Sets:
    """Images to learn from and to judge by; probes are taught on the former."""

    train: ImageSet
    test: ImageSet


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
    return small_resnet(group, width, match="parameters", stem=STEM, standardise=False)


def halves(arm: Arm, backbone: ResNet) -> dict[str, Pool]:
    """The halves of an arm's features, as pools; of no halves, none."""
    if not arm.apart:
        return {}
    if arm.options.get("split") == "group":
        split = SplitGroup(backbone)
        return {
            "invariant half": lambda x: flatten_group(split(x).invariant),
            "equivariant half": lambda x: flatten_group(split(x).equivariant),
        }
    cut = SplitChannels(backbone, arm.options.get("split", 0.5)).channels
    return {"invariant half": part(slice(cut)), "equivariant half": part(slice(cut, None))}


def pretrained(
    name: str, seed: int, data: str, options: Mapping[str, Any], folder: Path
) -> tuple[Arm, ResNet, dict[str, str]]:
    """An arm's network, trained or found trained in the folder, and what is told of its making.

    Args:
        name: of the arm.
        seed: of everything random.
        data: as `load` calls it.
        options: steps, batch_size, learning_rate, width, device, and, for the reconstruction,
            weight and split.
        folder: of the files.
    """
    arms = POSED_ARMS if data == "poses" else ARMS
    arm, kept = arms[name].with_defaults(options), stem(name, seed, folder, ".safetensors")
    torch.manual_seed(seed)
    backbone = network(arm.group, options["width"])
    if arm.method is None:
        return arm, backbone, {"steps": "0", "seconds": "0"}
    if not kept.exists():
        images, begun = load(data).train, monotonic()
        train(arm, backbone, images, seed, options)
        told = {"steps": options["steps"], "seconds": round(monotonic() - begun)}
        save(backbone, kept, told)
    return arm, backbone, restore(backbone, kept)


def judged(name: str, seed: int, data: str, options: Mapping[str, Any], folder: Path) -> Path:
    """A file of all scores of an arm, made or found; arguments as `pretrained`."""
    path = stem(name, seed, folder, ".csv")
    if path.exists():
        return path
    arm, backbone, told = pretrained(name, seed, data, options, folder)
    scores = judge(arm, backbone, load(data), seed, options["device"], data == "poses")
    weights = sum(p.numel() for p in backbone.parameters())
    scores = scores.assign(method=name, seed=seed, weights=weights, **told)
    path.parent.mkdir(parents=True, exist_ok=True)
    scores.to_csv(path, index=False)
    return path


def stem(name: str, seed: int, folder: Path, suffix: str) -> Path:
    """Where an arm's file of this kind lies."""
    return folder / f"{name.replace(' ', '_')}-{seed}{suffix}"


def save(backbone: nn.Module, path: Path, told: Mapping[str, Any]) -> None:
    """Keep the weights, whole or not at all, and what is told of their making."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    save_file(backbone.state_dict(), half, {name: str(value) for name, value in told.items()})
    half.replace(path)


def restore(backbone: nn.Module, path: Path) -> dict[str, str]:
    """Load what `save` kept; what was told comes back."""
    with safe_open(path, "pt") as file:
        backbone.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        return dict(file.metadata())


def train(
    arm: Arm, backbone: ResNet, images: ImageSet, seed: int, options: Mapping[str, Any]
) -> nn.Module:
    """Pretrain a backbone by an arm; the method with its heads comes back."""
    given = dict(arm.options)
    if arm.method == "supervised":
        given["classes"] = len(images.classes)
    learning = build_method(str(arm.method), backbone, size=SIZE, width=128, **given)
    schedule = Schedule(
        options["steps"], options["batch_size"], options["learning_rate"], seed=seed
    )
    accelerator = "gpu" if options["device"].startswith("cuda") else "cpu"
    settings = {"accelerator": accelerator, "devices": 1, "enable_progress_bar": False}
    posed = isinstance(given.get("augment"), Poses) and isinstance(images, PosedSet)
    pretrain(learning, PosedPairs(images) if posed else images, schedule, trainer=settings)
    return learning


def judge(
    arm: Arm, backbone: ResNet, sets: Sets, seed: int, device: str, posed: bool
) -> pd.DataFrame:
    """Every probe: classes, what lies between two views, masks, other views of the object."""
    quiet: dict[str, Any] = {"device": device, "progress": False}
    kinds = {"all": flatten_group, **halves(arm, backbone)}
    classes = evaluate(backbone, sets.train, sets.test, kinds, **quiet)
    tables = [classes.rename(columns={"classifier": "probe"}).assign(target="class")]
    asked = [
        partial(probe_transformations, augmentation=augmentation)
        for title, augmentation in transformation_sets().items()
        if title != "all"
    ]
    if posed:
        asked = [probe_poses]
    for number, probe in enumerate(asked):
        kind, both = (backbone, sets.train, sets.test), {"seed": seed, **quiet}
        tables.append(probe(*kind, features={"all": flatten_group}, **both))
        if len(kinds) > 1 and number < 2:  # rotation and colour, or all of a pose
            parts = {key: pool for key, pool in kinds.items() if key != "all"}
            tables.append(probe(*kind, features=parts, probes={"MLP": MLPProbe}, **both))
    tables += [masks(backbone, quiet), views(backbone, kinds, quiet)]
    return pd.concat(tables, ignore_index=True)


@cache
def segmented() -> tuple[SegmentedImages, ...]:
    """Rendered shapes and the class of every pixel, to teach and to judge."""
    made = (ShapeMasks(RenderedShapes(n, seed, SIZE)) for n, seed in ((1024, 2), (512, 3)))
    return tuple(SegmentedImages.of(images) for images in made)


def masks(backbone: ResNet, quiet: Mapping[str, Any]) -> pd.DataFrame:
    """A linear map of feature maps, taught to segment rendered shapes."""
    train, test = segmented()
    score = dense_probe(backbone, train, test, **quiet)
    found = {"mIoU": score.mean_iou, "mAcc": score.mean_accuracy, "aAcc": score.pixel_accuracy}
    rows = [{"metric": name, "score": value} for name, value in found.items()]
    return pd.DataFrame(rows).assign(features="maps", target="masks", probe="linear")


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
