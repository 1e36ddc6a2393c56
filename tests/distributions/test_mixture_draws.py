"""Draws, quantiles, units and correlations of the mixture of joint modes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from hierforecast.distributions import ModeMixture
from tests.distributions.modes import (
    F64,
    MODES,
    N_SCENES,
    SCENE,
    SHAPE,
    STEPS,
    TARGETS,
    mixture,
    some_observed,
    some_value,
)


def test_samples_have_the_distribution_of_log_prob() -> None:
    torch.manual_seed(0)
    p, n = mixture(), 40_000
    draws = p.sample((n,))
    assert draws.shape == (n, *SHAPE) and not draws.requires_grad
    assert p.sample().shape == SHAPE and p.sample((2, 3)).shape == (2, 3, *SHAPE)
    assert ((draws.mean(0) - p.mean).abs() < 5 * p.stddev / math.sqrt(n)).all()
    empirical = torch.cov(draws.flatten(1).T)
    cells = SCENE.repeat_interleave(STEPS * TARGETS)
    expected = torch.zeros_like(empirical)
    for scene in SCENE.unique().tolist():
        inside = (cells == scene).nonzero()[:, 0]
        expected[inside[:, None], inside] = p.covariance(scene)
    torch.testing.assert_close(expected.diag(), p.variance.flatten())
    sd = p.stddev.flatten()
    assert ((empirical - expected) / (sd[:, None] * sd)).abs().max() < 0.03
    # A mode is everybody's: rows of a scene whose modes lie far apart leave together.
    far = ModeMixture(100 * p.locs, p.logits, p.noise).sample((2000,))
    nearest = (far[None] - 100 * p.locs[:, None]).square().sum((-1, -2)).argmin(0)
    assert (nearest[:, 0] == nearest[:, 2]).all() and (nearest[:, 0] == nearest[:, 5]).all()
    assert (nearest[:, 0] != nearest[:, 1]).any()
    for scene, row in ((2, 0), (0, 1), (4, 4)):
        share = torch.bincount(nearest[:, row], minlength=MODES) / 2000
        torch.testing.assert_close(
            share.double(), p.logits.softmax(-1)[scene], atol=0.06, rtol=0
        )  # fmt: skip


def test_a_density_ratio_of_samples_is_one_on_average() -> None:
    """E_p[q / p] = 1 for any q whose tails are lighter: joint, so no marginal passes for it."""
    torch.manual_seed(0)
    p = mixture(torch.tensor([0, 0]), 1, 1, 1)
    narrow = Normal(p.mean, 0.5 * p.stddev)
    draws = p.sample((100_000,))
    ratio = (narrow.log_prob(draws).sum((-1, -2, -3)) - p.log_prob(draws)[:, 0]).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / math.sqrt(100_000))


def test_quantiles_invert_the_marginal_distribution() -> None:
    p = mixture()
    weights = p.logits.softmax(-1)[p.scene].T[..., None, None]
    for q in (1e-6, 0.05, 0.5, 0.9):
        cdf = Normal(p.locs + p.noise.loc, p.noise.stddev).cdf(p.quantile(q))
        below = (weights * cdf).sum(0)
        torch.testing.assert_close(below, torch.full_like(below, q), rtol=1e-9, atol=1e-12)
    levels = torch.tensor([[0.1, 0.5], [0.7, 0.9]])
    assert torch.equal(p.icdf(levels)[1, 0], p.quantile(levels[1, 0]))
    assert torch.equal(p.median, p.quantile(0.5))
    assert (p.quantile(0.0) == -math.inf).all() and (p.quantile(1.0) == math.inf).all()


@pytest.mark.parametrize("shape", ["number", "row", "target", "cell"])
def test_affine_is_the_exact_distribution(shape: str) -> None:
    p, value, observed = mixture(), some_value(), some_observed()
    size = {"row": (len(SCENE), 1, 1), "target": (TARGETS,), "cell": SHAPE}.get(shape, ())
    loc, scale = some_value(5, size), some_value(6, size)  # some scales are negative
    q = p.affine(0.1, -3.3) if shape == "number" else p.affine(loc, scale)
    loc, scale = (torch.tensor(x, dtype=F64) for x in (0.1, -3.3)) if size == () else (loc, scale)
    assert type(q) is ModeMixture
    volume = torch.where(observed[..., None], scale.abs().log().expand(SHAPE), 0).sum((1, 2))
    volume = torch.zeros(N_SCENES, dtype=F64).index_add(0, SCENE, volume)
    moved = q.log_prob(loc + scale * value, observed)
    torch.testing.assert_close(moved, p.log_prob(value, observed) - volume, rtol=0, atol=1e-9)
    torch.testing.assert_close(q.mean, loc + scale * p.mean)
    torch.testing.assert_close(q.modes, loc + scale * p.modes)
    torch.testing.assert_close(q.variance, scale**2 * p.variance)
    up, down = loc + scale * p.quantile(0.8), loc + scale * p.quantile(0.2)
    torch.testing.assert_close(q.quantile(0.8), torch.where(scale > 0, up, down))


def test_series_correlation() -> None:
    p = mixture()
    for scene in SCENE.unique().tolist():
        n, cells = int((p.scene == scene).sum()), STEPS * TARGETS
        like = torch.einsum("icjc->ij", p.covariance(scene).reshape(n, cells, n, cells))
        expected = like / (like.diag()[:, None] * like.diag()).sqrt()
        torch.testing.assert_close(p.series_correlation(scene), expected)
    assert p.series_correlation(3).shape == p.covariance(3).shape == (0, 0)
