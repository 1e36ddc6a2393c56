"""Cholesky factors on a CPU and as on a GPU, which cannot raise an error."""

from __future__ import annotations

import pytest
import torch

from hierforecast import _waiting
from hierforecast.distributions.places import places
from hierforecast.distributions.roots import cholesky, solve, volume


def some_matrix(*shape: int) -> torch.Tensor:
    half = torch.randn(*shape, shape[-1], dtype=torch.float64)
    return half @ half.mT + torch.eye(shape[-1])


def test_both_ways_agree(monkeypatch: pytest.MonkeyPatch):
    matrix, right = some_matrix(3, 2, 5), torch.randn(3, 2, 5, 4, dtype=torch.float64)
    here = cholesky(matrix), solve(right, cholesky(matrix))
    monkeypatch.setattr(_waiting, "HOSTS", set())
    there = cholesky(matrix), solve(right, cholesky(matrix))
    torch.testing.assert_close(here, there, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(matrix @ there[1], right, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(volume(there[0]), torch.linalg.slogdet(matrix).logabsdet)


def test_what_has_no_root_is_an_error_or_not_a_number(monkeypatch: pytest.MonkeyPatch):
    matrix = torch.stack([torch.eye(3), -torch.eye(3)])
    with pytest.raises(torch.linalg.LinAlgError):
        cholesky(matrix)
    monkeypatch.setattr(_waiting, "HOSTS", set())
    found = cholesky(matrix)
    assert torch.equal(found[0], torch.eye(3)) and found[1].isnan().all()


def test_places_count_up_in_the_order_of_rows():
    owner = torch.tensor([2, 0, 2, 2, 0])
    place, most = places(owner, 4)
    assert place.tolist() == [0, 0, 1, 2, 1] and most == 3
    told = places(owner, 4, most=5)
    assert torch.equal(told[0], place) and told[1] == 5
    assert places(owner[:0], 4)[1] == 0
