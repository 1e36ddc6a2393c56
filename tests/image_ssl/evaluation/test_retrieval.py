"""Retrieval against plain loops, and chance levels against shuffled orders."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation import (
    cosine_distance,
    euclidean_distance,
    retrieval,
    retrieve_objects,
    retrieve_views,
)


def slow_distance(name: str, a: Tensor, b: Tensor) -> float:
    if name == "euclidean":
        return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return 1 - dot / math.sqrt(sum(float(x) ** 2 for x in a) * sum(float(y) ** 2 for y in b))


DISTANCES = {"cosine": cosine_distance, "euclidean": euclidean_distance}


def views(objects: int = 6, each: int = 7, d: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """A gallery of views in mixed order, their objects, and noisy queries for every view."""
    mixed = torch.randperm(objects * each)
    gallery = torch.randn(objects * each, d).double()
    return (
        gallery,
        (torch.arange(objects * each) % objects)[mixed],
        gallery + 0.7 * torch.randn(objects * each, d),
    )


def test_distances():
    a, b = torch.randn(5, 3).double(), torch.randn(4, 3).double()
    for name, distance in DISTANCES.items():
        slow = [[slow_distance(name, x, y) for y in b] for x in a]
        assert torch.allclose(distance(a, b), torch.tensor(slow).double())
    assert cosine_distance(torch.zeros(1, 3), torch.ones(1, 3)) == 1
    near = torch.full((1, 3), 1000.0)
    assert euclidean_distance(near, near + 0.001).item() == pytest.approx(0.001 * 3**0.5, rel=0.1)


@pytest.mark.parametrize("name", ["cosine", "euclidean"])
@pytest.mark.parametrize("among", ["object", "all"])
@pytest.mark.parametrize("leave_out", [False, True])
@pytest.mark.parametrize("cells", [1, 2**24])
def test_views_against_loops(monkeypatch, name, among, leave_out, cells):
    monkeypatch.setattr(retrieval, "CELLS", cells)
    gallery, objects, noisy = views()
    target = torch.randperm(len(gallery))[:20]
    queries = noisy[target]
    source = (target + 1 + torch.arange(20)) % len(gallery)
    source = torch.where(source == target, (target + 1) % len(gallery), source)
    got = retrieve_views(
        queries,
        gallery,
        target,
        objects if among == "object" else None,
        source=source if leave_out else None,
        distance=DISTANCES[name],
        ks=(1, 3),
    ).set_index("metric")
    ranks, counts = [], []
    for query, right, own in zip(queries, target.tolist(), source.tolist(), strict=True):
        rank, count = 1, 1
        for row in range(len(gallery)):
            other = among == "object" and objects[row] != objects[right]
            if row == right or other or (leave_out and row == own):
                continue
            count += 1
            nearer = slow_distance(name, query, gallery[row]) <= slow_distance(
                name, query, gallery[right]
            )
            rank += int(nearer)
        ranks.append(rank)
        counts.append(count)
    assert max(ranks) > 1 and len(set(ranks)) > 2
    assert got.score["MRR"] == pytest.approx(sum(1 / rank for rank in ranks) / 20)
    assert got.score["hit@1"] == pytest.approx(sum(rank == 1 for rank in ranks) / 20)
    assert got.score["hit@3"] == pytest.approx(sum(rank <= 3 for rank in ranks) / 20)
    chance = sum(sum(1 / k for k in range(1, m + 1)) / m for m in counts) / 20
    assert got.chance["MRR"] == pytest.approx(chance)
    assert got.chance["hit@3"] == pytest.approx(sum(3 / m for m in counts) / 20)
    assert (got.queries == 20).all()
    assert got.candidates["MRR"] == pytest.approx(sum(counts) / 20)


@pytest.mark.parametrize("name", ["cosine", "euclidean"])
@pytest.mark.parametrize("cells", [1, 2**24])
def test_objects_against_loops(monkeypatch, name, cells):
    monkeypatch.setattr(retrieval, "CELLS", cells)
    x = torch.randn(15, 3).double()
    objects = torch.tensor([4, 4, 4, 4, 9, 9, 9, 2, 2, 7, 8, 8, 8, 8, 8])  # 7 has one view
    got = retrieve_objects(x, objects, distance=DISTANCES[name], ks=(1, 2)).set_index("metric")
    ranks = []
    for row in range(15):
        others = [other for other in range(15) if other != row]
        order = sorted(others, key=lambda other: slow_distance(name, x[row], x[other]))
        same = [place for place, other in enumerate(order, 1) if objects[other] == objects[row]]
        ranks += same[:1]
    assert len(ranks) == 14
    assert got.score["MRR"] == pytest.approx(sum(1 / rank for rank in ranks) / 14)
    assert got.score["hit@2"] == pytest.approx(sum(rank <= 2 for rank in ranks) / 14)
    assert (got.queries == 14).all() and (got.candidates == 14).all()


def test_chance_is_what_random_features_get():
    objects = torch.arange(12) % 3
    rows = [retrieve_objects(torch.randn(12, 8), objects, ks=(1, 2)) for _ in range(400)]
    mean = sum(torch.tensor(row.score.to_numpy()) for row in rows) / 400
    assert torch.allclose(mean, torch.tensor(rows[0].chance.to_numpy()), atol=0.02)
    # Of 11 others 3 are right: 1 - 8/11 * 7/10 for two tries.
    assert rows[0].chance[2] == pytest.approx(1 - 8 / 11 * 7 / 10)


def test_perfect_and_collapsed_features():
    gallery, objects, _ = views()
    target = torch.arange(len(gallery))
    assert (retrieve_views(gallery, gallery, target, objects).score == 1).all()
    same = torch.ones_like(gallery)
    got = retrieve_views(same, same, target, objects)
    assert list(got.score) == [pytest.approx(1 / 7), 0, 0]  # last of seven, every time


def test_more_tries_than_candidates():
    gallery, objects, _ = views(each=3)
    got = retrieve_views(gallery, gallery, torch.arange(18), objects, ks=(50,))
    assert got.score[1] == 1 and got.chance[1] == 1


X, ROWS = torch.rand(6, 3), torch.arange(6)
REFUSED = {
    r"must be \(q, d\)": lambda: retrieve_views(X[:, :2], X, ROWS),
    "no features": lambda: retrieve_views(X[:0], X, ROWS[:0]),
    "target runs from 1 to 6: the gallery has 6": lambda: retrieve_views(X, X, ROWS + 1),
    r"target is torch\.float32": lambda: retrieve_views(X, X, ROWS.float()),
    r"objects is torch.int64 \(5,\)": lambda: retrieve_views(X, X, ROWS, ROWS[:5]),
    "source is its target": lambda: retrieve_views(X, X, ROWS, source=ROWS),
    "one candidate only": lambda: retrieve_views(X, X, ROWS, ROWS),
    "queries are NaN": lambda: retrieve_views(X * torch.nan, X, ROWS),
    "ks are": lambda: retrieve_views(X, X, ROWS, ks=(0,)),
    "of one object": lambda: retrieve_objects(X, torch.zeros(6).long()),
    "no object has two views": lambda: retrieve_objects(X, ROWS),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_retrieved(message):
    with pytest.raises(DataError, match=message):
        REFUSED[message]()
