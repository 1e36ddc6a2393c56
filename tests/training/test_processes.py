"""Several processes train as one does: the same steps, the same losses, the same best weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from hierforecast import Forecaster, HiPerformer, Shards, shard
from hierforecast.training.loop import Training
from tests.helpers import COLUMNS, DOUBLE, make_frame, tiny

FRAME = make_frame(n_scenes=12, steps=21, missing=0.3)
STEPS = 5


def apart(one: Forecaster, other: Forecaster) -> float:
    """The largest difference between their weights."""
    pairs = zip(one.model_.parameters(), other.model_.parameters(), strict=True)
    return max(float((x - y).detach().abs().max()) for x, y in pairs)


@dataclass
class Remember(Callback):
    """Writes down the weights with which each process ends."""

    folder: Path

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        torch.save(pl_module.state_dict(), self.folder / f"{trainer.global_rank}.pt")


def fitted(
    processes: int, folder: Path, batch_size: int = 8, data: Any = FRAME, **options: Any
) -> Forecaster:
    """A fit by so many processes, forked, so that what a test has patched holds there too."""
    trainer: dict[str, Any] = {**DOUBLE, "callbacks": [Remember(folder)]}
    if processes > 1:
        trainer |= {"devices": processes, "strategy": "ddp_fork"}
    options = {"series_dropout": 0.0, "max_steps": STEPS, **options}
    model = HiPerformer(16, 1, 2, patch=4, dropout=0.0)
    return tiny(model, batch_size=batch_size, trainer=trainer, **options).fit(data)


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path):
    whole, halves = (fitted(n, tmp_path, 8 // n) for n in (1, 2))
    np.testing.assert_allclose(halves.history_, whole.history_, rtol=1e-9)
    assert len(halves.history_) == STEPS and halves.history_.val_loss.notna().all()
    assert apart(halves, whole) < 1e-8
    assert str(halves.report_) == str(whole.report_)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert all(torch.equal(x, ranks[1][name]) for name, x in ranks[0].items())


@pytest.mark.slow
def test_processes_whose_cells_count_alike_take_other_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(Training, "_over_processes", lambda self, loss, _: (loss, loss.detach()))
    whole, halves = (fitted(n, tmp_path, 8 // n) for n in (1, 2))
    assert apart(halves, whole) > 1e-4


@pytest.mark.slow
def test_processes_run_out_of_held_out_windows_together(tmp_path):
    """One has a batch of them more than the other, much is hidden, and weights have no part."""
    found = fitted(2, tmp_path, 5, series_dropout=0.4, columns=replace(COLUMNS, group=None))
    assert np.isfinite(found.history_.to_numpy()).all()


@pytest.mark.slow
def test_processes_learn_from_shards_too(tmp_path):
    """From a table that fits in memory as one process does, and from pools of a larger one."""
    folder = shard(FRAME, tmp_path / "cut", COLUMNS, rows=200, bar=False)
    whole, halves = (fitted(n, tmp_path, 8 // n, folder) for n in (1, 2))
    np.testing.assert_allclose(halves.history_, whole.history_, rtol=1e-9)
    pools = Shards(folder, memory_rows=len(FRAME) // 2)
    assert len(pools) > 4 and not pools.fits
    ranks = (
        fitted(2, tmp_path, 4, pools, max_steps=40),
        *(torch.load(tmp_path / f"{rank}.pt") for rank in range(2)),
    )
    assert np.isfinite(ranks[0].history_.loss).all()
    assert all(torch.equal(x, ranks[2][name]) for name, x in ranks[1].items())
