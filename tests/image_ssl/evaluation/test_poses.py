"""Probes of two views whose poses are known, and views that a predictor is to find."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import PosedImages, RenderedObjects, as_float
from hierforecast.image_ssl.data.objects import draw_parameters
from hierforecast.image_ssl.evaluation import (
    POSE_TARGETS,
    MLPProbe,
    RidgeProbe,
    collect_posed_pairs,
    part,
    probe_poses,
    retrieve_predicted,
)
from hierforecast.image_ssl.methods import build_method
from hierforecast.image_ssl.nn import ResNet, small_resnet
from hierforecast.image_ssl.split import HyperPredictor, Poses, RelativeParameters
from tests.image_ssl.evaluation.two_views import SMALL, VIEWS, score_of


def planted(n_objects: int, seed: int = 0, within: float = 40.0, frame="world") -> PosedImages:
    """A posed set whose images show nothing but their numbers, in two bytes."""
    numbers = np.arange(n_objects * VIEWS)
    shown = draw_parameters(numbers // VIEWS, numbers % VIEWS, seed, within)
    images = torch.zeros(len(numbers), 3, 1, 1, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 1, 0, 0] = torch.tensor(numbers // 256), torch.tensor(numbers)
    images[:, 2] = seed
    classes = tuple(str(k) for k in range(10))
    return PosedImages(images, shown["label"], classes, shown, VIEWS, frame)


class Knows(nn.Module):
    """Tells of each planted image what was planted: parameters (b, k, 1), of two sets by seed."""

    def __init__(self, *names: str, within: float = 40.0) -> None:
        super().__init__()
        self.names = names
        self.sets = [planted(n, seed, within).shown for seed, n in enumerate((400, 200))]

    def forward(self, images: Tensor) -> Tensor:
        high, low, seed = (images[:, :, 0, 0] * 255).round().long().unbind(1)
        shown = self.sets[int(seed[0])]
        rows = 256 * high + low
        columns = [shown[name][rows].reshape(len(rows), -1) for name in self.names]
        return torch.cat(columns, 1)[..., None]


class Noise(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.randn(len(images), 4, 1)


def probed(backbone, counts=(400, 200), **options):
    sets = (planted(n, seed) for seed, n in enumerate(counts))
    return probe_poses(backbone, *sets, progress=False, **options)


# Pairs of poses


@pytest.mark.parametrize("frame", ["world", "object"])
def test_pairs_of_poses_are_the_views_one_by_one(frame):
    network = small_resnet("C4", 2)
    images = RenderedObjects(5, VIEWS, size=SMALL, frame=frame)
    pairs = collect_posed_pairs(network, images, seed=3, batch_size=3, progress=False)
    network.eval()
    with torch.no_grad():
        features = [network(as_float(image[None]))[0] for image, _ in images]
    shown = images.parameters(range(20))
    turns = Rotation.from_quat(shown["quaternion"].numpy()[:, [1, 2, 3, 0]])
    for row in range(20):
        assert torch.allclose(pairs.first[row], features[row], atol=1e-5)
        found = [n for n in range(20) if torch.allclose(pairs.second[row], features[n], atol=1e-5)]
        assert len(found) == 1 and found[0] != row and found[0] // VIEWS == row // VIEWS
        one, two = turns[row], turns[found[0]]
        turn = two * one.inv() if frame == "world" else one.inv() * two
        expected = np.roll(turn.as_quat(canonical=True), 1)
        assert pairs.relative["rotation"][row].numpy() == pytest.approx(expected, abs=1e-5)
        for name in ("background_hue", "light_hue", "light_theta", "light_phi"):
            change = float(shown[name][found[0]] - shown[name][row])
            assert float(pairs.relative[name][row]) == pytest.approx(change, abs=1e-6)


# Probes of poses


def test_features_that_are_the_quaternion_tell_the_rotation():
    targets = {"rotation": POSE_TARGETS["rotation"]}
    probes = {"linear": RidgeProbe, "MLP": partial(MLPProbe, hidden=64, learning_rate=5e-3)}
    table = probed(Knows("quaternion"), targets=targets, probes=probes)
    assert score_of(table, probe="MLP") > 0.99
    assert list(table.columns) == [
        "features", "target", "probe", "metric", "score", "pooled R2", "dimensions", "inputs",
        "settings",
    ]  # fmt: skip
    assert list(table.metric) == ["R2"] * 2 and list(table.dimensions) == [4] * 2
    assert list(table.inputs) == [8] * 2


def test_a_line_tells_differences_of_what_it_is_told():
    halves = {"hues": part(slice(0, 2)), "light": part(slice(2, 4))}
    names = "background_hue", "light_hue", "light_theta", "light_phi"
    line = {"linear": RidgeProbe}
    table = probed(Knows(*names), features=halves, probes=line)
    assert len(table) == 8 and set(table.target) == set(POSE_TARGETS)
    for half, known in (
        ("hues", {"background hue", "light hue"}),
        ("light", {"light direction"}),
    ):
        for target in POSE_TARGETS:
            score = score_of(table, features=half, target=target)
            assert score > 0.999 if target in known else abs(score) < 0.05


def test_noise_tells_nothing():
    torch.manual_seed(0)
    table = probed(Noise())
    assert len(table) == 8 and table.score.abs().max() < 0.05


# The predictor's retrieval


def product(w: float, x: float, y: float, z: float) -> list[list[float]]:
    """The matrix of a quaternion: what it makes of another one that it is multiplied by."""
    return [[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]]


class Exact(nn.Module):
    """Vectors are quaternions, and the predictor turns them exactly, as it can: SIE at its best."""

    def __init__(self, conditioned: bool = True) -> None:
        super().__init__()
        self.knows = Knows("quaternion")
        self.predictor = HyperPredictor(RelativeParameters(["rotation"]), 4)
        units = torch.tensor([product(*unit) for unit in torch.eye(4).tolist()])
        # An idle one sees w alone: vectors keep their direction.
        weight = units if conditioned else units * torch.eye(4)[0].view(4, 1, 1)
        self.predictor.hyper.weight.data = weight.permute(1, 2, 0).flatten(0, 1)

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, self.knows(images)[..., 0]


def test_an_exact_predictor_finds_every_view_and_an_idle_one_finds_itself():
    images = planted(100)
    found = retrieve_predicted(Exact(), images, batch_size=64, progress=False)
    assert list(found.metric) == ["MRR", "hit@1", "hit@5"] and (found.score == 1).all()
    assert (found.queries == 400).all() and (found.candidates == VIEWS).all()
    idle = retrieve_predicted(Exact(conditioned=False), images, ks=(1,), progress=False)
    assert idle.score[1] == 0 and idle.score[0] <= 0.5


def test_a_trained_method_is_taken_as_it_is_and_left_so():
    torch.manual_seed(0)
    images = RenderedObjects(20, VIEWS, size=SMALL).in_memory()
    backbone = ResNet("C1", (1, 1), 4, image_size=SMALL)
    method = build_method("sie", backbone, size=SMALL, width=8, augment=Poses()).objective.train()
    state = copy.deepcopy(method.state_dict())
    table = retrieve_predicted(method, images, progress=False)
    assert table.equals(retrieve_predicted(method, images, batch_size=7, progress=False))
    assert not table.equals(retrieve_predicted(method, images, seed=1, progress=False))
    assert all(torch.equal(value, state[name]) for name, value in method.state_dict().items())
    assert all(module.training for module in method.modules())
    assert table.score.between(0, 1).all() and table.chance[0] < 1


def test_sets_that_cannot_be_probed():
    images, network = planted(20), Knows("quaternion")
    with pytest.raises(DataError, match="axes of the world and of the object"):
        probe_poses(network, images, planted(20, 1, frame="object"), progress=False)
    for sets in ((images.subset(range(8)), images), (images, images.subset(range(8)))):
        with pytest.raises(DataError, match="ArrayImages tells no poses"):
            probe_poses(network, *sets, progress=False)
    with pytest.raises(DataError, match="ArrayImages tells no poses"):
        retrieve_predicted(Exact(), images.subset(range(8)), progress=False)
    with pytest.raises(ValueError, match="views=2 or more"):
        collect_posed_pairs(network, RenderedObjects(8, 1, size=1), progress=False)
    with pytest.raises(DataError, match="16 rows are too few"):
        probe_poses(network, planted(4), images, progress=False)
    still = planted(20)
    still.shown["light_hue"] = torch.full((80,), 0.5)
    with pytest.raises(DataError, match="dimension 0 is the same in all 80 rows"):
        probe_poses(Noise(), images, still, progress=False)
