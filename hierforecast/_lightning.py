"""What every training needs of Lightning: a bar, quiet, a schedule, and nothing global touched."""

from __future__ import annotations

import logging
import math
import re
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.plugins import Precision
from lightning.pytorch.plugins.io import CheckpointIO, TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning_utilities import apply_to_collection
from rich import progress as bars
from torch import Tensor, nn

from hierforecast._progress import console_of_bars
from hierforecast._waiting import at_hand
from hierforecast.errors import Interrupted
from hierforecast.io.atomic import write_atomically
from hierforecast.io.checkpoints import KEY, LAST

# Precisions that a cast makes.
CASTS = {
    64: torch.float64,
    "64": torch.float64,
    "64-true": torch.float64,
    "16-true": torch.float16,
    "bf16-true": torch.bfloat16,
}


def cosine(step: int, max_steps: int) -> float:
    """Learning rate at a step, as a share of its peak: a short warm-up, then a cosine to zero."""
    warm_up = min(100, max(1, max_steps // 10))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / max_steps)))


class StepBar(Callback):
    """A progress bar over the steps of a whole training, with the losses.

    Args:
        max_steps: of the training.
        name: what the bar is called.
    """

    def __init__(self, max_steps: int, name: str = "fit") -> None:
        self.bar = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[losses]}"),
            bars.TimeElapsedColumn(),
            bars.TimeRemainingColumn(),
            console=console_of_bars(),
        )
        self.task = self.bar.add_task(name, total=max_steps, losses="")
        self.read = -math.inf

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the bar on one process only."""
        if trainer.is_global_zero:
            self.bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Tell the step, and the losses: now and then where the device is waited for."""
        found, now = trainer.callback_metrics, self.bar.get_time()
        seen = {k: found[k] for k in ("loss", "val_loss") if k in found}
        self.bar.update(self.task, completed=trainer.global_step)
        if all(map(at_hand, seen.values())) or now - self.read > 0.5:
            self.read, each = now, (f"{k} {float(loss):.3f}" for k, loss in seen.items())
            self.bar.update(self.task, losses="  ".join(each))

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the bar where it is."""
        self.bar.stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Leave the bar where it is."""
        self.bar.stop()


class Saver(Checkpoint):
    """Writes the checkpoint of a training after each validation, or else every so many steps.

    Args:
        path: of the checkpoint, or None: nothing is written.
        every: steps between two checkpoints where nothing is validated.
        about: what the training is; see `hierforecast.io.checkpoints.prepare`.
    """

    def __init__(self, path: Path | None, every: int, about: Mapping[str, Any]) -> None:
        self.path, self.every, self.about = path, every, dict(about)
        self.saved = -1

    def save(self, trainer: L.Trainer) -> None:
        """Write it."""
        self.saved = trainer.global_step
        if self.path is not None:
            trainer.save_checkpoint(self.path)

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Write it now and then, unless validations do."""
        step = trainer.global_step
        if not trainer.enable_validation and step % self.every == 0 and step != self.saved:
            self.save(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Write it once more at the end."""
        if trainer.global_step != self.saved:
            self.save(trainer)

    def on_save_checkpoint(
        self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say what the training is."""
        checkpoint[KEY] = {"about": self.about}


def over_defaults(
    options: Mapping[str, Any], saver: Saver, steps: int, name: str = "fit", **ours: Any
) -> dict[str, Any]:
    """A user's options of Lightning's `Trainer` over those of every training, and over `ours`.

    Args:
        options: the user's; `enable_progress_bar` says whether a `StepBar` is shown.
        saver: joins the callbacks.
        steps: of the training.
        name: what the bar is called.
        ours: what this training wants otherwise.
    """
    options = dict(options)
    bar = [StepBar(steps, name)] if options.pop("enable_progress_bar", True) else []
    callbacks = options.pop("callbacks", None) or []
    callbacks = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    defaults = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "gradient_clip_val": 1.0,
        "num_sanity_val_steps": 0,
        "max_epochs": -1,
        "max_steps": steps,
    }
    return {**defaults, **ours, **options, "callbacks": [*callbacks, *bar, saver]}


def stopping(trainer: L.Trainer, stop: SystemExit, what: str, kept: str) -> BaseException:
    """What to raise for a training that Lightning has stopped, once its weights are kept.

    Args:
        trainer: that was stopped.
        stop: what it raised.
        what: "fit" or "training", and `kept`: what is left of it, for the message.

    Raises:
        SystemExit: the same, if it is none of the trainer's.
        KeyboardInterrupt: if there is nothing to keep yet.
    """
    if isinstance(stop, SIGTERMException):
        return SystemExit(143)  # what a shell calls a process that SIGTERM ended
    if not trainer.interrupted:
        raise stop
    if not trainer.global_step:
        raise KeyboardInterrupt("interrupted before the first step: nothing was learned") from stop
    return Interrupted(f"{what} was interrupted at step {trainer.global_step}; {kept}")


def make_trainer(options: Mapping[str, Any]) -> L.Trainer:
    """Lightning's trainer of these options, with checkpoints written whole or not at all.

    Lightning trains in double and half precision by changing torch's default dtype, which all
    threads share; casting weights and inputs is enough.
    """
    given = options.get("plugins") or []
    plugins = [*given] if isinstance(given, (list, tuple)) else [given]
    precision = options.get("precision")
    if precision in CASTS:
        plugins, precision = [*plugins, _Cast(precision)], None
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(_AtomicIO())
    return _Trainer(**{**options, "plugins": plugins, "precision": precision})


class _Trainer(L.Trainer):
    """Does not save and restore the global generators: another thread may be drawing from them."""

    def _run_stage(self) -> Any:
        if not self.training or self.num_sanity_val_steps:
            return super()._run_stage()
        self.strategy.barrier("run-stage")
        self.lightning_module.zero_grad()
        with torch.autograd.set_detect_anomaly(self._detect_anomaly):
            self.fit_loop.run()
        return None


class _Cast(Precision):
    def __init__(self, precision: Any) -> None:
        self.precision, self.dtype = precision, CASTS[precision]

    def convert_module(self, module: nn.Module) -> nn.Module:
        return module.to(self.dtype)

    def convert_input(self, data: Any) -> Any:
        return apply_to_collection(data, Tensor, self._cast)

    def _cast(self, x: Tensor) -> Tensor:
        return x.to(self.dtype) if x.is_floating_point() else x


class _AtomicIO(TorchCheckpointIO):
    """A checkpoint that cannot be written leaves the one before, and the training goes on."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        try:
            write_atomically(path, lambda stream: torch.save(checkpoint, stream))
        except (OSError, RuntimeError) as error:
            if Path(path).name != LAST:
                raise
            warnings.warn(
                f"no checkpoint of step {checkpoint['global_step']} could be written ({error}): "
                "the training goes on, and the checkpoint before is kept",
                stacklevel=2,
            )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the user's screen free of Lightning's advice, and the handler of Ctrl-C in place."""
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main else None
    with _QUIET:
        try:
            yield
        finally:
            if handler is not None:
                signal.signal(signal.SIGINT, handler)


class _Quiet:
    """Filters that stand as long as any thread trains; the last to leave takes them away."""

    names = ("lightning.pytorch", "lightning.fabric")
    texts = (
        ".*does not have many workers.*",
        ".*LeafSpec.*",
        ".*have no `val_dataloader`.*",
        ".*resuming from a checkpoint that ended before.*",
        ".*callbacks used to create the checkpoint.*",
    )

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside > 1:
                return
            self.filters: list[Any] = warnings.filters  # type: ignore[assignment]
            self.ours = [
                ("ignore", re.compile(text, re.IGNORECASE), Warning, None, 0) for text in self.texts
            ]
            self.filters[:0] = self.ours
            self.levels = [logging.getLogger(name).level for name in self.names]
            for name in self.names:
                logging.getLogger(name).setLevel(logging.WARNING)

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside:
                return
            # Another thread may have put a copy in its place in the meantime.
            now: list[Any] = warnings.filters  # type: ignore[assignment]
            for filters in (self.filters, now):
                filters[:] = [one for one in filters if not any(one is our for our in self.ours)]
            for name, level in zip(self.names, self.levels, strict=True):
                logging.getLogger(name).setLevel(level)


_QUIET = _Quiet()
