"""What every training needs of Lightning: a bar, a folder for checkpoints, quiet, a schedule."""

from __future__ import annotations

import logging
import math
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LAST = "last.ckpt"


def cosine(step: int, max_steps: int) -> float:
    """Learning rate at a step, as a share of its peak: a short warm-up, then a cosine to zero."""
    warm_up = min(100, max(1, max_steps // 10))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / max_steps)))


def keep_last(folder: Path, every: int) -> ModelCheckpoint:
    """Write `LAST` every so many steps, over the one before: what a killed training goes on from.

    Without a version counter: a resumed training writes over the checkpoint that it came from.
    """
    return ModelCheckpoint(
        folder,
        filename="step",
        every_n_train_steps=every,
        save_top_k=0,
        save_last=True,
        enable_version_counter=False,
    )


class StepBar(Callback):
    """A progress bar over the steps of a whole training, with the losses.

    Args:
        max_steps: of the training.
        name: what the bar is called.
    """

    def __init__(self, max_steps: int, name: str = "fit") -> None:
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.task = self.bar.add_task(name, total=max_steps, losses="")

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the bar on one process only."""
        if trainer.is_global_zero:
            self.bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Tell the step and the losses."""
        seen = trainer.callback_metrics
        losses = "  ".join(f"{k} {float(seen[k]):.3f}" for k in ("loss", "val_loss") if k in seen)
        self.bar.update(self.task, completed=trainer.global_step, losses=losses)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the bar where it is."""
        self.bar.stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Leave the bar where it is."""
        self.bar.stop()


@contextmanager
def checkpoint_folder(root: str | Path | None) -> Iterator[Path]:
    """The user's folder for checkpoints, or a temporary one."""
    if root is not None:
        Path(root).mkdir(parents=True, exist_ok=True)
        yield Path(root)
        return
    with tempfile.TemporaryDirectory(prefix="hierforecast-") as folder:
        yield Path(folder)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advice on machines and workers from the user's screen."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*exists and is not empty.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")
        warnings.filterwarnings("ignore", ".*have no `val_dataloader`.*")
        warnings.filterwarnings("ignore", ".*resuming from a checkpoint that ended before.*")
        warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
