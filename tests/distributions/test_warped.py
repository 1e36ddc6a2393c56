"""Warped joint normals against dense formulas: densities, conditions, units and gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import Log, LowRankNormal, Sinh, Warped
from tests.distributions.conditioning import KNOWN, SCENE, B, D, H, P, close, normal, scattered
from tests.distributions.warps import COUNTS, F64, SMOOTH, WARPS, base, single, typical, warped
from tests.distributions.warps import name as name


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
