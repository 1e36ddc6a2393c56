"""A network of one's own that gives maps is a backbone for every head, split and method."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hierforecast.image_ssl.contrastive import VICReg
from hierforecast.image_ssl.groups import Group
from hierforecast.image_ssl.nn import Backbone
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.split import SplitBackbone, SplitChannels
from hierforecast.image_ssl.views import Views


class Own(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self.group, self.channels = Group("C1"), 4
        self.conv = nn.Conv2d(3, 4, 3, bias=False)

    def maps(self, images: Tensor) -> Tensor:
        return self.conv(images).unsqueeze(2)


def test_features_are_the_mean_of_the_maps():
    own, images = Own(), torch.rand(2, 3, 9, 7)
    found, maps = own(images), own.conv(images)
    for image in range(2):
        for channel in range(4):
            wanted = sum(maps[image, channel].flatten().tolist()) / (7 * 5)
            assert found[image, channel, 0].item() == pytest.approx(wanted, abs=1e-6)
    assert found.shape == (2, 4, 1) and list(own.state_dict()) == ["conv.weight"]


def test_the_invariant_half_is_a_backbone_with_maps():
    own, images = Own(), torch.rand(5, 3, 9, 9)
    half = SplitBackbone(own, SplitChannels(own, 0.25)).invariant
    assert isinstance(half, Backbone) and half.channels == 1
    assert torch.equal(half.maps(images), own.maps(images)[:, :1])
    torch.testing.assert_close(half(images), own(images)[:, :1])
    VICReg(half, Projector(half, (6, 3))).loss(Views(images, images.flip(-1))).backward()
    first, *others = own.conv.weight.grad
    assert first.abs().max() > 0 and not torch.stack(others).any()


def test_a_network_without_maps_says_so():
    with pytest.raises(NotImplementedError, match=r"Backbone must define maps\(images\)"):
        Backbone()(torch.rand(1, 3, 4, 4))
