"""Training any method on Lightning: a schedule, checkpoints, resuming after a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import lightning as L
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import DataLoader

from hierforecast._lightning import (
    Saver,
    cosine,
    make_trainer,
    over_defaults,
    stopping,
    undisturbed,
)
from hierforecast._options import number, whole
from hierforecast._random import drawing, draws_by_itself, hand_down, mixed, seeded
from hierforecast.errors import DataError
from hierforecast.image_ssl.batches import AUGMENTED, Batches
from hierforecast.image_ssl.data.arrays import ArrayImages, ImageSet, Item, as_float
from hierforecast.image_ssl.data.views import PosedSet, check_posed
from hierforecast.image_ssl.nn.heads import ConstantRate
from hierforecast.image_ssl.objective import Method
from hierforecast.image_ssl.views import Views
from hierforecast.io.checkpoints import digest, layers, prepare, trainer_options

# Points of the loss curve that is given back, and checkpoints in a training.
POINTS, CHECKPOINTS = 200, 20
# Images that a checkpoint knows a set by, where it lies in files.
SAMPLED = 64


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Args:
        learning_rate: at its peak, after a warm-up; then it falls along a cosine to zero. Layers
            of `ConstantRate`, SimSiam's predictor, keep this one throughout.
        weight_decay: of weights of two axes and more; biases and norms have none.
        workers: processes that read images ahead; 0 for images in memory.
        optimizer: made of parameter groups, ``lr`` and ``weight_decay``;
            ``functools.partial(torch.optim.SGD, momentum=0.9)`` is how the papers train.
    """

    max_steps: int = 2000
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    seed: int = 0
    workers: int = 0
    optimizer: Callable[..., Optimizer] = AdamW

    def __post_init__(self) -> None:
        for name, minimum in (("max_steps", 1), ("batch_size", 1), ("seed", 0), ("workers", 0)):
            object.__setattr__(self, name, whole(name, getattr(self, name), minimum))
        rate = number("learning_rate", self.learning_rate, 0, ends=False)
        object.__setattr__(self, "learning_rate", rate)
        decay = number("weight_decay", self.weight_decay, 0)
        object.__setattr__(self, "weight_decay", decay)


class _Learning(L.LightningModule):
    """A method under training, by its own loss."""

    def __init__(self, method: nn.Module, schedule: Schedule) -> None:
        super().__init__()
        self.method, self.schedule = method, schedule
        self.batches = 0  # learned from so far
        self.curve: list[tuple[int, Tensor]] = []
        # On the CPU, whatever the device: augmentations draw a few numbers and move them.
        self.draws = torch.Generator()

    def on_fit_start(self) -> None:
        """Give the method's parts the generator."""
        self.foreign = draws_by_itself(self.method)
        hand_down(self.method, self.draws)

    def training_step(self, batch: Item | Views, index: int) -> Tensor:
        """Loss of a batch."""
        own = self.batches * self.trainer.world_size + self.global_rank
        self.draws.manual_seed(mixed(self.schedule.seed, AUGMENTED, own))
        with drawing(self.draws if self.foreign else None):
            loss: Tensor = self.method.loss(self._views(batch))  # type: ignore[operator]
        self.batches += 1
        if self.global_step % max(1, self.schedule.max_steps // POINTS) == 0:
            self.curve.append((self.global_step, loss.detach()))
            self.log("loss", loss)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the curve, and which batch comes next."""
        checkpoint["batches"] = self.batches
        checkpoint["curve"] = [(step, float(loss)) for step, loss in self.curve]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with both."""
        self.batches = checkpoint["batches"]
        self.curve = [(step, torch.tensor(loss)) for step, loss in checkpoint["curve"]]

    def _views(self, batch: Item | Views) -> Views:
        """A batch in floats; each image is both of its views, until others are drawn."""
        views = batch if isinstance(batch, Views) else Views(batch[0], batch[0], labels=batch[1])
        # A trainer's precision may be 64-true.
        return views.map_images(lambda images: as_float(images).to(self.dtype))

    def configure_optimizers(self) -> Any:
        """The schedule's optimizer, with warm-up and a cosine for all but `ConstantRate` layers."""
        parts = [m for m in self.method.modules() if isinstance(m, ConstantRate)]
        constant = {id(p) for part in parts for p in part.parameters()}
        decayed = partial(cosine, max_steps=self.schedule.max_steps)
        groups: list[dict[str, Any]] = []
        shares: list[Callable[[int], float]] = []
        for fixed, matrix in product((False, True), (True, False)):
            params = [
                p
                for p in self.method.parameters()
                if p.requires_grad and (id(p) in constant, p.ndim > 1) == (fixed, matrix)
            ]
            if params:
                groups.append({"params": params, **({} if matrix else {"weight_decay": 0.0})})
                shares.append((lambda _: 1.0) if fixed else decayed)
        optimizer = self.schedule.optimizer(
            groups, lr=self.schedule.learning_rate, weight_decay=self.schedule.weight_decay
        )
        decay = torch.optim.lr_scheduler.LambdaLR(optimizer, shares)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}


def pretrain(
    method: nn.Module,
    images: ImageSet,
    schedule: Schedule | None = None,
    *,
    trainer: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """Train a method in place, on images alone unless it is supervised.

    Args:
        images: to learn from; a `PosedSet` for a method with ``augment=Poses()``, which learns from
            pairs of views of one object.
        schedule: how long and how fast; `Schedule()` if None.
        trainer: options of Lightning's `Trainer` (devices, strategy, precision, callbacks);
            ``default_root_dir`` is where checkpoints are kept, `enable_progress_bar=False` hides
            the bar.
        resume: go on from the checkpoint in ``default_root_dir`` with the same images and options;
            it ends where the uninterrupted training ends, on a CPU bit for bit.

    Returns:
        The loss of some steps, those before it was resumed too: columns ``step`` and ``loss``.

    Raises:
        DataError: if there are fewer than two images, or none that make pairs for a method that
            learns from such; if the checkpoint is damaged, or of other images or options.
        FileNotFoundError: if there is nothing to resume from.
        KeyboardInterrupt: if the user stops it; the weights so far stay in the method.
    """
    schedule, options = schedule or Schedule(), dict(trainer or {})
    if len(images) < 2:
        raise DataError(f"{len(images)} images are too few to learn from: give a set of many")
    paired = _is_paired(method, images)
    root = options.get("default_root_dir")
    about = {} if root is None else _about(method, images, schedule, options)
    path = prepare(root, about, resume, "training")
    module = _Learning(method, schedule)
    stopped: BaseException | None = None
    with undisturbed():
        saver = Saver(path, max(1, schedule.max_steps // CHECKPOINTS), about)
        runner = make_trainer(over_defaults(options, saver, schedule.max_steps, "pretrain"))
        try:
            runner.fit(module, _Loader(images, module, paired), ckpt_path=path if resume else None)
        except SystemExit as stop:  # how Lightning answers Ctrl-C, and a polite kill
            stopped = stopping(runner, stop, "training", "the weights so far are kept")
        finally:
            hand_down(method, None)
            method.cpu()
    if stopped is not None:
        raise stopped
    return pd.DataFrame([(s, float(loss)) for s, loss in module.curve], columns=["step", "loss"])


def _is_paired(method: nn.Module, images: ImageSet) -> bool:
    """Whether a method learns from pairs of views of one object, which the set must then know."""
    if not (isinstance(method, Method) and method.posed):
        return False
    check_posed(images)
    assert isinstance(images, PosedSet)
    if images.n_objects < 2 or images.views < 2:
        raise DataError(
            f"{images.n_objects} objects of {images.views} views make no pairs to learn from: give "
            "two objects or more, and two views or more of each"
        )
    return True


def _name(method: nn.Module) -> str:
    return type(method.objective if isinstance(method, Method) else method).__name__


class _Loader:
    """Batches from the one that comes next, read ahead by the schedule's workers."""

    def __init__(self, images: ImageSet, module: _Learning, paired: bool) -> None:
        self.images, self.module, self.paired = images, module, paired

    def __iter__(self) -> Iterator[Any]:
        module, trainer, schedule = self.module, self.module.trainer, self.module.schedule
        start = module.batches * trainer.world_size + trainer.global_rank
        size, seed, by = schedule.batch_size, schedule.seed, trainer.world_size
        yield from DataLoader(
            Batches(self.images, size, seed, start, by, self.paired),
            batch_size=None,
            num_workers=schedule.workers,
            pin_memory=torch.cuda.is_available(),
            generator=seeded(schedule.seed),  # or it would draw from the global one
        )


def _about(
    method: nn.Module,
    images: ImageSet,
    schedule: Schedule,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """What a training is, for its checkpoint: the options, and a digest of what it learns from."""
    plain = {k: v for k, v in vars(schedule).items() if k not in ("workers", "optimizer")}
    maker = schedule.optimizer
    shown = repr(maker) if isinstance(maker, partial) else getattr(maker, "__qualname__", "")
    some = range(0, len(images), max(1, len(images) // SAMPLED))
    seen = images.images if isinstance(images, ArrayImages) else images.__getitems__([*some])[0]
    return {
        "the method": _name(method),
        **{f"method{path}": value for path, value in _plain(method).items()},
        "the layers": layers(method),
        **plain,
        "optimizer": shown,
        **trainer_options(options),
        "the set of images": type(images).__name__,
        "the number of images": len(images),
        "the images": digest(seen.numpy()),
        "the labels": digest(torch.as_tensor(images.labels).numpy()),
    }


def _plain(thing: Any, path: str = "", depth: int = 8) -> dict[str, Any]:
    """Plain options of an object of ours and of what it is made of, by their paths."""
    if isinstance(thing, (bool, int, float, str, type(None))):
        return {path: thing}
    parts: dict[str, Any] = {}
    if isinstance(thing, Mapping):
        parts = {f"[{name}]": part for name, part in thing.items()}
    elif isinstance(thing, (list, tuple)):
        parts = {f"[{number}]": part for number, part in enumerate(thing)}
    elif type(thing).__module__.startswith("hierforecast."):
        own = {k: v for k, v in vars(thing).items() if k[0] != "_" and k != "training"}
        children = thing._modules if isinstance(thing, nn.Module) else {}
        parts = {f".{name}": part for name, part in {**own, **children}.items()}
    elif isinstance(thing, nn.Module):
        parts = {f".{name}": part for name, part in thing._modules.items()}
    found: dict[str, Any] = {}
    if depth:
        for name, part in parts.items():
            found |= _plain(part, path + name, depth - 1)
    return found
