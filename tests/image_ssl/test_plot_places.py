"""Where pictures put things: principal axes of features, labels that are moved apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hierforecast.image_ssl.plot import principal_axes
from hierforecast.image_ssl.plot.style import spread_apart


@pytest.mark.parametrize(("n", "d"), [(60, 5), (7, 20)])
def test_principal_axes_against_a_singular_value_decomposition(n, d):
    x = torch.randn(n, d, dtype=torch.float64) * torch.arange(1, d + 1)
    places, shares = principal_axes(x)
    u, s, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    assert torch.allclose(places.abs(), (u[:, :2] * s[:2]).abs(), atol=1e-9)
    assert torch.allclose(shares, s[:2] ** 2 / (s**2).sum())
    assert (places.max(0).values >= -places.min(0).values).all()
    assert torch.allclose(principal_axes(-x)[0].abs(), places.abs())


def test_labels_are_moved_apart_in_their_order():
    moved = spread_apart([0.5, 0.5, 0.1], 0.2)
    assert moved[2] < moved[0] and moved[1] - moved[0] == pytest.approx(0.2)
    assert np.mean(moved) == pytest.approx(np.mean([0.5, 0.5, 0.1]))
