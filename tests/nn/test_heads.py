"""Heads: features to laws of the right kind, equivariant, and savable."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hierforecast import DataError, HiPerformer
from hierforecast.distributions import (
    IndependentRows,
    IndependentScenes,
    IndependentSteps,
    Log,
    LowRankNormal,
    Sinh,
    Warped,
)
from hierforecast.nn.head import Scenes
from hierforecast.nn.heads import (
    HEADS,
    CoupledHead,
    GaussianHead,
    LowRankHead,
    MixtureHead,
    RowsHead,
    StepsHead,
    StudentTHead,
    head_to_dict,
    make_head,
    usual_head,
)
from hierforecast.nn.lowrank import elsewhere
from hierforecast.nn.tails import TailsHead
from hierforecast.task import Task
from hierforecast.testing import assert_equivariant
from tests.helpers import CROSSED, CROSSED_NESTED, FLAT, NESTED, moves_of

STEPS, TARGETS = 3, 2
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


def parts(head: Any, rows: Any = FLAT, size: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """Location, scale and shape."""
    cells = (len(rows), STEPS, TARGETS)
    features = head.features(TARGETS, len(rows.scenes.owners))
    shape = size * torch.randn(len(rows), STEPS, features).double()
    return torch.randn(cells).double(), 0.5 + torch.rand(cells).double(), shape


class OnRows(nn.Module):
    """A head on rows of some scenes."""

    def __init__(self, head: Any, rows: Any = FLAT) -> None:
        super().__init__()
        self.head, self.scenes, self.scene = head, rows.scenes, rows.scenes.scene

    def law(self, *parts: Tensor) -> Any:
        return self.head(*parts, self.scenes)

    def forward(self, *parts: Tensor) -> dict[str, Tensor]:
        law = self.law(*parts)
        return {"mean": law.mean, "stddev": law.stddev, "ninth": law.quantile(0.9)}


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


@pytest.mark.parametrize("memory", [1, 2, 3])
def test_errors_that_carry_on_start_as_large_as_the_scale(memory: int):
    """Without private latents, whatever the scale is along the horizon."""
    head, scale = LowRankHead(rank=2, series_rank=0, memory=memory), torch.rand(4, 6, 2) + 0.5
    shape = torch.zeros(4, 6, head.features(2))
    found = head(torch.zeros(4, 6, 2), scale, shape, Scenes(torch.tensor([0, 0, 1, 1]), 2))
    first = found.variance[:, 0].sqrt()
    assert torch.allclose(first, scale[:, 0], rtol=1e-2)
    even = head(
        torch.zeros(4, 6, 2), torch.ones(4, 6, 2), shape, Scenes(torch.tensor([0, 0, 1, 1]), 2)
    )
    growth = even.noise.scale[0, :, 0].reciprocal()
    assert (growth.diff() > 0).all()


@pytest.mark.parametrize("series_rank", [0, 8])
def test_who_is_out_of_view_moves_as_those_in_view_about_another_path(series_rank: int):
    """A place, a pace and the errors in view are independent; the sum of squares is the scale's."""
    head, steps = LowRankHead(rank=0, series_rank=series_rank, memory=2), 6
    calm = torch.linspace(0.1, 1.0, steps).double()[:, None] * torch.tensor([1.0, 2.0])
    place, pace, since = 3.0, 0.7, torch.arange(steps)[:, None]
    wide = (calm.square() + place**2 + (pace * since).square()).sqrt()
    scale = torch.stack([calm, wide])
    share = torch.stack([torch.ones_like(calm), calm / wide])
    scenes = Scenes(torch.tensor([0, 1]), 2)
    shape = torch.zeros(2, steps, head.features(2)).double()
    found = head(torch.zeros_like(scale), scale, shape, scenes._replace(in_view=share))
    by_target = [
        found.covariance(one).view(steps, 2, steps, 2)[:, target, :, target].detach()
        for one in range(2) for target in range(2)
    ]  # fmt: skip
    drift = place**2 + pace**2 * since * since.T
    for seen, lost in zip(by_target[:2], by_target[2:], strict=True):
        torch.testing.assert_close(lost, seen + drift, rtol=5e-3, atol=0)
    across = found.covariance(1).view(steps, 2, steps, 2)[:, 0, :, 1]
    assert not across.any(), "targets err by themselves"
    # The broken twin, all of the scale in shocks, zig-zags.
    bends = [_bends(by_target[2]), _bends(by_target[0])]
    shaken = head(torch.zeros_like(scale), scale, shape, scenes).covariance(1)
    assert bends[0] == pytest.approx(bends[1], rel=5e-3)
    assert _bends(shaken.view(steps, 2, steps, 2)[:, 0, :, 0]) > 5 * bends[0]


def _bends(covariance: Tensor) -> float:
    """The mean variance of second differences."""
    return float(covariance.diff(2, dim=0).diff(2, dim=1).diagonal().mean())


@pytest.mark.parametrize("place, pace", [(0.0, 1.0), (2.0, 0.0), (0.0, 0.0), (1.5, 0.4)])
def test_place_and_pace_are_told_from_scales(place: float, pace: float):
    since = torch.arange(7.0).double()[:, None]
    scale = (1 + place**2 + (pace * since).square()).sqrt().expand(3, 7, 2)
    found = elsewhere(scale, torch.ones_like(scale))
    torch.testing.assert_close(found[..., 0], torch.full_like(scale, place))
    torch.testing.assert_close(found[..., 1], (pace * since).expand_as(scale))
    # Scales that shrink, or jump about, are met as nearly as two numbers of zero or more can.
    odd = torch.rand(5, 7, 2, generator=torch.Generator().manual_seed(0)).double() + 1
    best = elsewhere(odd, torch.ones_like(odd)).square().sum(-1)
    lack = odd.square() - 1
    miss = (best - lack).square().sum(1)
    for more in ((0.01, 0.0), (-0.01, 0.0), (0.0, 0.001), (0.0, -0.001), (0.01, -0.001)):
        level, slope = more
        other = best + level + slope * since.square()
        ends = other[:, 0], other[:, -1] - other[:, 0]
        allowed = (ends[0] >= 0) & (ends[1] >= 0)
        assert ((other - lack).square().sum(1) >= miss - 1e-12)[allowed].all()
    assert elsewhere(scale[:, :1], torch.ones(3, 1, 2).double()).isfinite().all()


@pytest.mark.parametrize("memory", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", [LowRankHead, CoupledHead, RowsHead, MixtureHead])
def test_locs_move_as_errors_do(kind: type, memory: int):
    """Numbers that jitter become a path as smooth as errors are, each as large as it was."""
    head, steps = kind(memory=memory), 12
    raw = torch.randn(20_000, steps, TARGETS, generator=torch.Generator().manual_seed(0)).double()
    path = head.path(raw)
    if not memory:
        assert torch.equal(path, raw)
        return
    shocks, errors = raw[..., 0], []
    carry = {1: (1.0, 0.0), 2: (1.6, -0.6), 3: (1.6, -0.6)}[memory]
    for h in range(steps):
        before = sum(c * x for c, x in zip(carry, errors[:-3:-1], strict=False))
        errors.append(before + shocks[:, h])
    expected = torch.stack(errors, 1)
    growth = (expected / path[..., 0]).median(0).values
    torch.testing.assert_close(path[..., 0] * growth, expected)
    assert (path.std(0) - 1).abs().max() < 0.03
    rough = path.diff(2, dim=1).std(0)[-1] / raw.diff(2, dim=1).std(0)[-1]
    assert (rough < 0.7).all() if memory == 1 else (rough < 0.2).all()


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


@pytest.mark.parametrize("tail", [-9.0, -0.7, 0.0, 9.0])
def test_tails_leave_the_deviation_to_the_scale(tail):
    """Whatever the latents say: the scale times the size, by draws and by the closed form."""
    head = TailsHead()
    loc, scale, shape = parts(head)
    each = shape.unflatten(-1, (TARGETS, -1))
    each[..., 0], each[..., 1] = tail, 0.4
    law = OnRows(head).law(loc, scale, shape)
    torch.testing.assert_close(law.stddev, scale * torch.tensor(0.4).exp())
    draws = law.sample((40_000,), torch.Generator().manual_seed(0))
    middle = ((draws - loc).abs() < 0.5 * law.stddev).double().mean()
    assert abs(middle - 0.383) < 0.02 if tail < -5 else middle > 0.387, "many small errors"


@pytest.mark.parametrize("tail", [-9.0, 0.0, 9.0])
def test_sales_by_factors_have_a_mean_under_any_tail(tail):
    """That of draws, and a few medians at most; without a limit to the slope it is infinite."""
    head = TailsHead()
    loc, scale, shape = parts(head)
    each = shape.unflatten(-1, (TARGETS, -1))
    each[..., 0], each[..., 1] = tail, 0.0
    law = OnRows(head).law(0 * loc, 0.4 + 0 * scale, shape)
    sales = Warped(law, Log(0.0, 1.0, 0.1))
    draws = sales.sample((200_000,), torch.Generator().manual_seed(0))
    torch.testing.assert_close(sales.mean, draws.mean(0), rtol=0.02, atol=0.0)
    assert (sales.mean < 2 * sales.quantile(0.5)).all()
    endless = Warped(Warped(law.base, Sinh(0.0, law.warp.unit, law.warp.tail)), Log(0.0, 1.0, 0.1))
    assert (endless.mean.max() > 1e6) == (tail > 0)
