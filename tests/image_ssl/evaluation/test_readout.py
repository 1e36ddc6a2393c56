"""Maps of every block on a grid: the right cells in the right places, and they turn as maps do."""

from __future__ import annotations

import torch

from hierforecast.image_ssl.evaluation import BlockReadout, MirrorMean
from hierforecast.image_ssl.groups import FeatureMapAction, ImageAction
from hierforecast.image_ssl.nn import EVEN, ResNet
from hierforecast.testing import in_modes, randomize_


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
