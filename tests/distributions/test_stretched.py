"""Mixtures of scales: sums of dense normals, and the Student-t that they lead to."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import JointStudent, ScaleMixture
from tests.distributions.conditioning import (
    KNOWN,
    D,
    H,
    P,
    cells_of,
    close,
    low_rank,
    normal,
    scattered,
    stretched,
)


def check(p: ScaleMixture) -> None:
    """The density is the weighted sum of those of dense normals, with cells missing."""
    like = stretched()
    for known in KNOWN.values():
        seen = known()
        value = torch.where(seen, 2 * normal(P, H, D, seed=8), torch.nan)
        for scene in range(2):
            at = cells_of(p, scene, seen)
            if not at.any():
                continue
            covariance = like.base.covariance(scene)[at][:, at]
            mean = cells_of(p, scene, like.mean)[at]
            total = torch.zeros((), dtype=torch.float64)
            for scale, weight in zip(like.scales, like.weights[scene], strict=True):
                dense = MultivariateNormal(mean, scale**2 * covariance)
                total = total + weight * dense.log_prob(cells_of(p, scene, value)[at]).exp()
            close(p.log_prob(value, seen)[scene], total.log())
        assert p.log_prob(value, seen)[2] == 0


def test_density_is_the_sum_of_dense_normals() -> None:
    check(stretched())


class EachCellItsOwn(ScaleMixture):
    """Broken: every cell has a scale of its own."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        away = torch.where(seen, value - self.mean, 0) / self.base.stddev
        each = torch.distributions.Normal(0, self.scales).log_prob(away[..., None])
        mixed = (each + self.weights[self.scene, None, None].log()).logsumexp(-1)
        return self._sum_by_scene(torch.where(seen, mixed, 0).sum((1, 2)))


class OneWeightForAll(ScaleMixture):
    """Broken: scenes share their weights."""

    @property
    def weights(self) -> Tensor:
        return self.logits[:1].softmax(-1).expand(self.n_scenes, -1)

    def _joint(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        joint, cells = super()._joint(value, seen)
        return joint - self.logits.log_softmax(-1) + self.weights.log(), cells


class ForgetsVolume(ScaleMixture):
    """Broken: without the power of the scale."""

    def _joint(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        joint, cells = super()._joint(value, seen)
        return joint + cells[:, None] * self.scales.log(), cells


@pytest.mark.parametrize("broken", [EachCellItsOwn, OneWeightForAll, ForgetsVolume])
def test_broken_twins_fail(broken: type[ScaleMixture]) -> None:
    p = stretched()
    with pytest.raises(AssertionError):
        check(broken(p.base, p.scales, p.logits))


def test_many_scales_are_the_joint_student() -> None:
    df = torch.tensor([4.0, 6.5, 9.0], dtype=torch.float64)
    base, value = low_rank(), normal(P, H, D, seed=9)
    student = JointStudent(base, df)
    many = ScaleMixture.student(base, df, count=2_000, widest=60.0)
    close(many.log_prob(value, scattered()), student.log_prob(value, scattered()), 1e-4)
    for level in (0.01, 0.3, 0.5, 0.9):
        close(many.quantile(level), student.quantile(level), 1e-3)
    close(many.cdf(value), student.cdf(value), 1e-4)
    close(many.variance, student.variance, 1e-2)
    few = ScaleMixture.student(base, df)
    error = few.log_prob(value) - student.log_prob(value)
    assert error.abs().max() < 0.02 * H * D


def test_quantiles_are_those_of_the_mixture() -> None:
    p = stretched()
    draws = p.sample((40_000,), generator=torch.Generator().manual_seed(0))
    for level in (0.02, 0.5, 0.9):
        close(p.cdf(p.quantile(level)), torch.full((P, H, D), level, dtype=torch.float64))
        below = (draws <= p.quantile(level)).double().mean(0)
        assert ((below - level).abs() < 0.012).all()
    close(draws.var(0) / p.variance, torch.ones(P, H, D, dtype=torch.float64), 0.1)
    assert (p.quantile(1.0) == torch.inf).all()


def test_gradients_reach_weights_and_scales() -> None:
    p = stretched()
    scales, logits = (x.clone().requires_grad_() for x in (p.scales, p.logits))

    def density(scales: Tensor, logits: Tensor) -> Tensor:
        return ScaleMixture(p.base, scales, logits).log_prob(normal(P, H, D), scattered())

    assert torch.autograd.gradcheck(density, (scales, logits))


def test_shapes_that_do_not_fit_are_refused() -> None:
    p = stretched()
    for scales, logits, message in (
        (p.scales[:2], p.logits, r"scales must be \(K,\)"),
        (-p.scales, p.logits, "must be > 0"),
        (p.scales, p.logits / 0, "logits holds NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            ScaleMixture(p.base, scales, logits, validate_args=True)
