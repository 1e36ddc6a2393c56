"""A training step never waits for the device, proven without one; and both ways agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from hierforecast import Forecaster, HiPerformer, _waiting
from hierforecast._lightning import StepBar
from hierforecast._random import hand_down, seeded
from hierforecast.batch import Future, SceneBatch
from hierforecast.training import fitting
from hierforecast.training.loop import Training
from hierforecast.training.optim import Muon, matrices_and_others
from hierforecast.windows.cutoffs import cutoffs_of
from hierforecast.windows.dataset import AT_ONCE, Window
from tests.first_batch import CASES, COURT, basketball, first_batch
from tests.helpers import QUIET
from tests.waiting import Reads, Waited, unwaited

# What waits all the same, see docs/how_it_grows.md, "On a GPU".
WAITING = {"returns": "eigh"}


def step(model: Any, window: Window, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model.loss(*window).backward()
    optimizer.step()


def step_unwaited(model: Any, window: Window) -> None:
    """Two steps of training on the meta device; nothing may be waited for."""
    model = model.to("meta").train()
    hand_down(model, seeded(0))
    optimizer = Muon(*matrices_and_others(model), lr=1e-3)
    window = Window(*(part.to("meta") for part in window))
    with unwaited():
        step(model, window, optimizer)
        step(model, window, optimizer)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("gaps", [True, False])
def test_a_training_step_waits_for_nothing(name: str, gaps: bool):
    model, window = first_batch(name)
    window.future.whole = not gaps
    if name in WAITING:
        with pytest.raises(Waited, match=WAITING[name]):
            step_unwaited(model, window)
    else:
        step_unwaited(model, window)


class Asks(HiPerformer):
    """Breaks the promise in a way of its own."""

    look: Callable[[Tensor], Any]

    def loss(self, batch: SceneBatch, future: Future) -> Tensor:
        loss = super().loss(batch, future)
        self.look(loss)
        return loss


WAYS = {
    "item": lambda x: x.item(),
    "bool": lambda x: bool(x > 0),
    "tolist": lambda x: x.expand(2).tolist(),
    "cpu": lambda x: x.cpu(),
    "mask": lambda x: x.expand(3)[x.expand(3) > 0],
    "mask assigned": lambda x: x.expand(3).index_put((x.expand(3) > 0,), x.expand(3)),
    "nonzero": lambda x: x.expand(3).nonzero(),
    "unique": lambda x: x.expand(3).unique(),
    "bincount": lambda x: x.long().expand(3).bincount(minlength=3),
    "constant": lambda x: x + torch.tensor([1.0, 2.0], device=x.device),
    "constant like it": lambda x: x + x.new_tensor([1.0, 2.0]),
    "host": lambda x: x + torch.ones(2).to(x.device),
    "list": lambda x: x.expand(3)[[0, 1]],
    "index of the host": lambda x: x.expand(3)[torch.arange(2)],
    "cholesky": lambda x: torch.linalg.cholesky(x.expand(2, 2)),
    "repeat": lambda x: x.expand(2).repeat_interleave(x.long().expand(2)),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_asks_is_found(way: str):
    model, window = first_batch("basketball, gaussian")
    model.__class__ = Asks
    model.look = WAYS[way]
    with pytest.raises((Waited, RuntimeError, NotImplementedError)):
        step_unwaited(model, window)


class Backwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> Any:
        return above * float(above.isfinite().all())


def test_a_model_that_asks_on_theway_back_is_found():
    model, window = first_batch("basketball, gaussian")
    model.decoder.register_forward_hook(lambda m, _, found: tuple(map(Backwards.apply, found)))
    with pytest.raises((Waited, RuntimeError)):
        step_unwaited(model, window)


@pytest.fixture
def all_devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """As if numbers of the CPU were not at hand either."""

    def leave() -> None:
        monkeypatch.setattr(_waiting, "HOSTS", set())

    yield leave


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("gaps", [True, False])
def test_what_never_asks_finds_the_same(name: str, gaps: bool, all_devices: Any):
    model, window = first_batch(name, "64-true")
    batch, future = window
    if not gaps:
        future.present[:] = True
        future.whole = True
    found = []
    for asks in (True, False):
        if not asks:
            all_devices()
        model.train().zero_grad()
        hand_down(model, seeded(0))
        loss = model.loss(batch, future)
        loss.backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append((loss.detach(), *gradients))
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-7, atol=1e-9)


def test_a_training_reads_no_number_between_its_steps(monkeypatch: pytest.MonkeyPatch):
    reads = Reads()
    monkeypatch.setattr(Training, "_loss", reads.unseen(Training._loss))
    counts = []
    for steps in (5, 15):
        reads.count = 0
        forecaster = Forecaster(
            HiPerformer(16, 1, 2), context_length=40, prediction_length=10, columns=COURT,
            max_steps=steps, batch_size=4, trainer=QUIET,
        )  # fmt: skip
        monkeypatch.setattr(fitting, "_train", within(reads, fitting._train))
        forecaster.fit(basketball())
        counts.append(reads.count)
    assert counts[0] == counts[1]


def within(reads: Reads, call: Any) -> Any:
    def counted(*args: Any) -> Any:
        with reads:
            return call(*args)

    return counted


def test_the_bar_shows_losses_now_and_then_where_a_device_is_waited_for(all_devices: Any):
    bar, reads = StepBar(50), Reads()
    trainer: Any = SimpleNamespace(global_step=0, callback_metrics={"loss": torch.tensor(2.5)})
    all_devices()
    with reads:
        for _ in range(50):
            bar.on_train_batch_end(trainer, None)  # type: ignore[arg-type]
    assert 1 <= reads.count < 50
    assert bar.bar.tasks[0].fields["losses"] == "loss 2.500"


def test_forecasts_that_are_not_finite_are_named_where_nothing_else_looks(all_devices: Any):
    frame = basketball()
    fitted = Forecaster(
        HiPerformer(16, 1, 2), context_length=40, prediction_length=10, columns=COURT,
        max_steps=1, trainer=QUIET,
    ).fit(frame)  # fmt: skip
    all_devices()
    assert fitted.predict(frame).notna().all(axis=None)
    fitted.model_.linear.weight.bias.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="the forecast holds NaN"):
        fitted.predict(frame)


def test_a_device_forecasts_as_many_windows_at_a_time_as_have_room(all_devices: Any):
    frame = basketball()
    options = {"context_length": 40, "prediction_length": 10, "columns": COURT, "max_steps": 1}
    fitted = Forecaster(HiPerformer(16, 1, 2), **options, trainer=QUIET).fit(frame)
    panel = fitted._read(frame)
    cutoffs = np.tile(cutoffs_of(panel, 40, 10), (600, 1))
    here = fitted._forecasts(panel, cutoffs).batch_size
    wanted = fitted.predict(frame, level=[80])
    all_devices()
    there = fitted._forecasts(panel, cutoffs)
    rows = there.batch_size * there.windows.sizes.mean()
    assert here == fitted._plan().batch < there.batch_size
    assert AT_ONCE - 11 < rows <= AT_ONCE
    pd.testing.assert_frame_equal(fitted.predict(frame, level=[80]), wanted, rtol=1e-4)
    fitted.set_params(batch_size=7)
    assert fitted._forecasts(panel, cutoffs).batch_size == 7
