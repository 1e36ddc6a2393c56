"""How far heads say that errors go: along the horizon, out of view, and in the tails."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hierforecast.distributions import Log, Sinh, Warped
from hierforecast.nn.head import Scenes
from hierforecast.nn.heads import CoupledHead, LowRankHead, MixtureHead, RowsHead
from hierforecast.nn.lowrank import elsewhere
from hierforecast.nn.tails import TailsHead
from tests.nn.heads import TARGETS, OnRows, parts


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
