"""Losses against slow second implementations, number by number."""

import math

import pytest
import torch
from torch.nn import functional as F

from hierforecast.image_ssl.contrastive import (
    info_nce,
    negative_cosine,
    sinkhorn,
    swapped_prediction,
)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def softmax(numbers):
    total = sum(math.exp(n) for n in numbers)
    return [math.exp(n) / total for n in numbers]


@pytest.mark.parametrize("k", [0, 1, 7])
def test_info_nce_is_the_cross_entropy_of_the_own_key(k):
    queries, keys, negatives = drawn(5, 4), drawn(5, 4, seed=1), drawn(k, 4, seed=2)
    terms = []
    for query, key in zip(queries, keys, strict=True):
        logits = [dot(query, key) / 0.3] + [dot(query, other) / 0.3 for other in negatives]
        terms.append(-math.log(softmax(logits)[0]))
    found = info_nce(queries, keys, negatives, 0.3)
    assert float(found) == pytest.approx(sum(terms) / 5, abs=1e-12)


def test_info_nce_of_equal_vectors_is_chance():
    same = F.normalize(torch.ones(3, 4), dim=1)
    assert float(info_nce(same, same, same[:1].repeat(7, 1), 0.1)) == pytest.approx(math.log(8))


def test_info_nce_gives_gradients_where_they_are_wanted():
    queries = drawn(3, 4).requires_grad_()
    keys = drawn(3, 4, seed=1)
    negatives = drawn(5, 4, seed=2)
    assert torch.autograd.gradcheck(lambda q: info_nce(q, keys, negatives, 0.5), queries)


def test_negative_cosine_is_minus_the_mean_cosine():
    one, other = 5 * drawn(6, 3), drawn(6, 3, seed=1) / 7
    cosines = [
        dot(a, b) / math.sqrt(dot(a, a) * dot(b, b)) for a, b in zip(one, other, strict=True)
    ]
    assert float(negative_cosine(one, other)) == pytest.approx(-sum(cosines) / 6, abs=1e-12)
    assert float(negative_cosine(one, one)) == pytest.approx(-1)
    assert float(negative_cosine(one, -3 * one)) == pytest.approx(1)


def test_negative_cosine_lets_no_gradient_to_the_target():
    prediction, target = drawn(4, 3).requires_grad_(), drawn(4, 3, seed=1).requires_grad_()
    negative_cosine(prediction, target).backward()
    assert target.grad is None
    assert prediction.grad.abs().max() > 1e-3


def slow_sinkhorn(scores, epsilon, iterations):
    """The authors' order of steps, on plain numbers: columns to 1 / k each, then rows to 1 / b."""
    b, k = scores.shape
    q = [[math.exp(float(s) / epsilon) for s in row] for row in scores]
    total = sum(map(sum, q))
    q = [[entry / total for entry in row] for row in q]
    for _ in range(iterations):
        columns = [sum(row[j] for row in q) for j in range(k)]
        q = [[row[j] / columns[j] / k for j in range(k)] for row in q]
        q = [[entry / sum(row) / b for entry in row] for row in q]
    return torch.tensor([[entry * b for entry in row] for row in q], dtype=torch.float64)


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("shape", [(6, 4), (3, 5), (1, 4), (4, 1)])
def test_sinkhorn_scales_columns_then_rows(shape, iterations):
    scores = drawn(*shape)
    expected = slow_sinkhorn(scores, 0.2, iterations)
    torch.testing.assert_close(sinkhorn(scores, 0.2, iterations), expected, rtol=0, atol=1e-12)


def test_sinkhorn_has_even_marginals():
    codes = sinkhorn(drawn(12, 5), 0.5, 200)
    torch.testing.assert_close(codes.sum(1), torch.ones(12).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        codes.sum(0), torch.full((5,), 12 / 5, dtype=torch.float64), rtol=0, atol=1e-9
    )
    # Rows sum to one after few iterations too.
    assert (sinkhorn(drawn(12, 5), 0.05, 1).sum(1) - 1).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_sinkhorn_survives_what_exponentials_do_not(dtype):
    scores = torch.tensor([[90.0, -90.0, 0.0], [80.0, -80.0, 1.0], [70.0, -95.0, 2.0]], dtype=dtype)
    assert not torch.isfinite((scores.float() / 0.05).exp()).all()
    codes = sinkhorn(scores, 0.05, 3)
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(1), torch.ones(3))


def test_sinkhorn_prefers_large_scores():
    scores = torch.tensor([[1.0, 0.0], [0.9, 0.0], [0.1, 0.0], [0.0, 0.0]])
    # All like the first prototype best, or no worse; the two that like it least must leave it.
    assert sinkhorn(scores, 0.02, 50).argmax(1).tolist() == [0, 0, 1, 1]


def test_swapped_prediction_is_a_cross_entropy():
    scores, codes = drawn(5, 4), sinkhorn(drawn(5, 4, seed=1))
    terms = []
    for row, code in zip(scores, codes, strict=True):
        probabilities = softmax([float(s) / 0.3 for s in row])
        terms.append(-sum(float(c) * math.log(p) for c, p in zip(code, probabilities, strict=True)))
    found = swapped_prediction(scores, codes, 0.3)
    assert float(found) == pytest.approx(sum(terms) / 5, abs=1e-12)


def test_swapped_prediction_lets_no_gradient_to_the_codes():
    scores, codes = drawn(3, 4).requires_grad_(), drawn(3, 4, seed=1).softmax(1).requires_grad_()
    swapped_prediction(scores, codes, 0.1).backward()
    assert codes.grad is None
    assert scores.grad.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda x: info_nce(x, x[:2], x, 0.1), "one key for each query"),
        (lambda x: info_nce(x, x, x[:, :3], 0.1), r"KeyQueue\(dim=4"),
        (lambda x: info_nce(x, x, x, 0.0), "temperature=0.0 must be a number above 0"),
        (lambda x: info_nce(x, x, x, float("nan")), "temperature=nan"),
        (lambda x: negative_cosine(x[:, :1], x), "as many numbers as it takes"),
        (lambda x: sinkhorn(x, 0.0), "epsilon=0.0"),
        (lambda x: sinkhorn(x, iterations=0), "iterations=0 must"),
        (lambda x: sinkhorn(x[0]), "samples by prototypes"),
        (lambda x: swapped_prediction(x, x[:1], 0.1), "same samples and prototypes"),
        (lambda x: swapped_prediction(x, x, -1.0), "temperature=-1.0"),
    ],
)
def test_wrong_arguments_are_named_with_their_remedy(call, remedy):
    with pytest.raises(ValueError, match=remedy):
        call(drawn(5, 4))
