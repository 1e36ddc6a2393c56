"""Nearest neighbors as a probe of classes, against slow loops and scikit-learn."""

from __future__ import annotations

import math
from math import nan as NAN

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import Features, NeighborsProbe, classifiers


def shares(train: Features, x: Tensor, k: int = 20, temperature: float | None = 0.07) -> Tensor:
    return NeighborsProbe(k, temperature).fit(train).scores(x)


def some(n: int, classes: int = 4, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=generator)
    centres = torch.randn(classes, 5, generator=torch.Generator().manual_seed(9))
    x = centres[y] + 1.5 * torch.randn(n, 5, generator=generator)
    return Features(x.double(), y)


def slow_shares(train: Features, x: Tensor, k: int, temperature: float | None) -> Tensor:
    """One question, one neighbor, one vote at a time."""
    table = torch.zeros(len(x), int(train.y.max()) + 1, dtype=torch.float64)
    for row, queries in enumerate(x):
        near = sorted(
            (
                (-float(queries @ known / (queries.norm() * known.norm())), number)
                for number, known in enumerate(train.x)
            )
        )[:k]
        for similarity, number in near:
            weight = 1.0 if temperature is None else math.exp(-similarity / temperature)
            table[row, train.y[number]] += weight
    return table / table.sum(1, keepdim=True)


@pytest.mark.parametrize("k", [1, 4, 60])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_weighted_votes_against_a_slow_loop(k, temperature):
    train, test = some(60), some(25, seed=1)
    got = shares(train, test.x, k, temperature)
    assert torch.allclose(got, slow_shares(train, test.x, k, temperature), atol=1e-9)


@pytest.mark.parametrize("k", [1, 3, 7, 60])
def test_plain_majority_against_a_slow_loop(k):
    train, test = some(60), some(25, seed=1)
    got, slow = shares(train, test.x, k, None), slow_shares(train, test.x, k, None)
    assert torch.allclose(got, slow, atol=0.3 / k)
    # Nearness decides among equals only: who has more votes has the higher score.
    for mine, votes in zip(got, slow, strict=True):
        more = votes[:, None] > votes[None, :] + 1e-9
        assert (mine[:, None] > mine[None, :])[more].all()


def test_plain_majority_against_scikit_learn():
    train, test = some(200, classes=2), some(80, classes=2, seed=1)
    # An odd number of voters for two classes: no ties.
    oracle = KNeighborsClassifier(5, metric="cosine").fit(train.x, train.y)
    got = shares(train, test.x, 5, None).argmax(1)
    assert (got.numpy() == oracle.predict(test.x)).all()


def test_the_memory_is_bounded_and_chunks_change_nothing(monkeypatch):
    train, test = some(60), some(25, seed=1)
    whole = shares(train, test.x, 5)
    seen = []
    nearest = classifiers._nearest
    monkeypatch.setattr(classifiers, "CELLS", 200)  # three rows at a time
    monkeypatch.setattr(
        classifiers, "_nearest", lambda table, k: seen.append(table.shape) or nearest(table, k)
    )
    assert torch.allclose(shares(train, test.x, 5), whole, atol=1e-12)
    assert len(seen) == 9 and all(rows * columns <= 200 for rows, columns in seen)


def test_of_equally_near_neighbors_the_first_counts():
    x = torch.tensor([[1.0, 0.0]] * 6)
    train = Features(x, torch.tensor([2, 2, 0, 0, 0, 1]))
    assert shares(train, x[:1], 2).argmax() == 2
    assert shares(train, x[:1], 5, None).argmax() == 0
    assert torch.allclose(shares(train, x[:1], 4), torch.tensor([[0.5, 0.0, 0.5]]))


def test_of_classes_with_equal_votes_the_nearer_wins():
    train = Features(
        torch.tensor([[1.0, 0.6], [1.0, 0.6], [1.0, 0.1], [1.0, 0.1]]), torch.tensor([0, 0, 1, 1])
    )
    queries = torch.tensor([[1.0, 0.0], [0.6, 0.6]])
    assert shares(train, queries, 4, None).argmax(1).tolist() == [1, 0]


def test_length_does_not_matter_but_direction_does():
    train, test = some(60), some(25, seed=1)
    longer = Features(train.x * torch.rand(60, 1).add(0.1), train.y)
    assert torch.allclose(shares(train, test.x), shares(longer, test.x))
    assert not torch.allclose(shares(train, test.x), shares(train, -test.x))


def test_a_small_temperature_is_the_nearest_neighbor():
    train, test = some(60), some(25, seed=1)
    cold = shares(train, test.x, 10, 1e-5)
    assert cold.isfinite().all()
    assert torch.allclose(cold, shares(train, test.x, 1), atol=1e-6)


def test_features_that_are_all_zeros_are_finite():
    train = some(60)
    assert shares(train, torch.zeros(1, 5)).isfinite().all()


def test_several_classes_an_image():
    x = torch.eye(3)
    train = Features(x, torch.tensor([[1.0, NAN, 0.0], [0.0, 1.0, 0.0], [NAN, 0.0, 1.0]]))
    got = shares(train, torch.ones(1, 3), 3)  # all equally near
    assert torch.allclose(got, torch.tensor([[0.5, 0.5, 1 / 3]]))
    got = shares(train, x[:1], 1)
    assert torch.allclose(got, torch.tensor([[1.0, 0.0, 0.0]]))
    assert NeighborsProbe(1).fit(train).score(train).metric == "mean AP"


def test_the_score_is_the_accuracy_of_the_votes():
    train, test = some(60), some(25, seed=1)
    score = NeighborsProbe(5).fit(train).score(test)
    right = shares(train, test.x, 5).argmax(1) == test.y
    assert score.value == pytest.approx(float(right.double().mean()))
    assert score.metric == "accuracy" and score.settings == {"k": 5}


@pytest.mark.parametrize("k", [0, 61])
def test_a_number_of_neighbors_that_are_not_there(k):
    with pytest.raises(DataError, match="give one from 1 to 60"):
        NeighborsProbe(k).fit(some(60))


@pytest.mark.parametrize("temperature", [0.0, -1.0, NAN])
def test_a_temperature_that_is_none(temperature):
    with pytest.raises(DataError, match="give a positive one"):
        shares(some(60), some(5).x, 3, temperature)


def test_a_class_that_training_lacks_has_no_neighbors():
    train = some(60)
    with pytest.raises(DataError, match="no training images: number 3"):
        NeighborsProbe().fit(train[train.y < 3]).score(train)


def test_by_default_there_are_never_more_neighbors_than_images():
    for n, k in ((60, 20), (7, 7)):
        assert NeighborsProbe().fit(some(n)).score(some(n)).settings == {"k": k}
