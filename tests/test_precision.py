"""Half precision is for what networks multiply: distributions and losses have float32 at least."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hierforecast._random import hand_down, seeded
from hierforecast.models import hiperformer
from hierforecast.testing import randomize_
from tests.first_batch import CASES, first_batch


def tensors(node: Any, seen: set[int]) -> Iterator[Tensor]:
    """All floating tensors that an object is made of."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, Tensor):
        if node.is_floating_point():
            yield node
    elif isinstance(node, list | tuple):
        for part in node:
            yield from tensors(part, seen)
    elif hasattr(node, "__dict__") and not isinstance(node, nn.Module | type):
        yield from tensors([*vars(node).values()], seen)


class Half:
    """A model's loss and gradients with and without autocast, and what it was made of."""

    def __init__(self, name: str, random: bool) -> None:
        self.model, self.window = first_batch(name)
        if random:
            randomize_(self.model.decoder, 0.3, seed=0)
        self.linear: list[Tensor] = []
        self.distributions: list[Any] = []
        self.read: list[torch.dtype] = []
        self.model.linear.register_forward_hook(lambda m, _, found: self.linear.append(found))
        last = self.model.embedding.read[-1]
        last.register_forward_hook(lambda m, _, found: self.read.append(found.dtype))
        around = self.model._around
        self.model._around = lambda *args: self.distributions.append(around(*args)) or around(*args)

    def loss(self, half: bool) -> Tensor:
        self.model.train().zero_grad()
        hand_down(self.model, seeded(0))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found: Tensor = self.model.loss(*self.window)
        found.backward()
        return found.detach()


@pytest.mark.parametrize("name", CASES)
def test_distributions_and_losses_are_in_float32(name: str):
    case = Half(name, random=False)
    full, half = case.loss(False), case.loss(True)
    assert case.read == [torch.float32, torch.bfloat16], "the network itself is in half precision"
    assert torch.equal(*case.linear), "the linear start"
    for distribution in case.distributions:
        found = {x.dtype for x in tensors(distribution, set())}
        assert found <= {torch.float32, torch.float64}
    assert half.dtype == torch.float32 and abs(half - full) < 1e-3 * (1 + abs(full))
    gradients = [p.grad for p in case.model.parameters() if p.grad is not None]
    assert all(x.dtype == torch.float32 and x.isfinite().all() for x in gradients)


@pytest.mark.parametrize("name", CASES)
def test_losses_are_near_those_of_float32_once_a_network_moves(name: str):
    case = Half(name, random=True)
    full, half = case.loss(False), case.loss(True)
    assert half.isfinite() and abs(half - full) < 0.02 * (1 + abs(full))


def test_a_model_all_in_half_precision_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hiperformer, "full_precision", lambda like: nullcontext(nullcontext))
    case = Half("basketball, gaussian", random=False)
    case.loss(False)
    case.loss(True)
    full, half = case.linear
    assert not torch.equal(full, half.to(full)), "by the check of its linear start"
