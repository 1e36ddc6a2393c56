"""The mixture of joint modes, against a second implementation with dense covariances."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import LowRankNormal, ModeMixture
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


def dense_log_prob(p: ModeMixture, value: Tensor, seen: Tensor) -> Tensor:
    """The definition, read aloud: a sum of densities over modes, scene by scene."""
    out = torch.zeros(p.n_scenes, dtype=F64)
    for scene in range(p.n_scenes):
        rows = p.scene == scene
        cells = seen[rows][..., None].expand(-1, *value.shape[1:]).flatten()
        if cells.any():
            covariance = p.noise.covariance(scene)[cells][:, cells]
            weights = p.logits[scene].exp() / p.logits[scene].exp().sum()
            density = 0.0
            for weight, loc in zip(weights, p.locs, strict=True):
                mean = (loc + p.noise.loc)[rows].flatten()[cells]
                dense = MultivariateNormal(mean, covariance)
                density = density + weight * dense.log_prob(value[rows].flatten()[cells]).exp()
            out[scene] = density.log()
    return out


def check_against_dense(p: ModeMixture) -> None:
    value = some_value()
    for seen in (torch.ones(SHAPE[:2], dtype=torch.bool), some_observed()):
        torch.testing.assert_close(
            p.log_prob(value, seen), dense_log_prob(p, value, seen), rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("modes", [1, 2, 4])
def test_log_prob_is_the_dense_mixture(modes: int) -> None:
    check_against_dense(mixture(modes=modes))


class ChoosesPerRow(ModeMixture):
    """Broken: each row has a mode of its own."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        out = value.new_zeros(self.n_scenes)
        for i in range(len(self.scene)):
            row = self.rows(torch.tensor([i]))
            out = out + row._log_prob(value[i : i + 1], seen[i : i + 1])
        return out


class ForgetsWeights(ModeMixture):
    """Broken: all modes are equally probable."""

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        return ModeMixture(self.locs, 0 * self.logits, self.noise)._log_prob(value, seen)


@pytest.mark.parametrize("family", [ChoosesPerRow, ForgetsWeights])
def test_the_judge_catches_broken_twins(family: type[ModeMixture]) -> None:
    with pytest.raises(AssertionError, match="not close"):
        check_against_dense(mixture(family=family))


def test_a_single_mode_is_the_joint_gaussian() -> None:
    p = mixture(modes=1)
    q = p.noise.affine(p.locs[0], 1.0)
    value, seen = some_value(), some_observed()
    torch.testing.assert_close(p.log_prob(value, seen), q.log_prob(value, seen))
    torch.testing.assert_close(p.quantile(0.2), q.quantile(0.2))
    for name in ("mean", "variance"):
        torch.testing.assert_close(getattr(p, name), getattr(q, name))
    torch.testing.assert_close(p.covariance(2), q.covariance(2))


def test_several_values_at_once() -> None:
    p, values = mixture(), some_value(shape=(2, 3, *SHAPE))
    together = p.log_prob(values, some_observed())
    assert together.shape == (2, 3, N_SCENES)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(together[i, j], p.log_prob(values[i, j], some_observed()))


@pytest.mark.parametrize("layout", ["two rows", "two steps", "two targets"])
def test_density_integrates_to_one_and_marginalises(layout: str) -> None:
    rows, steps, targets = {"two rows": (2, 1, 1), "two steps": (1, 2, 1)}.get(layout, (1, 1, 2))
    p = mixture(torch.zeros(rows, dtype=torch.int64), 1, steps, targets)
    x = torch.linspace(-25, 25, 401, dtype=F64)
    points, width = torch.stack(torch.meshgrid(x, x, indexing="ij"), -1), float(x[1] - x[0])
    density = p.log_prob(points.reshape(401, 401, rows, steps, targets)).exp()[..., 0]
    assert float(density.sum() * width**2) == pytest.approx(1, abs=1e-6)
    if layout != "two targets":  # steps and rows go missing, single targets do not
        observed = torch.tensor([True, False]).reshape(rows, steps)
        alone = p.log_prob(points[:, 0].reshape(401, rows, steps, 1), observed)[:, 0].exp()
        torch.testing.assert_close(alone, density.sum(1) * width, atol=1e-6, rtol=0)


def test_missing_rows_are_deleted_rows() -> None:
    p, value = mixture(), some_value()
    observed = torch.ones(SHAPE[:2], dtype=torch.bool)
    observed[[0, 3, 6]] = False
    kept = observed.all(1)
    for index in (kept, kept.nonzero()[:, 0]):
        fewer = p.rows(index)
        torch.testing.assert_close(
            fewer.log_prob(value[kept]), p.log_prob(value, observed), rtol=0, atol=1e-10
        )
        assert torch.equal(fewer.quantile(0.3), p.quantile(0.3)[kept])
        assert torch.equal(fewer.modes, p.modes[:, kept])


def test_what_is_not_observed_changes_nothing() -> None:
    p, value, observed = mixture(), some_value(), some_observed()
    junk = torch.where(observed[..., None], value, math.nan).requires_grad_()
    log_prob = p.log_prob(junk, observed)
    assert torch.equal(log_prob, p.log_prob(value, observed))
    assert log_prob[1] == log_prob[3] == 0  # nothing observed; no rows
    (gradient,) = torch.autograd.grad(log_prob.sum(), junk)
    assert (gradient[~observed] == 0).all() and gradient.isfinite().all()


def test_gradcheck() -> None:
    p = mixture(torch.tensor([1, 0, 1]), 3, 2, 1, modes=2)
    noise = p.noise
    parts = (p.locs, p.logits, noise.loc, noise.scale, noise.scene_factor, noise.series_factor)
    leaves = [x.detach().clone().requires_grad_() for x in (some_value(shape=(3, 2, 1)), *parts)]
    observed = torch.tensor([[True, True], [True, False], [False, True]])

    def log_prob(value: Tensor, locs: Tensor, logits: Tensor, *others: Tensor) -> Tensor:
        return ModeMixture(
            locs, logits, LowRankNormal(*others, noise.scene, 3)
        ).log_prob(value, observed)  # fmt: skip

    assert torch.autograd.gradcheck(log_prob, leaves)


def test_permuting_rows_permutes_the_distribution() -> None:
    p, value, observed = mixture(), some_value(), some_observed()
    order = torch.tensor([3, 6, 0, 5, 1, 4, 2])
    q = p.rows(order)
    torch.testing.assert_close(
        q.log_prob(value[order], observed[order]), p.log_prob(value, observed), rtol=0, atol=1e-12
    )
    for name in ("mean", "variance", "median"):
        assert torch.equal(getattr(q, name), getattr(p, name)[order])


def test_modes_come_most_probable_first() -> None:
    p = mixture()
    assert p.mode_weights.shape == (N_SCENES, MODES)
    assert (p.mode_weights.diff(dim=1) <= 0).all()
    for row, scene in enumerate(SCENE.tolist()):
        best = p.logits[scene].argsort(descending=True)
        torch.testing.assert_close(p.modes[:, row], (p.locs + p.noise.loc)[best, row])
        torch.testing.assert_close(p.mode_weights[scene], p.logits.softmax(-1)[scene, best])


def single(p: ModeMixture) -> ModeMixture:
    parts = (p.noise.loc, p.noise.scale, p.noise.scene_factor, p.noise.series_factor)
    noise = LowRankNormal(*(x.float() for x in parts), p.scene, p.n_scenes)
    return ModeMixture(p.locs.float(), p.logits.float(), noise)


def test_single_precision_is_kept_and_accurate() -> None:
    p, value = mixture(), some_value()
    q = single(p)
    log_prob = q.log_prob(value.float())
    assert log_prob.dtype == q.mean.dtype == q.quantile(0.1).dtype == torch.float32
    assert q.sample().dtype == q.affine(0.1, -2.0).mean.dtype == torch.float32
    torch.testing.assert_close(log_prob.double(), p.log_prob(value), rtol=1e-5, atol=1e-5)


def test_no_rows_at_all() -> None:
    p = mixture(SCENE[:0], 3)
    assert torch.equal(p.log_prob(p.mean), torch.zeros(3, dtype=F64))
    assert p.sample((4,)).shape == (4, 0, STEPS, TARGETS)
    assert p.modes.shape == (MODES, 0, STEPS, TARGETS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda p: ModeMixture(p.locs[0], p.logits, p.noise), "locs must be"),
        (lambda p: ModeMixture(p.locs[:, 1:], p.logits, p.noise), "locs must be"),
        (lambda p: ModeMixture(p.locs, p.logits[:, 1:], p.noise), "logits must be"),
        (lambda p: ModeMixture(p.locs / 0, p.logits, p.noise), "locs holds NaN"),
        (lambda p: ModeMixture(p.locs, p.logits / 0, p.noise), "logits holds NaN"),
        (lambda p: p.log_prob(p.mean[:, :1]), "value must end in"),
        (lambda p: p.log_prob(p.mean * math.nan), "`observed`"),
        (lambda p: p.quantile(95), "0.05"),
        (lambda p: p.affine(0.0, 0.0), "zeros"),
        (lambda p: p.covariance(5), "scene_index"),
    ],
)
def test_errors_name_what_is_wrong(wrong: Callable[[ModeMixture], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong(mixture())
