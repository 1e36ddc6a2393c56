"""The objective of pretraining keeps the promises: what is filled in is equivariant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hierforecast import HiPerformer
from hierforecast.batch import Future, SceneBatch
from hierforecast.testing import assert_equivariant, equivariance_error, randomize_
from hierforecast.training.pretraining import Masked
from tests.helpers import H
from tests.rows import FLAT, NESTED, Rows, make_content, moves_of, pack, task_for

SCALES = ["coordinates", "mirrored", "series"]


def built(rows: Rows, scale: str = "coordinates", width: int = 16) -> Masked:
    """Large random weights in float64, and units that are not one."""
    model = HiPerformer(width, 2, 2, dropout=0.0, patch=4, scale=scale)
    model = model.for_task(task_for(rows)).double()
    content = make_content(rows, task_for(rows), seed=5)
    batch = pack(rows, content)
    ahead = batch.values.mean(1, keepdim=True).expand(-1, H, -1)
    numbers = torch.arange(len(rows))
    model.fit_statistics(batch, Future(ahead, batch.present[:, -H:], numbers, numbers))
    if scale == "mirrored":
        model.scaler.seam.zero_()  # in a seam training draws one of the images
    return randomize_(Masked(model)).eval()


class Filling(nn.Module):
    """What is filled in, and the loss of each row, with rows in the user's order."""

    def __init__(self, masked: Any, rows: Rows) -> None:
        super().__init__()
        self.masked, self.rows = masked, rows

    def forward(self, content: dict[str, Tensor]) -> dict[str, Tensor]:
        parts = {k: x for k, x in content.items() if k not in ("truth", "hidden")}
        batch, order = pack(self.rows, parts), torch.from_numpy(self.rows.order)
        inverse = torch.from_numpy(self.rows.inverse)
        truth, hidden = content["truth"][order], content["hidden"][order]
        found, _ = self.masked.filled(batch, truth)
        numbers = torch.arange(len(order))
        losses = []
        for row in range(len(order)):
            own = hidden & (numbers == row)[:, None]
            losses.append(self.masked.loss(batch, Future(truth, own, numbers, numbers)))
        return {"filled": found[inverse], "loss": torch.stack(losses)[inverse]}


class ByPlace(Masked):
    """Broken: what is filled in depends on where a row stands."""

    def filled(self, batch: SceneBatch, values: Tensor) -> tuple[Tensor, Tensor]:
        found, truth = super().filled(batch, values)
        return found + 0.01 * torch.arange(len(found))[:, None, None], truth


def asked(rows: Rows) -> dict[str, Tensor]:
    """Content of a batch, and what is hidden of it."""
    content, other = (make_content(rows, task_for(rows), seed=seed) for seed in (0, 1))
    return {**content, "truth": other["values"] + 1, "hidden": ~content["present"]}


# --- the objective -------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("rows", [FLAT, NESTED], ids=["flat", "nested"])
def test_what_is_filled_in_is_equivariant(rows, scale):
    module, content = Filling(built(rows, scale), rows), asked(rows)
    assert module(content)["filled"].std() > 0.1
    for move in moves_of(rows, seeds=1):
        act = lambda x, move=move: x[move]  # noqa: E731
        assert_equivariant(module, content, act, act)


def test_a_broken_objective_is_found():
    masked = built(FLAT)
    masked.__class__ = ByPlace
    module, content = Filling(masked, FLAT), asked(FLAT)
    move = moves_of(FLAT, seeds=1)[0]
    act = lambda x: x[move]  # noqa: E731
    assert equivariance_error(module, content, act, act) > 1e-4


@pytest.mark.parametrize("scale", SCALES)
def test_who_is_hidden_whole_is_as_if_deleted(scale):
    """Garbage in hidden cells and whole rows changes nothing either."""
    gone, content = [2, 9], asked(FLAT)
    kept = np.setdiff1d(np.arange(len(FLAT)), gone)
    for part in ("present", "hidden"):
        content[part][gone] = False
    here = content["present"][..., None]
    content["values"] = torch.where(here, content["values"], 1e6)
    content["past"] = torch.where(here, content["past"], torch.nan)
    whole = Filling(built(FLAT, scale), FLAT)(content)
    deleted = FLAT.without(gone)
    fewer = Filling(built(FLAT, scale), deleted)({part: x[kept] for part, x in content.items()})
    torch.testing.assert_close(whole["filled"][kept], fewer["filled"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", SCALES)
def test_nothing_to_fill_in_is_a_finite_loss(scale):
    masked, content = built(FLAT, scale), asked(FLAT)
    truth, nobody = content.pop("truth"), torch.zeros_like(content.pop("hidden"))
    loss = masked.loss(pack(FLAT, content), Future(truth, nobody, *torch.zeros(2, len(truth))))
    loss.backward()
    assert loss == 0
    assert all(x.grad is None or x.grad.isfinite().all() for x in masked.parameters())
