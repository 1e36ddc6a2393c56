"""``hierforecast ssl pretrain``: a backbone learns from images, and is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_only
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from hierforecast._console import Names, option, read_settings, say
from hierforecast._random import drawing, seeded
from hierforecast.errors import DataError, Interrupted
from hierforecast.image_ssl import training
from hierforecast.image_ssl.cli.options import (
    LARGE,
    SMALL,
    File,
    Images,
    Number,
    Seed,
    Settings,
    Size,
    Split,
    Unreadable,
    on_error_of,
)
from hierforecast.image_ssl.cli.output import check_endings, save_picture
from hierforecast.image_ssl.cli.painting import images_to_paint, painted
from hierforecast.image_ssl.data import ImageSet, PosedPairs
from hierforecast.image_ssl.data._files import OnError
from hierforecast.image_ssl.data.named import NAMES, open_posed, open_set
from hierforecast.image_ssl.methods import ARMS, METHODS, arm, build_method, options_of
from hierforecast.image_ssl.nn.resnet import ResNet, resnet18, resnet50, small_resnet
from hierforecast.image_ssl.split import Poses
from hierforecast.image_ssl.storage import check_folder, save_backbone
from hierforecast.image_ssl.training import Schedule

T = TypeVar("T")
NETWORKS: dict[str, Callable[..., ResNet]] = {
    "small": small_resnet,
    "resnet18": resnet18,
    "resnet50": resnet50,
}
SMALL_SETS = ("shapes", "objects", "cifar10")
MATCHES = {"parameters": "parameters", "compute": "compute", "none": None}
PAIRS = ("augmented", "posed")
# Each with the learning rate that it takes where none is given.
OPTIMISERS: dict[str, tuple[Callable[..., Optimizer], float]] = {
    "adamw": (AdamW, 2e-3),
    "sgd": (partial(SGD, momentum=0.9), 0.03),
}
# Their features are to tell brightness and contrast, which standardising an image would hide.
SEE_LIGHT = ("vicreg", "reconstruction", "sie", "regression", "supervised")
# Options of methods that --set cannot give: modules, or what has an option of its own.
NO_TEXT = ("augment", "decoder", "classes")
# Options that are kept with the network as they were given.
KEPT = (
    "method", "group", "head_width", "network", "match", "data", "pairs", "split", "steps",
    "batch_size", "weight_decay", "optimiser", "precision", "seed",
)  # fmt: skip

NewFolder = Annotated[Path, typer.Argument(help="Folder to save the backbone in.")]
Data = Annotated[str, option("--data", f"{NAMES}.")]
Pairs = Annotated[str, option("--pairs", "Two views of an image: augmented; of an object: posed.")]
Method = Annotated[str, option("--method", f"{', '.join(METHODS)}.")]
Arm = Annotated[str, option("--arm", f"{', '.join(ARMS)}.")]
Group = Annotated[str, option("--group", "C2, C4, D1, D2 or D4.")]
Network = Annotated[str, option("--network", f"{', '.join(NETWORKS)}.")]
Width = Annotated[Number, option("--width", "Channels of the plain one. [16; 64 for resnets]")]
Match = Annotated[str, option("--match", "What all arms share: parameters, compute or none.")]
HeadWidth = Annotated[int, option("--head-width", "Channels of the head.", min=1)]
Standardise = Annotated[
    bool | None,
    option(
        "--standardise/--no-standardise",
        f"Hide brightness and contrast from the network. [not for {', '.join(SEE_LIGHT)}]",
    ),
]
Steps = Annotated[int, option("--steps", "Training steps.", min=1)]
BatchSize = Annotated[int, option("--batch-size", "Images in a step, on each device.", min=1)]
Rate = Annotated[float | None, option("--learning-rate", "At its peak. [0.002; 0.03 for sgd]")]
Decay = Annotated[float, option("--weight-decay", "Of all but biases and norms.")]
Optimiser = Annotated[str, option("--optimiser", "adamw, or sgd with a momentum of 0.9.")]
Workers = Annotated[int, option("--workers", "Processes that read images ahead.", min=0)]
Checkpoints = Annotated[File, option("--checkpoints", "Folder to keep them in.")]
Resume = Annotated[bool, option("--resume", "Go on from those in --checkpoints.")]
Devices = Annotated[str, option("--devices", "How many, or auto for all.")]
Precision = Annotated[str, option("--precision", "E.g. bf16-mixed.")]
Painted = Annotated[
    File, option("--plot", "Picture of what a reconstruction makes of test images.")
]


def pretrain(
    context: typer.Context,
    out: NewFolder,
    data: Data = "shapes",
    pairs: Pairs = "augmented",
    method: Method = "moco",
    arm_name: Arm = "consistent",
    group: Group = "C4",
    network: Network = "small",
    width: Width = None,
    match: Match = "parameters",
    head_width: HeadWidth = 128,
    standardise: Standardise = None,
    size: Size = None,
    images: Images = None,
    split: Split = None,
    on_error: Unreadable = "raise",
    steps: Steps = 2000,
    batch_size: BatchSize = 128,
    learning_rate: Rate = None,
    weight_decay: Decay = 1e-4,
    optimiser: Optimiser = "adamw",
    seed: Seed = 0,
    workers: Workers = 0,
    checkpoints: Checkpoints = None,
    resume: Resume = False,
    devices: Devices = "1",
    precision: Precision = "32-true",
    plot: Painted = None,
    settings: Settings = None,
) -> None:
    """Train a backbone on images alone and save it.

    Arms: plain; consistent, an equivariant backbone with a head that keeps the symmetry; and
    inconsistent, the same backbone with an ordinary head. --set gives an option of the method: for
    moco queue_size=4096, temperature=0.2, for swav prototypes=64, for jigsaw count=64, for
    reconstruction weight=20, tokens=maps, for sie fed=rotation, known=0.2, and so on; split=0.5 is
    the invariant share of the channels, split=group halves by the group.
    """
    if resume and checkpoints is None:
        raise DataError("--resume needs --checkpoints: the folder of the training to go on with")
    check_folder(out)
    check_endings(None, plot)
    make_optimiser, usual_rate = _chosen("optimiser", optimiser, OPTIMISERS)
    rate = usual_rate if learning_rate is None else learning_rate
    options = _options(method, settings)
    groups = arm(arm_name, group)
    if size is None:
        size = SMALL if network == "small" or data.startswith(SMALL_SETS) else LARGE
    if standardise is None:
        standardise = method not in SEE_LIGHT
    weights = seeded(seed)
    with drawing(weights):
        backbone = _chosen("network", network, NETWORKS)(
            groups[0],
            match=_chosen("match", match, MATCHES),
            image_size=size,
            standardise=standardise,
            **({} if width is None else {"width": width}),
        )
    readable = on_error_of(on_error)
    pictures, given = _pictures(method, pairs, data, size, split, images, readable)
    drawn = None if plot is None else images_to_paint(method, pairs, data, size, readable)
    heads: dict[str, Any] = {"symmetry": group, "size": size, "width": head_width}
    with drawing(weights):
        learning = build_method(method, backbone, groups[1], **heads, **options, **given)
    count = sum(weight.numel() for weight in backbone.parameters())
    say(f"{method}, {arm_name}: {network} network of {groups[0].name} with {count:,} weights")
    say(f"{data}: {len(pictures):,} images of {size} x {size}")
    schedule = Schedule(steps, batch_size, rate, weight_decay, seed, workers, make_optimiser)
    trainer = {"devices": devices, "precision": precision, "default_root_dir": checkpoints}
    stopped = _train(learning, pictures, schedule, trainer, resume)
    made_by = {name: context.params[name] for name in KEPT} | {
        "arm": arm_name, "options": options, "standardise": standardise, "images": len(pictures),
        "size": size, "learning_rate": rate, "finished": stopped is None,
        "version": version("hierforecast"),
    }  # fmt: skip
    _keep(backbone, out, made_by)
    if plot is not None and drawn is not None:
        _draw(learning, drawn, seed, plot)
    if stopped is not None:
        raise stopped


def _chosen(what: str, name: str, table: Mapping[str, T]) -> T:
    if name not in table:
        raise DataError(f"{what} {name!r} is none of {', '.join(table)}")
    return table[name]


def _settable(method: str) -> dict[str, Any]:
    """What --set can give to a method, with its default."""
    _chosen("method", method, METHODS)
    given = options_of(method).items()
    return {name: one.default for name, one in given if name not in NO_TEXT}


def _options(method: str, settings: Names) -> dict[str, Any]:
    """What --set gives; how features are split is told always, for those who judge the halves."""
    known = _settable(method)
    split = {"split": known["split"]} if "split" in known else {}
    return split | read_settings(settings, known)


def _pictures(
    method: str,
    pairs: str,
    data: str,
    size: int,
    split: str | None,
    images: int | None,
    on_error: OnError,
) -> tuple[ImageSet | PosedPairs, dict[str, Any]]:
    """What is learned from, and the options that its method takes for it."""
    if pairs not in PAIRS:
        raise DataError(f"--pairs {pairs}: give {' or '.join(PAIRS)}")
    if pairs == "posed":
        posed = open_posed(data, size, split, images=images, on_error=on_error)
        return PosedPairs(posed), {"augment": Poses()}
    found = open_set(data, size, split, images=images, on_error=on_error)
    return found, {"classes": len(found.classes)} if method == "supervised" else {}


def _train(
    learning: nn.Module,
    images: ImageSet | PosedPairs,
    schedule: Schedule,
    trainer: dict[str, Any],
    resume: bool,
) -> BaseException | None:
    """Train, and say how it ended; what interrupted it after a step, if something did."""
    devices = trainer["devices"]
    if devices != "auto" and not (devices.isdecimal() and int(devices)):
        raise DataError(f"--devices {devices}: give how many, from 1, or auto")
    trainer = {**trainer, "devices": devices if devices == "auto" else int(devices)}
    try:
        curve = training.pretrain(learning, images, schedule, trainer=trainer, resume=resume)
    except MisconfigurationException as error:
        raise DataError(str(error)) from error
    except DataError as error:  # of a worker process, it brings a traceback as its text
        raise DataError(str(error).rpartition("DataError: ")[2]) from error
    except (Interrupted, SystemExit) as stop:
        return stop
    say(f"loss {curve['loss'].iloc[-1]:.4g} at step {curve['step'].iloc[-1]:,}")
    return None


@rank_zero_only
def _keep(backbone: ResNet, out: Path, made_by: dict[str, Any]) -> None:
    """Save, on one process only."""
    save_backbone(backbone, out, made_by)
    say(f"saved {out}")


@rank_zero_only
def _draw(learning: Any, images: ImageSet, seed: int, path: Path) -> None:
    """Draw what a reconstruction paints, on one process only."""
    save_picture(painted(learning, images, seed), path)
