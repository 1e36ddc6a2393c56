"""Training on Lightning: loss, schedule, early stopping, best weights, resumable checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from hierforecast._lightning import LAST, StepBar, checkpoint_folder, cosine, keep_last, quiet
from hierforecast.optim import Muon, matrices_and_others
from hierforecast.windows import Window, WindowDataset

# Validations in a training run, and how many of them in a row may fail to improve.
VALIDATIONS, PATIENCE = 20, 5
BEST = "best.ckpt"


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Args:
        learning_rate: at its peak, after warm-up; then it falls along a cosine to zero.
        max_steps: optimiser steps.
        batch_size: windows in a step.
        seed: of everything random.
    """

    learning_rate: float
    max_steps: int
    batch_size: int
    seed: int

    def factor(self, step: int) -> float:
        """Learning rate at a step, as a share of its peak."""
        return cosine(step, self.max_steps)


class Training(L.LightningModule):
    """A model under training, by its own loss."""

    def __init__(self, model: Any, schedule: Schedule) -> None:
        super().__init__()
        self.model, self.schedule = model, schedule

    def training_step(self, window: Window, index: int) -> Tensor:
        """Loss of a batch."""
        loss: Tensor = self.model.loss(*window)
        self.log("loss", loss, logger=False)
        return loss

    def validation_step(self, window: Window, index: int) -> None:
        """Log the loss of held-out windows, weighted by their present cells."""
        cells = int(window.future.present.sum())
        loss = self.model.loss(*window)
        self.log("val_loss", loss, logger=False, batch_size=cells, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Muon and AdamW, with warm-up and a cosine."""
        optimiser = Muon(
            *matrices_and_others(self.model),
            lr=self.schedule.learning_rate,
            # One pass over the weights; mixed precision cannot clip gradients beside it.
            fused="mixed" not in str(self.trainer.precision),
        )
        decay = torch.optim.lr_scheduler.LambdaLR(optimiser, self.schedule.factor)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": decay, "interval": "step"},
        }


def train(
    model: nn.Module,
    windows: WindowDataset,
    held_out: WindowDataset | None,
    schedule: Schedule,
    options: Mapping[str, Any],
    resume: bool = False,
) -> None:
    """Train a model in place and leave its best weights in it.

    Args:
        model: built for the task, statistics fitted.
        windows: training windows.
        held_out: windows for early stopping and the choice of the best weights, or None: the
            weights of the last step are kept.
        schedule: how long and how fast.
        options: of Lightning's `Trainer`; ``default_root_dir`` is where checkpoints are kept.
        resume: go on from the last checkpoint in ``default_root_dir``.

    Raises:
        FileNotFoundError: if there is nothing to resume from.
        KeyboardInterrupt: if the user stops it; the best weights so far are in the model.
    """
    options = dict(options)
    callbacks = list(options.pop("callbacks", None) or [])
    root = options.pop("default_root_dir", None)
    if resume and (root is None or not (Path(root) / LAST).exists()):
        raise FileNotFoundError(
            f"nothing to resume: {LAST} is not in {root}; give the folder of the interrupted fit "
            "as trainer={'default_root_dir': ...}, or fit with resume=False"
        )
    with checkpoint_folder(root) as folder, quiet():
        last = folder / LAST if resume else None
        if last is None:  # or the best weights of an older fit would pass for this one's
            for name in (LAST, BEST):
                (folder / name).unlink(missing_ok=True)
        else:  # or it would draw the windows again that the interrupted fit began with
            steps = torch.load(last, weights_only=True)["global_step"]
            torch.manual_seed(schedule.seed + steps)
        kept, every = _callbacks(folder, held_out is not None, schedule.max_steps)
        bar = [StepBar(schedule.max_steps)] if options.pop("enable_progress_bar", True) else []
        trainer = L.Trainer(
            max_steps=schedule.max_steps,
            default_root_dir=folder,
            callbacks=[*callbacks, *kept, *bar],
            **_defaults(options, every, held_out is not None),
        )
        module = Training(model, schedule)
        batches, checks = _loaders(windows, held_out, schedule)
        try:
            trainer.fit(module, batches, checks, ckpt_path=last)
        except SystemExit as stop:  # how Lightning answers a keyboard interrupt
            if not trainer.interrupted:
                raise
            raise KeyboardInterrupt(
                f"fit was interrupted at step {trainer.global_step}; the best weights so far are "
                "kept, so predict and save work"
            ) from stop
        finally:
            _load_best(module, folder)
            model.cpu()


def _loaders(
    windows: WindowDataset, held_out: WindowDataset | None, schedule: Schedule
) -> tuple[DataLoader[Window], DataLoader[Window] | None]:
    """Batches to train on, and batches to stop by."""
    # One long epoch: short ones would pay for their start and end many times over.
    sampler = RandomSampler(windows, num_samples=schedule.max_steps * schedule.batch_size)
    size = schedule.batch_size
    batches = DataLoader(windows, size, sampler=sampler, collate_fn=_as_it_is, drop_last=True)
    checks = DataLoader(held_out, size, collate_fn=_as_it_is) if held_out else None
    return batches, checks


def _callbacks(folder: Path, validate: bool, max_steps: int) -> tuple[list[Callback], int]:
    """What keeps the best and the last weights, and the steps between two validations."""
    every = max(1, max_steps // VALIDATIONS)
    last = keep_last(folder, every)
    if not validate:
        return [last], every
    best = ModelCheckpoint(
        folder, filename="best", monitor="val_loss", enable_version_counter=False
    )
    return [EarlyStopping("val_loss", patience=PATIENCE), best, last], every


def _defaults(options: dict[str, Any], every: int, validate: bool) -> dict[str, Any]:
    """The user's trainer options over ours."""
    ours: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "gradient_clip_val": 1.0,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "max_epochs": -1,
        "check_val_every_n_epoch": None,
        "val_check_interval": every if validate else None,
        "limit_val_batches": 1.0 if validate else 0,
    }
    return {**ours, **options}


def _load_best(module: Training, folder: Path) -> None:
    """Put the best weights seen so far into the model, if there are any."""
    path = folder / BEST
    if path.exists():
        state = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
        module.load_state_dict(state)


def _as_it_is(window: Any) -> Any:
    """The data set hands whole batches back: there is nothing to collate."""
    return window
