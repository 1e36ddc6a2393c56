"""Finding the right view by its feature: mean reciprocal rank and hit@k, with their chance levels.

Two questions. `retrieve_views`: a query feature (a predictor's, of what a transformation makes of a
view, or a view's own) is to find *one* view, by default among all views of its object, so that only
the pose tells them apart: what an equivariant half is for. `retrieve_objects`: a view's feature is
to find *any* other view of its object among all views: what an invariant half is for.

Candidates are ranked by distance. A candidate as near as the right one counts as nearer: features
that have collapsed to one point tell nothing, and get no reward for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.evaluation.features import check_finite

# Features (q, d) and (m, d) to distances (q, m).
Distance: TypeAlias = Callable[[Tensor, Tensor], Tensor]
CELLS = 2**24  # distances held at a time: 64 MB in float32


def cosine_distance(queries: Tensor, gallery: Tensor) -> Tensor:
    """One minus the cosine of the angle between features; 1 to a feature of zeros."""
    return 1 - F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T


def euclidean_distance(queries: Tensor, gallery: Tensor) -> Tensor:
    """The length of the difference, exact for near features, too."""
    return torch.cdist(queries, gallery, compute_mode="donot_use_mm_for_euclid_dist")


def retrieve_views(
    queries: Tensor,
    gallery: Tensor,
    target: Tensor,
    objects: Tensor | None = None,
    *,
    source: Tensor | None = None,
    distance: Distance = cosine_distance,
    ks: Sequence[int] = (1, 5),
) -> pd.DataFrame:
    """How well queries find the view that each of them is meant to find.

    The protocol of SIE (Garrido et al., arXiv 2302.10283) as used here: for view a of an object and
    the way from a to view b, the query is what the predictor makes of a's feature, the gallery the
    features of all views of this object, the right one b's. View a itself stands among the
    candidates unless `source` takes it out.

    Args:
        queries: (q, d).
        gallery: (m, d), the features of all views.
        target: (q,) int64, the row of the gallery that is right.
        objects: (m,) int64, the object of each view in the gallery: the candidates of a query are
            the views of its target's object. None: the whole gallery.
        source: (q,) int64, a row of the gallery to leave out of each query's candidates.
        ks: of hit@k, the share of queries whose right view is among the k nearest.

    Returns:
        A row each for MRR and hit@k: metric, score, chance (that of a random order, exact),
        queries, candidates (their mean number).

    Raises:
        DataError: if shapes do not fit, a feature is not finite, a row number lies outside of the
            gallery, a query's source is its target, or a query has one candidate only.
    """
    _check_features(queries, gallery)
    _check_rows("target", target, len(queries), len(gallery))
    if source is not None:
        _check_rows("source", source, len(queries), len(gallery))
        if (source == target).any():
            raise DataError("a query's source is its target: nothing is left to be found")
    ranks, counts = [], []
    for rows, members in _blocks(objects, target, len(gallery)):
        near = distance(queries[rows], gallery[members])
        allowed = torch.ones_like(near, dtype=torch.bool)
        if source is not None:
            allowed = members[None] != source[rows, None]
        right = members[None] == target[rows, None]
        ranks.append(_first_rank(near, right, allowed))
        counts.append(allowed.sum(dim=1))
    single = torch.ones(len(queries), dtype=torch.int64)
    return _table(torch.cat(ranks), torch.cat(counts), single, ks)


def retrieve_objects(
    features: Tensor,
    objects: Tensor,
    *,
    distance: Distance = cosine_distance,
    ks: Sequence[int] = (1, 5),
) -> pd.DataFrame:
    """How well each view finds another view of its object among all other views.

    The rank is that of the nearest view of the same object. Objects of one view are candidates but
    no queries.

    Args:
        features: (n, d), of all views.
        objects: (n,) int64, the object of each.

    Raises:
        DataError: if shapes do not fit, a feature is not finite, no object has two views, or there
            is one object only.
    """
    _check_features(features, features)
    _check_rows("objects", objects, len(features), None)
    _, number, views = objects.unique(return_inverse=True, return_counts=True)
    if len(views) < 2:
        raise DataError("all views are of one object: every candidate would be right")
    queries = (views[number] > 1).nonzero().flatten()
    if len(queries) == 0:
        raise DataError("no object has two views: there is nothing to be found")
    ranks = []
    for rows in queries.split(max(1, CELLS // len(features))):
        near = distance(features[rows], features)
        allowed = torch.arange(len(features)) != rows[:, None]
        right = (objects == objects[rows, None]) & allowed
        ranks.append(_first_rank(near, right, allowed))
    counts = torch.full_like(queries, len(features) - 1)
    return _table(torch.cat(ranks), counts, views[number[queries]] - 1, ks)


def _blocks(objects: Tensor | None, target: Tensor, m: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Queries (rows) with the rows of the gallery that are their candidates."""
    if objects is None:
        everyone, owner = torch.zeros(m, dtype=torch.int64), torch.zeros_like(target)
    else:
        _check_rows("objects", objects, m, None)
        everyone, owner = objects, objects[target]
    for name in owner.unique():
        members = (everyone == name).nonzero().flatten()
        for rows in (owner == name).nonzero().flatten().split(max(1, CELLS // len(members))):
            yield rows, members


def _first_rank(near: Tensor, right: Tensor, allowed: Tensor) -> Tensor:
    """Rank of the nearest right candidate, (q,) int64 from 1; wrong ones win ties."""
    best = near.masked_fill(~right, torch.inf).amin(dim=1, keepdim=True)
    return 1 + ((near <= best) & allowed & ~right).sum(dim=1)


def _table(ranks: Tensor, candidates: Tensor, right: Tensor, ks: Sequence[int]) -> pd.DataFrame:
    """Scores of ranks (q,) among so many candidates (q,), of which so many are right (q,)."""
    if not ks or min(ks) < 1:
        raise DataError(f"ks are {tuple(ks)}: give at least one, each 1 or more")
    if int(candidates.min()) < 2:
        raise DataError("a query has one candidate only, the right one: give objects of more views")
    kinds, times = torch.stack([candidates, right], 1).unique(dim=0, return_counts=True)
    share = times.double() / len(ranks)
    lost = [_lost(int(m), int(r)) for m, r in kinds]
    # The first right one stands at k if none is among k - 1 and one is among k.
    guess = torch.stack([(-each.diff() / torch.arange(1, len(each))).sum() for each in lost])
    rows = [["MRR", float((1 / ranks.double()).mean()), float(share @ guess)]]
    for k in ks:
        luck = torch.stack([1 - each[min(k, len(each) - 1)] for each in lost])
        hit = float((ranks <= k).double().mean())
        rows.append([f"hit@{k}", hit, float(share @ luck)])
    mean = float(candidates.double().mean())
    columns = ["metric", "score", "chance", "queries", "candidates"]
    return pd.DataFrame([[*row, len(ranks), mean] for row in rows], columns=columns)


def _lost(candidates: int, right: int) -> Tensor:
    """The chance that none of the right ones is among the first k = 0, 1, ... of a random order."""
    k = torch.arange(candidates, dtype=torch.float64)
    step = ((candidates - right - k) / (candidates - k)).clamp_min(0)
    return torch.cat([torch.ones(1, dtype=torch.float64), step.cumprod(dim=0)])


def _check_features(queries: Tensor, gallery: Tensor) -> None:
    shapes = tuple(queries.shape), tuple(gallery.shape)
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise DataError(f"features {shapes[0]} and {shapes[1]} must be (q, d) and (m, d)")
    if len(queries) == 0 or len(gallery) == 0:
        raise DataError("no features: retrieval needs at least one query and a gallery")
    for name, x in (("queries", queries), ("views of the gallery", gallery)):
        check_finite(x, name)


def _check_rows(name: str, rows: Tensor, n: int, among: int | None) -> None:
    if rows.shape != (n,) or rows.is_floating_point():
        raise DataError(f"{name} is {rows.dtype} {tuple(rows.shape)}: give whole numbers ({n},)")
    if among is not None and not 0 <= int(rows.min()) <= int(rows.max()) < among:
        raise DataError(
            f"{name} runs from {int(rows.min())} to {int(rows.max())}: the gallery has {among} rows"
        )
