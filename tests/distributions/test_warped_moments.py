"""Moments, draws and totals of warped normals against quadrature and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hierforecast.distributions import (
    IndependentSteps,
    LimitedSinh,
    Log,
    LowRankNormal,
    ScaleMixture,
    Sinh,
    Warped,
)
from hierforecast.distributions.parts import split
from hierforecast.distributions.quadrature import quadrature
from hierforecast.distributions.totals import Totals
from tests.distributions.conditioning import SCENE, B, D, H, P, close, mixture, normal
from tests.distributions.warps import F64, warped
from tests.distributions.warps import name as name


def test_draws_have_the_moments_the_quantiles_and_the_covariance(name: str) -> None:
    p, n = warped(name, levels=2), 8_000 if name == "negative binomial" else 40_000
    draws = p.sample((n,), generator=torch.Generator().manual_seed(2))
    assert (((draws.mean(0) - p.mean) / p.stddev).abs() < 10 / math.sqrt(n)).all()  # rare ones too
    levels = torch.tensor([0.05, 0.5, 0.9], dtype=F64)
    for level, bound in zip(levels, p.quantile(levels), strict=True):
        limit = 5 * math.sqrt(0.25 / n)
        at_most, less = ((draws <= bound).double().mean(0), (draws < bound).double().mean(0))
        assert (at_most > level - limit).all() and (less < level + limit).all()
        assert ((p.cdf(bound) - at_most).abs() < limit).all()
    if p.atoms is None:  # both above their medians, by the correlation of z
        above = (draws > p.median)[:, SCENE == 1].flatten(1).double()
        z = p.base.covariance(1)
        rho = (z / (z.diag()[:, None] * z.diag()).sqrt()).clamp(-1, 1)
        turned = torch.as_tensor(p.warp.unit).sign().expand(P, H, D)[SCENE == 1].flatten()
        wanted = 0.25 + (rho * turned.outer(turned)).asin() / (2 * math.pi)
        assert (above.mT @ above / n - wanted).abs().max() < 6 * math.sqrt(0.25 / n)
    assert p.covariance(2).shape == (0, 0)


def test_covariance_is_that_of_a_quadrature_in_two_dimensions(name: str) -> None:
    p = warped(name)
    mean, z = p.base.mean[SCENE == 1].flatten(), p.base.covariance(1)
    found, x = p.covariance(1), torch.linspace(-8, 8, 1_001, dtype=F64)
    weight = torch.exp(-0.5 * x.square()) / math.sqrt(2 * math.pi) * (x[1] - x[0])
    cells = torch.arange(3)[:, None].expand(3, H * D).flatten()
    rows = (SCENE == 1).nonzero()[:, 0]
    shares = []
    for i, j in ((0, 1), (3, 17), (12, 29)):
        one = z[i, i].sqrt() * x
        slope = z[i, j] / z[i, i].sqrt()
        other = slope * x[:, None] + (z[j, j] - slope.square()).sqrt() * x

        def value(cell: int, latent: Tensor) -> Tensor:
            row, step, target = rows[cells[cell]], cell % (H * D) // D, cell % D
            warp = p.warp.change(lambda a: a.expand(P, H, D)[row, step, target])
            return warp.from_base(mean[cell] + latent)

        left, right = value(i, one) - p.mean[rows].flatten()[i], value(j, other)
        wanted = (weight * left) @ ((right - p.mean[rows].flatten()[j]) @ weight)
        size = float((found[i, i] * found[j, j]).sqrt())
        limit = (
            5e-3
            if p.atoms is not None
            else 5e-6
            if name.startswith(("limited", "damped", "ceiling"))
            else 1e-9
        )
        assert float(found[i, j]) == pytest.approx(float(wanted), abs=limit * size)
        shares.append(abs(float(wanted)) / size)
    assert max(shares) > 0.02


@pytest.mark.parametrize("name", ["sinh", "lognormal"])
def test_covariance_of_smooth_maps_is_the_closed_form(name: str) -> None:
    p = warped(name)
    mean, z = p.base.mean[SCENE == 1].flatten(), p.base.covariance(1)
    half = (z.diag()[:, None] + z.diag()) / 2
    unit = p.warp.unit.expand(P, H, D)[SCENE == 1].flatten()
    if name == "lognormal":
        wanted = (mean[:, None] + mean + half).exp() * z.expm1()
        limit = 1e-8
    else:
        tail = p.warp.tail.expand(P, H, D)[SCENE == 1].flatten()
        plus, less = (tail.outer(tail) * z * sign for sign in (1, -1))
        sums = (tail * mean)[:, None] + tail * mean, (tail * mean)[:, None] - tail * mean
        wanted = torch.cosh(sums[0]) * plus.expm1() - torch.cosh(sums[1]) * less.expm1()
        grown = tail.square() * z.diag()
        wanted = wanted / 2 * ((grown[:, None] + grown) / 2).exp() / tail.outer(tail)
        limit = 1e-9
    close(p.covariance(1), wanted * unit.outer(unit), limit)
    like = torch.einsum("icjc->ij", p.covariance(1).view(3, H * D, 3, H * D))
    size = like.diag().sqrt()
    close(p.series_correlation(1), like / (size[:, None] * size))


def test_totals_are_those_of_joint_draws_and_coherent(name: str) -> None:
    p = warped(name)
    matrix = torch.tensor([[1.0, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1], [1, 0, 0, 0, 1, 0]]).double()
    matrix = torch.cat([matrix, torch.eye(P, dtype=F64)[2:3]])
    q = p.aggregate(matrix)
    assert isinstance(q, Totals)
    drawn = q.sample((4_000,), generator=torch.Generator().manual_seed(3))
    close(drawn[:, 0], drawn[:, 2] + drawn[:, 3])
    rows = p.sample((4_000,), generator=torch.Generator().manual_seed(3))
    close(drawn, torch.einsum("gp,sphd->sghd", matrix, rows))
    close(q.mean, torch.einsum("gp,phd->ghd", matrix, p.mean))
    blocks = p.covariance(1).view(3, H * D, 3, H * D)
    wanted = torch.einsum("icjc->c", blocks).view(H, D)
    close(q.variance[0], wanted)
    close(q.variance[3], p.variance[2], 1e-9)
    assert ((drawn <= q.quantile(0.9)).double().mean(0) > 0.87).all()


def test_large_totals_take_their_variance_from_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    p, matrix = warped("lognormal"), torch.ones(1, P, dtype=F64) * (SCENE == 1)
    exact = p.aggregate(matrix).variance
    monkeypatch.setattr("hierforecast.distributions.warped._DENSE", 10)
    rough = p.aggregate(matrix).variance
    assert not torch.equal(exact, rough)
    assert ((rough / exact).log().abs() < 0.7).all()


def test_other_bases_have_quadratures() -> None:
    """Over a mixture, and over independent steps, which are normal."""
    heavy = Warped(mixture().affine(0.0, 0.1), Sinh(0.0, 1.0, 0.5))
    draws = heavy.sample((100_000,), generator=torch.Generator().manual_seed(7))
    assert ((draws.mean(0) - heavy.mean).abs() < 0.02 * heavy.stddev).all()
    assert ((draws.std(0) / heavy.stddev).log().abs() < 0.1).all()
    with pytest.raises(NotImplementedError, match="ModeMixture: use draws"):
        heavy.covariance(0)
    flat = (x.flatten(0, 1)[:, None] for x in (normal(P, H, D), normal(P, H, D).abs() + 0.1))
    steps = LowRankNormal(*flat, normal(P * H, 1, D, 2), None, split(SCENE, H), B * H)
    calm = ScaleMixture.student(
        steps.affine(0.0, 0.2), 4 + normal(B * H).abs(), count=3, widest=1.5
    )
    mixed = Warped(IndependentSteps(calm, SCENE, B), Log(0.0, 1.0, 0.2))
    close(quadrature(mixed.warp._down, mixed.base)[0], mixed.mean, 1e-4)
    smaller = Warped(IndependentSteps(calm, SCENE, B), Sinh(0.0, 1.0, 0.3))
    draws = smaller.sample((100_000,), generator=torch.Generator().manual_seed(7))
    found, flat = smaller.covariance(0), draws[:, SCENE == 0].flatten(1)
    size = found.diag().sqrt()
    assert ((torch.cov(flat.T) - found) / (size[:, None] * size)).abs().max() < 0.06
    p = Warped(IndependentSteps(steps, SCENE, B), Log(0.0, 1.0, 0.0))
    cells = p.covariance(0).view(3, H, D, 3, H, D)
    assert (cells[:, 0, :, :, 1] == 0).all() and (cells[0, 0, :, 1, 0] != 0).all()
    close(p.mean, (p.base.mean + p.base.variance / 2).exp(), 1e-12)


LOCS = torch.linspace(-4, 2, P, dtype=F64)


def sold(shift: float, tail: float = 0.5) -> Warped:
    """Sales that are often zero: a logarithm with heavy tails, less a shift."""
    loc = LOCS[:, None, None].expand(P, H, D)
    factor = torch.full((P, H, D, 1), 0.3, dtype=F64)
    scene = torch.zeros(P, dtype=torch.int64)
    base = LowRankNormal(torch.zeros_like(loc), 0.8 + 0 * loc, factor, None, scene, 1)
    return Warped(Warped(base, LimitedSinh(loc, 0.3, tail, 3.0)), Log(0.0, 2.0, shift))


@pytest.mark.parametrize(("shift", "tail"), [(0.0, 0.5), (0.1, 0.5), (1.0, 0.5), (0.0, 0.0)])
def test_moments_of_what_ends_at_zero_are_those_of_a_fine_sum(shift: float, tail: float) -> None:
    p = sold(shift, tail)
    z = torch.linspace(-9, 9, 400_001, dtype=F64)
    weight = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    for row, loc in enumerate(LOCS.tolist()):
        inner = LimitedSinh(loc, 0.3, tail, 3.0)
        # The base's variance: .8 ** 2 of noise and .3 ** 2 of a latent.
        y = Log(0.0, 2.0, shift).from_base(inner.from_base(math.sqrt(0.73) * z))
        mean = weight @ y
        size = (weight @ (y - mean).square()).sqrt()
        assert abs(p.mean[row, 0, 0] - mean) < 2e-5 * size + 1e-12
        assert float(p.stddev[row, 0, 0]) == pytest.approx(float(size), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("shift", [None, 0.1])
def test_a_quadrature_holds_a_few_values_at_a_time(
    shift: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    p, sizes = sold(0.1), []
    least = None if shift is None else p.base.cdf(torch.tensor(math.log(shift), dtype=F64))

    def value(z: Tensor) -> Tensor:
        sizes.append(z.numel())
        return p.warp.from_base(z)

    whole = quadrature(value, p.base, least)
    assert max(sizes) > P * H * D * 32
    monkeypatch.setattr("hierforecast.distributions.quadrature._AT_ONCE", 3 * P * H * D)
    sizes.clear()
    for found, wanted in zip(quadrature(value, p.base, least), whole, strict=True):
        close(found, wanted, 1e-12)
    assert max(sizes) == P * H * D * 3
