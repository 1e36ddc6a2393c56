"""The likelihood is joint and honest: promise 4 of the design, and promise 2 for missing cells."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Gamma, LogNormal, Normal, StudentT

from hierforecast.distributions import IndependentScenes, LowRankNormal
from tests.counting import Operations
from tests.distributions.families import (
    F64,
    FAMILIES,
    N_SCENES,
    SCENE,
    SHAPE,
    STEPS,
    any_family,
    check_against_dense,
    independent,
    leaves,
    low_rank,
    some_observed,
    some_value,
)


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("private", [None, 1, 2, 7])
def test_log_prob_is_the_dense_multivariate_normal(rank: int, private: int | None) -> None:
    check_against_dense(low_rank(rank=rank, private=private))


class ForgetsSeriesFactor(LowRankNormal):
    def _whiten(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        columns, log_scale = super()._whiten(value, seen)
        private = self.series_factor.shape[-1]
        return torch.cat([0 * columns[..., :private], columns[..., private:]], -1), log_scale


class CountsMissingCells(LowRankNormal):
    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        missing = self._sum_by_scene((~seen).sum((1, 2)).double())
        return super()._log_prob(value, seen) - 0.5 * math.log(2 * math.pi) * missing


class KeepsMissingFactors(LowRankNormal):
    def _whiten(self, value: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        columns, log_scale = super()._whiten(value, seen)
        private = self.series_factor.shape[-1]
        kept = super()._whiten(value, torch.ones_like(seen))[0][..., :private]
        return torch.cat([kept, columns[..., private:]], -1), log_scale


class MixesScenes(LowRankNormal):
    def _sum_by_scene(self, x: Tensor) -> Tensor:
        return super()._sum_by_scene(x) + x.sum(0) * 1e-3


BROKEN = [ForgetsSeriesFactor, CountsMissingCells, KeepsMissingFactors, MixesScenes]


@pytest.mark.parametrize("family", BROKEN)
def test_the_judge_catches_broken_twins(family: type[LowRankNormal]) -> None:
    with pytest.raises(AssertionError):
        check_against_dense(low_rank(family=family))


def test_several_values_at_once() -> None:
    p, values = low_rank(), some_value(shape=(2, 3, *SHAPE))
    together = p.log_prob(values, some_observed())
    assert together.shape == (2, 3, N_SCENES)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(together[i, j], p.log_prob(values[i, j], some_observed()))


def grid(n: int, limit: float) -> tuple[Tensor, float]:
    x = torch.linspace(-limit, limit, n, dtype=F64)
    return torch.stack(torch.meshgrid(x, x, indexing="ij"), -1), float(x[1] - x[0]) ** 2


@pytest.mark.parametrize("layout", ["two rows", "two steps", "two targets"])
def test_density_integrates_to_one_and_marginalises(layout: str) -> None:
    rows, steps, targets = {"two rows": (2, 1, 1), "two steps": (1, 2, 1)}.get(layout, (1, 1, 2))
    p = low_rank(torch.zeros(rows, dtype=torch.int64), 1, steps, targets, seed=3)
    points, area = grid(401, 25.0)
    density = p.log_prob(points.reshape(401, 401, rows, steps, targets)).exp()[..., 0]
    assert float(density.sum() * area) == pytest.approx(1, abs=1e-6)
    if layout != "two targets":  # steps and rows go missing, single targets do not
        observed = torch.tensor([True, False]).reshape(rows, steps)
        value = points[:, 0].reshape(401, rows, steps, 1)
        torch.testing.assert_close(
            p.log_prob(value, observed)[:, 0].exp(), density.sum(1) * math.sqrt(area), atol=1e-6,
            rtol=0,
        )  # fmt: skip


def test_student_integrates_to_one() -> None:
    base = StudentT(*(torch.full((1, 1, 1), x, dtype=F64) for x in (3.0, 0.2, 1.0)))
    x = torch.linspace(-400, 400, 400_001, dtype=F64)
    dense = IndependentScenes(base, torch.zeros(1, dtype=torch.int64), 1)
    total = dense.log_prob(x[:, None, None, None]).exp().sum() * (x[1] - x[0])
    assert float(total) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_missing_rows_are_deleted_rows(name: str) -> None:
    p, value = any_family(name), some_value()
    observed = torch.ones(SHAPE[:2], dtype=torch.bool)
    observed[[0, 3, 6]] = False
    kept = observed.all(1)
    for index in (kept, kept.nonzero()[:, 0]):
        torch.testing.assert_close(
            p.rows(index).log_prob(value[kept]), p.log_prob(value, observed), rtol=0, atol=1e-10
        )
    torch.testing.assert_close(p.rows(kept).stddev, p.stddev[kept])


def test_missing_steps_are_steps_never_modelled() -> None:
    p, value = low_rank(), some_value()
    observed = torch.tensor([True, False, True]).expand(SHAPE[:2])
    parts = (p.loc, p.scale, p.scene_factor, p.series_factor)
    shorter = LowRankNormal(*(x[:, [0, 2]] for x in parts), SCENE, N_SCENES)
    torch.testing.assert_close(
        p.log_prob(value, observed), shorter.log_prob(value[:, [0, 2]]), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_garbage_in_unobserved_cells_changes_nothing(name: str) -> None:
    p, observed = any_family(name), some_observed()
    clean = torch.where(observed[..., None], some_value(), 0)
    for garbage in (math.nan, math.inf, -1e300):
        dirty = torch.where(observed[..., None], clean, garbage)
        assert torch.equal(p.log_prob(dirty, observed), p.log_prob(clean, observed))


@pytest.mark.parametrize("hidden", ["row", "scene", "all", "cells"])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_gradients_are_finite_where_nothing_is_seen(hidden: str, dtype: torch.dtype) -> None:
    observed = {
        "row": torch.arange(len(SCENE)) != 1,
        "scene": SCENE != 2,
        "all": torch.zeros(len(SCENE), dtype=torch.bool),
    }.get(hidden, torch.ones(len(SCENE), dtype=torch.bool))
    observed = some_observed() if hidden == "cells" else observed[:, None].expand(-1, STEPS)
    value = torch.where(observed[..., None], some_value(), math.nan).to(dtype).requires_grad_()
    parameters = leaves(low_rank(), dtype)
    degrees = torch.full(SHAPE, 4.0, dtype=dtype)
    for dense in (
        LowRankNormal(*parameters, SCENE, N_SCENES),
        IndependentScenes(Normal(*parameters[:2]), SCENE, N_SCENES),
        IndependentScenes(StudentT(degrees, *parameters[:2]), SCENE, N_SCENES),
    ):
        log_prob = dense.log_prob(value, observed)
        unseen = torch.zeros(N_SCENES).index_add(0, SCENE, observed.sum(1).float()) == 0
        assert torch.equal(log_prob[unseen], torch.zeros(int(unseen.sum()), dtype=dtype))
        gradients = torch.autograd.grad(log_prob.sum(), [value, *parameters], allow_unused=True)
        for gradient in (g for g in gradients if g is not None):
            assert torch.isfinite(gradient).all()
            assert (gradient[~observed] == 0).all()


def test_gradcheck() -> None:
    scene = torch.tensor([1, 0, 1])
    p = low_rank(scene, 3, 2, 1, rank=2, private=1)
    value = some_value(shape=(3, 2, 1)).requires_grad_()
    observed = torch.tensor([[True, True], [True, False], [False, True]])

    def log_prob(value: Tensor, *parameters: Tensor) -> Tensor:
        return LowRankNormal(*parameters, scene, 3).log_prob(value, observed)

    assert torch.autograd.gradcheck(log_prob, (value, *leaves(p)))


@pytest.mark.parametrize("name", FAMILIES)
def test_permuting_rows_permutes_the_distribution(name: str) -> None:
    p, value, observed = any_family(name), some_value(), some_observed()
    order = torch.tensor([3, 6, 0, 5, 1, 4, 2])
    q = p.rows(order)
    torch.testing.assert_close(
        q.log_prob(value[order], observed[order]), p.log_prob(value, observed), rtol=0, atol=1e-12
    )
    assert torch.equal(q.mean, p.mean[order])
    assert torch.equal(q.quantile(0.1), p.quantile(0.1)[order])


def test_without_factors_it_is_the_independent_normal() -> None:
    p, value, observed = low_rank(), some_value(), some_observed()
    none = 0 * p.scene_factor, 0 * p.series_factor
    product = independent("normal").log_prob(value, observed)
    without = LowRankNormal(p.loc, p.scale, *none, SCENE, N_SCENES).log_prob(value, observed)
    torch.testing.assert_close(without, product, rtol=0, atol=1e-12)
    cells = torch.where(observed[..., None], Normal(p.loc, p.scale).log_prob(value), 0)
    by_hand = torch.stack([cells[p.scene == s].sum() for s in range(N_SCENES)])
    torch.testing.assert_close(product, by_hand, rtol=0, atol=1e-12)
    assert not torch.allclose(p.log_prob(value, observed), product, atol=1)


@pytest.mark.parametrize("base", [LogNormal, Gamma])
def test_positive_families_may_miss_cells_too(
    base: Callable[..., torch.distributions.Distribution],
) -> None:
    a, b = (torch.full(SHAPE, x, dtype=F64, requires_grad=True) for x in (0.7, 1.3))
    value = some_value().abs()
    p = IndependentScenes(base(a, b), SCENE, N_SCENES)
    dirty = torch.where(some_observed()[..., None], value, -1.0)
    log_prob = p.log_prob(dirty, some_observed())
    torch.testing.assert_close(log_prob, p.log_prob(value, some_observed()))
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(log_prob.sum(), (a, b)))
    with pytest.raises(NotImplementedError, match="Laplace"):
        p.affine(0.0, 2.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda p: LowRankNormal(
                p.loc[:, 0], p.scale, p.scene_factor, p.series_factor, SCENE, 5
            ),
            "loc must be",
        ),
        (
            lambda p: LowRankNormal(
                p.loc, p.scale[:, :1], p.scene_factor, p.series_factor, SCENE, 5
            ),
            "scale has shape",
        ),
        (lambda p: LowRankNormal(p.loc, p.scale, p.loc, None, SCENE, 5), "scene_factor has shape"),
        (
            lambda p: LowRankNormal(p.loc, -p.scale, p.scene_factor, p.series_factor, SCENE, 5),
            "softplus",
        ),
        (
            lambda p: LowRankNormal(p.loc / 0, p.scale, p.scene_factor, p.series_factor, SCENE, 5),
            "learning rate",
        ),
        (
            lambda p: LowRankNormal(p.loc, p.scale, p.scene_factor, p.series_factor, SCENE, 4),
            "n_scenes",
        ),
        (
            lambda p: LowRankNormal(
                p.loc, p.scale, p.scene_factor, p.series_factor, SCENE.int(), 5
            ),
            "int64",
        ),
        (lambda p: IndependentScenes(Normal(p.loc[0], p.scale[0]), SCENE, 5), "batch_shape"),
        (lambda p: p.log_prob(p.loc[:, :1]), "value must end in"),
        (lambda p: p.log_prob(p.loc, p.loc), "observed must be bool"),
        (lambda p: p.log_prob(p.loc * math.nan), "`observed`"),
        (lambda p: p.quantile(95), "0.05"),
        (lambda p: p.affine(0.0, 0.0), "zeros"),
        (lambda p: p.covariance(5), "scene_index"),
    ],
)
def test_errors_name_what_is_wrong(wrong: Callable[[LowRankNormal], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong(low_rank())


def test_work_and_memory_grow_with_the_rows_of_a_scene_not_with_their_pairs() -> None:
    found = []
    for rows in (50, 2000):
        p = low_rank(torch.zeros(rows, dtype=torch.int64), 1, 20, 1, rank=8, private=4)
        parameters, value = leaves(p, torch.float32), p.sample().float()
        with Operations() as operations:
            LowRankNormal(*parameters, p.scene, 1).log_prob(value).sum().backward()
        found.append((operations.by_name.total(), operations.largest / rows))
    assert found[0] == found[1]
    assert found[1][1] < 300  # elements a row, where its parameters have 20 x 14
