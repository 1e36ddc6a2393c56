"""Rows of their own tails: scipy's multivariate t row by row, and what must not pass for it."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from torch import Tensor

from hierforecast.distributions import (
    IndependentParts,
    IndependentRows,
    JointStudent,
    LowRankNormal,
    RecursiveNoise,
)
from tests.distributions.conditioning import SCENE, B, D, H, P, close, normal, rows, scattered


def dense(p: IndependentRows) -> Tensor:
    """Covariance (P, H * D, H * D) of each row's cells, from the definition of the recursion."""
    base = p.base.base
    noise, factor = base.noise, base.series_factor
    carry = torch.zeros(P, H, D, H, D, dtype=torch.float64)  # shock of a cell -> error of a cell
    for d in range(D):
        for h in range(H):
            carry[:, h, d, h, d] = 1
            for lag in range(1, min(h, noise.memory.shape[-1]) + 1):
                carry[:, h, d] += noise.memory[:, h, d, lag - 1, None, None] * carry[:, h - lag, d]
    carry, loads = carry.flatten(3).flatten(1, 2), factor.flatten(1, 2)
    shocks = loads @ loads.mT + noise.scale.flatten(1).square().diag_embed()
    return carry @ shocks @ carry.mT


def check(p: IndependentParts) -> None:
    """The density of all and of some cells is the product of scipy's over rows."""
    own, value, df = dense(rows()), 2 * normal(P, H, D, seed=21), rows().base.df
    for seen in (torch.ones(P, H, D, dtype=torch.bool), scattered()):
        expected = torch.zeros(B, dtype=torch.float64)
        for row in range(P):
            at, degrees = seen[row].flatten(), float(df[row])
            shape = own[row][at][:, at] * (degrees - 2) / degrees
            t = scipy.stats.multivariate_t(rows().mean[row].flatten()[at], shape, degrees)
            expected[SCENE[row]] += float(t.logpdf(value[row].flatten()[at].numpy()))
        close(p.log_prob(torch.where(seen, value, torch.nan), seen), expected)


def test_density_is_scipys_row_by_row():
    check(rows())


class OneTailForAll(IndependentRows):
    """Broken: a row that is wild is wild for its scene."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        plain = self.base.base
        parts = plain.loc, plain.noise, plain.scene_factor, plain.series_factor
        df = torch.full((self.n_scenes,), 4.0, dtype=torch.float64)
        return JointStudent(LowRankNormal(*parts, self.scene, self.n_scenes), df)._log_prob(
            value, seen
        )


class WithoutTails(IndependentRows):
    """Broken: the Gaussians that the tails were added to."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        return IndependentRows(self.base.base, self.scene, self.n_scenes)._log_prob(value, seen)


class ForgetsScenes(IndependentRows):
    """Broken: rows count for the scene that has their number."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        return self.base._log_prob(value, seen)[..., : self.n_scenes]


@pytest.mark.parametrize("broken", [OneTailForAll, WithoutTails, ForgetsScenes])
def test_broken_twins_fail(broken: type[IndependentRows]):
    p = rows()
    with pytest.raises(AssertionError):
        check(broken(p.base, p.scene, p.n_scenes))


def test_draws_stretch_each_row_by_itself():
    """Sizes of two steps of a row go together, those of two rows of a scene do not."""
    p = rows(0)
    p = IndependentRows.student(
        p.mean, p.base.base.scale, 0 * p.base.base.series_factor, 0 * p.base.df + 5, SCENE, B
    )
    drawn = p.sample((100_000,), generator=torch.Generator().manual_seed(0))
    size = ((drawn - p.mean) / p.stddev).abs().clamp(max=5)
    correlation = torch.corrcoef(size.flatten(1).T).view(P, H * D, P, H * D)
    for row in range(P):
        own = correlation[row, :, row][~torch.eye(H * D, dtype=torch.bool)]
        others = correlation[row][:, torch.arange(P) != row]
        assert own.min() > 0.1 and others.abs().max() < 0.03
    assert (p.series_correlation(1) == torch.eye(3)).all()
    within = p.covariance(1).view(3, H * D, 3, H * D)
    assert (within[0, :, 1] == 0).all() and (within[0, :, 0].diagonal() > 0).all()


def test_gradients_reach_every_parameter_with_gaps():
    p = rows()
    base = p.base.base
    given = [base.loc, base.scale, base.noise.memory, base.series_factor, p.base.df]
    loc, scale, memory, factor, df = given = [x.clone().requires_grad_() for x in given]
    q = IndependentRows.student(loc, RecursiveNoise(scale, memory), factor, df, SCENE, B)
    value = torch.where(scattered(), normal(P, H, D, seed=17), torch.nan)
    q.log_prob(value, scattered()).sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() and x.grad.any() for x in given)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="base must have 1 rows for each of the 5"):
        IndependentRows(rows().base, SCENE[:5], B)
