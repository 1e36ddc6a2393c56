"""A training step never waits for the device, proven without one; and both ways agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from hierforecast import Columns, Forecaster, HiPerformer, _waiting, fitting
from hierforecast._lightning import StepBar
from hierforecast._random import hand_down, seeded
from hierforecast.batch import Future, SceneBatch
from hierforecast.datasets import simulate_basketball
from hierforecast.nn.heads import HEADS
from hierforecast.optim import Muon, matrices_and_others
from hierforecast.training import Training
from hierforecast.windows import Window
from tests.helpers import QUIET
from tests.waiting import Reads, Waited, unwaited

COURT = Columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
SHOPS = Columns(group=["city", "shop"], crossed=["kind"], past_covariates=["price"])
# What waits all the same, see docs/how_it_grows.md, "On a GPU".
WAITING = {"basketball, student": "copies numbers", "returns": "eigh"}


def basketball() -> pd.DataFrame:
    return simulate_basketball(n_scenes=4, n_steps=56, seed=0, missing=0.1)


def shops() -> pd.DataFrame:
    """Daily demand of eight products, in shops of cities and of two kinds."""
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=120)
    frame = pd.DataFrame({"unique_id": np.repeat(np.arange(8), 120), "ds": np.tile(days, 8)})
    number = frame["unique_id"]
    frame["city"], frame["shop"], frame["kind"] = number % 2, number % 4, number // 4
    week = 4 + 2 * np.sin(frame["ds"].dt.day_of_week)
    return frame.assign(y=rng.poisson(week), price=rng.normal(size=len(frame)))


CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "basketball": ({"scale": "mirrored", "n_frequencies": 4, "dropout": 0.1}, basketball),
    **{
        f"basketball, {head}": ({"head": head}, basketball)
        for head in HEADS
        if head not in ("returns", "steps")
    },
    "series": ({"scale": "series", "n_frequencies": 4}, shops),
    "demand": ({"scale": "demand"}, shops),
    "returns": ({"scale": "returns"}, shops),
}  # fmt: skip


class Captured(Exception):
    pass


def lesson(name: str, precision: str = "32-true") -> tuple[Any, Window]:
    """A model as its training begins, and the first batch that it would learn from."""
    return deepcopy(_lesson(name, precision))


@cache
def _lesson(name: str, precision: str) -> tuple[Any, Window]:
    given, frame = CASES[name]
    model = HiPerformer(16, 2, 2, **given)

    def capture(plan: Any, model: Any, windows: Any, *rest: Any) -> None:
        raise Captured(model, windows)

    court = frame is basketball
    lengths = (40, 10) if court else (28, 7)
    forecaster = Forecaster(
        model, context_length=lengths[0], prediction_length=lengths[1],
        columns=COURT if court else SHOPS, series_dropout=0.1,
        trainer={**QUIET, "precision": precision},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_train", capture)
        with pytest.raises(Captured) as caught:
            forecaster.fit(frame())
    model, windows = caught.value.args
    return model, windows.__getitems__(range(min(6, len(windows))), seeded(0))


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
def test_a_training_step_waits_for_nothing(name: str):
    model, window = lesson(name)
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
    model, window = lesson("basketball, gaussian")
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


def test_a_model_that_asks_on_the_way_back_is_found():
    model, window = lesson("basketball, gaussian")
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
    model, window = lesson(name, "64-true")
    batch, future = window
    if not gaps:
        future.present[:] = True
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
