"""Training any method on Lightning: a schedule, checkpoints, resuming after a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.utils.data import DataLoader, RandomSampler

from hierforecast._lightning import LAST, StepBar, checkpoint_folder, cosine, keep_last, quiet
from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import ImageSet, Item, as_float, collate
from hierforecast.image_ssl.data.views import PosedPairs, ViewPairs

__all__ = ["Schedule", "pretrain"]

# Points of the loss curve that is given back, and checkpoints in a training.
POINTS, CHECKPOINTS = 200, 20


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Args:
        max_steps: optimiser steps.
        batch_size: images in a step, on each device.
        learning_rate: at its peak, after a warm-up; then it falls along a cosine to zero.
        weight_decay: of weights of two axes and more; biases and norms have none.
        seed: of everything random.
        workers: processes that read images ahead; 0 for images in memory.
        optimiser: made of parameter groups, ``lr`` and ``weight_decay``;
            ``functools.partial(torch.optim.SGD, momentum=0.9)`` is how the papers train.
    """

    max_steps: int = 2000
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    seed: int = 0
    workers: int = 0
    optimiser: Callable[..., Optimizer] = AdamW


class _Learning(L.LightningModule):
    """A method under training, by its own loss."""

    def __init__(self, method: nn.Module, schedule: Schedule) -> None:
        super().__init__()
        self.method, self.schedule = method, schedule
        self.curve: list[tuple[int, Tensor]] = []

    def training_step(self, batch: Item | ViewPairs, index: int) -> Tensor:
        """Loss of a batch; labels are for methods that ask for them."""
        loss = self._loss(batch)
        if self.global_step % max(1, self.schedule.max_steps // POINTS) == 0:
            self.curve.append((self.global_step, loss.detach()))
            self.log("loss", loss, logger=False)
        return loss

    def _loss(self, batch: Item | ViewPairs) -> Tensor:
        shown: tuple[Any, ...]
        if isinstance(batch, ViewPairs):
            first, second = (self._floats(images) for images in (batch.first, batch.second))
            name, shown = "views_loss", (batch._replace(first=first, second=second),)
        elif hasattr(self.method, "labelled_loss"):
            name, shown = "labelled_loss", (self._floats(batch[0]), batch[1])
        else:
            name, shown = "loss", (self._floats(batch[0]),)
        loss: Tensor = getattr(self.method, name)(*shown)
        return loss

    def _floats(self, images: Tensor) -> Tensor:
        return as_float(images).to(self.dtype)  # a trainer's precision may be 64-true

    def configure_optimizers(self) -> Any:
        """The schedule's optimiser, with warm-up and a cosine."""
        every = [p for p in self.method.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in every if p.ndim > 1]},
            {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimiser = self.schedule.optimiser(
            groups, lr=self.schedule.learning_rate, weight_decay=self.schedule.weight_decay
        )
        share = partial(cosine, max_steps=self.schedule.max_steps)
        decay = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": decay, "interval": "step"}}


def pretrain(
    method: nn.Module,
    images: ImageSet | PosedPairs,
    schedule: Schedule | None = None,
    *,
    trainer: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """Train a method in place, on images alone unless it asks for their labels.

    Args:
        method: with `backbone` and ``loss(images)``; see `build_method`. A supervised method has
            ``labelled_loss(images, labels)`` instead; no other is shown a label. One that is built
            with ``augment=Poses()`` has ``views_loss(pairs)``.
        images: to learn from; `PosedPairs` for a method of poses.
        schedule: how long and how fast; `Schedule()` if None.
        trainer: options of Lightning's `Trainer` (devices, strategy, precision, callbacks);
            ``default_root_dir`` is where checkpoints are kept, `enable_progress_bar=False` hides
            the bar.
        resume: go on from the last checkpoint in ``default_root_dir``.

    Returns:
        The loss of some steps: columns ``step`` and ``loss``.

    Raises:
        DataError: if there are fewer than two images, or if they are posed pairs and the method
            learns from images, or the other way round.
        FileNotFoundError: if there is nothing to resume from.
        KeyboardInterrupt: if the user stops it; the weights so far stay in the method.
    """
    schedule = schedule or Schedule()
    options = dict(trainer or {})
    root = options.pop("default_root_dir", None)
    if resume and (root is None or not (Path(root) / LAST).exists()):
        raise FileNotFoundError(
            f"nothing to resume: {LAST} is not in {root}; give the folder of the interrupted "
            "training as trainer={'default_root_dir': ...}, or train with resume=False"
        )
    if len(images) < 2:
        raise DataError(f"{len(images)} images are too few to learn from: give a set of many")
    _check_fits(method, images)
    module = _Learning(method, schedule)
    with checkpoint_folder(root) as folder, quiet():
        last = folder / LAST if resume else None
        if last is None:
            (folder / LAST).unlink(missing_ok=True)
            torch.manual_seed(schedule.seed)
        else:  # or it would draw the batches again that the interrupted training began with
            done = torch.load(last, weights_only=True)["global_step"]
            torch.manual_seed(schedule.seed + done)
        runner = _trainer(schedule, options, folder)
        try:
            runner.fit(module, _batches(images, schedule), ckpt_path=last)
        except SystemExit as stop:  # how Lightning answers a keyboard interrupt
            if not runner.interrupted:
                raise
            raise KeyboardInterrupt(
                f"training was interrupted at step {runner.global_step}; the weights so far are "
                "kept"
            ) from stop
        finally:
            method.cpu()
    return pd.DataFrame([(s, float(loss)) for s, loss in module.curve], columns=["step", "loss"])


def _check_fits(method: nn.Module, images: ImageSet | PosedPairs) -> None:
    """Refuse posed pairs for a method of images, and images for a method of posed pairs."""
    posed, asks = isinstance(images, PosedPairs), hasattr(method, "views_loss")
    if posed and not asks:
        raise DataError(
            f"{type(method).__name__} learns from images, not from posed pairs: build the method "
            "with augment=Poses(), or give it the set itself"
        )
    if asks and not posed:
        raise DataError(
            f"{type(method).__name__} learns from posed pairs, not from images: give "
            "PosedPairs(images) of a set that knows poses, or build the method without Poses"
        )


def _batches(images: ImageSet | PosedPairs, schedule: Schedule) -> DataLoader[Any]:
    """Batches of the whole training: pass after pass over all images, each in a new order."""
    wanted = schedule.max_steps * schedule.batch_size
    sampler = RandomSampler(images, num_samples=wanted)
    return DataLoader(
        images,
        schedule.batch_size,
        sampler=sampler,
        num_workers=schedule.workers,
        collate_fn=collate,
        drop_last=True,
        persistent_workers=schedule.workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def _trainer(schedule: Schedule, options: dict[str, Any], folder: Path) -> L.Trainer:
    """Lightning's trainer, the user's options over ours."""
    callbacks = [*(options.pop("callbacks", None) or [])]
    callbacks.append(keep_last(folder, max(1, schedule.max_steps // CHECKPOINTS)))
    if options.pop("enable_progress_bar", True):
        callbacks.append(StepBar(schedule.max_steps, "pretrain"))
    ours: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "gradient_clip_val": 1.0,
        "max_epochs": -1,
        "max_steps": schedule.max_steps,
        "default_root_dir": folder,
        "callbacks": callbacks,
    }
    return L.Trainer(**{**ours, **options})
