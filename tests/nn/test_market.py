"""Loads of a market: found where they are, equivariant, blind to what is missing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hierforecast import HiPerformer
from hierforecast.distributions import ScaleMixture, Warped
from hierforecast.nn.head import Loads, Scenes
from hierforecast.nn.heads import head_to_dict, make_head, usual_head
from hierforecast.nn.market import _BEGIN, MarketStart
from hierforecast.nn.returns import ReturnsHead
from hierforecast.testing import assert_equivariant
from tests.rows import FLAT, NESTED, moves_of

STEPS = 3
F64 = torch.float64


def made(rows: int = 60, length: int = 400, seed: int = 0) -> tuple[Tensor, Scenes, dict[str, Any]]:
    """Returns (P, L, 1) of two scenes with a market and three sectors each, of known loads."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=F64)

    scene = torch.arange(rows) % 2
    group = scene * 3 + torch.arange(rows) // 2 % 3
    market, sector = normal(2, length), normal(6, length)
    beta, gamma = 1 + 0.4 * normal(rows), 0.7 + 0.2 * normal(rows)
    own, size = 0.8 + 0.3 * torch.rand(rows, generator=generator), (0.5 * normal(rows)).exp()
    x = beta[:, None] * market[scene] + gamma[:, None] * sector[group]
    x = size[:, None] * (x + own[:, None] * normal(rows, length))
    truth = {"beta": beta, "gamma": gamma, "own": own, "size": size}
    return x[..., None], Scenes(scene, 2, (group,)), truth


def start(rank: int = 2, rows: int = STEPS) -> MarketStart:
    return MarketStart(rows, rank).double()


def test_loads_are_those_that_made_the_returns() -> None:
    x, scenes, truth = made(rows=120, length=2_000)
    module = start(rank=0)
    gentle = {"memory": 9.0, "slow": 9.0, "bend": -6.0, "own": -9.0, "common": -9.0, "size": 0.0}
    module.numbers.copy_(torch.tensor([gentle.get(k, v) for k, v in _BEGIN.items()]))
    loads = module(x, torch.ones(x.shape[:2], dtype=torch.bool), scenes)
    square = truth["beta"] ** 2 + truth["gamma"] ** 2 + truth["own"] ** 2
    found = loads.scene[:, 0, 0], loads.groups[0][:, 0], loads.noise[:, 0]
    for name, load in zip(("beta", "gamma", "own"), found, strict=True):
        assert torch.corrcoef(torch.stack([load, truth[name] / square.sqrt()]))[0, 1] > 0.9
    torch.testing.assert_close(
        loads.size[:, 0, 0], truth["size"] * square.sqrt(), rtol=0.1, atol=0.05
    )
    assert ((found[0] * truth["beta"]) > 0).double().mean() > 0.95
    total = loads.scene.square().sum(-1) + loads.groups[0].square() + loads.noise.square()
    torch.testing.assert_close(total, torch.ones_like(total))


def test_principal_factors_find_what_market_and_groups_do_not() -> None:
    x, scenes, _ = made()
    style = torch.randn(60, generator=torch.Generator().manual_seed(3), dtype=F64)
    factor = torch.randn(400, generator=torch.Generator().manual_seed(4), dtype=F64)
    seen = torch.ones(60, 400, dtype=torch.bool)
    loads = start(rank=1)(x + (style[:, None] * factor)[..., None], seen, scenes)
    for scene in range(2):
        here = scenes.scene == scene
        pair = torch.stack([loads.scene[here, 0, 1], style[here]])
        assert torch.corrcoef(pair)[0, 1].abs() > 0.8


def test_a_factor_of_several_groups_is_not_taken_for_their_own() -> None:
    """Of two groups that move together one tells of the other: groups alone cannot say so."""
    x, scenes, _ = made()
    group, seen = scenes.groups[0], torch.ones(60, 400, dtype=torch.bool)
    two = torch.tensor([1.0, 1.0, -1.5, 1.0, 1.0, -1.5], dtype=F64)[group]
    factor = torch.randn(400, generator=torch.Generator().manual_seed(4), dtype=F64)
    x = x + (two[:, None] * factor)[..., None]
    one, other, third = ((group == i).nonzero()[:, 0] for i in range(3))
    tied = []
    for last in (True, False):
        module = MarketStart(STEPS, 2, groups_last=last).double()
        loads = module(x, seen, scenes).scene[:, 0, 1:]
        tied.append(
            [float((loads[a] @ loads[b].mT).mean()) for a, b in ((one, other), (one, third))]
        )
    assert tied[0][0] > 0.05 and tied[0][1] < -0.1
    assert max(map(abs, tied[1])) < 1e-4  # as earlier versions had it


def test_factors_of_noise_count_little() -> None:
    generator = torch.Generator().manual_seed(1)
    style, factor, noise = (
        torch.randn(*n, generator=generator, dtype=F64) for n in ((60, 1), (1, 400), (60, 400))
    )
    scenes, seen = made()[1], torch.ones(60, 400, dtype=torch.bool)
    x = noise + style * factor
    share, plain = (
        start(rank=5)(y[..., None], seen, scenes).scene[:, 0, 1:].square().sum(0).sort().values
        for y in (x, noise)
    )
    assert share[-1] > 20 * share[:-1].max() and plain.sum() < 0.15 * share[-1]


class OnReturns(nn.Module):
    """What the loads say of covariances: the sign of a principal factor says nothing."""

    def __init__(self, module: MarketStart, rows: Any) -> None:
        super().__init__()
        self.module, self.scenes = module, rows.scenes

    def loads(self, x: Tensor, present: Tensor) -> Loads:
        return self.module(x, present, self.scenes)

    def forward(self, x: Tensor, present: Tensor) -> dict[str, Tensor]:
        loads = self.loads(x, present)
        groups = {f"group {i}": load for i, load in enumerate(loads.groups)}
        explained = loads.scene[..., 1:].square().sum(-1)
        market = loads.scene[..., 0]
        return {"size": loads.size, "market": market, "principal": explained,
                "noise": loads.noise, **groups}  # fmt: skip


def test_the_signs_of_principal_factors_tie_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eigenvectors have no sign; what they say of rows and targets together must not have one."""
    x, present = returns(FLAT)
    plain = start()(x, present, FLAT.scenes).scene[..., 1:]
    eigh = torch.linalg.eigh

    def turned(gram: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = eigh(gram)
        sign = torch.randn(*vectors.shape[:-2], 1, vectors.shape[-1]).sign()
        return values, vectors * sign.to(vectors)

    monkeypatch.setattr(torch.linalg, "eigh", turned)
    other = start()(x, present, FLAT.scenes).scene[..., 1:]
    assert (plain - other).abs().max() > 1e-2
    for scene in range(FLAT.scenes.n_scenes):
        one, two = (part[FLAT.scenes.scene == scene].flatten(0, 1) for part in (plain, other))
        torch.testing.assert_close(two @ two.mT, one @ one.mT, rtol=1e-12, atol=1e-12)


class LaterIsLarger(MarketStart):
    """Broken: rows have numbers."""

    def _loads(self, p: dict[str, Tensor], x: Tensor, *rest: Any) -> Loads:
        return super()._loads(p, x * torch.arange(1, len(x) + 1)[:, None, None], *rest)


def returns(rows: Any, length: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(len(rows), length, 2, generator=generator, dtype=F64)
    return 2 * x, torch.rand(len(rows), length, generator=generator) < 0.8


@pytest.mark.parametrize("rows", [FLAT, NESTED], ids=["flat", "nested"])
def test_loads_move_with_their_rows(rows: Any) -> None:
    module, inputs = OnReturns(start(), rows), returns(rows)
    for perm in moves_of(rows, seeds=1):
        assert_equivariant(module, inputs, lambda x: x[perm], lambda x: x[perm])  # noqa: B023


def test_a_broken_start_is_caught() -> None:
    module = OnReturns(LaterIsLarger(STEPS, 2).double(), FLAT)
    with pytest.raises(AssertionError, match="not equivariant"):
        for perm in moves_of(FLAT, seeds=1):
            assert_equivariant(module, returns(FLAT), lambda x: x[perm], lambda x: x[perm])  # noqa: B023


@pytest.mark.parametrize("rows", [FLAT, NESTED], ids=["flat", "nested"])
def test_what_is_missing_is_as_good_as_deleted(rows: Any) -> None:
    module, (x, present) = start(), returns(rows)
    gone = [0, 4]
    kept = torch.tensor([i for i in range(len(rows)) if i not in gone])
    present[gone] = False
    full = OnReturns(module, rows)(torch.where(present[..., None], x, torch.nan), present)
    fewer = OnReturns(module, rows.without(gone))(x[kept], present[kept])
    for name, value in fewer.items():
        assert value.isfinite().all()
        torch.testing.assert_close(full[name][kept], value, rtol=1e-10, atol=1e-10)


def test_scenes_are_strangers() -> None:
    x, scenes, _ = made()
    seen = torch.ones(60, 400, dtype=torch.bool)
    other = torch.where((scenes.scene == 1)[:, None, None], 100 * x.flip(1), x)
    here = scenes.scene == 0
    one, two = (start()(y, seen, scenes) for y in (x, other))
    for a, b in ((one.size, two.size), (one.scene.abs(), two.scene.abs()), (one.noise, two.noise)):
        torch.testing.assert_close(a[here], b[here], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["constant", "absent", "one row", "no rows", "huge"])
def test_poor_contexts_have_finite_loads(kind: str) -> None:
    rows = {"one row": 1, "no rows": 0}.get(kind, 5)
    x = torch.zeros(rows, 4, 1) if kind == "constant" else torch.randn(rows, 4, 1)
    x = 1e6 * x if kind == "huge" else x
    seen = torch.full((rows, 4), kind != "absent")
    scene = torch.zeros(rows, dtype=torch.int64)
    loads = MarketStart(STEPS, 6)(x, seen, Scenes(scene, 1, (torch.arange(rows),)))
    for value in (loads.size, loads.scene, *loads.groups, loads.noise):
        assert value.isfinite().all()
    assert (loads.size > 0).all() and (loads.noise > 0).all()


def density(head: ReturnsHead, loads: Loads, scenes: Scenes, size: float = 0.0) -> Warped:
    rows = len(scenes.scene)
    shape = size * torch.randn(
        rows, STEPS, head.features(1, 1), generator=torch.Generator().manual_seed(6), dtype=F64
    )
    zero = torch.zeros(rows, STEPS, 1, dtype=F64)
    return head(zero, zero + 1, shape, scenes._replace(loads=loads))


@pytest.mark.parametrize("size", [0.0, 3.0])
def test_the_head_is_a_warped_mixture_about_the_loads(size: float) -> None:
    x, scenes, _ = made()
    head = ReturnsHead(rank=2)
    loads = start()(x, torch.ones(60, 400, dtype=torch.bool), scenes)
    p = density(head, loads, scenes, size)
    torch.testing.assert_close(p.base.base.base.variance, torch.ones(60 * STEPS, 1, 1, dtype=F64))
    assert isinstance(p.base.base, ScaleMixture) and torch.equal(p.mean, 0 * p.mean)
    assert p.variance.isfinite().all() and (p.variance > 0).all()
    tails = p.warp.tail
    assert tails.shape == (60, 1, 1) and (size == 0 or tails.std() > 0.01)  # a series' own
    if not size:
        torch.testing.assert_close(p.warp.unit, loads.size)
        z = p.base.base.base.covariance(0)  # the first step of the first scene
        here = scenes.scene == 0
        market, group = loads.scene[here, 0], loads.groups[0][here, 0]
        same = scenes.groups[0][here, None] == scenes.groups[0][here]
        wanted = market @ market.mT + same * group.outer(group)
        wanted = wanted + loads.noise[here, 0].square().diag()
        torch.testing.assert_close(z, wanted)


def test_the_numbers_are_fitted_to_what_is_likely() -> None:
    """Returns with heavy tails whose sizes do not revert: the fit finds out, and is better."""
    x, scenes, _ = made(rows=40, length=44, seed=1)
    x = torch.sinh(0.9 * x) / 0.9
    seen, head, module = torch.ones(40, 40, dtype=torch.bool), ReturnsHead(2), start(rows=4)
    ahead = x[:, 40:]

    def likelihood(loads: Loads, rows: Tensor, steps: Tensor, part: Scenes) -> Tensor:
        zero = torch.zeros(len(rows), len(steps), 1, dtype=F64)
        shape = zero.expand(-1, -1, head.features(1, 1))
        p = head(zero, zero + 1, shape, part._replace(loads=loads))
        return p.log_prob(ahead[rows][:, steps]).sum() / (len(rows) * len(steps))

    def score() -> float:
        every = torch.arange(40), torch.arange(4)
        return float(likelihood(module(x[:, :40], seen, scenes), *every, scenes))

    before = score()
    module.fit(x[:, :40], seen, scenes, likelihood)
    assert score() > before + 0.005
    fitted = module.numbers.clone()
    module.fit(x[:, :40], seen, scenes, lambda *_: torch.tensor(math.nan))
    assert torch.equal(module.numbers, fitted)  # what is not finite changes nothing


def test_returns_choose_the_head_and_save_it() -> None:
    assert usual_head("returns", 500) == ReturnsHead()
    assert make_head(head_to_dict(ReturnsHead(3))) == ReturnsHead(3)
    assert make_head("returns") == ReturnsHead()
    assert HiPerformer(scale="returns").to_dict()["head"] == "auto"
