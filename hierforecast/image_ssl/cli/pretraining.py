"""``hierforecast ssl pretrain``: a backbone learns from images, and is saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_only
from torch.optim import SGD, AdamW, Optimizer

from hierforecast._console import declare, option, read_settings, say
from hierforecast._options import choice, one_of
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
from hierforecast.image_ssl.cli.output import (
    check_endings,
    images_to_draw,
    reconstruction,
    save_picture,
)
from hierforecast.image_ssl.data import ImageSet
from hierforecast.image_ssl.data.named import NAMES, open_posed, open_set
from hierforecast.image_ssl.groups import Group
from hierforecast.image_ssl.methods import ARMS, METHODS, arm, build_method, options_of
from hierforecast.image_ssl.nn.resnet import ResNet, resnet18, resnet50, small_resnet
from hierforecast.image_ssl.split import Poses
from hierforecast.image_ssl.storage import check_folder, save_backbone
from hierforecast.image_ssl.training import Schedule

NETWORKS: dict[str, Callable[..., ResNet]] = {
    "small": small_resnet,
    "resnet18": resnet18,
    "resnet50": resnet50,
}
SMALL_SETS = ("shapes", "objects", "cifar10")
MATCHES = {"parameters": "parameters", "compute": "compute", "none": None}
PAIRS = ("augmented", "posed")
# Each with the learning rate that it takes where none is given.
OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], float]] = {
    "adamw": (AdamW, 2e-3),
    "sgd": (partial(SGD, momentum=0.9), 0.03),
}
# Their features are to tell brightness and contrast, which standardizing an image would hide.
SEE_LIGHT = ("vicreg", "reconstruction", "sie", "regression", "supervised")
# Options of methods that --set cannot give: modules, or what has an option of its own.
NO_TEXT = ("augment", "decoder", "classes")
# Options that are kept with the network as they were given.
KEPT = (
    "method", "arm", "group", "head_width", "network", "match", "match_heads", "data", "pairs",
    "split", "steps", "batch_size", "weight_decay", "optimizer", "precision", "seed",
)  # fmt: skip

NewFolder = Annotated[Path, typer.Argument(help="Folder to save the backbone in.")]
Standardize = option(
    "--standardize/--no-standardize",
    f"Hide brightness and contrast from the network. [not for {', '.join(SEE_LIGHT)}]",
)
OPTIMIZER = "adamw, or sgd with a momentum of 0.9."
Reconstructions = "Picture of what a reconstruction makes of test images."


@dataclass(frozen=True)
class PretrainOptions:
    """What ``ssl pretrain`` takes; the help texts say what each is."""

    data: Annotated[str, option("--data", f"{NAMES}.")] = "shapes"
    pairs: Annotated[
        str, option("--pairs", "Two views of an image: augmented; of an object: posed.")
    ] = "augmented"
    method: Annotated[str, option("--method", f"{', '.join(METHODS)}.")] = "moco"
    arm: Annotated[str, option("--arm", f"{', '.join(ARMS)}.")] = "consistent"
    group: Annotated[str, option("--group", "C2, C4, D1, D2 or D4.")] = "C4"
    network: Annotated[str, option("--network", f"{', '.join(NETWORKS)}.")] = "small"
    width: Annotated[
        Number, option("--width", "Channels of the plain one. [16; 64 for resnets]")
    ] = None
    match: Annotated[
        str, option("--match", "What the backbones of all arms share: parameters, compute or none.")
    ] = "parameters"
    match_heads: Annotated[
        bool, option("--match-heads", "Give the heads of all arms as many weights as plain ones.")
    ] = False
    head_width: Annotated[int, option("--head-width", "Channels of the head.", min=1)] = 128
    standardize: Annotated[bool | None, Standardize] = None
    size: Size = None
    images: Images = None
    split: Split = None
    on_error: Unreadable = "raise"
    steps: Annotated[int, option("--steps", "Training steps.", min=1)] = 2000
    batch_size: Annotated[
        int, option("--batch-size", "Images in a step, on each device.", min=1)
    ] = 128
    learning_rate: Annotated[
        float | None, option("--learning-rate", "At its peak. [0.002; 0.03 for sgd]")
    ] = None
    weight_decay: Annotated[float, option("--weight-decay", "Of all but biases and norms.")] = 1e-4
    optimizer: Annotated[str, option("--optimizer", OPTIMIZER)] = "adamw"
    seed: Seed = 0
    workers: Annotated[int, option("--workers", "Processes that read images ahead.", min=0)] = 0
    checkpoints: Annotated[File, option("--checkpoints", "Folder to keep them in.")] = None
    resume: Annotated[bool, option("--resume", "Go on from those in --checkpoints.")] = False
    devices: Annotated[str, option("--devices", "How many, or auto for all.")] = "1"
    precision: Annotated[str, option("--precision", "E.g. bf16-mixed.")] = "32-true"
    plot: Annotated[File, option("--plot", Reconstructions)] = None
    settings: Settings = None

    @property
    def side(self) -> int:
        """--size, or what suits the images and the network."""
        small = self.network == "small" or self.data.startswith(SMALL_SETS)
        return self.size or (SMALL if small else LARGE)

    @property
    def hides_light(self) -> bool:
        """--standardize, or whether the method is to see no brightness and contrast."""
        return self.method not in SEE_LIGHT if self.standardize is None else self.standardize

    @property
    def rate(self) -> float:
        """--learning-rate, or what suits the optimizer."""
        _, usual = choice("optimizer", self.optimizer, OPTIMIZERS)
        return usual if self.learning_rate is None else self.learning_rate

    @property
    def method_options(self) -> dict[str, Any]:
        """What --set gives; how features are split is always kept, to score the halves."""
        known = settable(self.method)
        split = {"split": known["split"]} if "split" in known else {}
        return split | read_settings(self.settings, known)

    @property
    def trainer(self) -> dict[str, Any]:
        """Options of Lightning's trainer."""
        if self.devices != "auto" and not (self.devices.isdecimal() and int(self.devices)):
            raise DataError(f"--devices {self.devices}: give how many, from 1, or auto")
        devices = self.devices if self.devices == "auto" else int(self.devices)
        given = {"devices": devices, "precision": self.precision}
        return {**given, "default_root_dir": self.checkpoints}

    def backbone(self, group: Group) -> ResNet:
        """The network to train, or that of another group."""
        return choice("network", self.network, NETWORKS)(
            group,
            match=choice("match", self.match, MATCHES),
            image_size=self.side,
            standardize=self.hides_light,
            **({} if self.width is None else {"width": self.width}),
        )

    def pictures(self) -> tuple[ImageSet, dict[str, Any]]:
        """What is learned from, and the options that the method takes for it."""
        one_of("--pairs", self.pairs, PAIRS)
        how: dict[str, Any] = {"images": self.images, "on_error": on_error_of(self.on_error)}
        if self.pairs == "posed":
            return open_posed(self.data, self.side, self.split, **how), {"augment": Poses()}
        found = open_set(self.data, self.side, self.split, **how)
        return found, {"classes": len(found.classes)} if self.method == "supervised" else {}

    def images_to_draw(self) -> ImageSet | None:
        """What --plot draws, or None."""
        if self.plot is None:
            return None
        readable = on_error_of(self.on_error)
        return images_to_draw(self.method, self.pairs, self.data, self.side, readable)

    def made_by(self, images: int, finished: bool) -> dict[str, Any]:
        """What is kept with the network about how it was made."""
        return {name: getattr(self, name) for name in KEPT} | {
            "options": self.method_options, "standardize": self.hides_light, "images": images,
            "size": self.side, "learning_rate": self.rate, "finished": finished,
            "version": version("hierforecast"),
        }  # fmt: skip


@declare("options", PretrainOptions)
def pretrain(out: NewFolder, options: PretrainOptions) -> None:
    """Train a backbone on images alone and save it.

    Arms: plain; consistent, an equivariant backbone with a head that keeps the symmetry; and
    inconsistent, the same backbone with an ordinary head. --set gives an option of the method: for
    moco queue_size=4096, temperature=0.2, for swav prototypes=64, for jigsaw count=64, for
    reconstruction weight=20, tokens=maps, for sie fed=rotation, known=0.2, and so on; split=0.5 is
    the invariant share of the channels, split=group halves by the group.
    """
    if options.resume and options.checkpoints is None:
        raise DataError("--resume needs --checkpoints: the folder of the training to go on with")
    check_folder(out)
    check_endings(None, options.plot)
    make_optimizer, _ = choice("optimizer", options.optimizer, OPTIMIZERS)
    of_method, groups = options.method_options, arm(options.arm, options.group)
    weights = seeded(options.seed)
    with drawing(weights):
        backbone = options.backbone(groups[0])
    pictures, given = options.pictures()
    drawn = options.images_to_draw()
    heads: dict[str, Any] = {
        "symmetry": options.group, "size": options.side, "width": options.head_width
    }  # fmt: skip
    if options.match_heads:
        with drawing(seeded(options.seed)):
            heads["match_head"] = options.backbone(Group("C1"))
    with drawing(weights):
        learning = build_method(options.method, backbone, groups[1], **heads, **of_method, **given)
    count = sum(weight.numel() for weight in backbone.parameters())
    what = f"{options.network} network of {groups[0].name} with {count:,} weights"
    say(f"{options.method}, {options.arm}: {what}")
    say(f"{options.data}: {len(pictures):,} images of {options.side} x {options.side}")
    schedule = Schedule(
        options.steps, options.batch_size, options.rate, options.weight_decay, options.seed,
        options.workers, make_optimizer,
    )  # fmt: skip
    stopped = _train(learning, pictures, schedule, options)
    _keep(backbone, out, options.made_by(len(pictures), stopped is None))
    if options.plot is not None and drawn is not None:
        _draw(learning, drawn, options.seed, options.plot)
    if stopped is not None:
        raise stopped


def settable(method: str) -> dict[str, Any]:
    """What --set can give to a method, with its default."""
    choice("method", method, METHODS)
    given = options_of(method).items()
    return {name: one.default for name, one in given if name not in NO_TEXT}


def _train(
    learning: Any, images: ImageSet, schedule: Schedule, options: PretrainOptions
) -> BaseException | None:
    """Train, and say how it ended; what interrupted it after a step, if something did."""
    trainer, resume = options.trainer, options.resume
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
    """Draw reconstructions, on one process only."""
    save_picture(reconstruction(learning, images, seed), path)
