"""Representative futures as clusters of draws: k-means, and what it makes of a distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from hierforecast._random import seeded
from hierforecast.distributions import IndependentScenes, LowRankNormal, ModeMixture
from hierforecast.distributions.futures import gram_of, k_means, representatives

# --- the clusters -------------------------------------------------------------------------------


def clusters(points: Tensor, n: int, seed: int = 0) -> np.ndarray:
    """Cluster numbers (K,) of draws (K, p, H, D)."""
    chance = torch.rand(n, generator=seeded(seed), dtype=torch.float64)
    return k_means(gram_of(points).numpy(), chance.numpy())


def flat(points: Tensor) -> np.ndarray:
    """Draws as vectors (K, M), each target in units of its standard deviation: read aloud."""
    values = points.numpy().copy()
    for target in range(values.shape[-1]):
        apart = values[..., target] - values[..., target].mean(0)
        values[..., target] = apart / np.sqrt((apart**2).mean())
    return values.reshape(len(values), -1)


def test_labels_are_a_fixed_point_of_lloyds_steps():
    """By the vectors themselves: every point is nearest to the mean of its own cluster."""
    points = torch.randn(200, 5, 4, 2, generator=seeded(0), dtype=torch.float64) * torch.tensor(
        [1.0, 30.0], dtype=torch.float64
    )
    label, vectors = clusters(points, 7), flat(points)
    assert set(label) == set(range(7))
    means = np.stack([vectors[label == c].mean(0) for c in range(7)])
    distance = ((vectors[:, None] - means) ** 2).sum(-1)
    assert np.array_equal(distance.argmin(1), label)


def test_no_worse_than_k_means_of_scipy():
    from scipy.cluster.vq import kmeans2

    points = torch.randn(300, 3, 2, 2, generator=seeded(1), dtype=torch.float64)
    vectors = flat(points)

    def loss(label: np.ndarray) -> float:
        parts = [vectors[label == c] for c in np.unique(label)]
        return float(sum(((part - part.mean(0)) ** 2).sum() for part in parts))

    ours = np.mean([loss(clusters(points, 10, seed)) for seed in range(5)])
    scipys = [kmeans2(vectors, 10, minit="++", seed=seed)[1] for seed in range(5)]
    assert ours <= 1.02 * np.mean([loss(label) for label in scipys])


def test_well_separated_bundles_are_found():
    centers = 100 * torch.randn(6, 4, 3, 2, generator=seeded(2), dtype=torch.float64)
    kind = torch.arange(300) % 6
    points = centers[kind] + torch.randn(300, 4, 3, 2, generator=seeded(3), dtype=torch.float64)
    label = torch.from_numpy(clusters(points, 6))
    pairs = {(int(a), int(b)) for a, b in zip(kind, label, strict=True)}
    assert len(pairs) == 6


def test_fewer_distinct_draws_than_clusters():
    three = torch.randn(3, 4, 3, 2, generator=seeded(0), dtype=torch.float64)
    points = three[torch.arange(60) % 3]
    label = clusters(points, 8)
    assert set(label) == {0, 1, 2}
    assert all(len(set(label[i::3])) == 1 for i in range(3))
    assert set(clusters(three[:1].expand(50, -1, -1, -1), 8)) == {0}


def test_units_and_places_do_not_matter():
    points = torch.randn(100, 4, 3, 2, generator=seeded(5), dtype=torch.float64)
    moved = points * torch.tensor([1e-3, 7e4]) + 1e4 * torch.randn(4, 3, 2, generator=seeded(6))
    assert np.array_equal(clusters(points, 6), clusters(moved, 6))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_does_not_matter(seed: int):
    points = torch.randn(150, 7, 3, 2, generator=seeded(seed), dtype=torch.float64)
    order = torch.randperm(7, generator=seeded(seed))
    assert np.array_equal(clusters(points, 9), clusters(points[:, order], 9))


# --- of a distribution --------------------------------------------------------------------------


class Drawn(IndependentScenes):
    """A distribution whose draws are given."""

    def __init__(self, draws: Tensor, scene: Tensor, n_scenes: int) -> None:
        super().__init__(Normal(draws[0], 1.0), scene, n_scenes)
        self.draws = draws

    def _draw(self, shape: torch.Size) -> Tensor:
        return self.draws[: shape[0]]


def test_centers_are_means_of_draws_and_shares_their_number():
    scene = torch.tensor([2, 0, 2, 0, 2])
    draws = torch.randn(40, 5, 3, 2, generator=seeded(0), dtype=torch.float64)
    found = representatives(Drawn(draws, scene, 4), 4, 40, seeded(1))
    chance = torch.rand(4, 4, generator=seeded(1), dtype=torch.float64)
    for number in (0, 2):
        own = draws[:, scene == number]
        label = torch.from_numpy(k_means(gram_of(own).numpy(), chance[number].numpy()))
        means = torch.stack([own[label == c].mean(0) for c in range(4)])
        sizes = torch.bincount(label).sort(descending=True, stable=True)
        torch.testing.assert_close(found.centers[:, scene == number], means[sizes.indices])
        for share in found.shares[:, scene == number].T:
            torch.testing.assert_close(share, sizes.values.double() / 40)


def test_futures_of_each_row_alone_are_those_of_a_scene_of_its_own():
    scene = torch.tensor([1, 0, 1, 1])
    draws = torch.randn(60, 4, 3, 2, generator=seeded(0), dtype=torch.float64)
    found = representatives(Drawn(draws, scene, 2), 5, 60, seeded(1), joint=False)
    chance = torch.rand(2, 5, generator=seeded(1), dtype=torch.float64)
    for row in range(4):
        label = k_means(gram_of(draws[:, [row]]).numpy(), chance[scene[row]].numpy())
        sizes = np.bincount(label)
        for place, cluster in enumerate(np.argsort(-sizes, kind="stable")):
            mean = draws[torch.from_numpy(label == cluster), row].mean(0)
            torch.testing.assert_close(found.centers[place, row], mean)
            assert found.shares[place, row] == sizes[cluster] / 60
    together = representatives(Drawn(draws, scene, 2), 5, 60, seeded(1)).centers

    def nearest(centers: Tensor) -> Tensor:
        """Mean squared distance of each draw of a row from the nearest of its centers."""
        return (draws[:, None] - centers).square().sum((-1, -2)).amin(1).mean(0)

    assert (nearest(found.centers) < nearest(together))[[0, 2, 3]].all()


def test_permuted_rows_give_permuted_centers():
    scene = torch.tensor([1, 0, 1, 0, 1, 1])
    draws = torch.randn(80, 6, 3, 2, generator=seeded(0), dtype=torch.float64)
    order = torch.tensor([4, 3, 0, 5, 1, 2])
    plain = representatives(Drawn(draws, scene, 2), 5, 80, seeded(1))
    moved = representatives(Drawn(draws[:, order], scene[order], 2), 5, 80, seeded(1))
    torch.testing.assert_close(moved.centers, plain.centers[:, order], rtol=0, atol=1e-10)
    assert torch.equal(moved.shares, plain.shares[:, order])
    plain, moved = (
        representatives(Drawn(draws[:, at], scene[at], 2), 5, 80, seeded(1), joint=False)
        for at in (slice(None), order)
    )
    torch.testing.assert_close(moved.centers, plain.centers[:, order], rtol=0, atol=1e-10)


def test_modes_of_a_mixture_are_found_with_their_weights():
    scene = torch.tensor([0, 0, 1])
    locs = 50 * torch.randn(3, 3, 4, 2, generator=seeded(4), dtype=torch.float64)
    weight = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]], dtype=torch.float64)
    quiet = torch.full((3, 4, 2), 0.1, dtype=torch.float64)
    noise = LowRankNormal(0 * quiet, quiet, quiet[..., None], None, scene, 2)
    mixture = ModeMixture(locs, weight.log(), noise)
    found = representatives(mixture, 3, 2000, seeded(0))
    assert (found.shares - weight.sort(descending=True).values.T[:, scene]).abs().max() < 0.03
    assert (found.centers - mixture.modes).abs().max() < 0.1


def test_a_scene_without_doubt_has_one_future():
    scene = torch.tensor([0, 1])
    still = torch.randn(2, 3, 2, generator=seeded(0), dtype=torch.float64)
    draws = still.expand(30, 2, 3, 2).clone()
    draws[:, 1] += torch.randn(30, 3, 2, generator=seeded(1), dtype=torch.float64)
    found = representatives(Drawn(draws, scene, 2), 4, 30, seeded(0))
    assert found.shares[:, 0].tolist() == [1, 0, 0, 0] and (found.shares[:, 1] > 0).all()
    torch.testing.assert_close(found.centers[0, 0], still[0])
    assert found.centers[1:, 0].isnan().all()
