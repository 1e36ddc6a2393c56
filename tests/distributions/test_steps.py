"""Joint laws of each step: exact, marginal, heavy-tailed, and in agreement with their samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from hierforecast.distributions import IndependentSteps, JointStudent, LowRankNormal
from hierforecast.distributions.parts import split

SCENE, N_SCENES, STEPS, TARGETS = torch.tensor([2, 0, 2, 0, 2]), 4, 3, 2
SHAPE = (len(SCENE), STEPS, TARGETS)
F64 = torch.float64


def normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=F64)


def parts() -> list[Tensor]:
    loc, scale, factor = normal(*SHAPE), (0.3 * normal(*SHAPE, seed=1)).exp(), normal(*SHAPE, 2)
    return [loc, scale, factor, 3.0 + normal(*SHAPE[:2], seed=3).square()]


def dense(family: type[IndependentSteps] = IndependentSteps) -> IndependentSteps:
    return family.student(*parts(), SCENE, N_SCENES)


def scipy_log_prob(value: Tensor, seen: Tensor) -> Tensor:
    """By scipy's multivariate t, scene by scene and step by step."""
    loc, scale, factor, df = parts()
    out = torch.zeros(N_SCENES, dtype=F64)
    for scene in SCENE.unique().tolist():
        for step in range(STEPS):
            rows = (scene == SCENE) & seen[:, step]
            if not rows.any():
                continue
            degrees = float(df[scene == SCENE, step].mean())
            w = factor[rows, step].flatten(0, 1)
            shape = (w @ w.T + scale[rows, step].flatten().square().diag()) * (degrees - 2)
            t = scipy.stats.multivariate_t(
                loc[rows, step].flatten().numpy(), (shape / degrees).numpy(), df=degrees
            )
            out[scene] += t.logpdf(value[rows, step].flatten().numpy())
    return out


def seen_cells() -> Tensor:
    seen = torch.ones(SHAPE[:2], dtype=torch.bool)
    seen[0], seen[1, 1], seen[4, 2] = False, False, False
    return seen


def check_against_scipy(family: type[IndependentSteps]) -> None:
    value = 2 * normal(*SHAPE, seed=4)
    for seen in (torch.ones(SHAPE[:2], dtype=torch.bool), seen_cells()):
        found = dense(family).log_prob(value, seen)
        torch.testing.assert_close(found, scipy_log_prob(value, seen), rtol=0, atol=1e-9)


def test_log_prob_is_scipys_step_by_step_with_cells_missing():
    check_against_scipy(IndependentSteps)


class ReadsStepsAcross(IndependentSteps):
    """Broken: takes rows for steps."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        flat = value.transpose(-3, -2).flatten(-3, -2).unsqueeze(-2)
        each = self.base._log_prob(flat, seen.transpose(0, 1).flatten(0, 1).unsqueeze(-2))
        return each.unflatten(-1, (self.n_scenes, -1)).sum(-1)


class ForgetsTails(IndependentSteps):
    """Broken: the Gaussian that the tails were added to."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        assert isinstance(self.base, JointStudent)
        return IndependentSteps(self.base.base, self.scene, self.n_scenes)._log_prob(value, seen)


@pytest.mark.parametrize("family", [ReadsStepsAcross, ForgetsTails])
def test_the_judge_catches_broken_twins(family):
    with pytest.raises(AssertionError):
        check_against_scipy(family)


def test_missing_rows_are_deleted_rows_and_junk_changes_nothing():
    joint, value = dense(), normal(*SHAPE, seed=4)
    seen = torch.ones(SHAPE[:2], dtype=torch.bool)
    seen[[0, 3]] = False
    kept = seen.all(1)
    for index in (kept, kept.nonzero()[:, 0]):
        torch.testing.assert_close(
            joint.rows(index).log_prob(value[kept]), joint.log_prob(value, seen), rtol=0, atol=1e-10
        )
    dirty = torch.where(seen[..., None], value, math.nan)
    assert torch.equal(joint.log_prob(dirty, seen), joint.log_prob(value, seen))


def test_permuting_rows_permutes_the_distribution():
    joint, value, order = dense(), normal(*SHAPE, seed=4), torch.tensor([3, 4, 0, 1, 2])
    moved = joint.rows(order)
    torch.testing.assert_close(moved.log_prob(value[order]), joint.log_prob(value))
    assert torch.equal(moved.mean, joint.mean[order])
    torch.testing.assert_close(moved.quantile(0.1), joint.quantile(0.1)[order])


def test_samples_agree_with_moments_quantiles_and_density():
    torch.manual_seed(0)
    joint, n = dense(), 60_000
    draws = joint.sample((n,))
    assert draws.shape == (n, *SHAPE)
    for scene in (0, 2):
        rows = scene == SCENE
        found = np.corrcoef(draws[:, rows].flatten(1).T.numpy())
        wanted = joint.covariance(scene)
        sd = wanted.diag().sqrt()
        # Tails of three degrees of freedom make squares settle slowly.
        np.testing.assert_allclose(found, (wanted / (sd[:, None] * sd)).numpy(), atol=0.12)
        torch.testing.assert_close(sd, joint.stddev[rows].flatten())
    for level in (0.05, 0.5, 0.9):
        below = (draws <= joint.quantile(level)).double().mean(0)
        assert (below - level).abs().max() < 5 * math.sqrt(level * (1 - level) / n)
    assert joint.covariance(1).shape == (0, 0)


def test_series_correlation_sums_like_cells():
    joint = dense()
    n, cells = 3, STEPS * TARGETS
    like = torch.einsum("icjc->ij", joint.covariance(2).reshape(n, cells, n, cells))
    wanted = like / (like.diag()[:, None] * like.diag()).sqrt()
    torch.testing.assert_close(joint.series_correlation(2), wanted)


@pytest.mark.parametrize("size", [(), (len(SCENE), 1, 1), (TARGETS,), SHAPE])
def test_affine_is_the_exact_distribution(size):
    joint, value, seen = dense(), normal(*SHAPE, seed=4), seen_cells()
    loc, scale = normal(*size, seed=5), normal(*size, seed=6)
    moved = joint.affine(loc, scale)
    volume = torch.where(seen[..., None], scale.abs().log().expand(SHAPE), 0).sum((1, 2))
    volume = torch.zeros(N_SCENES, dtype=F64).index_add(0, SCENE, volume)
    found = moved.log_prob(loc + scale * value, seen)
    torch.testing.assert_close(found, joint.log_prob(value, seen) - volume, rtol=0, atol=1e-9)
    torch.testing.assert_close(moved.variance, scale**2 * joint.variance)


def test_many_degrees_of_freedom_are_the_gaussian():
    loc, scale, factor, df = parts()
    joint = IndependentSteps.student(loc, scale, factor, 0 * df + 1e7, SCENE, N_SCENES)
    assert isinstance(joint.base, JointStudent)
    value = normal(*SHAPE, seed=4)
    plain = IndependentSteps(joint.base.base, SCENE, N_SCENES)
    torch.testing.assert_close(joint.log_prob(value), plain.log_prob(value), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(joint.quantile(0.9), plain.quantile(0.9), rtol=1e-5, atol=1e-5)


def test_gradients_reach_every_part_and_stay_finite_in_single_precision():
    given = [x.float().requires_grad_() for x in parts()]
    joint = IndependentSteps.student(*given, SCENE, N_SCENES)
    value, seen = normal(*SHAPE, seed=4).float(), seen_cells()
    joint.log_prob(torch.where(seen[..., None], value, math.nan), seen).sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() and x.grad.any() for x in given)


def test_shapes_that_do_not_fit_are_refused():
    base = LowRankNormal(*parts()[:3], None, SCENE, N_SCENES)
    with pytest.raises(ValueError, match=r"df must be \(B,\) = \(4,\)"):
        JointStudent(base, torch.ones(3))
    with pytest.raises(ValueError, match="df must lie above 2"):
        JointStudent(base, torch.full((4,), 2.0))
    with pytest.raises(ValueError, match=r"base must have event_shape \(P \* H, 1, D\)"):
        IndependentSteps(base, SCENE, N_SCENES)
    assert split(torch.tensor([2, 0]), 3).tolist() == [6, 7, 8, 0, 1, 2]
