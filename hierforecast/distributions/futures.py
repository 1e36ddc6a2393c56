"""Representative futures: centroids of k-means over joint draws, for any distribution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierforecast._random import Generators, drawing
from hierforecast.distributions.base import SceneDistribution

MAX_ROUNDS = 100
# Squared distances below this share of the greatest are rounding errors: the draws are alike.
ALIKE = 1e-12


class Futures(NamedTuple):
    """Representative futures of each scene or row, the one with the most draws first.

    Attributes:
        centers: (n, P, H, D); NaN beyond the last future.
        shares: (n, P), the share of the draws that each stands for; 0 beyond the last.
    """

    centers: Tensor
    shares: Tensor


def representatives(
    distribution: SceneDistribution,
    n: int,
    n_samples: int,
    generator: Generators,
    joint: bool = True,
) -> Futures:
    """Centroids of k-means over joint draws of each scene, or of each row by itself.

    All series, steps and targets of a scene are one vector; each target is divided by its standard
    deviation in the scene, so its unit does not matter. k-means needs the inner products of the
    draws only (Dhillon, Guan and Kulis, 2004), so the order of rows does not matter either.
    Centroids minimise the expected squared distance to the nearest of n futures; a mean of
    draws is smoother than each of them, and n means are narrower than the distribution.

    Args:
        distribution: B scenes.
        n: futures; a scene whose draws differ less has fewer.
        n_samples: K, joint draws.
        generator: of the draws and of the first centroids (k-means++, Arthur and Vassilvitskii,
            2007); see `SceneDistribution.sample`.
        joint: False clusters the draws of each row alone. n futures are then nearer to what one
            series may do, and those of different series do not belong together.
    """
    draws = distribution.sample((n_samples,), generator).double()
    with drawing(generator):
        chance = distribution._darts(torch.Size(), torch.empty(0, dtype=torch.float64), n)
    centers = torch.full_like(draws[:n], torch.nan)
    scene = distribution.scene
    shares = draws.new_zeros(n, len(scene))
    each = [scene == one for one in scene.unique()] if joint else [*torch.eye(len(scene)).bool()]
    for rows in each:
        own = draws[:, rows]
        label = k_means(gram_of(own).cpu().numpy(), chance[scene[rows][0]].numpy())
        sizes = np.bincount(label)
        for place, cluster in enumerate(np.argsort(-sizes, kind="stable")):
            chosen = torch.from_numpy(label == cluster).to(own.device)
            centers[place, rows] = own[chosen].mean(0)
            shares[place, rows] = sizes[cluster] / n_samples
    return Futures(centers, shares)


def gram_of(draws: Tensor) -> Tensor:
    """Inner products (K, K) of draws (K, p, H, D) about their mean, each target in its own unit."""
    apart = draws - draws.mean(0)
    unit = apart.square().mean((0, 1, 2)).sqrt()
    flat = (apart / torch.where(unit > 0, unit, 1.0)).flatten(1)
    return flat @ flat.mT


def k_means(gram: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Cluster numbers (K,) of points with these inner products, from 0 without a gap.

    Args:
        gram: (K, K), about the points' mean.
        chance: (n,) in [0, 1), by which the first centroids are chosen.
    """
    seeds = _spread(gram, chance)
    label = np.asarray(_apart(gram)[:, seeds].argmin(1))
    for _ in range(MAX_ROUNDS):
        before, label = label, _nearest(gram, label, len(seeds))
        if np.array_equal(before, label):
            break
    return label


def _apart(gram: np.ndarray) -> np.ndarray:
    """Squared distances (K, K); those that are rounding errors are 0."""
    square = np.diag(gram)
    apart = square[:, None] + square - 2 * gram
    return np.where(apart > ALIKE * square.max(initial=0), apart, 0.0)


def _spread(gram: np.ndarray, chance: np.ndarray) -> list[int]:
    """Points to start from, none like another: each likelier the further from those before it."""
    apart, seeds = _apart(gram), list[int]()
    weight = np.ones(len(gram))
    for share in chance:
        if not weight.any():
            break
        total = weight.cumsum()
        seeds.append(int(np.searchsorted(total, share * total[-1], side="right")))
        weight = apart[:, seeds].min(1)
    return seeds


def _nearest(gram: np.ndarray, label: np.ndarray, count: int) -> np.ndarray:
    """The cluster (K,) with the nearest centroid; an empty one gets the point furthest from its."""
    member = np.eye(count)[label]
    share = member / member.sum(0)
    inner = gram @ share  # of points and centroids
    apart = (share * inner).sum(0) - 2 * inner
    found = np.asarray(apart.argmin(1))
    own = np.diag(gram) + apart[np.arange(len(gram)), found]
    for empty in np.flatnonzero(np.bincount(found, minlength=count) == 0):
        sizes = np.bincount(found, minlength=count)
        furthest = int(np.where(sizes[found] > 1, own, -np.inf).argmax())
        found[furthest], own[furthest] = empty, 0.0
    return found
