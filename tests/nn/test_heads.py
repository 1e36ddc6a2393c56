"""Heads: features to laws of the right kind, equivariant, and savable."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hierforecast import DataError, HiPerformer
from hierforecast.distributions import (
    IndependentRows,
    IndependentScenes,
    IndependentSteps,
    LowRankNormal,
    Warped,
)
from hierforecast.nn.head import Scenes
from hierforecast.nn.heads import (
    HEADS,
    CoupledHead,
    GaussianHead,
    LowRankHead,
    RowsHead,
    StepsHead,
    StudentTHead,
    head_to_dict,
    make_head,
    usual_head,
)
from hierforecast.nn.tails import TailsHead
from hierforecast.task import Task
from hierforecast.testing import assert_equivariant
from tests.nn.heads import STEPS, TARGETS, OnRows, parts
from tests.rows import CROSSED, CROSSED_NESTED, FLAT, NESTED, moves_of

GAUSSIAN = [
    LowRankHead(),
    LowRankHead(memory=2),
    LowRankHead(rank=3, series_rank=0),
    LowRankHead(rank=2, group_rank=2),
    LowRankHead(memory=2, group_rank=1),
]
WARPED = [TailsHead(), TailsHead(2, 0)]
JOINT = [*GAUSSIAN, StepsHead(group_rank=0), StepsHead(group_rank=2), *WARPED]
ROWS = {"flat": FLAT, "nested": NESTED, "crossed": CROSSED, "crossed and nested": CROSSED_NESTED}
CHOICES = [GaussianHead(), StudentTHead(), RowsHead(), RowsHead(2, 0), *JOINT]


@pytest.mark.parametrize("head", CHOICES, ids=str)
@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
def test_distributions_move_with_their_rows(head, rows):
    """Members and whole groups within a scene: what the joint law says of all does not change."""
    module, inputs = OnRows(head, rows), parts(head, rows)
    value = torch.randn_like(inputs[0])
    law = module.law(*inputs)
    for perm in moves_of(rows, seeds=1):
        assert_equivariant(module, inputs, lambda x: x[perm], lambda x: x[perm])  # noqa: B023
        if not torch.equal(module.scene[perm], module.scene):
            continue  # scenes changed places, so their likelihoods do
        moved = module.law(*(x[perm] for x in inputs))
        torch.testing.assert_close(
            moved.log_prob(value[perm]), law.log_prob(value), rtol=1e-10, atol=1e-10
        )
        place = {int(row): at for at, row in enumerate((module.scene == 0).nonzero()[:, 0])}
        within = torch.tensor([place[int(perm[row])] for row in place])
        here, there = law.series_correlation(0), moved.series_correlation(0)
        torch.testing.assert_close(there, here[within][:, within], rtol=1e-10, atol=1e-10)


@dataclass(frozen=True)
class ByRow(GaussianHead):
    """Broken: later rows are less certain."""

    def __call__(self, loc: Tensor, scale: Tensor, *others: Any) -> Any:
        return super().__call__(loc, scale + torch.arange(len(scale))[:, None, None], *others)


@dataclass(frozen=True)
class FirstOfAll(LowRankHead):
    """Broken: the first row's shape is everybody's."""

    def __call__(self, loc: Tensor, scale: Tensor, shape: Tensor, *others: Any) -> Any:
        return super().__call__(loc, scale, shape[:1].expand_as(shape), *others)


@pytest.mark.parametrize("head", [ByRow(), FirstOfAll()], ids=str)
def test_broken_heads_are_caught(head):
    perm = moves_of(FLAT, seeds=1)[2]
    perm = torch.cat([torch.tensor([5]), perm[perm != 5]])  # the first row surely moves
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(OnRows(head), parts(head), lambda x: x[perm], lambda x: x[perm])


def test_distributions_are_of_the_kind_that_is_asked_for():
    joint = [LowRankNormal if head in GAUSSIAN else IndependentSteps for head in JOINT]
    joint[-len(WARPED) :] = [Warped] * len(WARPED)
    families = (*[IndependentScenes] * 2, *[IndependentRows] * 2, *joint)
    for head, family in zip(CHOICES, families, strict=True):
        loc, scale, shape = parts(head)
        law = OnRows(head).law(loc, scale, shape)
        assert type(law) is family
        assert law.event_shape == loc.shape and law.batch_shape == (3,)
        torch.testing.assert_close(law.mean, loc)
        wider = OnRows(head).law(loc, 3 * scale, shape)
        torch.testing.assert_close(wider.stddev, 3 * law.stddev)
        assert (law.variance > 0).all() and law.variance.isfinite().all()


def test_only_the_joint_head_links_series():
    for head in CHOICES:
        correlation = OnRows(head).law(*parts(head)).series_correlation(0)
        off = correlation - torch.eye(len(correlation)).double()
        assert (off.abs().max() > 0.05) == (head in JOINT)


@pytest.mark.parametrize("head", CHOICES, ids=str)
@pytest.mark.parametrize("size", [0.0, 50.0])
def test_extreme_features_stay_finite_forward_and_backward(head, size):
    inputs = parts(head, size=size)
    for x in inputs:
        x.requires_grad_()
    law = OnRows(head).law(*inputs)
    law.log_prob(torch.zeros_like(inputs[0])).sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in inputs)
    if not size:  # a head that says nothing repeats the scale that it was given, or nearly so
        ratio = law.stddev / inputs[1]
        assert ratio.min() > 0.3 and ratio.max() < 1.5


@pytest.mark.parametrize("head", CHOICES, ids=str)
def test_no_rows(head):
    nobody = torch.zeros(0, dtype=torch.int64), 2
    law = head(
        torch.zeros(0, STEPS, TARGETS),
        torch.ones(0, STEPS, TARGETS),
        torch.zeros(0, STEPS, head.features(TARGETS)),
        Scenes(*nobody, (nobody[0],)),
    )
    assert law.log_prob(torch.zeros(0, STEPS, TARGETS)).tolist() == [0, 0]
    assert law.sample((4,)).shape == (4, 0, STEPS, TARGETS)


@pytest.mark.parametrize("head", [*CHOICES, *HEADS], ids=str)
def test_a_head_survives_json_more_than_once(head):
    once = json.loads(json.dumps(head_to_dict(head)))
    twice = json.loads(json.dumps(head_to_dict(once)))
    assert once == twice
    assert make_head(twice) == make_head(head)


def test_unknown_heads_are_named():
    with pytest.raises(ValueError, match=r"head='cubist' is not one of \['coupled', 'gaussian'"):
        make_head("cubist")
    with pytest.raises(TypeError, match=r"ByRow cannot be saved: register it"):
        head_to_dict(ByRow())


@pytest.mark.parametrize("value", ["no", 1, None])
def test_what_is_no_number_is_no_number(value):
    with pytest.raises(DataError, match=r"^places=.* must be True or False$"):
        CoupledHead(places=value)
    with pytest.raises(DataError, match=r"^series_rank=.* must be a whole number of at least 0$"):
        CoupledHead(series_rank=bool(value))


@pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("head", [h for h in JOINT if h.group_rank], ids=str)
def test_members_of_a_group_share_more_than_others_do(head, rows):
    """Without what the scene shares, rows depend on those of their groups, by any way, only."""
    loc, scale, shape = parts(replace(head, rank=0), rows)
    found = replace(head, rank=0)(loc, scale, shape, rows.scenes)
    here = rows.scenes.scene == 1
    together = sum(x[here, None] == x[here] for x in rows.scenes.owners) > 0
    assert ((found.series_correlation(1).abs() > 1e-6) == together).all()


def test_without_latents_of_groups_nothing_changes():
    """Weights of saved models keep their places."""
    for head in (LowRankHead(), LowRankHead(memory=2), StepsHead(group_rank=0)):
        loc, scale, shape = parts(head)
        scenes = FLAT.scenes
        alone = head(loc, scale, shape, Scenes(scenes.scene, scenes.n_scenes))
        found = head(loc, scale, shape, scenes)
        assert head.features(TARGETS, 3) == head.features(TARGETS)
        assert torch.equal(found.log_prob(loc + 1), alone.log_prob(loc + 1))


def test_the_usual_head_is_that_of_what_is_forecast():
    """Coordinates are coupled but in large scenes; what is saved is what was built."""
    assert usual_head(None, None) == usual_head(None, 64) == CoupledHead()
    assert usual_head(None, 65) == LowRankHead(0, 8, memory=2)
    assert usual_head("lowrank", 3) == LowRankHead()
    assert usual_head("tails", 3) == TailsHead()
    built = HiPerformer(8, 1, 2).for_task(Task(8, 4, n_targets=2, n_series=11))
    assert built.to_dict()["head"] == head_to_dict(CoupledHead())
    assert built.pairs is not None and HiPerformer(8, 1, 2).to_dict()["head"] == "auto"
    assert HiPerformer(8, 1, 2).for_task(Task(8, 4)).pairs is None
