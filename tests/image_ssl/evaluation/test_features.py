"""Features of a frozen network: those of each image, of every block, and the table made of them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import ArrayImages
from hierforecast.image_ssl.evaluation import (
    BlockReadout,
    Features,
    LogisticProbe,
    MirrorMean,
    average_group,
    collect_features,
    evaluate,
    features,
    flatten_group,
)
from hierforecast.image_ssl.groups import FeatureMapAction, ImageAction
from hierforecast.image_ssl.nn import EVEN, ResNet
from hierforecast.image_ssl.nn.resnet import small_resnet
from hierforecast.testing import in_modes, randomize_

CLASSES = ("dark", "bright")


def images(n: int = 22, size: int = 9) -> ArrayImages:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    pixels = rng.integers(0, 120, (n, 3, size, size)) + 130 * labels[:, None, None, None]
    return ArrayImages(pixels.astype(np.uint8), labels, CLASSES)


def backbone(group: str = "C4") -> nn.Module:
    """A network whose running statistics are not those it began with."""
    network = small_resnet(group, 4, standardize=False)  # brightness is to be seen
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return network


def test_features_are_those_of_each_image_by_itself():
    network, some = backbone(), images()
    # A batch size that leaves a remainder.
    got = collect_features(network, some, flatten_group, batch_size=5, progress=False)
    network.eval()
    with torch.no_grad():
        for row, (pixels, label) in enumerate(some):
            one = network(pixels[None].float() / 255)
            assert torch.allclose(got.x[row], one.reshape(-1), atol=1e-5)
            assert got.y[row] == label
    assert got.classes == CLASSES
    assert got.x.dtype == torch.float32 and not got.x.requires_grad


def test_averaged_features_are_the_mean_of_the_flattened():
    network, some = backbone("D4"), images()
    wide = collect_features(network, some, flatten_group, progress=False).x
    narrow = collect_features(network, some, average_group, progress=False).x
    slow = torch.stack([wide[:, 8 * c : 8 * (c + 1)].mean(1) for c in range(narrow.shape[1])], 1)
    assert torch.allclose(narrow, slow, atol=1e-6)


def test_averaged_features_ignore_turns_and_flattened_ones_do_not():
    network, some = backbone(), images()
    turned = ArrayImages(ImageAction(network.group).act(1, some.images), some.labels, some.classes)
    for pool, same in ((average_group, True), (flatten_group, False)):
        here, there = (
            collect_features(network, each, pool, progress=False).x for each in (some, turned)
        )
        assert torch.allclose(here, there, atol=1e-5) == same


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(fails):
    network = backbone().train()
    network.stages[1].eval()  # a part that is frozen already stays so
    state = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    gradients = [parameter.requires_grad for parameter in network.parameters()]

    def prepare(pixels):
        if fails:
            raise RuntimeError("on the way")
        return pixels.float() / 255

    if fails:
        with pytest.raises(RuntimeError, match="on the way"):
            collect_features(network, images(), prepare=prepare, progress=False)
    else:
        collect_features(network, images(), prepare=prepare, progress=False)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == gradients
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_network_learns_on_after_its_features_were_taken():
    network = backbone().train()
    collect_features(network, images(), progress=False)
    network(torch.rand(2, 3, 9, 9)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_networks_of_double_precision_are_fed_it():
    got = collect_features(backbone().double(), images(), progress=False)
    assert got.x.dtype == torch.float32


def test_sets_without_whole_batches_give_the_same():
    """A subset of a set on disk is read item by item, or by its own `__getitems__`."""
    some, network = images(), backbone()
    part = some.subset([3, 1, 2])
    whole = collect_features(network, some, progress=False)
    got = collect_features(network, part, progress=False)
    assert torch.allclose(got.x, whole.x[[3, 1, 2]], atol=1e-5)
    assert torch.equal(got.y, whole.y[[3, 1, 2]])


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_shown_when_asked_for(monkeypatch, progress):
    bars = []

    def track(batches, title, total, disable, **options):
        bars.append((total, disable))
        return batches

    monkeypatch.setattr(features, "track", track)
    collect_features(backbone(), images(22), batch_size=5, progress=progress)
    assert bars == [(5, not progress)]


def test_no_images():
    with pytest.raises(DataError, match="no images: the set is empty"):
        collect_features(backbone(), images().subset([]), progress=False)
    with pytest.raises(DataError, match="no images"):
        Features(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite(bad):
    x = torch.rand(4, 3)
    x[2, 1] = bad
    with pytest.raises(DataError, match="1 of 4 images are NaN or infinite, the first at row 2"):
        Features(x, torch.tensor([0, 1, 0, 1]))


def test_a_network_that_diverged():
    network = backbone()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="did the network's training diverge"):
        collect_features(network, images(), progress=False)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.rand(4, 3, 2), torch.zeros(4).long(), "average_group or flatten_group"),
        (torch.ones(4, 3).long(), torch.zeros(4).long(), "floating point"),
        (torch.rand(4, 3), torch.zeros(5).long(), "do not fit 4 images"),
        (torch.rand(4, 3), torch.zeros(4), "class numbers"),
    ],
)
def test_features_of_the_wrong_kind(x, y, message):
    with pytest.raises(DataError, match=message):
        Features(x, y)


def test_evaluate_gives_a_row_for_each_kind_and_classifier():
    table = evaluate(backbone(), images(60), images(20), progress=False)
    assert list(table.columns) == [
        "features", "dimensions", "classifier", "metric", "score", "settings",
    ]  # fmt: skip
    assert list(zip(table.features, table.classifier, strict=True)) == [
        ("invariant", "linear probe"),
        ("invariant", "kNN"),
        ("equivariant", "linear probe"),
        ("equivariant", "kNN"),
    ]
    assert list(table.dimensions) == [16, 16, 64, 64]
    assert (table.metric == "accuracy").all()
    assert (table.score == 1.0).all()  # bright and dark are easily told apart
    assert table.settings[0].startswith("penalty ") and table.settings[1] == "k 20"


def test_evaluate_is_the_parts_put_together():
    network, some, other = backbone(), images(60), images(20)
    other = ArrayImages(255 - other.images, other.labels, CLASSES)
    table = evaluate(network, some, other, progress=False)
    for row, pool in ((0, average_group), (2, flatten_group)):
        train, test = (collect_features(network, s, pool, progress=False) for s in (some, other))
        assert table.score[row] == LogisticProbe().fit(train).score(test).value


def test_cells_are_means_over_quarters_of_every_blocks_maps():
    network = ResNet("C4", (1, 1), 2, halving=EVEN).double().eval()
    images = torch.rand(3, 3, 16, 16).double()
    found = BlockReadout(network)(images)
    parts = []
    for maps in network.block_maps(images):
        half = maps.shape[-1] // 2
        corners = [
            maps[..., rows, columns].mean((-2, -1))
            for rows in (slice(0, half), slice(half, None))
            for columns in (slice(0, half), slice(half, None))
        ]
        parts.append(torch.stack(corners, 2).flatten(1, 2))
    torch.testing.assert_close(found, torch.cat(parts, 1))
    assert found.shape == (3, 4 * (2 + 4), 4)


def test_one_cell_of_the_last_block_is_the_pooled_feature():
    network = ResNet("D4", (1, 1), 2).double().eval()
    images = torch.rand(2, 3, 9, 9).double()
    found = BlockReadout(network, grid=1)(images)
    torch.testing.assert_close(found[:, -network.channels :], network(images))


def test_the_readout_turns_as_maps_do():
    network = randomize_(ResNet("C4", (1, 1), 2), scale=1.0).double()
    images = torch.rand(2, 3, 9, 9).double()
    readout, turn = BlockReadout(network), FeatureMapAction("C4")
    for _ in in_modes(network):
        before = readout(images).unflatten(1, (2 + 4, 4)).transpose(2, 3).unflatten(3, (2, 2))
        after = readout(ImageAction("C4").act(1, images))
        after = after.unflatten(1, (2 + 4, 4)).transpose(2, 3).unflatten(3, (2, 2))
        torch.testing.assert_close(after, turn.act(1, before), rtol=1e-9, atol=1e-9)


def test_the_mirror_mean_sees_no_difference_between_an_image_and_its_mirror_image():
    readout = MirrorMean(BlockReadout(ResNet("C4", (1, 1), 2).double().eval()))
    images = torch.rand(2, 3, 9, 9).double()
    torch.testing.assert_close(readout(images), readout(images.flip(-1)))
    slow = (readout.readout(images) + readout.readout(images.flip(-1))) / 2
    torch.testing.assert_close(readout(images), slow)
