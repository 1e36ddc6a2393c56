"""Rows that share the slow part of their shocks, against a covariance written out."""

from __future__ import annotations

import pytest
import torch
from scipy.fft import dct
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import (
    DiagonalNoise,
    LowRankNormal,
    RecursiveNoise,
    RowNoise,
    couple,
)
from hierforecast.distributions.coupled import _OWN, cosines

P, H, D, Q, K, N, B = 7, 5, 2, 2, 3, 4, 2
SCENE = torch.tensor([1, 0, 1, 0, 1, 0, 1])
SLOT = torch.tensor([2, 0, 1, 1, 0, 2, 3])
EYE = torch.eye(K, dtype=torch.float64)


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


def build(memory: int = 2, size: float = 1.0) -> LowRankNormal:
    loads, noise = couple(noise_of(memory), links_of(size))
    loc, own = normal(P, H, D, seed=3), normal(P, H, D, Q, seed=4)
    return LowRankNormal(loc, noise, loads, own, SCENE, B)


def alone(memory: int = 2) -> LowRankNormal:
    p = build(memory)
    return LowRankNormal(
        p.loc, noise_of(memory), p.scene_factor[..., :0], p.series_factor, SCENE, B
    )


def written_out(memory: int, scene: int) -> Tensor:
    """The covariance of a scene, from the words: nothing of `couple` but the links is used."""
    noise = noise_of(memory)
    rows = [int(((scene == SCENE) & (slot == SLOT)).nonzero()) for slot in range(3 + scene)]
    full = torch.stack([links_of()[row, :, : len(rows)].flatten(1) for row in rows])
    joint = full.flatten(0, 1) @ full.flatten(0, 1).T
    joint = joint + _OWN * torch.eye(len(joint), dtype=joint.dtype)
    blocks = [joint[i : i + K, i : i + K] for i in range(0, len(joint), K)]
    unit = torch.linalg.inv(torch.block_diag(*map(torch.linalg.cholesky, blocks)))
    slow = unit @ joint @ unit.T
    basis = torch.from_numpy(dct(torch.eye(H).double().numpy(), axis=0, norm="ortho")[:K])
    covariance = torch.zeros(len(rows), H, D, len(rows), H, D, dtype=torch.float64)
    eye = torch.eye(H, dtype=torch.float64)
    for d in range(D):
        for i, one in enumerate(rows):
            for j, two in enumerate(rows):
                block = basis.T @ slow[i * K : i * K + K, j * K : j * K + K] @ basis
                if i == j:
                    block = block + eye - basis.T @ basis
                left, right = (carried(noise, row, d) for row in (one, two))
                covariance[i, :, d, j, :, d] = left @ block @ right.T
    own = alone(memory).loadings[0].factor
    for i, row in enumerate(rows):
        flat = own[row].flatten(0, 1)
        covariance[i, :, :, i] += (flat @ flat.T).unflatten(0, (H, D)).unflatten(2, (H, D))
    order = torch.tensor([rows.index(row) for row in (scene == SCENE).nonzero()[:, 0].tolist()])
    covariance = covariance[order][:, :, :, order]
    return covariance.flatten(3).flatten(0, 2)


def carried(noise: RowNoise, row: int, target: int) -> Tensor:
    """T S (H, H) of one row and target, shock by shock."""
    shocks = torch.zeros(P, H, D, H, dtype=torch.float64)
    shocks[row, :, target] = noise.scale[row, :, target].diag()
    return noise.carry(shocks)[row, :, target]


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
    perm = torch.tensor([4, 5, 0, 1, 2, 3, 6])  # within scenes, as it is written
    loads, noise = couple(noise_of(2).change(lambda x: x[perm]), links_of()[perm])
    q = LowRankNormal(p.loc[perm], noise, loads, p.series_factor[perm], SCENE[perm], B)
    torch.testing.assert_close(q.log_prob(value[perm]), p.log_prob(value), rtol=1e-10, atol=1e-10)
    places = torch.tensor([3, 2, 1, 0])  # and places that are numbered anew
    loads, noise = couple(noise_of(2), links_of()[:, :, places])
    q = LowRankNormal(p.loc, noise, loads, p.series_factor, SCENE, B)
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
    scale, memory, links = noise_of(2).scale, noise_of(2).memory, links_of()
    parameters = [x.clone().requires_grad_() for x in (scale, memory, links)]
    loads, noise = couple(RecursiveNoise(*parameters[:2]), parameters[2])
    p = LowRankNormal(normal(P, H, D, seed=3), noise, loads, None, SCENE, B)
    for seen in (torch.ones(P, H, dtype=torch.bool), normal(P, H, seed=11) > 0):
        gradients = torch.autograd.grad(
            p.log_prob(normal(P, H, D, seed=12), seen).sum(), parameters, retain_graph=True
        )
        assert all(x.isfinite().all() and (x != 0).any() for x in gradients)


def test_components_are_those_of_scipy():
    expected = dct(torch.eye(9).double().numpy(), axis=0, norm="ortho")[:4]
    torch.testing.assert_close(cosines(4, 9), torch.from_numpy(expected), rtol=0, atol=1e-14)


def test_shares_that_are_not_brought_back_to_unit_are_caught():
    """The broken twin: loads of the links as they are, beside the whole noise of each row."""
    links, noise = links_of(), noise_of(2)
    basis = cosines(K, H)
    loads = (
        torch.einsum("kh,pkn->phn", basis, links.flatten(2))[:, :, None] * noise.scale[..., None]
    )
    twin = LowRankNormal(
        normal(P, H, D, seed=3), noise, loads, normal(P, H, D, Q, seed=4), SCENE, B
    )
    assert (twin.variance - alone().variance).abs().max() > 0.1
