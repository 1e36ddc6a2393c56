"""Slow components that are made wider, against the change of variables written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hierforecast.distributions import SceneMixture
from hierforecast.distributions.coupled import widened
from tests.distributions import test_coupled as coupled
from tests.distributions.conditioning import FAMILIES, close, normal
from tests.distributions.test_coupled import SCENE, B, D, H, K, P, alone, build

WIDTHS = normal(P, K, seed=20).mul(0.4).exp()


def by_hand(memory: int, scene: int) -> Tensor:
    """White errors of each row, their components stretched, and their covariance put together."""
    rows = [int(row) for row in (scene == SCENE).nonzero()[:, 0]]
    moves = []
    for row in rows:
        root = coupled.root_of(alone(memory), row)
        loads = coupled.of_places(root) if coupled.PLACES[0] else coupled.slowest(root)
        basis = torch.linalg.solve(root, loads)
        more = torch.kron((WIDTHS[row] - 1).diag(), torch.eye(D).double())
        moves.append(root @ (torch.eye(H * D) + basis @ more @ basis.T) @ torch.linalg.inv(root))
    move = torch.block_diag(*moves)
    return move @ coupled.written_out(memory, scene) @ move.T


@pytest.mark.parametrize("memory", [0, 2])
@pytest.mark.parametrize("places", [True, False])
def test_components_alone_are_stretched(memory: int, places: bool, monkeypatch):
    monkeypatch.setattr(coupled, "PLACES", [places])
    p = build(memory)
    q, value = widened(p, WIDTHS), normal(P, H, D, seed=5)
    seen = torch.rand(P, H, D, generator=torch.Generator().manual_seed(7)) >= 0.3
    close(q.mean, p.mean)
    for scene in range(B):
        expected, rows = by_hand(memory, scene), scene == SCENE
        close(q.covariance(scene), expected)
        close(q.variance[rows].flatten(), expected.diagonal())
        for cells in (torch.ones_like(seen), seen):
            kept = cells[rows].flatten()
            residual = (value - p.loc)[rows].flatten()[kept]
            dense = MultivariateNormal(torch.zeros_like(residual), expected[kept][:, kept])
            close(q.log_prob(value, cells)[scene], dense.log_prob(residual))
    wrong = widened(p, WIDTHS.roll(1, 0))  # a broken twin: widths of another row
    assert (wrong.variance - q.variance).abs().max() > 0.01


def test_it_commutes_with_units():
    p, scale = build(), normal(P, H, D, seed=10)
    there, back = widened(p.affine(1.0, scale), WIDTHS), widened(p, WIDTHS).affine(1.0, scale)
    value = normal(P, H, D, seed=5)
    close(there.variance, back.variance)
    close(there.log_prob(value), back.log_prob(value))


def test_views_are_widened_by_the_rows_that_they_are_of():
    """A view whose rows stand in another order."""
    p, value = build(), normal(P, H, D, seed=5)
    order = torch.tensor([4, 5, 0, 1, 2, 3, 6])
    view = p.rows(order), torch.arange(B), order, torch.zeros(B).double()
    q = widened(SceneMixture(*view, SCENE, B), WIDTHS)
    assert isinstance(q, SceneMixture)
    close(q.log_prob(value), widened(p, WIDTHS).log_prob(value))


def test_widths_of_one_change_no_bit():
    p, value = build(), normal(P, H, D, seed=5)
    q, plain = widened(p, torch.ones(P, K)), p.affine(0.0, torch.ones(P, H, D).double())
    assert torch.equal(q.log_prob(value), plain.log_prob(value))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "coupled"])
def test_what_has_no_such_components_comes_back(name: str):
    p = FAMILIES[name]()
    assert widened(p, torch.full((6, 2), 2.0)) is p
