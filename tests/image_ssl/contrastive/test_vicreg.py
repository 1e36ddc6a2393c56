"""VICReg: its terms number by number, and the published forms of their sum."""

import math
from copy import deepcopy

import pytest
import torch
from torch import nn

from hierforecast.image_ssl.contrastive import VICReg, covariance, invariance, variance
from hierforecast.image_ssl.groups import ImageAction
from hierforecast.image_ssl.nn import ResNet
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.views import Views


def drawn(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def slow_covariances(vectors):
    """Eq. 3, entry by entry: of n samples, divided by n - 1."""
    rows = [[float(x) for x in row] for row in vectors]
    n, d = len(rows), len(rows[0])
    means = [sum(row[j] for row in rows) / n for j in range(d)]
    return [
        [sum((r[i] - means[i]) * (r[j] - means[j]) for r in rows) / (n - 1) for j in range(d)]
        for i in range(d)
    ]


def slow_variance(vectors, gamma=1.0, epsilon=1e-4):
    """Eq. 1 and 2."""
    squares = slow_covariances(vectors)
    d = len(squares)
    return sum(max(0.0, gamma - math.sqrt(squares[j][j] + epsilon)) for j in range(d)) / d


def slow_covariance(vectors):
    """Eq. 4."""
    squares = slow_covariances(vectors)
    d = len(squares)
    return sum(squares[i][j] ** 2 for i in range(d) for j in range(d) if i != j) / d


def slow_invariance(one, other):
    """Eq. 5: the mean over samples of the squared distance, summed over the numbers."""
    pairs = zip(one, other, strict=True)
    distances = [sum((float(x) - float(y)) ** 2 for x, y in zip(*p, strict=True)) for p in pairs]
    return sum(distances) / len(distances)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (2, 5), (7, 3), (5, 6)])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_terms_are_those_of_the_paper(n, d, scale):
    one, other = drawn(n, d, scale=scale), 1 + drawn(n, d, seed=1, scale=scale)
    assert float(variance(one)) == pytest.approx(slow_variance(one), abs=1e-12)
    assert float(variance(one, 2.0, 0.5)) == pytest.approx(slow_variance(one, 2.0, 0.5), abs=1e-12)
    assert float(covariance(one)) == pytest.approx(slow_covariance(one), rel=1e-12, abs=1e-15)
    assert float(invariance(one, other)) == pytest.approx(slow_invariance(one, other) / d)


class Given(nn.Module):
    """A backbone without weights: the images are the features."""

    def __init__(self, channels):
        super().__init__()
        self.group, self.channels = "C1", channels

    def forward(self, images):
        return images[:, 0, :1].mT


def given(vectors):
    """Images (n, 3, 1, d) that hold vectors."""
    return vectors[:, None, None, :].expand(-1, 3, 1, -1)


class First(nn.Module):
    def forward(self, features):
        return features[:, :, 0]


def test_the_loss_is_the_authors_and_eq_6_by_other_weights():
    n, d = 6, 4
    one, other = drawn(n, d, scale=0.7), drawn(n, d, seed=1, scale=0.7)
    s = slow_invariance(one, other)
    v = slow_variance(one) + slow_variance(other)
    c = slow_covariance(one) + slow_covariance(other)
    assert min(s, v, c) > 0.05
    found = VICReg(Given(d), First()).loss(Views(given(one), given(other)))
    assert float(found) == pytest.approx(25 * s / d + 25 * v / 2 + c, rel=1e-12)
    printed = VICReg(Given(d), First(), invariance=25 * d, variance=50, covariance=1)
    assert float(printed.loss(Views(given(one), given(other)))) == pytest.approx(
        25 * s + 25 * v + c
    )
    for name, term in (("invariance", s / d), ("variance", v / 2), ("covariance", c)):
        weights = {"invariance": 0, "variance": 0, "covariance": 0, name: 3}
        only = VICReg(Given(d), First(), **weights).loss(Views(given(one), given(other)))
        assert float(only) == pytest.approx(3 * term)


def test_no_loss_where_views_agree_and_numbers_vary_alone():
    signs = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    method = VICReg(Given(2), First())
    assert float(method.loss(Views(given(2 * signs), given(2 * signs)))) == pytest.approx(
        0, abs=1e-12
    )
    collapsed = torch.ones(4, 2, dtype=torch.float64)
    expected = 25 * (1 - 0.01)
    assert float(method.loss(Views(given(collapsed), given(collapsed)))) == pytest.approx(expected)


def test_gradients_are_finite_where_everything_has_collapsed():
    vectors = torch.ones(4, 3, requires_grad=True)
    (variance(vectors) + covariance(vectors)).backward()
    assert vectors.grad.isfinite().all()


def test_statistics_of_half_precision_are_taken_in_more():
    vectors = drawn(64, 8).to(torch.bfloat16)
    assert variance(vectors).dtype == covariance(vectors).dtype == torch.float32
    exact = vectors.double()
    assert float(covariance(vectors)) == pytest.approx(float(covariance(exact)), rel=1e-5)


@pytest.mark.parametrize("group", ["C4", "D4"])
def test_invariant_projector_makes_the_loss_ignore_turns(group):
    torch.manual_seed(0)
    backbone = ResNet(group, (1, 1), 2, image_size=9)
    first, second = drawn(2, 3, 3, 9, 9)
    turned = second.clone()
    turned[1] = ImageAction(group).act(1, second[1])
    changes = []
    for head in (None, "C1"):
        method = VICReg(backbone, Projector(backbone, (6, 5), head)).double()
        losses = [deepcopy(method).loss(Views(first, view)).item() for view in (second, turned)]
        changes.append(abs(losses[0] - losses[1]))
    assert changes[0] < 1e-10 and changes[1] > 1e-4


def test_wrong_arguments_are_named_with_their_remedy():
    with pytest.raises(ValueError, match="2 samples or more"):
        variance(drawn(1, 3))
    with pytest.raises(ValueError, match="give \\(b, d\\)"):
        covariance(drawn(2, 3, 4))
    with pytest.raises(ValueError, match="of the same images"):
        invariance(drawn(3, 2), drawn(2, 2))
    with pytest.raises(ValueError, match="covariance=-1 must be a number of at least 0"):
        VICReg(Given(2), First(), covariance=-1)
    with pytest.raises(ValueError, match="variance=nan"):
        VICReg(Given(2), First(), variance=float("nan"))
