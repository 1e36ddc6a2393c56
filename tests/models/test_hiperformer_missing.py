"""HiPerformer on batches where something is missing: masked is deleted, and all stays finite."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hierforecast import HiPerformer
from hierforecast.batch import SceneBatch
from hierforecast.testing import randomize_
from tests.models.networks import OPTIONS, ROWS, LeansOnItsNeighbour, build
from tests.rows import FLAT, NESTED, TASK, OnRows, Rows, make_content, make_future, pack, task_for


class MixesScenes(HiPerformer):
    """Broken: the units come from the batch at hand, so scenes hear of one another."""

    def forward(self, batch: SceneBatch) -> Any:
        self.scaler.fit(batch)
        return super().forward(batch)


def groups_of(rows: Rows) -> list[list[int]]:
    of_ways = [[(s, *g) for s, g in zip(rows.scene, way, strict=True)] for way in rows.ways]
    return [
        [i for i, k in enumerate(keys) if k == key]
        for keys in of_ways
        for key in dict.fromkeys(keys)
    ]


def without(content: dict[str, Tensor], kept: np.ndarray) -> dict[str, Tensor]:
    return {name: x[kept] for name, x in content.items()}


def deletion_error(model: nn.Module, rows: Rows, gone: list[int]) -> float:
    """How much the others' laws differ when rows are masked in the batch, or are not there."""
    content = make_content(rows, task_for(rows), seed=5)
    kept, fewer = np.setdiff1d(np.arange(len(rows)), gone), rows.without(gone)
    masked = {**content, "present": content["present"].clone()}
    masked["present"][gone] = False
    one, two = OnRows(model, rows)(masked), OnRows(model, fewer)(without(content, kept))
    return max(relative(one[name][..., kept, :, :], two[name]) for name in two)


def relative(one: Tensor, two: Tensor) -> float:
    """The largest difference, in units of the largest value where that is large."""
    return float((one - two).abs().max() / two.abs().max().clamp(min=1))


@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@torch.no_grad()
def test_a_masked_series_is_as_good_as_deleted(options, rows):
    """Also when its group empties, or its scene."""
    model = build(rows, **options)
    last = (rows.scene == rows.scene[-1]).nonzero()[0].tolist()
    for gone in [[0], [1], [1, 2], *groups_of(rows), last]:
        if len(set(rows.without(gone).scene)) == rows.scene.max() + 1:  # scenes keep their numbers
            assert deletion_error(model, rows, gone) <= 1e-10


@torch.no_grad()
def test_a_twin_is_caught_by_deletion():
    assert deletion_error(build(FLAT, LeansOnItsNeighbour), FLAT, [1]) > 1e-3


@pytest.mark.parametrize("kind", [HiPerformer, MixesScenes])
@torch.no_grad()
def test_scenes_do_not_hear_of_one_another(kind):
    module, content = OnRows(build(FLAT, kind), FLAT), make_content(FLAT, TASK, seed=3)
    first = np.flatnonzero(FLAT.scene == 0)
    alone = OnRows(module.model, FLAT.without(np.flatnonzero(FLAT.scene > 0)))
    together = module(content)["mean"][first]
    error = (together - alone(without(content, first))["mean"]).abs().max()
    assert (error <= 1e-10) == (kind is HiPerformer)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@torch.no_grad()
def test_junk_in_missing_cells_changes_exactly_nothing(options):
    module, content = OnRows(build(FLAT, **options), FLAT), make_content(FLAT, TASK)
    for odd in (1e9, float("nan"), float("inf")):
        junk = torch.where(content["present"][..., None], content["values"], odd)
        one, two = module(content), module({**content, "values": junk})
        assert all(torch.equal(one[name], two[name]) for name in one)


@torch.no_grad()
def test_more_padding_changes_nothing():
    """Twelve steps in patches of 4, or as many with steps of nothing before them and more patches.

    The longer model has one more context token, which holds nothing; positions are aligned.
    """
    short, long = (replace(TASK, context_length=length, past=(), known=()) for length in (8, 14))
    content = make_content(FLAT, short)
    before = torch.zeros(len(FLAT), 6, 2).double()
    padded = {
        **content,
        "values": torch.cat([before, content["values"]], 1),
        "present": torch.cat([before[..., 0] > 0, content["present"]], 1),
        "past": torch.zeros(len(FLAT), 14, 0),
        "known": torch.zeros(len(FLAT), 18, 0),
    }
    given: dict[str, Any] = {"width": 12, "depth": 2, "heads": 2, "dropout": 0.0, "patch": 4}
    one = randomize_(HiPerformer(**given).for_task(short).double())
    two = HiPerformer(**given).for_task(long).double()
    state = {n: p for n, p in one.state_dict().items() if n != "linear.weight.weight"}
    more = torch.randn(2, 12).double()
    state["embedding.position"] = torch.cat([more, state["embedding.position"]])
    missing = two.load_state_dict(state, strict=False).missing_keys
    assert missing == ["linear.weight.weight"]
    for model in (one, two):
        model.linear.weight.weight.zero_()
    found, wanted = OnRows(two, FLAT)(padded), OnRows(one, FLAT)(content)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("gone", ["a step", "a group", "a scene", "everyone"])
def test_finite_forward_and_backward_whatever_is_empty(options, gone):
    model, content = build(NESTED, **options), make_content(NESTED, task_for(NESTED))
    part: dict[str, Any] = {"a step": (slice(None), slice(3, 9)), "a group": ([1, 3],)}
    part["a scene"] = (NESTED.scene == 1,)
    content["present"][part.get(gone, (slice(None),))] = False
    batch, future = pack(NESTED, content), make_future(NESTED, task_for(NESTED))
    law = model(batch)
    assert law.mean.isfinite().all() and law.stddev.isfinite().all()
    loss = model.loss(batch, future) - law.log_prob(future.values, future.present).sum()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("n_scenes", [0, 2])
def test_a_batch_without_rows(n_scenes):
    rows = Rows(np.zeros(0, np.int64), np.zeros((0, 1), np.int64), np.zeros(0, np.int64))
    model = build(FLAT)
    batch = replace(pack(rows, make_content(rows, TASK)), n_scenes=n_scenes)
    future = make_future(rows, TASK)
    law = model(batch)
    assert law.mean.shape == (0, 4, 2)
    assert law.log_prob(future.values).tolist() == [0] * n_scenes
    loss = model.loss(batch, future)
    assert loss.isfinite()
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_a_horizon_without_anybody_is_a_finite_loss():
    model, batch = build(FLAT), pack(FLAT, make_content(FLAT, TASK))
    future = make_future(FLAT, TASK, missing=1.0)
    loss = model.loss(batch, replace(future, values=torch.full_like(future.values, torch.nan)))
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
