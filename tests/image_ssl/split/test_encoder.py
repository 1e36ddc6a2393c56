"""Which half is which, and that nothing is lost or counted twice."""

import pytest
import torch
from torch import nn

from hierforecast.image_ssl.contrastive import MoCo
from hierforecast.image_ssl.groups import FeatureAction, ImageAction
from hierforecast.image_ssl.nn import small_resnet
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.split import SplitBackbone, SplitChannels, SplitGroup
from hierforecast.image_ssl.views import Views


def splits(backbone):
    """Every split that this backbone can have."""
    yield SplitChannels(backbone)
    if backbone.group.order > 1:
        yield SplitGroup(backbone)


class Wide(nn.Module):
    group = "C1"

    def __init__(self, channels):
        super().__init__()
        self.channels = channels


@pytest.mark.parametrize(
    ("channels", "share", "kept"),
    [(8, 0.5, 4), (8, 0.25, 2), (8, 0.01, 1), (8, 0.99, 7), (2, 0.9, 1)],
)
def test_channels_are_shared_out(channels, share, kept):
    split = SplitChannels(Wide(channels), share)
    features = torch.randn(3, channels, 1, 5, 5)
    halves = split(features)
    assert split.channels == kept == halves.invariant.shape[1]
    assert split.equivariant_shape == (channels - kept, 1) == halves.equivariant.shape[1:3]
    assert split.equivariant_dim == channels - kept
    assert torch.equal(torch.cat(halves, 1), features)


@pytest.mark.parametrize("group", ["C4", "D4"])
def test_the_group_splits_exactly(group):
    torch.manual_seed(0)
    backbone = small_resnet(group, 2).double().eval()
    halves = SplitBackbone(backbone, SplitGroup(backbone))
    images, action = torch.rand(2, 3, 33, 33).double(), ImageAction(group)
    with torch.no_grad():
        one = halves(images).pooled()
        # Together they are the features, and the rest has no part that all elements share.
        whole = backbone(images)
        torch.testing.assert_close(one.invariant + one.equivariant, whole)
        assert one.equivariant.mean(2).abs().max() < 1e-12 < one.equivariant.abs().max()
        assert halves.split.equivariant_shape == one.equivariant.shape[1:]
        for a in range(1, action.order):
            other = halves(action.act(a, images)).pooled()
            torch.testing.assert_close(other.invariant, one.invariant)
            moved = FeatureAction(group).act(a, one.equivariant)
            torch.testing.assert_close(other.equivariant, moved)
            assert (other.equivariant - one.equivariant).abs().max() > 1e-6


@pytest.mark.parametrize("group", ["C1", "C4"])
def test_pooled_halves_are_the_halves_of_pooled_features(group):
    backbone = small_resnet(group, 2).eval()
    images = torch.rand(2, 3, 33, 33)
    for split in splits(backbone):
        halves = SplitBackbone(backbone, split)
        expected = split(backbone(images))
        for found, half in zip(halves(images).pooled(), expected, strict=True):
            torch.testing.assert_close(found, half)
        torch.testing.assert_close(halves.invariant(images), expected.invariant)


@pytest.mark.parametrize("group", ["C1", "C4"])
def test_part_ones_methods_take_the_invariant_half(group):
    backbone = small_resnet(group, 2)
    for split in splits(backbone):
        half = SplitBackbone(backbone, split).invariant
        method = MoCo(half, Projector(half, (8, 4)), queue_size=8)
        method.loss(Views(*torch.rand(2, 4, 3, 33, 33))).backward()
        assert all(p.grad is not None for p in backbone.parameters())


def test_what_cannot_be_split_is_told():
    for share in (0.0, 1.0, -1, float("nan")):
        with pytest.raises(ValueError, match=f"share={share}"):
            SplitChannels(Wide(4), share)
    with pytest.raises(ValueError, match="no two halves"):
        SplitChannels(Wide(1))
    with pytest.raises(ValueError, match="use SplitChannels"):
        SplitGroup(Wide(4))
