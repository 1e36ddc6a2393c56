"""The optimizer: singular values, the parts it moves, and a state that survives saving."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hierforecast import HiPerformer
from hierforecast.models import Model
from hierforecast.training.optim import Muon, matrices_and_others, orthogonalize
from tests.rows import FLAT, task_for


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 5, 20), (2, 20, 5)])
def test_singular_values_go_to_about_one_and_vectors_stay(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = orthogonalize(x)
    left, values, right = torch.linalg.svd(x, full_matrices=False)
    assert y.shape == x.shape
    core = left.mT @ y @ right.mT  # diagonal where the singular vectors are the same
    diagonal = core.diagonal(dim1=-2, dim2=-1)
    off = core - torch.diag_embed(diagonal)
    assert off.abs().max() < 1e-10
    large = values > 0.05 * values.amax(-1, keepdim=True)
    assert ((diagonal - 1).abs()[large] < 0.35).all()


def test_a_zero_gradient_moves_nothing_but_decay():
    matrix = nn.Parameter(torch.ones(4, 4))
    matrix.grad = torch.zeros(4, 4)
    Muon([matrix], [], lr=0.1, ratio=1.0, weight_decay=0.5).step()
    torch.testing.assert_close(matrix.detach(), torch.full((4, 4), 0.95))


def test_others_move_as_by_adamw():
    one, two = (nn.Linear(3, 2) for _ in range(2))
    two.load_state_dict(one.state_dict())
    ours = Muon([], one.parameters(), lr=0.01, weight_decay=0.1)
    theirs = torch.optim.AdamW(two.parameters(), lr=0.01, weight_decay=0.1)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        for module, optimizer in ((one, ours), (two, theirs)):
            optimizer.zero_grad()
            module(x).square().sum().backward()
            optimizer.step()
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_matrix_moves_alike_beside_others_of_its_shape():
    """Matrices of one shape go through the iteration together, each as if alone."""
    generator = torch.Generator().manual_seed(0)
    start, slope = torch.randn(2, 3, 4, 6, generator=generator)
    together = [nn.Parameter(x.clone()) for x in start]
    alone = [nn.Parameter(x.clone()) for x in start]
    for matrices in (together, *([m] for m in alone)):
        optimizer = Muon(matrices, [], lr=0.01)
        for matrix in matrices:
            at = next(i for i, x in enumerate(start) if torch.equal(x, matrix))
            matrix.grad = slope[at].clone()
        optimizer.step()
    for a, b, before in zip(together, alone, start, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
        assert (a - before).abs().max() > 1e-3


def test_state_survives_saving():
    def run(steps: int, restart: int | None = None) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        make = lambda: Muon([model[0].weight], [model[0].bias, *model[2].parameters()])  # noqa: E731
        optimizer, x = make(), torch.randn(16, 4)
        for step in range(steps):
            if step == restart:
                state = copy.deepcopy(optimizer.state_dict())
                optimizer = make()
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        return model[0].weight.detach()

    assert torch.equal(run(6), run(6, restart=3))
    assert not torch.equal(run(6), run(5))


def test_hidden_layers_of_the_model_are_matrices_and_the_rest_is_not():
    model = HiPerformer(width=8, depth=1, heads=2).for_task(task_for(FLAT))
    matrices, others = matrices_and_others(model)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {names[id(p)] for p in matrices}
    assert found == {
        name
        for name, p in model.named_parameters()
        if name.startswith(("encoder.", "embedding.read.")) and p.ndim == 2
    }
    assert len(found) + len(others) == len(names) and len(found) > 10
    plain = Model()
    plain.layer = nn.Linear(2, 2)
    assert matrices_and_others(plain) == ([], list(plain.parameters()))
