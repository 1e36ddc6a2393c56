"""Rows that share the slow part of their shocks, against a covariance written out."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.fft import dct
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import (
    CoupledNormal,
    DiagonalNoise,
    LowRankNormal,
    RecursiveNoise,
    RowNoise,
)
from hierforecast.distributions.coupled import _OWN, _STAND_IN, _orthonormal, cosines
from hierforecast.distributions.noise import TargetNoise

P, H, D, Q, K, N, B = 7, 5, 2, 2, 3, 4, 2
SCENE = torch.tensor([1, 0, 1, 0, 1, 0, 1])
SLOT = torch.tensor([2, 0, 1, 1, 0, 2, 3])
EYE = torch.eye(K, dtype=torch.float64)


# Which components rows share, for each test in turn: those of places, or the slowest of shocks.
PLACES = [True]


@pytest.fixture(autouse=True, params=[True, False], ids=["places", "slowest"])
def both(request: pytest.FixtureRequest) -> None:
    PLACES[0] = request.param


def normal(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def noise_of(memory: int) -> RowNoise:
    scale = 0.3 + normal(P, H, D, seed=0).abs()
    if not memory:
        return DiagonalNoise(scale)
    return RecursiveNoise(scale, normal(P, H, D, memory, seed=1))


def links_of(size: float = 1.0) -> Tensor:
    """(P, K, N, K), the identity in each row's own place, zero where a scene has no such row."""
    links = size * normal(P, K, N, K, seed=2)
    links[SCENE == 0, :, 3:] = 0
    for row, slot in enumerate(SLOT):
        links[row, :, slot] = EYE
    return links


def own_of() -> Tensor:
    return normal(P, H, D, Q, seed=4)


def build(memory: int = 2, size: float = 1.0) -> LowRankNormal:
    return joined(noise_of(memory), own_of(), links_of(size))


def joined(
    noise: RowNoise, own: Tensor, links: Tensor, perm: Tensor | None = None
) -> LowRankNormal:
    perm = torch.arange(P) if perm is None else perm
    loc = normal(P, H, D, seed=3)[perm]
    apart = LowRankNormal(loc, noise, own[..., :0], own, SCENE[perm], B)
    return CoupledNormal.of(apart, links, *PLACES)


def alone(memory: int = 2) -> LowRankNormal:
    noise, own = noise_of(memory), own_of()
    return LowRankNormal(normal(P, H, D, seed=3), noise, own[..., :0], own, SCENE, B)


def written_out(memory: int, scene: int) -> Tensor:
    """The covariance of a scene, from the words: nothing of `couple` but the links is used."""
    rows = [int(((scene == SCENE) & (slot == SLOT)).nonzero()) for slot in range(3 + scene)]
    full = torch.stack([links_of()[row, :, : len(rows)].flatten(1) for row in rows])
    joint = full.flatten(0, 1) @ full.flatten(0, 1).T
    joint = joint + _OWN * torch.eye(len(joint), dtype=joint.dtype)
    blocks = [joint[i : i + K, i : i + K] for i in range(0, len(joint), K)]
    unit = torch.linalg.inv(torch.block_diag(*map(torch.linalg.cholesky, blocks)))
    slow = unit @ joint @ unit.T
    roots = [root_of(alone(memory), row) for row in rows]
    loads = [of_places(x) if PLACES[0] else slowest(x) for x in roots]
    covariance = torch.zeros(len(rows), H * D, len(rows), H * D, dtype=torch.float64)
    for i in range(len(rows)):
        covariance[i, :, i] = roots[i] @ roots[i].T
        for j in range(len(rows)):
            block = slow[i * K : i * K + K, j * K : j * K + K] - (i == j) * EYE
            block = torch.kron(block, torch.eye(D).double())
            covariance[i, :, j] += loads[i] @ block @ loads[j].T
    order = torch.tensor([rows.index(row) for row in (scene == SCENE).nonzero()[:, 0].tolist()])
    return covariance[order][:, :, order].flatten(2).flatten(0, 1)


def slowest(root: Tensor) -> Tensor:
    """Loads (H * D, K * D) of the slowest components of errors made white by a root."""
    basis = torch.from_numpy(dct(torch.eye(H).double().numpy(), axis=0, norm="ortho")[:K])
    return root @ torch.kron(basis.T.contiguous(), torch.eye(D).double())


def of_places(root: Tensor) -> Tensor:
    """Loads (H * D, K * D) of what places at steps 5, 3 and 1 say, in this order."""
    cells = torch.arange(H * D).unflatten(0, (H, D))[[4, 2, 0]].flatten()
    columns = root[cells].T / root[cells].norm(dim=1)
    white, size = torch.linalg.qr(columns + _STAND_IN * torch.linalg.solve(root, slowest(root)))
    return root @ (white * size.diagonal().sign())


def root_of(p: LowRankNormal, row: int) -> Tensor:
    """The root (H * D, H * D) by which errors of one row are white."""
    shocks = torch.zeros(P, H, D, H * D, dtype=torch.float64)
    shocks[row] = p.noise.scale[row].flatten().diag().unflatten(0, (H, D))
    carried = p.noise.carry(shocks)[row].flatten(0, 1)
    own = (p.series_factor[row] / p.noise.scale[row][..., None]).flatten(0, 1)
    inner = torch.linalg.inv(torch.eye(Q) + torch.linalg.cholesky(torch.eye(Q) + own.T @ own))
    root = carried @ (torch.eye(H * D) + own @ inner @ own.T)
    alone = p.rows(torch.tensor([row])).covariance(int(SCENE[row]))
    torch.testing.assert_close(root @ root.T, alone, rtol=1e-10, atol=1e-10)
    return root


@pytest.mark.parametrize("memory", [0, 1, 2])
@pytest.mark.parametrize("scene", [0, 1])
def test_covariance_is_the_one_of_the_words(memory: int, scene: int):
    found, expected = build(memory).covariance(scene), written_out(memory, scene)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("memory", [0, 2])
def test_each_row_keeps_its_own_distribution(memory: int):
    p, q = build(memory), alone(memory)
    value = normal(P, H, D, seed=5)
    torch.testing.assert_close(p.variance, q.variance, rtol=1e-10, atol=1e-10)
    for row in range(P):
        only = torch.tensor([row])
        torch.testing.assert_close(
            p.rows(only).log_prob(value[only]),
            q.rows(only).log_prob(value[only]),
            rtol=1e-9,
            atol=1e-9,
        )


def test_without_links_rows_are_independent():
    p, q, value = build(size=0.0), alone(), normal(P, H, D, seed=5)
    torch.testing.assert_close(p.log_prob(value), q.log_prob(value), rtol=1e-10, atol=1e-10)
    for scene in range(B):
        torch.testing.assert_close(p.covariance(scene), q.covariance(scene), rtol=1e-10, atol=1e-10)
    assert (build().log_prob(value) - q.log_prob(value)).abs().min() > 0.1


@pytest.mark.parametrize("memory", [0, 2])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_likelihood_with_gaps_is_the_dense_one(memory: int, share: float):
    p, value = build(memory), normal(P, H, D, seed=6)
    seen = torch.rand(P, H, D, generator=torch.Generator().manual_seed(7)) >= share
    found = p.log_prob(torch.where(seen, value, torch.nan), seen)
    for scene in range(B):
        cells = seen[scene == SCENE].flatten()
        dense = written_out(memory, scene)[cells][:, cells]
        residual = (value - p.loc)[scene == SCENE].flatten()[cells]
        expected = MultivariateNormal(torch.zeros_like(residual), dense).log_prob(residual)
        torch.testing.assert_close(found[scene], expected, rtol=1e-10, atol=1e-9)


def test_rows_may_change_places():
    """Rows in another order, with the links between the same two rows."""
    p, value = build(), normal(P, H, D, seed=8)
    perm = torch.tensor([4, 5, 0, 1, 2, 3, 6])
    moved = noise_of(2).change(lambda x: x[perm]), own_of()[perm], links_of()[perm]
    q = joined(*moved, perm)
    torch.testing.assert_close(q.log_prob(value[perm]), p.log_prob(value), rtol=1e-10, atol=1e-10)
    places = torch.tensor([3, 2, 1, 0])  # and places that are numbered anew
    q = joined(noise_of(2), own_of(), links_of()[:, :, places])
    torch.testing.assert_close(q.log_prob(value), p.log_prob(value), rtol=1e-10, atol=1e-10)


def test_units_that_turn_signs_within_a_row():
    p, value = build(), normal(P, H, D, seed=9)
    for scale in (-2.0 * torch.ones(P, H, D).double(), normal(P, H, D, seed=10)):
        q = p.affine(0.0, scale)
        expected = p.log_prob(value) - p._sum_by_scene(scale.abs().log().sum((1, 2)))
        torch.testing.assert_close(q.log_prob(scale * value), expected, rtol=1e-9, atol=1e-9)
        draws = q.sample((50_000,), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(draws.std(0), q.stddev, rtol=0.03, atol=0.0)


def test_gradients_reach_noise_and_links():
    scale, memory, own, links = noise_of(2).scale, noise_of(2).memory, own_of(), links_of()
    parameters = [x.clone().requires_grad_() for x in (scale, memory, own, links)]
    p = joined(RecursiveNoise(*parameters[:2]), *parameters[2:])
    some = normal(P, H, seed=11) > 0
    for seen in (torch.ones_like(some), some, some | (torch.arange(P) < 3)[:, None]):
        total = p.log_prob(normal(P, H, D, seed=12), seen).sum()
        gradients = torch.autograd.grad(total, parameters, retain_graph=True)
        assert all(x.isfinite().all() and (x != 0).any() for x in gradients)


def test_no_rows():
    p = build().rows(torch.zeros(0, dtype=torch.int64))
    assert p.variance.shape == (0, H, D) and p.sample((3,)).shape == (3, 0, H, D)
    assert p.log_prob(p.mean).tolist() == [0, 0]


def test_places_do_not_depend_on_how_a_covariance_is_made_up():
    """The same rows from half of the noise and latents for the rest: the same joint distribution.

    The slowest components of shocks, the broken twin, are others.
    """
    scale, own, value = noise_of(0).scale, own_of(), normal(P, H, D, seed=5)
    rest = (math.sqrt(0.75) * scale.flatten(1)).diag_embed().unflatten(1, (H, D))
    other = joined(DiagonalNoise(0.5 * scale), torch.cat([own, rest], -1), links_of())
    away = (other.log_prob(value) - build(0).log_prob(value)).abs()
    assert (away < 20 * _STAND_IN).all() if PLACES[0] else (away > 0.1).all()


@pytest.mark.parametrize("memory", [0, 1, 2, 3])
def test_back_is_the_transpose_of_the_root(memory: int):
    noise, shocks, weights = noise_of(memory), normal(P, H, D, seed=5), normal(P, H, D, 4, seed=6)
    there = noise.carry((noise.scale * shocks)[..., None]) * weights
    assert isinstance(noise, TargetNoise)
    back = shocks[..., None] * noise.back(weights)
    torch.testing.assert_close(there.sum((1, 2)), back.sum((1, 2)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(noise.back(weights), TargetNoise.back(noise, weights))


@pytest.mark.parametrize("alike", [1.0, 1e-3, 1e-6])
def test_columns_are_those_of_householder(alike: float):
    """Also where columns are nearly the same, as where a row is at instants one after the other."""
    columns = normal(5, 12, 1, seed=7) + alike * normal(5, 12, 4, seed=8)
    expected, size = torch.linalg.qr(columns)
    expected = expected * size.diagonal(dim1=-2, dim2=-1).sign()[:, None]
    found = _orthonormal(columns)
    torch.testing.assert_close(found.mT @ found, torch.eye(4).double().expand(5, 4, 4))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 / alike)


def test_components_are_those_of_scipy():
    expected = dct(torch.eye(9).double().numpy(), axis=0, norm="ortho")[:4]
    torch.testing.assert_close(
        cosines(4, 9, torch.zeros((), dtype=torch.float64)),
        torch.from_numpy(expected),
        rtol=0,
        atol=1e-14,
    )


def test_shares_that_are_not_brought_back_to_unit_are_caught():
    """The broken twin: loads of the links as they are, beside the whole noise of each row."""
    p, apart = build(), alone()
    loads, mix = apart.scale[..., None] * p.scene_factor, p.levels[-1].mix
    twin = LowRankNormal(apart.loc, noise_of(2), loads, own_of(), SCENE, B, scene_mix=mix)
    assert (twin.variance - apart.variance).abs().max() > 0.1
