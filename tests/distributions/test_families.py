"""The likelihood is joint and honest: promise 4 of the design, and promise 2 for missing cells."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import Gamma, Laplace, LogNormal, MultivariateNormal, Normal, StudentT

from hierforecast.distributions import IndependentScenes, LowRankNormal, SceneDistribution
from tests.counting import Operations

SCENE = torch.tensor([2, 0, 2, 0, 4, 2, 1])  # unsorted; scene 3 has no rows
N_SCENES, STEPS, TARGETS = 5, 3, 2
SHAPE = (len(SCENE), STEPS, TARGETS)
F64 = torch.float64


def low_rank(
    scene: Tensor = SCENE,
    n_scenes: int = N_SCENES,
    steps: int = STEPS,
    targets: int = TARGETS,
    rank: int = 3,
    private: int | None = 2,
    scale: float = 0.5,
    seed: int = 0,
    family: type[LowRankNormal] = LowRankNormal,
) -> LowRankNormal:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(scene), steps, targets)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=F64)

    loc, noise, shared = normal(*shape), normal(*shape), normal(*shape, rank)
    own = None if private is None else normal(*shape, private)
    return family(loc, scale * (0.3 * noise).exp(), shared, own, scene, n_scenes)


def independent(name: str) -> IndependentScenes:
    p = low_rank()
    bases = {
        "normal": Normal(p.loc, p.scale),
        "student": StudentT(3 + p.scale, p.loc, p.scale),
        "laplace": Laplace(p.loc, p.scale),
    }
    return IndependentScenes(bases[name], SCENE, N_SCENES)


def any_family(name: str) -> SceneDistribution:
    return low_rank() if name == "lowrank" else independent(name)


FAMILIES = ["lowrank", "normal", "student", "laplace"]


def some_value(seed: int = 1, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def some_observed(rows: int = len(SCENE), steps: int = STEPS) -> Tensor:
    seen = torch.rand(rows, steps, generator=torch.Generator().manual_seed(2)) < 0.6
    seen[0], seen[1, 0], seen[1, 1] = False, True, False  # a row never seen, a row with a gap
    return seen


def dense_covariance(p: LowRankNormal, scene: int) -> Tensor:
    """The definition, read aloud: the factor of all latents of the scene, latent by latent."""
    rows = [i for i, s in enumerate(p.scene.tolist()) if s == scene]
    columns = list(torch.cat([p.scene_factor[i].flatten(0, 1) for i in rows]).unbind(-1))
    for i in rows:
        for latent in p.series_factor[i].flatten(0, 1).unbind(-1):
            parts = [latent if j == i else torch.zeros_like(latent) for j in rows]
            columns.append(torch.cat(parts))
    noise = torch.cat([p.scale[i].flatten() for i in rows]).square().diag()
    return noise + sum(c[:, None] * c for c in columns)


def dense_log_prob(p: LowRankNormal, value: Tensor, seen: Tensor) -> Tensor:
    out = torch.zeros(p.n_scenes, dtype=F64)
    for scene in range(p.n_scenes):
        rows = p.scene == scene
        cells = seen[rows].unsqueeze(-1).expand(-1, *value.shape[1:]).flatten()
        if cells.any():
            covariance = dense_covariance(p, scene)[cells][:, cells]
            dense = MultivariateNormal(p.loc[rows].flatten()[cells], covariance)
            out[scene] = dense.log_prob(value[rows].flatten()[cells])
    return out


def check_against_dense(p: LowRankNormal) -> None:
    """The judge of exactness: with every cell observed, and with cells and rows missing."""
    value = some_value()
    for seen in (torch.ones(SHAPE[:2], dtype=torch.bool), some_observed()):
        torch.testing.assert_close(
            p.log_prob(value, seen), dense_log_prob(p, value, seen), rtol=0, atol=1e-9
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


def leaves(p: LowRankNormal, dtype: torch.dtype = F64) -> list[Tensor]:
    parts = (p.loc, p.scale, p.scene_factor, p.series_factor)
    return [x.detach().to(dtype).requires_grad_() for x in parts]


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
