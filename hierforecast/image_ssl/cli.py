"""The image room's commands: ``hierforecast ssl pretrain | probe | show``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from hierforecast._console import Names, option, read_settings, say
from hierforecast.errors import DataError
from hierforecast.image_ssl import _judging, training
from hierforecast.image_ssl.data.arrays import ImageSet
from hierforecast.image_ssl.data.named import NAMES, open_set
from hierforecast.image_ssl.methods import ARMS, METHODS, TAKES, arm, build_method
from hierforecast.image_ssl.nn.resnet import ResNet, resnet18, resnet50, small_resnet
from hierforecast.image_ssl.plot import plot_learning_curves, plot_turning_map
from hierforecast.image_ssl.storage import (
    check_folder,
    load_backbone,
    read_made_by,
    save_backbone,
)
from hierforecast.image_ssl.training import Schedule

T = TypeVar("T")
SMALL, LARGE = 33, 225  # sides that the networks are exact for
NETWORKS: dict[str, Callable[..., ResNet]] = {
    "small": small_resnet,
    "resnet18": resnet18,
    "resnet50": resnet50,
}
MATCHES = {"parameters": "parameters", "compute": "compute", "none": None}
# Each with the learning rate that it takes where none is given.
OPTIMISERS: dict[str, tuple[Callable[..., Optimizer], float]] = {
    "adamw": (AdamW, 2e-3),
    "sgd": (partial(SGD, momentum=0.9), 0.03),
}
# Options of methods that --set cannot give: modules, or what has an option of its own.
NO_TEXT = ("group", "augment", "decoder", "classes")

Number = int | None
Text = str | None
File = Path | None
NewFolder = Annotated[Path, typer.Argument(help="Folder to save the backbone in.")]
Folder = Annotated[Path, typer.Argument(help="Folder of a saved backbone.")]
Folders = Annotated[list[Path], typer.Argument(help="Folders of saved backbones.")]

TrainData = Annotated[str, option("--data", f"{NAMES}.")]
Data = Annotated[Text, option("--data", f"{NAMES}. [what it learned from]")]
Split = Annotated[Text, option("--split", "Of --data, e.g. a folder in it. [train]")]
Size = Annotated[Number, option("--size", "Side of the images, pixels.", min=1)]
Images = Annotated[Number, option("--images", "Take so many of them at most.", min=1)]
Seed = Annotated[int, option("--seed", "Of everything random.")]

Method = Annotated[str, option("--method", f"{', '.join(METHODS)}.")]
Arm = Annotated[str, option("--arm", f"{', '.join(ARMS)}.")]
Group = Annotated[str, option("--group", "C2, C4, D1, D2 or D4.")]
Network = Annotated[str, option("--network", f"{', '.join(NETWORKS)}.")]
Width = Annotated[Number, option("--width", "Channels of the plain one. [16; 64 for resnets]")]
Match = Annotated[str, option("--match", "What all arms share: parameters, compute or none.")]
HeadWidth = Annotated[int, option("--head-width", "Channels of the head.", min=1)]

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
Settings = Annotated[Names, option("--set", "Option KEY=VALUE, see above; repeat.")]

Test = Annotated[Text, option("--test", "Another set to judge by. [--data]")]
TestSplit = Annotated[Text, option("--test-split", "Of the set to judge by. [val or test]")]
Labels = Annotated[Number, option("--labels", "Show the classifiers so many labels only.")]
Curve = Annotated[bool, option("--curve", "Accuracy by the number of labels, instead.")]
Device = Annotated[Text, option("--device", "E.g. cpu. [cuda if there is one]")]
Out = Annotated[File, option("--out", "Table to write, .csv.")]
Plot = Annotated[File, option("--plot", "Picture of the feature space, or of the --curve.")]
Picture = Annotated[Path, option("--out", "Picture to write.")]
Image = Annotated[int, option("--image", "Its number in the set.")]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def pretrain(
    out: NewFolder,
    data: TrainData = "shapes",
    method: Method = "moco",
    arm_name: Arm = "consistent",
    group: Group = "C4",
    network: Network = "small",
    width: Width = None,
    match: Match = "parameters",
    head_width: HeadWidth = 128,
    size: Size = None,
    images: Images = None,
    split: Split = None,
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
    settings: Settings = None,
) -> None:
    """Train a backbone on images alone and save it.

    Arms: plain; consistent, an equivariant backbone with a head that keeps the symmetry; and
    inconsistent, the same backbone with an ordinary head. --set gives an option of the method: for
    moco queue_size=4096, temperature=0.2, for swav prototypes=64, for jigsaw count=64 and so on.
    """
    if resume and checkpoints is None:
        raise DataError("--resume needs --checkpoints: the folder of the training to go on with")
    check_folder(out)
    make_optimiser, usual_rate = _chosen("optimiser", optimiser, OPTIMISERS)
    rate = usual_rate if learning_rate is None else learning_rate
    options = read_settings(settings, _settable(method))
    groups = arm(arm_name, group)
    if size is None:
        size = SMALL if network == "small" or data.startswith(("shapes", "cifar10")) else LARGE
    torch.manual_seed(seed)
    widths = {} if width is None else {"width": width}
    backbone = _chosen("network", network, NETWORKS)(
        groups[0], match=_chosen("match", match, MATCHES), image_size=size, **widths
    )
    pictures = open_set(data, size, split, images=images)
    learning = build_method(
        method,
        backbone,
        groups[1],
        symmetry=group,
        size=size,
        width=head_width,
        **options,
        **({"classes": len(pictures.classes)} if method == "supervised" else {}),
    )
    count = sum(weight.numel() for weight in backbone.parameters())
    say(f"{method}, {arm_name}: {network} network of {groups[0].name} with {count:,} weights")
    say(f"{data}: {len(pictures):,} images of {size} x {size}")
    schedule = Schedule(steps, batch_size, rate, weight_decay, seed, workers, make_optimiser)
    trainer = {"devices": devices, "precision": precision, "default_root_dir": checkpoints}
    finished = _train(learning, pictures, schedule, trainer, resume)
    made_by = {
        "method": method, "arm": arm_name, "group": group, "head_width": head_width,
        "options": options, "network": network, "match": match, "data": data, "split": split,
        "images": len(pictures), "size": size, "steps": steps, "batch_size": batch_size,
        "learning_rate": rate, "weight_decay": weight_decay, "optimiser": optimiser,
        "precision": precision, "seed": seed, "finished": finished,
        "version": version("hierforecast"),
    }  # fmt: skip
    _keep(backbone, out, made_by)


@app.command()
def probe(
    folders: Folders,
    data: Data = None,
    split: Split = None,
    test: Test = None,
    test_split: TestSplit = None,
    size: Size = None,
    images: Images = None,
    labels: Labels = None,
    curve: Curve = False,
    seed: Seed = 0,
    device: Device = None,
    out: Out = None,
    plot: Plot = None,
) -> None:
    """Judge frozen backbones by what simple classifiers make of their features."""
    _judging.check_ending(out, (".csv",))
    _judging.check_ending(plot, _judging.PICTURES)
    backbones = {str(folder): load_backbone(folder) for folder in folders}
    data = data or _learned_from(folders[0])
    size = size or backbones[str(folders[0])].image_size or SMALL
    train = open_set(data, size, split, images=images)
    asked = open_set(test or data, size, test_split, test=True)
    if labels is not None:
        train = _judging.some_labels(train, labels, seed)
    say(f"{data}: {len(train):,} images to teach classifiers, {len(asked):,} to judge them by")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if curve:
        table = _judging.all_curves(backbones, train, asked, device)
        Console().print(_judging.curves_shown(table))
    else:
        table = _judging.all_scores(backbones, train, asked, device)
        Console().print(_judging.scores_shown(table))
    if out is not None:
        _judging.save_table(table, out)
    if plot is not None and curve:
        axes = plot_learning_curves(table, "backbone", chance=1 / len(train.classes))
        _judging.save_picture(axes.figure, plot)
    elif plot is not None:
        _judging.save_picture(_judging.feature_spaces(backbones, asked, device), plot)


@app.command()
def show(
    folder: Folder,
    out: Picture = Path("turning.png"),
    data: Data = None,
    split: Split = None,
    size: Size = None,
    image: Image = 0,
) -> None:
    """Draw how feature maps turn when an image does."""
    _judging.check_ending(out, _judging.PICTURES)
    backbone = load_backbone(folder)
    size = size or backbone.image_size or SMALL
    pictures = open_set(data or _learned_from(folder), size, split)
    if not 0 <= image < len(pictures):
        raise DataError(f"there is no image {image} in a set of {len(pictures):,}")
    _judging.save_picture(plot_turning_map(backbone, pictures[image][0]), out)


def _chosen(what: str, name: str, table: Mapping[str, T]) -> T:
    if name not in table:
        raise DataError(f"{what} {name!r} is none of {', '.join(table)}")
    return table[name]


def _settable(method: str) -> dict[str, Any]:
    """What --set can give to a method, with its default."""
    parameters = signature(_chosen("method", method, TAKES)).parameters.items()
    return {
        name: one.default
        for name, one in parameters
        if one.default is not Parameter.empty and name not in NO_TEXT
    }


def _train(
    learning: nn.Module,
    images: ImageSet,
    schedule: Schedule,
    trainer: dict[str, Any],
    resume: bool,
) -> bool:
    """Train, and say how it ended; whether it came to its end, or was interrupted."""
    devices = trainer["devices"]
    if devices != "auto" and not (devices.isdecimal() and int(devices)):
        raise DataError(f"--devices {devices}: give how many, from 1, or auto")
    trainer = {**trainer, "devices": devices if devices == "auto" else int(devices)}
    try:
        curve = training.pretrain(learning, images, schedule, trainer=trainer, resume=resume)
    except MisconfigurationException as error:
        raise DataError(str(error)) from error
    except KeyboardInterrupt as stop:
        if not str(stop):  # before there was anything to keep
            raise
        say(str(stop))
        return False
    if curve.empty:
        say(f"the training in {trainer['default_root_dir']} was at its end")
    else:
        say(f"loss {curve['loss'].iloc[-1]:.4g} at step {curve['step'].iloc[-1]:,}")
    return True


@rank_zero_only
def _keep(backbone: ResNet, out: Path, made_by: dict[str, Any]) -> None:
    """Save, on one process only."""
    save_backbone(backbone, out, made_by)
    say(f"saved {out}")


def _learned_from(folder: Path) -> str:
    data = read_made_by(folder).get("data")
    if not isinstance(data, str):
        raise DataError(f"{folder} does not say what it learned from: give --data")
    return data
