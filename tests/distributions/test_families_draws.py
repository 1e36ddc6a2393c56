"""Draws, quantiles, units, correlations and precision of the families."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Normal, StudentT

from hierforecast.distributions import IndependentScenes, LowRankNormal
from tests.distributions.families import (
    F64,
    FAMILIES,
    N_SCENES,
    SCENE,
    SHAPE,
    STEPS,
    TARGETS,
    any_family,
    dense_covariance,
    independent,
    leaves,
    low_rank,
    some_observed,
    some_value,
)


def test_samples_have_the_distribution_of_log_prob() -> None:
    torch.manual_seed(0)
    p, n = low_rank(), 40_000
    draws = p.sample((n,))
    assert draws.shape == (n, *SHAPE) and not draws.requires_grad
    spread = p.stddev / math.sqrt(n)
    assert ((draws.mean(0) - p.mean).abs() < 5 * spread).all()
    empirical = torch.cov(draws.flatten(1).T)
    cells = SCENE.repeat_interleave(STEPS * TARGETS)
    expected = torch.zeros_like(empirical)
    for scene in SCENE.unique().tolist():
        inside = (cells == scene).nonzero()[:, 0]
        expected[inside[:, None], inside] = dense_covariance(p, scene)
        torch.testing.assert_close(p.covariance(scene), dense_covariance(p, scene))
    sd = p.stddev.flatten()
    assert ((empirical - expected) / (sd[:, None] * sd)).abs().max() < 0.03
    # -log p of own draws must average to the entropy, scene by scene.
    dims = torch.bincount(cells, minlength=N_SCENES)
    log_det = torch.stack([p.covariance(s).logdet() for s in range(N_SCENES)])
    entropy = 0.5 * (dims * (1 + math.log(2 * math.pi)) + log_det)
    error = (-p.log_prob(draws).mean(0) - entropy).abs()
    assert (error <= 5 * (dims / 2).sqrt() / math.sqrt(n)).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_quantiles_are_calibrated(name: str) -> None:
    torch.manual_seed(1)
    p, n = any_family(name), 20_000
    levels = torch.tensor([0.05, 0.5, 0.9])
    quantiles, draws = p.quantile(levels), p.sample((n,))
    assert quantiles.shape == (3, *SHAPE)
    assert torch.equal(p.icdf(levels), quantiles)
    assert torch.equal(p.median, p.quantile(0.5))
    for level, quantile in zip(levels.double(), quantiles, strict=True):
        below = (draws <= quantile).double().mean(0)
        assert ((below - level).abs() < 5 * (level * (1 - level) / n).sqrt()).all()


def test_gradients_flow_through_samples() -> None:
    parameters = leaves(low_rank())
    LowRankNormal(*parameters, SCENE, N_SCENES).rsample((2,)).square().sum().backward()
    assert all(x.grad is not None and (x.grad != 0).all() for x in parameters)


def test_student_against_scipy() -> None:
    p, value = independent("student"), some_value()
    dense = scipy.stats.t(p.base.df.numpy(), p.base.loc.numpy(), p.base.scale.numpy())
    for q in (0.001, 0.3, 0.5, 0.975):
        np.testing.assert_allclose(p.quantile(q), dense.ppf(q), rtol=1e-10, atol=1e-12)
    cells = torch.from_numpy(dense.logpdf(value.numpy()).sum((1, 2)))
    expected = torch.zeros(N_SCENES, dtype=F64).index_add(0, SCENE, cells)
    torch.testing.assert_close(p.log_prob(value), expected)
    torch.testing.assert_close(p.variance, torch.from_numpy(dense.var()))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", ["number", "row", "target", "cell"])
def test_affine_is_the_exact_distribution(name: str, shape: str) -> None:
    p, value, observed = any_family(name), some_value(), some_observed()
    size = {"row": (len(SCENE), 1, 1), "target": (TARGETS,), "cell": SHAPE}.get(shape, ())
    loc, scale = some_value(5, size), some_value(6, size)  # some scales are negative
    q = p.affine(0.1, -3.3) if shape == "number" else p.affine(loc, scale)
    loc, scale = (torch.tensor(x, dtype=F64) for x in (0.1, -3.3)) if size == () else (loc, scale)
    assert type(q) is type(p)
    volume = torch.where(observed[..., None], scale.abs().log().expand(SHAPE), 0).sum((1, 2))
    volume = torch.zeros(N_SCENES, dtype=F64).index_add(0, SCENE, volume)
    moved = q.log_prob(loc + scale * value, observed)
    torch.testing.assert_close(moved, p.log_prob(value, observed) - volume, rtol=0, atol=1e-9)
    torch.testing.assert_close(q.mean, loc + scale * p.mean)
    torch.testing.assert_close(q.variance, scale**2 * p.variance)
    up, down = loc + scale * p.quantile(0.8), loc + scale * p.quantile(0.2)
    torch.testing.assert_close(q.quantile(0.8), torch.where(scale > 0, up, down))


def test_affine_keeps_single_precision() -> None:
    p = low_rank()
    parts = (p.loc, p.scale, p.scene_factor, p.series_factor)
    q = LowRankNormal(*(x.float() for x in parts), SCENE, N_SCENES).affine(0.1, 2.0)
    assert q.mean.dtype == q.log_prob(q.mean).dtype == torch.float32


def test_affine_by_float64_gives_float64() -> None:
    """Of demand, loc and scale come from history in float64."""
    single = StudentT(*(torch.full(SHAPE, x) for x in (4.0, 0.0, 1.0)))
    moved = IndependentScenes(single, SCENE, N_SCENES).affine(some_value(), some_value(5).abs())
    assert moved.variance.dtype == moved.quantile(0.9).dtype == F64
    torch.testing.assert_close(moved.variance, 2 * some_value(5).square())


def test_series_correlation() -> None:
    p = low_rank()
    for scene in SCENE.unique().tolist():
        n, cells = int((p.scene == scene).sum()), STEPS * TARGETS
        blocks = dense_covariance(p, scene).reshape(n, cells, n, cells)
        like = torch.einsum("icjc->ij", blocks)
        expected = like / (like.diag()[:, None] * like.diag()).sqrt()
        torch.testing.assert_close(p.series_correlation(scene), expected)
    assert p.series_correlation(3).shape == p.covariance(3).shape == (0, 0)
    assert torch.equal(independent("student").series_correlation(2), torch.eye(3, dtype=F64))


def test_no_rows_at_all() -> None:
    p = low_rank(SCENE[:0], 3)
    assert torch.equal(p.log_prob(p.mean), torch.zeros(3, dtype=F64))
    assert p.sample((4,)).shape == (4, 0, STEPS, TARGETS)


@pytest.mark.parametrize(("scale", "limit"), [(1e-1, 2e-7), (1e-2, 2e-7), (1e-4, 1e-6)])
@pytest.mark.parametrize("collinear", [False, True])
def test_single_precision_is_accurate(scale: float, limit: float, collinear: bool) -> None:
    """Collinear factors at a small scale: a Cholesky factor in float32 would fail on these."""
    torch.manual_seed(0)
    scene = torch.arange(4).repeat_interleave(11)
    p = low_rank(scene, 4, 10, 2, rank=8, private=4, scale=scale)
    single = leaves(p, torch.float32)
    if collinear:
        single = [torch.cat([x, x], -1) if x.ndim == 4 else x for x in single]
    p32 = LowRankNormal(*single, scene, 4)
    p64 = LowRankNormal(*(x.double() for x in single), scene, 4)
    value = p32.sample()
    error = (p32.log_prob(value) - p64.log_prob(value.double())).abs() / (11 * 20)
    assert p32.log_prob(value).dtype == torch.float32
    assert error.max() < limit
    for a, b in zip(
        torch.autograd.grad(p32.log_prob(value).sum(), single),
        torch.autograd.grad(p64.log_prob(value.double()).sum(), single),
        strict=True,
    ):
        assert (a - b).norm() <= 1e-5 * b.norm()


def test_half_precision_and_autocast_do_not_reach_the_likelihood() -> None:
    half = leaves(low_rank(), torch.bfloat16)
    value, observed = some_value().float(), some_observed()
    plain = LowRankNormal(*(x.float() for x in half), SCENE, N_SCENES)
    for parameters in (half, [x.float() for x in half]):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            p = LowRankNormal(*parameters, SCENE, N_SCENES)
            assert torch.equal(p.log_prob(value, observed), plain.log_prob(value, observed))
            torch.manual_seed(3)
            draw = p.sample()
            assert draw.dtype == p.quantile(0.9).dtype == torch.float32
        torch.manual_seed(3)
        assert torch.equal(draw, plain.sample())
    normal = IndependentScenes(Normal(half[0], half[1]), SCENE, N_SCENES)
    assert normal.log_prob(value.bfloat16(), observed).dtype == torch.float32
