"""Margins of warped normals: scipy's univariate families, atoms at zero, and counts."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from hierforecast.distributions import (
    Log,
    LowRankNormal,
    NegativeBinomial,
    Root,
    Rounded,
    Warp,
    Warped,
)
from tests.distributions.conditioning import SCENE, D, H, P, first_steps, scattered
from tests.distributions.warps import COUNTS, F64, FLOORED, single, typical, warped


def univariate(name: str, p: Warped) -> Any:
    """scipy's distribution of every cell by itself."""
    mean, std = p.base.mean.numpy(), p.base.stddev.numpy()
    if name == "lognormal":
        return scipy.stats.lognorm(s=std, scale=np.exp(mean) * p.warp.unit.numpy())
    tail, unit = np.abs(p.warp.tail.numpy()), p.warp.unit.numpy()
    return scipy.stats.johnsonsu(
        a=-mean / std, b=1 / (tail * std), loc=p.warp.at.numpy(), scale=unit / tail
    )


@pytest.mark.parametrize("smooth", ["sinh", "lognormal"])
def test_margins_are_scipys(smooth: str) -> None:
    p = warped(smooth)
    wanted, value = univariate(smooth, p), typical(p)
    np.testing.assert_allclose(p.cdf(value), wanted.cdf(value.numpy()), rtol=1e-9)
    for q in (0.001, 0.5, 0.975):
        np.testing.assert_allclose(p.quantile(q), wanted.ppf(q), rtol=1e-7)
    np.testing.assert_allclose(p.mean, wanted.mean(), rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(p.variance, wanted.var(), rtol=1e-6)
    for row, step, target in itertools.product(range(P), (0, H - 1), range(D)):
        seen = torch.zeros(P, H, D, dtype=torch.bool)
        seen[row, step, target] = True
        found = p.log_prob(value, seen)[SCENE[row]]
        density = wanted.logpdf(value.numpy())[row, step, target]
        assert float(found) == pytest.approx(density, abs=1e-8)


def standard(count: int) -> LowRankNormal:
    """Rows of one cell each whose margins are standard normal, correlated."""
    factor = 0.6 * torch.tensor([1.0, -1.0, 1.0], dtype=F64)[:count, None, None, None]
    scale = (1 - factor.square()[..., 0]).sqrt()
    scene = torch.zeros(count, dtype=torch.int64)
    return LowRankNormal(0 * scale, scale, factor, None, scene, 1)


def test_negative_binomial_margins_are_scipys() -> None:
    mean, size = (torch.tensor(x, dtype=F64)[:, None, None] for x in ([0.3, 4, 90], [0.4, 2, 9]))
    p = Warped(standard(3), NegativeBinomial(0.0, 1.0, mean, size))
    m, r = mean.numpy(), size.numpy()
    wanted = scipy.stats.nbinom(r, r / (r + m))
    np.testing.assert_allclose(p.mean, m, rtol=1e-9)
    np.testing.assert_allclose(p.variance, m + m**2 / r, rtol=1e-7)
    for q in (0.01, 0.5, 0.9, 0.9999):
        assert (p.quantile(q).numpy() == wanted.ppf(q)).all()
    for k in range(40):
        at = torch.full((3, 1, 1), float(k), dtype=F64)
        np.testing.assert_allclose(p.cdf(at + 0.5), wanted.cdf(k), rtol=1e-6)
        mass = p.cdf(at) - p.cdf(at - 1)
        np.testing.assert_allclose(mass, wanted.pmf(k), rtol=1e-7, atol=1e-14)
        for row in range(3):  # of one cell, whatever its place
            seen = torch.arange(3)[:, None] == row
            found = p.placed(torch.Generator().manual_seed(k)).log_prob(at, seen)
            np.testing.assert_allclose(found, wanted.logpmf(k)[row, 0], rtol=1e-8)
    assert (p.cdf(torch.full((3, 1, 1), -1.0)) == 0).all()


@pytest.mark.parametrize("name", [*FLOORED, "log, turned"])
def test_density_and_mass_are_one(name: str) -> None:
    """Of every cell by itself: the density's integral, and the probabilities of atoms."""
    p = warped(name)
    if name in COUNTS:
        at = torch.arange(3_000, dtype=F64) * float(p.warp.unit)
        cells, volume = at, 1.0
    else:
        unit = torch.as_tensor(p.warp.unit).expand(P, H, D)
        # Evenly in the square root, for the tail.
        edge = torch.linspace(0, 60, 20_001, dtype=F64)
        cells = ((edge[1:] + edge[:-1]) / 2).square()
        volume = edge.square().diff()
    for row, step in ((0, 0), (3, 2), (5, 4)):
        seen = torch.zeros(P, H, D, dtype=torch.bool)
        seen[row, step, 0] = True
        x = cells if name in COUNTS else cells * unit[row, step, 0] + torch.as_tensor(p.warp.at)
        value = x[:, None, None, None].expand(-1, P, H, D)
        total = p.log_prob(value, seen)[:, SCENE[row]].exp()
        size = 1.0 if name in COUNTS else volume * unit[row, step, 0].abs()
        mass = 0.0
        if name not in COUNTS:
            zero = (torch.as_tensor(p.warp.at) + 0 * p.mean).clone()
            mass = float(p.log_prob(zero, seen)[SCENE[row]].exp())
            assert 0 < mass < 1
            below = p.cdf(zero)[row, step, 0]
            wanted = 1 - mass if "turned" in name else mass
            turned = p.cdf(zero - 1e-9)[row, step, 0]
            assert float(turned if "turned" in name else below) == pytest.approx(wanted, abs=1e-6)
        assert float((total * size).sum()) + mass == pytest.approx(1, abs=2e-4)


def places(n: int, cells: int) -> tuple[Tensor, Tensor]:
    """Nodes (n^cells, cells) and weights of a quadrature of places."""
    x, w = np.polynomial.legendre.leggauss(n)
    nodes = torch.tensor(list(itertools.product((x + 1) / 2, repeat=cells)), dtype=F64)
    weights = torch.tensor(list(itertools.product(w / 2, repeat=cells)), dtype=F64).prod(1)
    return nodes, weights


def over_places(p: Warped, value: Tensor, n: int = 24) -> float:
    """Joint probability: the mean of exp(log_prob) over places."""
    total = 0.0
    for node, weight in zip(*places(n, len(value)), strict=True):
        p.atoms.place.copy_(node[:, None, None])
        total += float(weight * p.log_prob(value[:, None, None])[0].exp())
    return total


@pytest.mark.parametrize(
    "warp", [NegativeBinomial(0.0, 1.0, 1.5, 0.8), Rounded(0.0, 1.0, Root(0.0, 2.0, 0.5))]
)
def test_joint_probabilities_of_counts_are_those_of_rectangles(warp: Warp) -> None:
    p = Warped(standard(2).affine(0.2, 1.3), warp)
    joint = scipy.stats.multivariate_normal(
        p.base.mean.flatten().numpy(), p.base.covariance(0).numpy()
    )
    for counts in ((0.0, 0.0), (0.0, 2.0), (3.0, 1.0)):
        value = torch.tensor(counts, dtype=F64)
        low, high = (
            end(value[:, None, None]).flatten().clamp(min=-30).numpy()
            for end in (warp.lower, warp.upper)
        )
        wanted = joint.cdf(high, lower_limit=low)
        assert over_places(p, value) == pytest.approx(wanted, rel=2e-3)


def test_joint_probability_of_zeros_and_density_beside_one() -> None:
    p = Warped(standard(2), Log(0.0, 2.0, 0.8))
    joint = scipy.stats.multivariate_normal(np.zeros(2), p.base.covariance(0).numpy())
    edge = math.log(0.8)
    both = over_places(p, torch.zeros(2, dtype=F64))
    assert both == pytest.approx(joint.cdf([edge, edge]), rel=1e-3)
    rho, z = float(p.base.covariance(0)[0, 1]), math.log(1.5 / 2 + 0.8)
    beside = scipy.stats.norm.pdf(z) / (2 * (1.5 / 2 + 0.8))
    beside *= scipy.stats.norm.cdf((edge - rho * z) / math.sqrt(1 - rho**2))
    assert over_places(p, torch.tensor([1.5, 0], dtype=F64)) == pytest.approx(beside, rel=1e-3)


@pytest.mark.parametrize("name", FLOORED)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_nothing_is_ever_below_zero_and_counts_are_whole(name: str, dtype: torch.dtype) -> None:
    p = single(warped(name)) if dtype == torch.float32 else warped(name)
    p = p.affine(0.0, torch.tensor(0.37, dtype=dtype))
    draws = p.sample((2_000,), generator=torch.Generator().manual_seed(5))
    bounds = p.quantile(torch.linspace(0, 0.999, 101))
    assert draws.dtype == bounds.dtype == dtype
    assert (draws >= 0).all() and (bounds >= 0).all() and (p.mean >= 0).all()
    assert (draws == 0).any() and (bounds[0] == 0).all()
    if name in COUNTS:
        x = (draws / p.warp.unit).double()
        assert ((x - x.round()).abs() < 1e-4).all()
    some = p.condition(draws[0], first_steps())
    assert (some.sample((500,)) >= 0).all() and (some.quantile(0.01) >= 0).all()
    # A value that is not possible has no density; others are not harmed.
    low = torch.where(scattered(), -1.0, draws[1])
    assert (p.log_prob(low)[:2] == -torch.inf).all()
    assert p.log_prob(low, ~scattered()).isfinite().all()
