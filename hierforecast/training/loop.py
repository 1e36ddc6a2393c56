"""Training on Lightning: loss, schedule, early stopping, best weights, resumable checkpoints.

What a step draws follows from the seed and the number of its batch alone. A resumed training needs
no state of generators to end where the uninterrupted one ends, and threads cannot disturb it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from hierforecast._lightning import (
    Saver,
    cosine,
    make_trainer,
    over_defaults,
    stopping,
    undisturbed,
)
from hierforecast._random import drawing, draws_by_itself, hand_down, mixed
from hierforecast._waiting import sent
from hierforecast.batch import _map_tensors
from hierforecast.io.checkpoints import layers, prepare
from hierforecast.models import Model
from hierforecast.training.batching import CHECKED, DROPPED, Batches, Checks, sums
from hierforecast.training.examples import PooledWindows
from hierforecast.training.optim import Muon, matrices_and_others
from hierforecast.training.plan import Plan
from hierforecast.windows import Window, WindowDataset

# How many validations may follow the best one, once the rate is low.
PATIENCE = 5
# Under this name losses come back from other processes.
_HISTORY = "history"


class Trained(NamedTuple):
    """How a training ended.

    Attributes:
        history: a row a step; see `Forecaster.history_`.
        stopped: what to raise once the weights are kept, or None if it came to its end.
    """

    history: pd.DataFrame
    stopped: BaseException | None = None


class Training(L.LightningModule):
    """A model under training, by its own loss.

    Args:
        model: built for the task, statistics fitted.
        plan: how long and how fast: the learning rate rises to its peak and falls along a cosine.
    """

    def __init__(self, model: Model, plan: Plan) -> None:
        super().__init__()
        self.model, self.plan = model, plan
        self.batches = 0  # learned from so far
        self.losses: list[tuple[int, Tensor]] = []  # of steps since they were last fetched
        self.checked = torch.zeros(2)  # sums of a validation, see `sums`

    def on_fit_start(self) -> None:
        """Give the model's parts a generator on their device."""
        self.draws = torch.Generator(self.device)
        self.foreign = draws_by_itself(self.model)
        hand_down(self.model, self.draws)

    def transfer_batch_to_device(self, batch: Window, device: torch.device, index: int) -> Window:
        """A batch on the device, in the background; what was gathered there stays as it is."""
        return Window(*(_map_tensors(part, partial(sent, device=device)) for part in batch))

    def training_step(self, window: Window, index: int) -> Tensor:
        """Loss of a batch, in which each present cell counts as much in whatever process it is."""
        own = self._loss(window, DROPPED, self.batches)
        loss, whole = self._over_processes(own, window)
        self.batches += 1
        self.losses.append((self.global_step + 1, whole))
        self.log("loss", whole)
        return loss

    def _over_processes(self, loss: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """A process's share of the loss, and the loss of all; gradients are means over processes.

        A loss is a mean over present cells, of which no two processes have the same number.
        """
        if self.trainer.world_size == 1:
            return loss, loss.detach()
        total, cells = self._summed(sums(loss.detach(), window))
        own = window.future.present.sum() * self.trainer.world_size
        return loss * (own / cells.clamp(min=1)), total / cells.clamp(min=1)

    def _summed(self, sums: Tensor) -> Tensor:
        """The same, summed over all processes."""
        total: Tensor = self.trainer.strategy.reduce(sums, reduce_op="sum")
        return total

    def validation_step(self, window: Window, index: int) -> None:
        """Add up the loss of held-out windows and their present cells."""
        self.checked = self.checked + sums(self._loss(window, CHECKED, index), window)

    def on_validation_epoch_start(self) -> None:
        """Begin to add up."""
        self.checked = torch.zeros(2, device=self.device)

    def on_validation_epoch_end(self) -> None:
        """Log their mean; Lightning's own, over processes, rounds how much each of them counts."""
        loss, cells = self._summed(self.checked)
        self.log("val_loss", loss / cells, batch_size=1, sync_dist=True)

    def _loss(self, window: Window, *numbers: int) -> Tensor:
        self.draws.manual_seed(mixed(self.plan.seed, *numbers, self.global_rank))
        with drawing(self.draws if self.foreign else None):
            loss: Tensor = self.model.loss(*window)
        return loss

    def configure_optimizers(self) -> Any:
        """Muon and AdamW, with warm-up and a cosine."""
        optimizer = Muon(
            *matrices_and_others(self.model),
            lr=self.plan.learning_rate,
            # One pass over the weights; mixed precision cannot clip gradients beside it.
            fused="mixed" not in str(self.trainer.precision),
        )
        factor = partial(cosine, max_steps=self.plan.max_steps)
        decay = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": decay, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep which batch comes next."""
        checkpoint["batches"] = self.batches

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the batch that comes next."""
        self.batches = checkpoint["batches"]


class Keeper(Saver):
    """Keeps the losses and the best weights too, and stops a training early."""

    def __init__(self, path: Path | None, plan: Plan, about: Mapping[str, Any]) -> None:
        super().__init__(path, plan.between_validations, about)
        # Until then the rate is above half its peak, and held-out losses rise before they fall.
        self.hot = plan.max_steps // 2
        self.losses: list[tuple[int, float]] = []
        self.val_losses: dict[int, float] = {}
        self.best: dict[str, Tensor] | None = None

    @property
    def history(self) -> pd.DataFrame:
        """A row a step: ``step`` from 1, ``loss``, ``val_loss`` (NaN where none was taken)."""
        table = pd.DataFrame(self.losses, columns=["step", "loss"]).astype({"step": "int64"})
        table = table.astype({"loss": "float64"}).groupby("step", as_index=False).mean()
        return table.assign(val_loss=table["step"].map(self.val_losses).astype("float64"))

    @property
    def done(self) -> bool:
        """Whether validation says that it is enough: no improvement any more, or no number."""
        if not self.val_losses:
            return False
        steps, found = zip(*self.val_losses.items(), strict=True)
        best = steps[int(np.argmin(np.where(np.isfinite(found), found, np.inf)))]
        since = sum(step > max(best, self.hot) for step in steps)
        return since >= PATIENCE or not np.isfinite(found[-1])

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """A training that was stopped early before it was killed has nothing to go on with."""
        trainer.should_stop = trainer.should_stop or self.done

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Keep the weights if they are the best so far, and write a checkpoint."""
        if trainer.sanity_checking:
            return
        loss = float(trainer.callback_metrics["val_loss"])
        if loss < min(self.val_losses.values(), default=float("inf")):
            state = trainer.strategy.lightning_module_state_dict()
            self.best = {name: x.detach().to("cpu", copy=True) for name, x in state.items()}
        self.val_losses[trainer.global_step] = loss
        trainer.should_stop = trainer.should_stop or self.done
        self.save(trainer)

    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Leave the best weights and the losses, also where another process trains."""
        self.settle(module)
        if trainer.world_size > 1:  # of what a process knows, only tensors come back from it
            trainer.callback_metrics[_HISTORY] = torch.from_numpy(self.history.to_numpy(float))

    def collect(self, trainer: L.Trainer) -> None:
        """Take over the losses of processes that have trained."""
        table = trainer.callback_metrics.pop(_HISTORY, torch.zeros(0, 3))
        if not self.losses:
            self.losses = [(int(step), loss) for step, loss, _ in table.tolist()]
            self.val_losses = {int(step): val for step, _, val in table.tolist() if val == val}

    def settle(self, module: L.LightningModule) -> None:
        """Put the best weights seen so far into the model, if there are any."""
        self._fetch(module)
        if self.best is not None:
            module.load_state_dict(self.best)

    def save(self, trainer: L.Trainer) -> None:
        """Write a checkpoint."""
        self._fetch(trainer.lightning_module)
        super().save(trainer)

    def _fetch(self, module: Any) -> None:
        """Take over the losses of the last steps; they wait for the device once, not each step."""
        if module.losses:
            steps, losses = zip(*module.losses, strict=True)
            self.losses += zip(steps, torch.stack(losses).tolist(), strict=True)
            module.losses.clear()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs to know."""
        return {"losses": self.losses, "val_losses": self.val_losses, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse."""
        self.losses, self.val_losses = state_dict["losses"], state_dict["val_losses"]
        self.best = state_dict["best"]


def train(
    model: Model,
    windows: WindowDataset | PooledWindows,
    held_out: WindowDataset | None,
    plan: Plan,
    about: Mapping[str, Any],
    resume: bool = False,
) -> Trained:
    """Train a model in place and leave its best weights in it.

    Args:
        model: built for the task, statistics fitted.
        windows: training windows, or those of one pool of shards after another.
        held_out: windows for early stopping and the choice of the best weights, or None: the
            weights of the last step are kept.
        plan: how long and how fast, and options of Lightning's `Trainer`; their
            ``default_root_dir`` is where a checkpoint is kept.
        about: what the training is: options and digests of data, for a checkpoint.
        resume: go on from the checkpoint in ``default_root_dir``.

    Returns:
        The losses, and what stopped the training if something did after a step.

    Raises:
        FileNotFoundError, DataError: if it cannot be resumed.
        KeyboardInterrupt: if the user stops it before a step.
    """
    root = (plan.trainer or {}).get("default_root_dir")
    about = about and {**about, "the network of this version": layers(model)}
    path = prepare(root, about, resume, "fit")
    module = Training(model, plan)
    keeper = Keeper(path, plan, about)
    with undisturbed():
        trainer = make_trainer(_options(plan, keeper, held_out is not None))
        if isinstance(trainer.strategy, DDPStrategy):
            # A batch of scenes of one class each, say, leaves the weights among classes out.
            trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)
        checks = Checks(held_out, module) if held_out is not None else None
        stopped: BaseException | None = None
        try:
            trainer.fit(
                module, Batches(windows, module), checks, ckpt_path=path if resume else None
            )
        except SystemExit as stop:  # how Lightning answers Ctrl-C, and a polite kill
            stopped = stopping(
                trainer, stop, "fit", "the best weights so far are kept, so predict and save work"
            )
        finally:
            hand_down(model, None)
            keeper.settle(module)
            keeper.collect(trainer)
            model.cpu()
    return Trained(keeper.history, stopped)


def _options(plan: Plan, keeper: Keeper, validate: bool) -> dict[str, Any]:
    """The user's trainer options over ours."""
    options = {**(plan.trainer or {}), "max_steps": plan.max_steps}
    every = keeper.every * options.get("accumulate_grad_batches", 1)
    ours: dict[str, Any] = {
        "check_val_every_n_epoch": None,
        "val_check_interval": every if validate else None,
        "limit_val_batches": 1.0 if validate else 0,
    }
    return over_defaults(options, keeper, plan.max_steps, **ours)
