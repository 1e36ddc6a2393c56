"""Conditioning against the dense formula, for every family and every kind of noise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import LowRankNormal, RecursiveNoise, SceneDistribution
from tests.distributions.conditioning import (
    FAMILIES,
    KNOWN,
    SCENE,
    B,
    D,
    H,
    P,
    cells_of,
    close,
    first_steps,
    low_rank,
    mixture,
    normal,
    scattered,
)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> SceneDistribution:
    return FAMILIES[request.param]()


@pytest.fixture(params=KNOWN)
def known(request: pytest.FixtureRequest) -> Tensor:
    return KNOWN[request.param]()


GAUSSIAN = [name for name, make in FAMILIES.items() if isinstance(make(), LowRankNormal)]


@pytest.mark.parametrize("name", GAUSSIAN)
@pytest.mark.parametrize("seen", [*KNOWN, "gaps"])
def test_likelihood_is_that_of_the_dense_covariance(name: str, seen: str):
    p = FAMILIES[name]()
    cells = KNOWN["scattered"]() if seen == "gaps" else KNOWN[seen]()
    value = torch.where(cells, normal(P, H, D, seed=8), torch.nan)
    found = p.log_prob(value, cells)
    for scene in range(2):
        which = cells_of(p, scene, cells)
        if not which.any():
            continue
        covariance = p.covariance(scene)[which][:, which]
        dense = MultivariateNormal(cells_of(p, scene, p.mean)[which], covariance)
        close(found[scene], dense.log_prob(cells_of(p, scene, value)[which]))
    assert found[2] == 0


@pytest.mark.parametrize("memory", [1, 2, 3, 9])
@pytest.mark.parametrize("rows_without_gaps", [True, False])
def test_gradients_through_gaps_are_those_of_the_dense_covariance(memory, rows_without_gaps):
    like = low_rank(memory)
    leaves = (like.noise.scale, like.noise.memory, like.scene_factor, like.series_factor)
    leaves = tuple(x.clone().requires_grad_() for x in leaves)
    scale, back, *factors = leaves
    p = LowRankNormal(like.loc, RecursiveNoise(scale, back), *factors, SCENE, B)
    cells, value = scattered(), normal(P, H, D, seed=8)
    cells[:, -1], cells[:, 1] = True, False  # every row has a gap
    if rows_without_gaps:
        cells[1], cells[2] = True, False
    dense = []
    for scene in range(2):
        which = cells_of(p, scene, cells)
        covariance = p.covariance(scene)[which][:, which]
        normal_ = MultivariateNormal(cells_of(p, scene, p.mean)[which], covariance)
        dense.append(normal_.log_prob(cells_of(p, scene, value)[which]))
    found = torch.autograd.grad(p.log_prob(value, cells).sum(), leaves)
    wanted = torch.autograd.grad(torch.stack(dense).sum(), leaves)
    for one, other in zip(found, wanted, strict=True):
        close(one, other, 1e-9)


def test_recursion_is_the_one_that_is_written_down():
    p = low_rank(2)
    scale, memory = p.noise.scale, p.noise.memory
    shocks = normal(P, H, D, 1)
    x = [shocks[:, 0, :, 0]]
    x.append(memory[:, 1, :, 0] * x[0] + shocks[:, 1, :, 0])
    for h in range(2, H):
        before = memory[:, h, :, 0] * x[h - 1] + memory[:, h, :, 1] * x[h - 2]
        x.append(before + shocks[:, h, :, 0])
    close(p.noise.carry(shocks)[..., 0], torch.stack(x, 1))
    close(p.noise.shocks(p.noise.carry(shocks)), shocks)
    first = scale[:, 0].square()
    close(p.noise.variance[:, 1], memory[:, 1, :, 0].square() * first + scale[:, 1].square())


@pytest.mark.parametrize("levels", [0, 3])
def test_draws_have_the_covariance(levels: int):
    p = low_rank(2, levels=levels)
    draws = p.sample((200_000,), generator=torch.Generator().manual_seed(0))
    for scene in range(2):
        flat = draws[:, p.scene == scene].flatten(1)
        covariance = p.covariance(scene)
        size = covariance.diag().sqrt()
        assert ((torch.cov(flat.T) - covariance) / (size[:, None] * size)).abs().max() < 0.02


@pytest.mark.parametrize("name", GAUSSIAN)
def test_mean_and_covariance_are_those_of_the_dense_formula(name: str, known: Tensor):
    p = FAMILIES[name]()
    value = torch.where(known, normal(P, H, D, seed=8), torch.nan)
    q = p.condition(value, known)
    for scene in range(2):
        at = cells_of(p, scene, known)
        covariance = p.covariance(scene)
        mean = cells_of(p, scene, p.mean)
        gain = covariance[~at][:, at] @ torch.linalg.inv(covariance[at][:, at])
        residual = cells_of(p, scene, value)[at] - mean[at]
        close(cells_of(q, scene, q.mean)[~at], mean[~at] + gain @ residual)
        left = covariance[~at][:, ~at] - gain @ covariance[at][:, ~at]
        close(q.covariance(scene)[~at][:, ~at], left)
        assert (q.covariance(scene)[at] == 0).all()


def test_joint_is_marginal_times_conditional(family: SceneDistribution, known: Tensor):
    value = normal(P, H, D, seed=9)
    q = family.condition(torch.where(known, value, torch.nan), known)
    rest = q.log_prob(value)
    close(family.log_prob(value, known) + rest, family.log_prob(value))
    close(q.log_prob(value, ~known), rest)


def test_known_cells_come_back_as_given(family: SceneDistribution, known: Tensor):
    value = torch.where(known, normal(P, H, D, seed=10), torch.nan)
    q = family.condition(value, known)
    shown = torch.where(known, value, 0)
    draws = q.sample((3,), generator=torch.Generator().manual_seed(1))
    bounds = q.quantile(torch.tensor([0.05, 0.5, 0.95]))
    for found in (q.mean[None], draws, bounds):
        assert (torch.where(known, found, 0) == shown).all()
        assert found.isfinite().all()
    assert (q.variance[known] == 0).all()
    assert (q.variance[~known] > 0).all()


def test_conditioning_twice_is_conditioning_once(family: SceneDistribution):
    first, second = first_steps(), scattered()
    value = normal(P, H, D, seed=11)
    once = family.condition(value, first | second)
    twice = family.condition(value, first).condition(value, second)
    close(twice.mean, once.mean)
    close(twice.variance, once.variance)
    close(twice.log_prob(value), once.log_prob(value))


def test_units_rows_and_conditions_commute(family: SceneDistribution):
    known, value = scattered(), normal(P, H, D, seed=12)
    loc, scale = normal(P, H, D, seed=13), 0.5 + normal(P, H, D, seed=14).abs()
    scale = scale * torch.where(normal(P, H, D, seed=15) > 0, 1, -1)
    moved = family.affine(loc, scale).condition(loc + scale * value, known)
    after = family.condition(value, known).affine(loc, scale)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    for found, expected in (
        (moved, after),
        (family.rows(order).condition(value[order], known[order]),
         family.condition(value, known).rows(order)),
    ):  # fmt: skip
        close(found.mean, expected.mean, 1e-9)
        close(found.variance, expected.variance, 1e-9)
        test = expected.mean + 1
        close(found.log_prob(test), expected.log_prob(test), 1e-9)


def test_draws_given_are_those_of_the_conditional():
    """Among draws of the joint, those near the known value lie as the conditional says."""
    p, known = mixture(), first_steps()
    value = torch.where(known, p.locs[0], torch.nan)
    q = p.condition(value, known)
    draws = q.sample((100_000,), generator=torch.Generator().manual_seed(2))
    error = (draws.mean(0) - q.mean).abs() / (q.stddev + 1e-9) * math.sqrt(100_000)
    assert error.max() < 5
    close(draws.var(0), q.variance, 0.05)


def test_a_scene_does_not_hear_of_another():
    known = first_steps()
    known[SCENE == 0] = False
    for make in FAMILIES.values():
        p = make()
        q = p.condition(normal(P, H, D, seed=16), known)
        close(q.mean[SCENE == 0], p.mean[SCENE == 0], 1e-12)
        close(q.variance[SCENE == 0], p.variance[SCENE == 0], 1e-12)


def test_gradients_reach_every_parameter_with_gaps():
    p = low_rank(2)
    parameters = [
        x.clone().requires_grad_()
        for x in (p.loc, p.scale, p.noise.memory, p.scene_factor, p.series_factor)
    ]
    loc, scale, memory, *factors = parameters
    q = LowRankNormal(loc, RecursiveNoise(scale, memory), *factors, SCENE, B)
    value = torch.where(scattered(), normal(P, H, D, seed=17), torch.nan)
    q.log_prob(value, scattered()).sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in parameters)
    assert all((x.grad != 0).any() for x in parameters)


def test_one_future_at_a_time():
    with pytest.raises(ValueError, match="one future"):
        low_rank().condition(normal(2, P, H, D), scattered())


def test_gradients_of_the_filter_are_those_of_finite_differences():
    p, cells = low_rank(2), scattered()
    value = torch.where(cells, normal(P, H, D, seed=17), torch.nan)

    def likelihood(scale: Tensor, memory: Tensor, shared: Tensor, private: Tensor) -> Tensor:
        noise = RecursiveNoise(scale, memory)
        return LowRankNormal(p.loc, noise, shared, private, SCENE, B).log_prob(value, cells)

    parameters = [
        x.clone().requires_grad_()
        for x in (p.scale, p.noise.memory, p.scene_factor, p.series_factor)
    ]
    assert torch.autograd.gradcheck(likelihood, parameters, eps=1e-6, atol=1e-6)
