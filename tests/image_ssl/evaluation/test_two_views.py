"""Probes of two views: features that hold what lies between them and features that do not."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.augment import (
    ColorJitter,
    Compose,
    GaussianBlur,
    HorizontalFlip,
    Identity,
    RandomRotation,
    Translation,
)
from hierforecast.image_ssl.data import RenderedObjects, as_float
from hierforecast.image_ssl.data.arrays import ArrayImages
from hierforecast.image_ssl.evaluation import (
    Pairs,
    Target,
    as_is,
    average_group,
    collect_pairs,
    part,
    probe_poses,
    probe_transformations,
    transformation_sets,
)
from hierforecast.image_ssl.evaluation.targets import TARGETS, box, circle
from hierforecast.image_ssl.nn import small_resnet
from tests.image_ssl.evaluation.two_views import SMALL, VIEWS, score_of

SIZE = 17


def dots(n: int, seed: int = 0, out: float = 0.25) -> ArrayImages:
    """A soft bright dot on black, right of the middle by `out` of the side."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    place = out * SIZE + rng.normal(0, 0.3, (n, 1, 1))
    spot = np.exp(-((x - place) ** 2 + y**2) / 4)
    pixels = np.repeat((255 * spot)[:, None], 3, axis=1).round().astype(np.uint8)
    return ArrayImages(pixels, np.arange(n) % 2, ("a", "b"))


class Where(nn.Module):
    """Knows exactly where the light is: its centroid (right, up) and its amount, (b, 3, 1)."""

    def forward(self, images: Tensor) -> Tensor:
        light = images.mean(dim=1)
        along = (torch.arange(SIZE) - (SIZE - 1) / 2) / SIZE
        total = light.sum(dim=(1, 2))
        right = (light * along).sum(dim=(1, 2)) / total
        up = -(light * along[:, None]).sum(dim=(1, 2)) / total
        return torch.stack([right, up, total / 100], dim=1)[..., None]


class Radius(nn.Module):
    """Sees how far the light is from the middle, and not in which direction; (b, 4, 1)."""

    def forward(self, images: Tensor) -> Tensor:
        place = Where()(images)[:, :2, 0].norm(dim=1)
        return torch.stack([place**k for k in range(1, 5)], dim=1)[..., None]


# Pairs of views


def test_pairs_are_the_views_one_by_one():
    network, some = small_resnet("C4", 2), dots(7)
    augmentation = transformation_sets()["all"]
    pairs = collect_pairs(network, some, augmentation, seed=4, batch_size=3, progress=False)
    generator = torch.Generator().manual_seed(4)
    first, second = (augmentation.draw((7, 3, SIZE, SIZE), generator) for _ in range(2))
    network.eval()
    for row in range(7):
        image = as_float(some.images[row : row + 1])
        for drawn, got in ((first, pairs.first), (second, pairs.second)):
            one = {name: values[row : row + 1] for name, values in drawn.items()}
            with torch.no_grad():
                wanted = network(augmentation.replay(image, one).images)[0]
            assert torch.allclose(got[row], wanted, atol=1e-5)
    relative = augmentation.relative(first, second)
    assert all(torch.equal(values, relative[name]) for name, values in pairs.relative.items())
    assert pairs.inputs().shape == (7, 2 * network.channels * 4)
    assert torch.equal(pairs.inputs(average_group)[:, network.channels :], pairs.second.mean(2))


def test_a_part_of_the_features():
    x = torch.rand(5, 6, 4)
    assert torch.equal(part(slice(2, 5))(x), x[:, 2:5].reshape(5, 12))
    assert torch.equal(part(slice(4, None), average_group)(x), x[:, 4:].mean(2))


def probed_by_kind(of: str, network: nn.Module, seed: int = 0):
    """A table of probes of one or the other kind of two views."""
    if of == "transformations":
        sets, options = (dots(60), dots(30, seed=1)), {"augmentation": RandomRotation()}
        return probe_transformations(network, *sets, **options, seed=seed, progress=False)
    sets = (RenderedObjects(12, VIEWS, seed, SMALL) for seed in (0, 1))
    return probe_poses(network, *sets, seed=seed, progress=False)


@pytest.mark.parametrize("of", ["transformations", "poses"])
def test_the_network_is_left_as_it_was(of):
    network = small_resnet("C4", 2).train()
    network.stages[1].eval()
    state, modes = copy.deepcopy(network.state_dict()), [m.training for m in network.modules()]
    probed_by_kind(of, network)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [m.training for m in network.modules()] == modes


@pytest.mark.parametrize("of", ["transformations", "poses"])
def test_the_same_call_gives_the_same_and_another_seed_does_not(of):
    network = small_resnet("C1", 2)
    first = probed_by_kind(of, network)
    torch.manual_seed(99)
    assert probed_by_kind(of, network).equals(first)
    assert not probed_by_kind(of, network, seed=1).equals(first)


# The protocol


def test_features_that_hold_the_angle_and_features_that_do_not():
    train, test = dots(900), dots(300, seed=1)
    turns = RandomRotation(90.0, padding="zeros")
    scores = probe_transformations(Where(), train, test, turns, progress=False)
    assert score_of(scores, probe="MLP") > 0.97
    assert score_of(scores, probe="linear") < 0.9  # cos(b - a) is a product of both views' features
    blind = probe_transformations(Radius(), train, test, turns, progress=False)
    for probe in ("linear", "MLP"):
        assert abs(score_of(blind, probe=probe)) < 0.1


def test_a_line_tells_a_translation_from_places():
    shift = Translation(0.15, padding="zeros")
    still = dots(300, out=0.0), dots(100, seed=1, out=0.0)
    scores = probe_transformations(Where(), *still, shift, progress=False)
    assert score_of(scores, probe="linear") > 0.99
    assert list(scores.dimensions) == [2, 2] and list(scores.inputs) == [6, 6]


def test_halves_are_probed_apart_and_flips_by_accuracy():
    halves = {"place": part(slice(0, 2)), "light": part(slice(2, 3))}
    steps = Compose([HorizontalFlip(), ColorJitter(0.3, 0, 0, 0, p=1.0)])
    # Of colour, only brightness ever changes here.
    targets = {"light": Target({"brightness": torch.log}), "flip": TARGETS["flip"]}
    table = probe_transformations(
        Where(), dots(400), dots(200, seed=1), steps, halves, targets=targets, progress=False
    )
    assert len(table) == 8
    assert list(table.columns) == [
        "features", "target", "probe", "metric", "score", "pooled R2", "dimensions", "inputs",
        "settings",
    ]  # fmt: skip
    assert list(table.metric) == 2 * ["R2", "R2", "accuracy", "accuracy"]
    assert score_of(table, features="place", target="flip", probe="MLP") == 1
    assert score_of(table, features="light", target="flip", probe="MLP") < 0.65
    assert score_of(table, features="light", target="light", probe="MLP") > 0.9
    assert score_of(table, features="place", target="light", probe="linear") < 0.1


def test_the_sets_draw_what_they_are_named_for():
    sets = transformation_sets()
    assert list(sets) == ["rot", "colour", "blur", "translation", "crop", "flip", "all"]
    singles = [name for kind in list(sets)[:-1] for name in sets[kind].names]
    assert sorted(singles) == sorted(sets["all"].names)
    asked = [name for target in TARGETS.values() for name in target.encodings]
    assert sorted(asked) == sorted(singles)
    generator = torch.Generator().manual_seed(0)
    for kind, target in zip(
        ("rot", "colour", "blur", "translation", "crop"), TARGETS.values(), strict=False
    ):
        a, b = (sets[kind].draw((200, 3, 33, 33), generator) for _ in range(2))
        values = target.values(sets[kind].relative(a, b))
        assert values.isfinite().all() and bool((values.std(0) > 0.02).all())


def test_encodings():
    found = circle(torch.tensor([0.0, 90.0, -180.0, 180.0]))
    assert torch.allclose(found, torch.tensor([[1.0, 0], [0, 1], [-1, 0], [-1, 0]]), atol=1e-6)
    crop = torch.tensor([[0.1, 0.2, 2.0, 0.5]])
    assert torch.allclose(box(crop), torch.tensor([[0.1, 0.2, np.log(2), -np.log(2)]]).float())


# Errors


def test_parameters_that_are_not_finite():
    colors = ColorJitter(1.0, 0, 0, 0, p=1.0)
    a = colors.identity(4)
    a["brightness"] = torch.tensor([1.0, 0.0, 1.0, 0.0])
    with pytest.raises(DataError, match=r"relative 'brightness' of 2 of 4 pairs is NaN.*row 1"):
        TARGETS["colour"].values(colors.relative(a, colors.identity(4)))
    with pytest.raises(DataError, match="relative 'angle' of 1 of 2"):
        TARGETS["rotation"].values({"angle": torch.tensor([0.0, torch.nan])})


def test_pairs_that_cannot_be_probed():
    network, some = Where(), dots(30)
    with pytest.raises(DataError, match="10 rows are too few"):
        probe_transformations(network, dots(10), some, RandomRotation(), progress=False)
    with pytest.raises(DataError, match="no target of"):
        probe_transformations(network, some, some, Identity(), progress=False)
    with pytest.raises(DataError, match="does this transformation ever happen"):
        probe_transformations(network, some, some, GaussianBlur(p=0.0), progress=False)
    with pytest.raises(DataError, match="no images"):
        collect_pairs(network, some.subset([]), RandomRotation(), progress=False)
    with pytest.raises(DataError, match="features of 1 of 3 pairs are NaN"):
        bad = torch.rand(3, 2)
        bad[1] = torch.inf
        Pairs(torch.rand(3, 2), bad, {})
    with pytest.raises(DataError, match="a row for each pair"):
        Pairs(torch.rand(3, 2), torch.rand(3, 2), {"angle": torch.rand(2)})
    assert torch.equal(as_is(some.labels), some.labels)
