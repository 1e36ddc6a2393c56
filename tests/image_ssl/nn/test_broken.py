"""Networks that are almost right: the tester must fail every one of them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.image_ssl.groups import FeatureAction, FeatureMapAction, ImageAction
from hierforecast.image_ssl.nn import GroupConv2d, LiftingConv2d, ResNet, SpatialMaxPool
from hierforecast.image_ssl.nn.heads import ForgetGroup, mlp
from hierforecast.testing import assert_equivariant, equivariance_error, randomize_


def replace_copies(layer: LiftingConv2d, copies: Tensor) -> LiftingConv2d:
    """Another table of turned copies, with its own way back."""
    last = torch.arange(len(copies))[:, None] * copies.shape[1]
    layer.there, layer.back = copies, copies.argsort(dim=1) + last
    return layer


def by_inverse(layer: LiftingConv2d) -> LiftingConv2d:
    """The copy of g is turned the other way, by g^-1."""
    return replace_copies(layer, layer.there[layer.group.inverses])


def axis_left_alone(layer: LiftingConv2d) -> LiftingConv2d:
    """Filters are turned in space; their axis of the group is not permuted."""
    size, order = layer.kernel_size, layer.group.order
    weights = torch.arange(layer.weight[0].numel()).view(-1, order, size, size)
    act = ImageAction(layer.group).act
    return replace_copies(
        layer, torch.stack([act(a, weights).flatten() for a in layer.group.elements()])
    )


def axis_permuted_wrongly(layer: LiftingConv2d) -> LiftingConv2d:
    """The axis is permuted by g where it should be by g^-1."""
    size, order, group = layer.kernel_size, layer.group.order, layer.group
    weights = torch.arange(layer.weight[0].numel()).view(1, -1, order, size, size)
    wrong = [
        ImageAction(group).act(a, FeatureAction(group).act(group.inverse(a), weights)).flatten()
        for a in group.elements()
    ]
    return replace_copies(layer, torch.stack(wrong))


def not_turned(layer: LiftingConv2d) -> LiftingConv2d:
    """All copies are the same filter."""
    return replace_copies(layer, layer.there[:1].expand_as(layer.there).contiguous())


class Wrapped(nn.Module):
    def __init__(self, group: str) -> None:
        super().__init__()
        self.conv = GroupConv2d(3, 3, group, 3, padding=1)


class BiasForEachEntry(Wrapped):
    def __init__(self, group: str) -> None:
        super().__init__(group)
        self.bias = nn.Parameter(torch.zeros(self.conv.group.order))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.bias[:, None, None]


class PlaceBias(Wrapped):
    def __init__(self, group: str) -> None:
        super().__init__(group)
        self.bias = nn.Parameter(torch.zeros(5, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.bias


class NormForEachEntry(Wrapped):
    """Statistics and scales of its own for each entry of the axis."""

    def __init__(self, group: str) -> None:
        super().__init__(group)
        self.norm = nn.BatchNorm2d(3 * self.conv.group.order)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).flatten(1, 2)).view_as(x)


class PaddedOnOneSide(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        self.conv.padding = 0
        return self.conv(F.pad(x, (2, 0, 2, 0)))


class PooledOffCentre(Wrapped):
    """Max-pooling of two pixels over five: the last row and column are never seen."""

    def __init__(self, group: str) -> None:
        super().__init__(group)
        self.pool = SpatialMaxPool(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(x))


class SampledOffCentre(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        self.conv.stride = 2
        return self.conv(x[..., :4, :4])


class ForgetfulHead(nn.Module):
    """Ordinary layers on the entries of the axis, taken for equivariant ones."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self.order = FeatureAction(group).order
        channels = 3 * self.order
        self.layers = nn.Sequential(ForgetGroup(), mlp((channels, 8, channels)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).view(len(x), 3, self.order)


def broken_conv(breaking, group: str) -> nn.Module:
    return breaking(GroupConv2d(3, 3, group, 3, padding=1))


def broken_lift(breaking, group: str) -> nn.Module:
    return breaking(LiftingConv2d(3, 3, group, 3, padding=1))


CONVS = (by_inverse, axis_left_alone, axis_permuted_wrongly, not_turned)
ON_MAPS = [partial(broken_conv, breaking) for breaking in CONVS]
ON_MAPS += [BiasForEachEntry, PlaceBias, NormForEachEntry]
ON_MAPS += [PaddedOnOneSide, PooledOffCentre, SampledOffCentre]
ON_IMAGES = [partial(broken_lift, breaking) for breaking in (by_inverse, not_turned)]


def failing(module: nn.Module, x: Tensor, before, after) -> list[int]:
    """The elements that the tester does not let through, and by far."""
    wrong = []
    for a in range(1, before.order):
        act = partial(before.act, a), partial(after.act, a)
        try:
            assert_equivariant(module, x, *act)
        except AssertionError as told:
            assert "not equivariant" in str(told)
            wrong.append(a)
    worst = max(
        equivariance_error(module.eval(), x, partial(before.act, a), partial(after.act, a))
        for a in range(1, before.order)
    )
    assert not wrong or worst > 1e-3
    return wrong


@pytest.mark.parametrize("group", ["C4", "D4"])
@pytest.mark.parametrize("twin", ON_MAPS)
def test_broken_layers_on_feature_maps_fail(twin, group):
    maps = FeatureMapAction(group)
    x = torch.randn(4, 3, maps.order, 5, 5).double()
    assert failing(randomize_(twin(group)).double(), x, maps, maps)
    right = randomize_(GroupConv2d(3, 3, group, 3, padding=1)).double()
    assert not failing(right, x, maps, maps)


@pytest.mark.parametrize("group", ["C4", "D4"])
@pytest.mark.parametrize("twin", ON_IMAGES)
def test_broken_lifting_fails(twin, group):
    x, image, maps = torch.randn(4, 3, 5, 5).double(), ImageAction(group), FeatureMapAction(group)
    assert failing(randomize_(twin(group)).double(), x, image, maps)
    right = randomize_(LiftingConv2d(3, 3, group, 3, padding=1)).double()
    assert not failing(right, x, image, maps)


@pytest.mark.parametrize("group", ["C4", "D4"])
def test_a_head_that_forgets_the_group_fails(group):
    features = FeatureAction(group)
    x = torch.randn(6, 3, features.order).double()
    everyone = list(range(1, features.order))
    assert failing(randomize_(ForgetfulHead(group)).double(), x, features, features) == everyone
    assert not failing(randomize_(mlp((3, 8, 3), group)).double(), x, features, features)


@pytest.mark.parametrize("group", ["C4", "D4"])
@pytest.mark.parametrize("breaking", CONVS)
def test_one_broken_layer_breaks_the_backbone(breaking, group):
    network = randomize_(ResNet(group, (1, 1), 4)).double()
    x, image, features = torch.rand(3, 3, 9, 9).double(), ImageAction(group), FeatureAction(group)
    assert not failing(network, x, image, features)
    breaking(network.stages[1].layers[3])
    assert failing(network, x, image, features)


@pytest.mark.parametrize("size", [8, 10, 11])
def test_an_even_size_with_stride_two_is_a_large_error(size):
    network = randomize_(ResNet("C4", (1, 1, 1), 4)).double().eval()
    x, image, features = (
        torch.rand(3, 3, size, size).double(),
        ImageAction("C4"),
        FeatureAction("C4"),
    )
    layers = lambda images: network.stages(network.stem(images)).mean((-2, -1))  # noqa: E731
    act = partial(image.act, 1), partial(features.act, 1)
    assert equivariance_error(layers, x, *act, relative=True) > 1e-2
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(layers, x, *act)
