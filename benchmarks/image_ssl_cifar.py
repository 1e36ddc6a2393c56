"""How far one arm gets on 5,085 lossless CIFAR-10 images when it is given longer.

python -m benchmarks.image_ssl_cifar --steps 1200 --width 32 --folder runs/ssl-cifar-long

Views are small boxes at about the images' own scale: they cost a quarter of whole images, and what
is learned of a piece serves the whole, whose features are means over pieces. A killed run goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from benchmarks._results import write_section
from benchmarks.image_ssl import load
from hierforecast.image_ssl.augment import contrastive
from hierforecast.image_ssl.evaluation import (
    BlockReadout,
    LogisticProbe,
    MirrorMean,
    average_group,
    collect_features,
    flatten_group,
)
from hierforecast.image_ssl.methods import arm, build_method
from hierforecast.image_ssl.nn import Sampling, small_resnet
from hierforecast.image_ssl.training import Schedule, pretrain
from hierforecast.io.checkpoints import LAST


def read(grid: int, mirrored: bool, backbone: nn.Module) -> nn.Module:
    """Maps of all blocks on a grid, of the image alone or with its mirror image."""
    readout = BlockReadout(backbone, grid)
    return MirrorMean(readout) if mirrored else readout


GOAL = 0.64  # of whitened random patches
# What the last probe may look at: it is chosen on a held-out fifth of the training images.
READOUTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    f"{grid} x {grid} cells{', mirror mean' if mirrored else ''}": partial(read, grid, mirrored)
    for grid in (2, 3, 4)
    for mirrored in (False, True)
}
PENALTIES = (1e-2, 1e-1, 1.0)


def scores(backbone: nn.Module) -> dict[str, Any]:
    """Accuracy of a linear probe on three kinds of features."""
    kinds = {
        "invariant": (backbone, average_group),
        "equivariant": (backbone, flatten_group),
        "all blocks, quadrants": (BlockReadout(backbone), flatten_group),
    }
    sets, row = load("cifar"), {}
    for name, (module, pool) in kinds.items():
        parts = [
            collect_features(module, part, pool, progress=False) for part in (sets.train, sets.test)
        ]
        row[f"{name} ({parts[0].x.shape[1]})"] = round(
            LogisticProbe().fit(parts[0]).score(parts[1]).value, 3
        )
    return row


def chosen(backbone: nn.Module) -> tuple[str, dict[str, float]]:
    """The readout that is best on held-out training images, and what each reaches there."""
    held = {}
    for name, make in READOUTS.items():
        seen = collect_features(make(backbone), load("cifar").train, flatten_group, progress=False)
        held[name] = max(LogisticProbe(PENALTIES).fit(seen).held_out.values())
        print(name, round(held[name], 3), flush=True)
    return max(held, key=lambda name: held[name]), held


def judged(backbone: nn.Module, readout: str) -> float:
    """Accuracy of a linear probe on a readout."""
    module, sets = READOUTS[readout](backbone), load("cifar")
    train, test = (
        collect_features(module, s, flatten_group, progress=False) for s in (sets.train, sets.test)
    )
    return LogisticProbe(PENALTIES).fit(train).score(test).value


class Watch(Callback):
    """Judges the network now and then; the test labels choose nothing."""

    def __init__(self, every: int, table: Path) -> None:
        self.every, self.table = every, table

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Add a row to the table."""
        if trainer.global_step % self.every == 0:
            judge(pl_module.method.backbone, trainer.global_step, self.table)


def judge(backbone: nn.Module, step: int, table: Path) -> None:
    """Write and print the scores after a step."""
    row = {"step": step, "seconds": round(process_time()), **scores(backbone)}
    old = pd.read_csv(table) if table.exists() else pd.DataFrame()
    pd.concat([old, pd.DataFrame([row])]).to_csv(table, index=False)
    print(row, flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--folder", default="runs/ssl-cifar-long")
    options.add_argument("--method", default="moco")
    options.add_argument("--arm", default="consistent")
    options.add_argument("--group", default="C4")
    options.add_argument("--width", type=int, default=32)
    options.add_argument("--stride", type=int, default=1, help="of the stem")
    options.add_argument("--view", type=int, default=17)
    options.add_argument("--scale", type=float, nargs=2, default=(0.15, 0.35), help="area of boxes")
    options.add_argument("--steps", type=int, default=1200)
    options.add_argument("--every", type=int, default=300)
    options.add_argument("--batch-size", type=int, default=128)
    options.add_argument("--learning-rate", type=float, default=2e-3)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--write", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    folder = Path(given.folder)
    folder.mkdir(parents=True, exist_ok=True)
    of_backbone, of_head = arm(given.arm, given.group)
    stem = (Sampling(3, given.stride, 1),)
    backbone = small_resnet(of_backbone, given.width, match="parameters", stem=stem)
    views = contrastive(given.view, scale=tuple(given.scale))
    method = build_method(given.method, backbone, of_head, size=given.view, augment=views)
    table, resume = folder / "scores.csv", (folder / LAST).exists()
    if not resume:
        judge(backbone, 0, table)
    schedule = Schedule(given.steps, given.batch_size, given.learning_rate, seed=given.seed)
    watch = Watch(given.every, table)
    trainer = {"default_root_dir": folder, "callbacks": [watch], "enable_progress_bar": False}
    pretrain(method, load("cifar").train, schedule, trainer=trainer, resume=resume)
    if given.write:
        torch.manual_seed(given.seed)
        untrained = small_resnet(of_backbone, given.width, match="parameters", stem=stem)
        write(backbone, untrained, given, table)


def write(
    backbone: nn.Module, untrained: nn.Module, given: argparse.Namespace, table: Path
) -> None:
    """Judge the last network by the readout chosen for it, and write the table."""
    readout, held = chosen(backbone)
    best, random = judged(backbone, readout), judged(untrained, readout)
    rows = pd.read_csv(table).set_index("step")
    rows[f"all blocks, {readout}"] = "-"
    rows.iloc[0, -1], rows.iloc[-1, -1] = f"{random:.3f}", f"{best:.3f}"
    note = (
        f"{given.method}, {given.arm} arm, {given.group}, width {given.width}, "
        f"{sum(p.numel() for p in backbone.parameters()):,} weights; views of {given.view} px "
        f"from boxes of {given.scale[0]} to {given.scale[1]} of the area, {given.batch_size} "
        "images a step, one seed. Linear probe taught on the 5,085 training images, judged on "
        "1,017 (standard error .015); numbers of features in brackets; step 0 is untrained. The "
        "last column's readout was chosen on a held-out fifth of the training images, whose "
        f"accuracies were {', '.join(f'{name} {value:.3f}' for name, value in held.items())}. "
        f"Goal {GOAL} (whitened random patches): {'met' if best >= GOAL else 'missed'}, {best:.3f}."
    )
    print(note)
    write_section("image-ssl-cifar", "Image SSL: one arm for longer, CIFAR-10", rows, note)


if __name__ == "__main__":
    main()
