"""A mixture scene by scene, against the same sums written out one scene and view at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hierforecast.distributions import LowRankNormal, SceneMixture
from tests.distributions.views import (
    FAMILIES,
    SCENE,
    VIEWS,
    B,
    D,
    H,
    P,
    close,
    low_rank,
    make,
    normal,
    parts,
    rows_of_views,
)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> SceneMixture:
    return make(request.param)


def log_prob_by_hand(p: SceneMixture, value: Tensor, seen: Tensor) -> Tensor:
    out = []
    for scene in range(B):
        mine = scene == SCENE
        each = [
            math.log(weight) + one.log_prob(value[mine], seen[mine]).sum()
            for weight, one in parts(p, scene)
        ]
        out.append(torch.stack(each).logsumexp(0))
    return torch.stack(out)


def moments_by_hand(p: SceneMixture, scene: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a scene with three rows of views that a base numbers as it likes."""
    pairs = parts(p, scene)
    means = [one.mean.flatten() for _, one in pairs]
    mean = sum(weight * m for (weight, _), m in zip(pairs, means, strict=True))
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for (weight, one), m in zip(pairs, means, strict=True):
        inside = one.covariance(int(one.scene[0]))
        covariance += weight * (inside + torch.outer(m - mean, m - mean))
    return mean, covariance


def test_moments(family):
    for scene in range(3):
        mine = scene == SCENE
        mean, covariance = moments_by_hand(family, scene)
        close(family.mean[mine].flatten(), mean)
        close(family.variance[mine].flatten(), covariance.diagonal())
        close(family.covariance(scene), covariance)
        cells = covariance.view(int(mine.sum()), H * D, int(mine.sum()), H * D)
        across = cells.diagonal(dim1=1, dim2=3).sum(-1)
        size = across.diagonal().sqrt()
        close(family.series_correlation(scene), across / (size[:, None] * size))


@pytest.mark.parametrize("share", [1.0, 0.6, 0.0])
def test_the_likelihood_is_that_of_the_mixture(family, share):
    seen = torch.rand(P, H, D, generator=torch.Generator().manual_seed(1)) < share
    value = torch.where(seen, 2 * normal(P, H, D, seed=4), torch.nan)
    found = family.log_prob(value, seen)
    close(found, log_prob_by_hand(family, value, seen))
    assert found[3] == 0 and (share or not found.any())
    both = torch.stack([value, torch.where(seen, value + 1, torch.nan)])
    close(family.log_prob(both, seen)[1], family.log_prob(both[1], seen))


def test_quantiles_and_the_distribution_function_agree(family):
    level = torch.tensor([0.02, 0.3, 0.5, 0.97], dtype=torch.float64)
    found = family.quantile(level)
    close(family.cdf(found), level[:, None, None, None].expand_as(found), 1e-9)
    for scene in range(3):
        mine = scene == SCENE
        each = sum(w * one.cdf(found[:, mine]) for w, one in parts(family, scene))
        close(each, family.cdf(found)[:, mine])


def test_the_variance_has_gradients_after_quantiles_too():
    view, row = rows_of_views()
    scale = (0.3 + normal(len(view), H, D).abs()).requires_grad_()
    base = LowRankNormal(0 * scale, scale, 0 * scale[..., None], None, view, len(VIEWS))
    p = SceneMixture(base, VIEWS, row, normal(len(VIEWS)), SCENE, B)
    p.quantile(0.1)
    (gradient,) = torch.autograd.grad(p.variance.sum(), scale)
    assert (gradient > 0).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_the_distribution_function_of_its_quantiles(name):
    base = FAMILIES[name](rows_of_views()[0])
    level = torch.tensor([0.01, 0.4, 0.9], dtype=torch.float64)
    found = base.quantile(level)
    close(base.cdf(found), level[:, None, None, None].expand_as(found), 1e-9)


@pytest.mark.parametrize("name", ["recursive", "modes"])
def test_draws_have_the_moments_and_take_one_view_for_a_whole_scene(name):
    p = make(name)
    draws = p.sample((60_000,), generator=torch.Generator().manual_seed(0))
    for scene in range(3):
        mine = scene == SCENE
        flat = draws[:, mine].flatten(1)
        size = p.variance[mine].flatten().sqrt()
        assert ((flat.mean(0) - p.mean[mine].flatten()) / size).abs().max() < 0.03
        error = (torch.cov(flat.T) - p.covariance(scene)) / (size[:, None] * size)
        assert error.abs().max() < 0.05


class RowByRow(SceneMixture):
    """Broken: every row takes a view of its own."""

    def _draw(self, shape: torch.Size) -> Tensor:
        every = [super(RowByRow, self)._draw(shape) for _ in range(P)]
        return torch.stack([every[i][..., i, :, :] for i in range(P)], -3)


def test_a_draw_that_mixes_views_is_noticed():
    p = make("recursive", RowByRow)
    draws = p.sample((20_000,), generator=torch.Generator().manual_seed(0))[:, SCENE == 1]
    size = p.variance[SCENE == 1].flatten().sqrt()
    error = (torch.cov(draws.flatten(1).T) - p.covariance(1)) / (size[:, None] * size)
    assert error.abs().max() > 0.2


def known_cells() -> Tensor:
    known = torch.rand(P, H, D, generator=torch.Generator().manual_seed(6)) < 0.4
    known[2], known[1] = True, False
    return known


def test_joint_is_marginal_times_conditional(family):
    known, value = known_cells(), 2 * normal(P, H, D, seed=4)
    left = family.condition(torch.where(known, value, torch.nan), known)
    everything = torch.ones_like(known)
    joint = family.log_prob(value, everything)
    close(joint, family.log_prob(value, known) + left.log_prob(value, everything), 1e-9)
    close(left.log_prob(value, known), torch.zeros(B, dtype=torch.float64))
    for found in (left.mean, left.quantile(0.1), left.sample((3,))[1]):
        assert torch.equal(found[known], value[known])
    assert (left.variance[known] == 0).all() and (left.variance[~known] > 0).all()


def test_conditioning_weighs_the_views_by_what_they_said(family):
    known, value = known_cells(), 2 * normal(P, H, D, seed=4)
    left = family.condition(torch.where(known, value, torch.nan), known)
    for scene in range(3):
        mine = scene == SCENE
        pairs = parts(family, scene)
        fit = [one.log_prob(value[mine], known[mine]).sum() + math.log(w) for w, one in pairs]
        weights = torch.stack(fit).softmax(0)
        means = [one.condition(value[mine], known[mine]).mean for _, one in pairs]
        mean = sum(w * m for w, m in zip(weights, means, strict=True))
        close(left.mean[mine], mean)


def test_conditioning_twice_is_conditioning_on_both(family):
    first, value = known_cells(), 2 * normal(P, H, D, seed=4)
    second = first | (normal(P, H, D, seed=5) > 0.5)
    at_once = family.condition(value, second)
    one_by_one = family.condition(value, first).condition(value, second)
    close(at_once.mean, one_by_one.mean, 1e-8)
    close(at_once.variance, one_by_one.variance, 1e-8)


def test_marginals(family):
    index = torch.tensor([5, 1, 0])
    some = family.rows(index)
    seen = torch.zeros(P, H, D, dtype=torch.bool)
    seen[index] = True
    value = 2 * normal(P, H, D, seed=4)
    close(some.mean, family.mean[index])
    close(some.variance, family.variance[index])
    close(some.log_prob(value[index]), family.log_prob(value, seen))
    mask = seen[:, 0, 0]
    close(family.rows(mask).mean, family.mean[mask])


def test_rows_in_another_order_are_the_same_distribution(family):
    perm = torch.randperm(P, generator=torch.Generator().manual_seed(2))
    value = 2 * normal(P, H, D, seed=4)
    close(family.rows(perm).log_prob(value[perm]), family.log_prob(value))
    close(family.rows(perm).quantile(0.2), family.quantile(0.2)[perm])


def test_affine(family):
    loc, scale = normal(P, 1, 1), torch.tensor([-2.0, 0.5]).double()
    moved, value = family.affine(loc, scale), 2 * normal(P, H, D, seed=4)
    close(moved.mean, loc + scale * family.mean)
    close(moved.variance, scale.square() * family.variance)
    rows = torch.bincount(SCENE, minlength=B)
    volume = H * rows * scale.abs().log().sum()
    close(moved.log_prob(loc + scale * value), family.log_prob(value) - volume)


def test_sums_of_rows(family):
    matrix = torch.zeros(3, P, dtype=torch.float64)
    matrix[0, [0, 5]] = torch.tensor([0.5, -2.0]).double()
    matrix[1, [1, 4]], matrix[2, 2] = 1.0, 3.0
    total = family.aggregate(matrix)
    assert total.scene.tolist() == [1, 0, 1]
    close(total.mean, torch.einsum("gp,phd->ghd", matrix, family.mean))
    for scene in range(2):
        of_scene = matrix[total.scene == scene][:, scene == SCENE]
        n = of_scene.shape[1]
        cells = family.covariance(scene).view(n, H, D, n, H, D)
        dense = torch.einsum("gp,phdqhd,gq->ghd", of_scene, cells, of_scene)
        close(total.variance[total.scene == scene], dense)
    draws = total.sample((20_000,), generator=torch.Generator().manual_seed(0))
    assert ((draws.std(0) - total.stddev) / total.stddev).abs().max() < 0.1


def test_totals_of_gaussian_views_have_a_density():
    p = make("recursive")
    matrix = torch.zeros(2, P, dtype=torch.float64)
    matrix[0, [0, 5]], matrix[1, 2] = 1.0, 1.0
    total, value = p.aggregate(matrix), normal(2, H, D)
    each = []
    for weight, one in parts(p, 1):  # rows 0, 2 and 5
        own = torch.tensor([[1.0, 0, 1], [0, 1, 0]], dtype=torch.float64)
        each.append(math.log(weight) + one.aggregate(own).log_prob(value).sum())
    close(total.log_prob(value)[1], torch.stack(each).logsumexp(0))
    shared = p.aggregate(torch.ones(1, P).double() * (SCENE == 1) * torch.ones(2, 1).double())
    close(shared.mean[0], shared.mean[1])


def test_scenes_of_one_view_are_that_view():
    base = low_rank(torch.tensor([0, 1, 1, 0]))
    scene = torch.tensor([1, 0, 0, 1])
    p = SceneMixture(
        base, torch.tensor([1, 0, 2, 3, 4, 5, 6, 7]), torch.arange(4), torch.zeros(8), scene, 8
    )
    assert torch.equal(p.mean, base.mean) and torch.equal(p.quantile(0.1), base.quantile(0.1))
    close(p.log_prob(base.mean)[:2], base.log_prob(base.mean)[[1, 0]])


def test_the_likeliest_views():
    p = make("modes")
    found = p.likeliest
    for scene in range(3):
        _, best = max(parts(p, scene), key=lambda pair: pair[0])
        close(found.mean[scene == SCENE], best.mean)
    assert found.modes.shape == (3, P, H, D)


def test_shapes_are_checked():
    base = low_rank(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"scene_of and logits of shape \(8,\)"):
        SceneMixture(base, VIEWS[:3], torch.arange(3), torch.zeros(3), SCENE, B)
    with pytest.raises(ValueError, match="logits holds NaN"):
        SceneMixture(base, VIEWS, torch.arange(3), torch.full((8,), torch.nan), SCENE[:3], B, True)
