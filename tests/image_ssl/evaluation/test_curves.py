"""Learning curves: balanced, nested draws and a tidy table."""

from __future__ import annotations

import pytest
import torch

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import (
    CLASSIFIERS,
    Features,
    LogisticProbe,
    balanced_order,
    learning_curve,
)


def clouds(n: int, spread: float = 1.5, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 4  # sorted in a way that a careless draw would keep
    x = 1.5 * torch.eye(4)[y] + spread * 0.5 * torch.randn(n, 4, generator=generator)
    return Features(x, y, ("a", "b", "c", "d"))


def test_every_beginning_is_balanced():
    labels = torch.tensor([0] * 30 + [1] * 8 + [2] * 3)
    order = balanced_order(labels, 0)
    assert sorted(order.tolist()) == list(range(41))
    for size in range(1, 42):
        counts = torch.bincount(labels[order[:size]], minlength=3)
        for count, there in zip(counts.tolist(), (30, 8, 3), strict=True):
            # None behind the others by more than one, unless all its images are drawn.
            assert count >= int(counts.max()) - 1 or count == there


def test_draws_differ_by_seed_and_within_a_class():
    labels = torch.arange(40) % 4
    orders = [balanced_order(labels, seed) for seed in range(3)]
    assert torch.equal(orders[0], balanced_order(labels, 0))
    assert len({tuple(order[:4].tolist()) for order in orders}) == 3
    first = torch.stack([labels[balanced_order(labels, seed)[:1]] for seed in range(40)])
    assert len(first.unique()) == 4  # no class is favoured by the odd label


def test_the_table_is_tidy_and_each_row_can_be_had_alone():
    train, test = clouds(200), clouds(100, seed=1)
    table = learning_curve(train, test, (4, 20, 200), seeds=2, classifiers=CLASSIFIERS)
    assert list(table.columns) == ["classifier", "labels", "seed", "accuracy"]
    assert len(table) == 2 * 3 * 2
    assert not table.duplicated(["classifier", "labels", "seed"]).any()
    row = table.query("classifier == 'linear probe' and labels == 20 and seed == 1")
    drawn = train[balanced_order(train.y, 1)[:20]]
    assert row.accuracy.item() == LogisticProbe().fit(drawn).score(test).value


def test_more_labels_help():
    table = learning_curve(clouds(400), clouds(200, seed=1), seeds=5)
    assert list(table.labels.unique()) == [4, 40, 400]
    mean = table.groupby("labels").accuracy.mean()
    assert mean[4] < mean[40] < mean[400]
    assert table[table.labels == 4].accuracy.nunique() > 1  # the draws are different ones


def test_seeds_by_name():
    table = learning_curve(clouds(40), clouds(20, seed=1), (8,), seeds=(5, 7))
    assert list(table.seed) == [5, 7]


@pytest.mark.parametrize("size", [3, 41])
def test_sizes_that_cannot_be_drawn(size):
    with pytest.raises(DataError, match=rf"cannot draw {size} labels.*from 4.*to 40"):
        learning_curve(clouds(40), clouds(20), (size,))


def test_several_classes_an_image_cannot_be_balanced():
    some = Features(torch.rand(5, 2), torch.ones(5, 3))
    with pytest.raises(DataError, match="one class an image"):
        learning_curve(some, some)
