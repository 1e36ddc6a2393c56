"""Warped joint normals against dense formulas, scipy's univariate families and quadrature."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import (
    Damped,
    IndependentSteps,
    LimitedSinh,
    Log,
    LowRankNormal,
    NegativeBinomial,
    Root,
    Rounded,
    ScaleMixture,
    Sinh,
    Warp,
    Warped,
)
from hierforecast.distributions.parts import split
from hierforecast.distributions.quadrature import quadrature
from hierforecast.distributions.totals import Totals
from tests.distributions.test_condition import (
    KNOWN,
    SCENE,
    B,
    D,
    H,
    P,
    close,
    first_steps,
    low_rank,
    mixture,
    normal,
    scattered,
)

F64 = torch.float64


def base(levels: int = 0) -> LowRankNormal:
    """Of sizes from a quarter to one."""
    p = low_rank(2, levels=levels)
    size = 0.25 + 0.75 * torch.rand(P, H, D, generator=torch.Generator().manual_seed(40))
    return p.affine(-size * p.mean / p.stddev + 0.4 * normal(P, H, D, seed=41), size / p.stddev)


# Parameters of a cell, of a row, of a target and of all.
WARPS: dict[str, Callable[[], Warp]] = {
    "sinh": lambda: Sinh(normal(P, 1, 1), normal(P, H, D).exp(), 0.4 * normal(P, 1, 1, seed=2)),
    "sinh, turned": lambda: Sinh(0.5, -2.0, torch.tensor([0.3, 0.0], dtype=F64)),
    "limited sinh": lambda: LimitedSinh(
        normal(P, 1, 1), normal(P, H, D).exp(), 1 + 0.4 * normal(P, 1, 1, seed=2), 1.5
    ),
    "limited sinh, turned": lambda: LimitedSinh(
        0.5, -2.0, torch.tensor([2.0, 0.0], dtype=F64), 3.0
    ),
    "damped": lambda: Damped(normal(P, 1, 1), normal(P, H, D).exp()),
    "damped, turned": lambda: Damped(0.5, -2.0),
    "lognormal": lambda: Log(0.0, normal(P, 1, 1, seed=3).exp(), 0.0),
    "log": lambda: Log(0.0, normal(P, 1, 1, seed=3).exp(), 0.5 * normal(P, H, D, seed=4).exp()),
    "root": lambda: Root(0.0, normal(D, seed=3).exp(), 0.1 * normal(P, 1, D, seed=4).exp()),
    "log, turned": lambda: Log(1.0, -3.0, 0.5),
    "rounded": lambda: Rounded(0.0, 0.5, Log(0.0, 3 + normal(P, 1, 1, seed=5).exp(), 0.7)),
    "negative binomial": lambda: NegativeBinomial(
        0.0, 2.0, 3 * normal(P, H, D, seed=6).exp(), normal(P, 1, 1, seed=7).exp()
    ),
}
SMOOTH = [name for name in WARPS if not WARPS[name]().has_atoms]
COUNTS = ["rounded", "negative binomial"]
FLOORED = [*COUNTS, "log", "root"]


def warped(name: str, levels: int = 0) -> Warped:
    return Warped(base(levels), WARPS[name]())


def typical(p: Warped, seed: int = 0) -> Tensor:
    """A value (P, H, D) that the distribution could have drawn."""
    return p.sample((), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=WARPS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def dense(p: Warped, value: Tensor, seen: Tensor) -> Tensor:
    """The dense normal of the seen cells' z, and the derivative of the map, cell by cell."""
    out = torch.zeros(B, dtype=F64)
    for scene in range(2):
        cells = seen[p.scene == scene].flatten()
        if not cells.any():
            continue
        with torch.enable_grad():
            y = torch.where(seen, value, p.median).detach().requires_grad_()
            z = p.warp.to_base(y)
            slope = torch.autograd.grad(z.sum(), y)[0][p.scene == scene].flatten()[cells]
        covariance = p.base.covariance(scene)[cells][:, cells]
        mean = p.base.mean[p.scene == scene].flatten()[cells]
        z = z[p.scene == scene].flatten()[cells].detach()
        out[scene] = MultivariateNormal(mean, covariance).log_prob(z) + slope.abs().log().sum()
    return out


def check(p: Warped) -> None:
    """Densities of all and of some cells, none of them an atom."""
    value = typical(p)
    free = torch.ones_like(value, dtype=torch.bool) if p.atoms is None else ~p.warp.atom(value)
    for known in KNOWN.values():
        seen = known() & free
        close(p.log_prob(torch.where(seen, value, torch.nan), seen), dense(p, value, seen))


@pytest.mark.parametrize("smooth", [*SMOOTH, "log", "root"])
@pytest.mark.parametrize("levels", [0, 2])
def test_density_is_the_dense_normal_and_a_change_of_variables(smooth: str, levels: int) -> None:
    check(warped(smooth, levels))


class ForgetsSlope(Warped):
    """Broken: the density of z."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        return self.base._log_prob(self._latent(value, seen)[0], seen)


class SlopesOfAll(Warped):
    """Broken: cells that are not seen count too."""

    def _latent(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        z, _ = super()._latent(value, seen)
        every = torch.ones_like(seen)
        return z, super()._latent(torch.where(seen, value, self.median), every)[1]


class WithoutUnits(Warped):
    """Broken: the slope of x, not of y."""

    def _latent(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        z, slope = super()._latent(value, seen)
        return z, slope + torch.where(seen, torch.as_tensor(self.warp.unit).abs().log(), 0)


class CellsApart(Warped):
    """Broken: the margins' densities alone."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        z, slope = self._latent(value, seen)
        cells = torch.distributions.Normal(self.base.mean, self.base.stddev).log_prob(z)
        return self._sum_by_scene(torch.where(seen, cells + slope, 0).sum((1, 2)))


@pytest.mark.parametrize("broken", [ForgetsSlope, SlopesOfAll, WithoutUnits, CellsApart])
def test_broken_twins_fail(broken: type[Warped]) -> None:
    p = warped("sinh")
    with pytest.raises(AssertionError):
        check(broken(p.base, p.warp))


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


@pytest.mark.parametrize("known", KNOWN)
def test_joint_is_marginal_times_conditional(name: str, known: str) -> None:
    p, cells = warped(name).placed(torch.Generator().manual_seed(1)), KNOWN[known]()
    value = typical(p)
    q = p.condition(torch.where(cells, value, torch.nan), cells)
    close(p.log_prob(value, cells) + q.log_prob(value), p.log_prob(value), 1e-9)
    close(q.log_prob(value, ~cells), q.log_prob(value), 1e-9)


@pytest.mark.parametrize("smooth", SMOOTH)
def test_conditional_is_the_dense_normal_of_the_others(smooth: str) -> None:
    p, known = warped(smooth), scattered()
    value = typical(p)
    q = p.condition(torch.where(known, value, torch.nan), known)
    z = p.warp.to_base(value)
    for scene in range(2):
        here = p.scene == scene
        at, covariance = known[here].flatten(), p.base.covariance(scene)
        gain = covariance[~at][:, at] @ torch.linalg.inv(covariance[at][:, at])
        error = (z - p.base.mean)[here].flatten()[at]
        mean = p.base.mean[here].flatten()[~at] + gain @ error
        left = (covariance[~at][:, ~at] - gain @ covariance[at][:, ~at]).diag().sqrt()
        turned = torch.as_tensor(p.warp.unit).expand(P, H, D)[here].flatten()[~at] < 0
        for sd in (-1.0, 0.0, 1.5):
            level = float(torch.special.ndtr(torch.tensor(sd, dtype=F64)))
            latent = torch.zeros(P, H, D, dtype=F64)
            flat = torch.zeros(int(here.sum()) * H * D, dtype=F64)
            flat[~at] = mean + torch.where(turned, -sd, sd) * left
            latent[here] = flat.view(-1, H, D)
            wanted = p.warp.from_base(latent)[here].flatten()[~at]
            close(q.quantile(level)[here].flatten()[~at], wanted, 1e-7)


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_known_cells_come_back_bit_for_bit(name: str, known: str, dtype: torch.dtype) -> None:
    p, cells = single(warped(name)) if dtype == torch.float32 else warped(name), KNOWN[known]()
    value = typical(p)
    q = p.condition(torch.where(cells, value, torch.nan), cells)
    draws = q.sample((3,), generator=torch.Generator().manual_seed(1))
    for found in (q.mean, *draws, *q.quantile(torch.tensor([0.05, 0.5]))):
        assert (found[cells] == value[cells]).all() and found.isfinite().all()
    assert (q.variance[cells] == 0).all() and q.variance.isfinite().all()
    again = q.condition(value, cells)
    close(again.quantile(0.9), q.quantile(0.9), 1e-5 if dtype == torch.float32 else 1e-10)


def single(p: Warped) -> Warped:
    parts = p.base.loc, p.base.noise.change(lambda x: x.float()), p.base.scene_factor
    b = LowRankNormal(
        *(x.float() if isinstance(x, Tensor) else x for x in parts),
        p.base.series_factor.float(), p.scene, B,
    )  # fmt: skip
    return Warped(b, p.warp.change(lambda x: x.float()))


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
            if name.startswith(("limited", "damped"))
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


def test_rows_and_orders_of_rows(name: str) -> None:
    p, value, seen = warped(name, levels=2), None, scattered()
    p = p.placed(torch.Generator().manual_seed(3))
    value, order = typical(p), torch.tensor([3, 0, 5, 1, 4, 2])
    q = p.rows(order)
    close(q.log_prob(value[order], seen[order]), p.log_prob(value, seen))
    close(q.quantile(0.2), p.quantile(0.2)[order], 1e-13)
    kept = torch.tensor([True, False, True, True, False, True])
    gone = seen & kept[:, None, None]
    close(p.rows(kept).log_prob(value[kept], seen[kept]), p.log_prob(value, gone))
    dirty = torch.where(gone, value, torch.nan)
    assert torch.equal(p.log_prob(dirty, gone), p.log_prob(value, gone))
    close(p.rows(kept).mean, p.mean[kept], 1e-12)


@pytest.mark.parametrize("size", [(), (P, 1, 1), (D,), (P, H, D)])
@pytest.mark.parametrize("sign", [1, -1])
def test_units_are_exact(name: str, size: tuple[int, ...], sign: int) -> None:
    p, seen = warped(name).placed(torch.Generator().manual_seed(4)), scattered()
    loc, scale = normal(*size, seed=5), sign * (0.2 + normal(*size, seed=6).abs())
    q, value = p.affine(loc, scale), typical(p)
    counted = seen if p.atoms is None else seen & ~p.warp.atom(value)
    volume = torch.where(counted, scale.abs().log().expand(P, H, D), 0).sum((1, 2))
    volume = torch.zeros(B, dtype=F64).index_add(0, SCENE, volume)
    moved = loc + scale * value
    if p.atoms is not None and name not in COUNTS:  # zeros stay atoms to the last bit
        moved = torch.where(p.warp.atom(value), q.warp.at, moved)
    close(q.log_prob(moved, seen), p.log_prob(value, seen) - volume, 1e-8)
    close(q.mean, loc + scale * p.mean, 1e-9)
    close(q.variance, scale.square() * p.variance, 1e-9)
    level = 0.37  # of no jump
    close(q.quantile(level), loc + scale * p.quantile(level if sign > 0 else 1 - level), 1e-9)
    close(q.condition(moved, seen).median, loc + scale * p.condition(value, seen).median, 1e-9)


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


def test_a_tail_of_zero_is_the_normal_and_small_ones_lead_there() -> None:
    p, seen = base(), scattered()
    value = p.sample((), generator=torch.Generator().manual_seed(6))
    for tail in (0.0, 1e-9, 1e-7):
        q = Warped(p, Sinh(0.0, 1.0, tail))
        close(q.log_prob(value, seen), p.log_prob(value, seen), 2e-13)
        close(q.quantile(0.9), p.quantile(0.9), 2e-13)
        close(q.mean, p.mean, 2e-13)
        close(q.variance, p.variance, 2e-13)
    x = torch.cat([torch.logspace(-12, 1, 400, dtype=F64), torch.linspace(0.199, 0.201, 40)])
    warp = Sinh(0.0, 1.0, 1.0)
    close(warp.from_base(x) / x, torch.from_numpy(np.sinh(x.numpy()) / x.numpy()), 1e-15)
    close(warp.to_base(warp.from_base(x)) / x, torch.ones_like(x), 2e-15)
    one = x.float()
    error = (warp.change(lambda a: a.float()).from_base(one) / one.double().sinh() - 1).abs()
    assert error.max() < 3e-7


@pytest.mark.parametrize("name", WARPS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    scene, seen = torch.tensor([0, 0, 1]), torch.ones(3, 2, 1, dtype=torch.bool)
    seen[1, 0] = False
    whole = warped(name)
    p = Warped(
        LowRankNormal(*(normal(3, 2, 1, seed=s).abs() + 0.2 for s in (1, 2)),
                      normal(3, 2, 1, 2), None, scene, 2),
        whole.warp.change(lambda x: (x if x.ndim < 3 else x[:3, :2])[..., :1]
                          if x.ndim else x),
    )  # fmt: skip
    value = typical(p, seed=1)
    inner = p.warp.of if name == "rounded" else p.warp
    keys = [k for k, x in inner._fields().items() if isinstance(x, Tensor) and k != "at"]
    if name in ("lognormal", "rounded", "negative binomial"):  # no slope at zero, or whole units
        keys = [k for k in keys if k != ("shift" if name == "lognormal" else "unit")]
    parts = [getattr(inner, k).clone().requires_grad_() for k in keys]

    def density(loc: Tensor, *given: Tensor) -> Tensor:
        from dataclasses import replace

        found = replace(inner, **dict(zip(keys, given, strict=True)))
        warp = replace(p.warp, of=found) if name == "rounded" else found
        b = LowRankNormal(loc, p.base.scale, p.base.scene_factor, None, scene, 2)
        return Warped(b, warp).log_prob(torch.where(seen, value, torch.nan), seen[..., 0])

    loc = p.base.loc.clone().requires_grad_()
    assert torch.autograd.gradcheck(density, (loc, *parts), eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", WARPS)
def test_gradients_stay_finite_in_single_precision_far_off(name: str) -> None:
    p = single(warped(name))
    for away in (0.0, 1e3, -1e3):
        loc = p.base.loc.clone().requires_grad_()
        b = LowRankNormal(loc + away * 0.01, p.base.noise, p.base.scene_factor, None, SCENE, B)
        value = typical(p)
        Warped(b, p.warp).log_prob(
            torch.where(scattered(), value, torch.nan), scattered()
        ).sum().backward()
        assert loc.grad.isfinite().all() and (loc.grad[scattered()] != 0).any()
        assert (loc.grad[2] * 0 == 0).all()


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


def test_several_values_at_once(name: str) -> None:
    p = warped(name)
    values = p.sample((2, 3), generator=torch.Generator().manual_seed(8))
    together = p.log_prob(values, scattered())
    assert together.shape == (2, 3, B)
    close(together[1, 2], p.log_prob(values[1, 2], scattered()))


def test_parameters_that_do_not_fit_are_refused() -> None:
    for warp, message in (
        (Sinh(0.0, 1.0, torch.ones(P + 1, 1, 1)), r"broadcast to \(P, H, D\)"),
        (Log(0.0, math.nan, 0.0), "parameter of the warp holds NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            Warped(base(), warp, validate_args=True)
