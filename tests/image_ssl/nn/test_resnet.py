"""The whole backbone: every element, every stem, both modes; the plain one against torch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.contrastive import VICReg
from hierforecast.image_ssl.groups import FeatureAction, FeatureMapAction, Group, ImageAction
from hierforecast.image_ssl.nn import (
    EVEN,
    ODD,
    SMALL_STEM,
    Backbone,
    LiftingConv2d,
    ResNet,
    SizeError,
    matched_width,
    resnet18,
    resnet50,
    small_resnet,
)
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.split import SplitBackbone, SplitChannels
from hierforecast.image_ssl.views import Views
from hierforecast.testing import assert_equivariant
from tests.image_ssl.nn.building import STRIDED, build

NETWORKS = {  # options, an exact size
    "small": ({"depths": (2, 1)}, 9),
    "small, even": ({"depths": (1, 1), "halving": EVEN}, 8),
    "strided stem": ({"depths": (1, 1), "stem": STRIDED}, 13),
    "ImageNet stem, odd": ({"depths": (1, 1), "stem": ODD.large_stem}, 25),
    "ImageNet stem, even": ({"depths": (1, 1), "stem": EVEN.large_stem, "halving": EVEN}, 24),
    "bottleneck": ({"depths": (2, 1), "bottleneck": True}, 9),
    "bottleneck, even": ({"depths": (1, 2), "bottleneck": True, "halving": EVEN}, 12),
}


class Maps(nn.Module):
    def __init__(self, network: ResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.maps(images)


@pytest.mark.parametrize("name", ["C2", "C4", "D1", "D2", "D4"])
@pytest.mark.parametrize("case", NETWORKS.values(), ids=list(NETWORKS))
def test_the_backbone_commutes_with_every_element(case, name):
    options, size = case
    network = build(name, **options, image_size=size)
    images = torch.rand(2, 3, size, size).double()
    turn, features, maps = ImageAction(name), FeatureAction(name), FeatureMapAction(name)
    for a in range(1, network.group.order):
        assert_equivariant(network, images, partial(turn.act, a), partial(features.act, a))
        assert_equivariant(Maps(network), images, partial(turn.act, a), partial(maps.act, a))
    found = network.maps(images)
    assert found.shape[:3] == (2, network.channels, network.group.order)
    torch.testing.assert_close(network.eval()(images), network.maps(images).mean((-2, -1)))
    assert network(images).std() > 1e-3


@pytest.mark.parametrize("group", ["C4", "D4"])
def test_images_need_not_be_square(group):
    network, images = build(group, depths=(1, 1)), torch.rand(2, 3, 9, 13).double()
    turn, maps = ImageAction(group), FeatureMapAction(group)
    for a in range(1, network.group.order):
        assert_equivariant(Maps(network), images, partial(turn.act, a), partial(maps.act, a))
    with pytest.raises(SizeError, match="image size 12"):
        network(torch.rand(2, 3, 9, 12).double())


class PlainBlock(nn.Module):
    def __init__(self, channels: int, hidden: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * hidden if bottleneck else hidden
        sizes = [(1, 1), (3, stride), (1, 1)] if bottleneck else [(3, stride), (3, 1)]
        widths = [channels, *[hidden] * (len(sizes) - 1), out]
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        self.order = []
        for number, (kernel, step) in enumerate(sizes):
            before, after = widths[number : number + 2]
            self.convs.append(nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False))
            self.norms.append(nn.BatchNorm2d(after))
            self.order += [self.convs[-1], self.norms[-1]]
        self.beside = None
        if stride > 1 or channels != out:
            beside = nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            self.beside = nn.Sequential(*beside)
            self.order += self.beside

    def forward(self, x: Tensor) -> Tensor:
        inside = x
        for number, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            inside = norm(conv(inside))
            inside = inside.relu() if number + 1 < len(self.convs) else inside
        return (inside + (x if self.beside is None else self.beside(x))).relu()


class PlainResNet(nn.Module):
    """He et al.'s network, written down once more in plain torch."""

    def __init__(self, depths, width: int, bottleneck: bool, large: bool) -> None:
        super().__init__()
        stem = (7, 2, 3) if large else (3, 1, 1)
        self.conv, self.norm = nn.Conv2d(3, width, *stem, bias=False), nn.BatchNorm2d(width)
        self.large, self.blocks, channels = large, nn.ModuleList(), width
        for stage, depth in enumerate(depths):
            for block in range(depth):
                hidden, stride = width * 2**stage, 2 if stage and not block else 1
                self.blocks.append(PlainBlock(channels, hidden, stride, bottleneck))
                channels = 4 * hidden if bottleneck else hidden
        self.order = [self.conv, self.norm]
        self.order += [layer for block in self.blocks for layer in block.order]

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x)).relu()
        x = F.max_pool2d(x, 3, 2, 1) if self.large else x
        for block in self.blocks:
            x = block(x)
        return x.mean((-2, -1))


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize(("large", "size"), [(False, 16), (True, 40)])
def test_the_trivial_group_gives_the_plain_network(bottleneck, large, size):
    stem = ODD.large_stem if large else SMALL_STEM
    depths = (2, 1, 2)
    network = build("C1", 3, depths=depths, bottleneck=bottleneck, stem=stem)
    plain = PlainResNet(depths, 3, bottleneck, large).double()
    kinds = (nn.BatchNorm3d, LiftingConv2d)
    own = [module for module in network.modules() if isinstance(module, kinds)]
    for mine, theirs in zip(own, plain.order, strict=True):
        values = {
            name: value.squeeze(2) if value.ndim == 5 else value
            for name, value in mine.state_dict().items()
        }
        theirs.load_state_dict(values)
    images = torch.rand(3, 3, size, size).double()
    means = [image.mean() for image in images]
    each = zip(images, means, strict=True)
    standard = [(one - mean) / ((one - mean).square().mean().sqrt() + 0.01) for one, mean in each]
    for mode in (False, True):
        found, wanted = network.train(mode)(images), plain.train(mode)(torch.stack(standard))
        torch.testing.assert_close(found[:, :, 0], wanted, rtol=1e-10, atol=1e-10)


def test_a_flat_image_says_nothing_and_its_brightness_neither():
    network = build("C4", 2, depths=(1,)).eval()
    flat, pale = (network(torch.full((1, 3, 9, 9), x).double()) for x in (0.3, 0.9))
    assert flat.isfinite().all()
    torch.testing.assert_close(flat, pale)
    raw = build("C4", 2, depths=(1,), standardize=False).eval()
    flat, pale = (raw(torch.full((1, 3, 9, 9), x).double()) for x in (0.3, 0.9))
    assert (flat - pale).abs().max() > 0.1


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_of_the_plain_networks():
    with torch.device("meta"):
        sizes = count(resnet18(width=1)), count(resnet18(width=2))
    assert sizes[0] < sizes[1]
    assert count(resnet18()) == 11_176_512
    assert count(resnet50()) == 23_508_032
    assert (resnet18().channels, resnet50(width=8).channels) == (512, 256)


def arithmetic(network: ResNet, size: int) -> int:
    """Multiplications of all convolutions for one image."""
    total = 0

    def see(layer: LiftingConv2d, _: object, out: Tensor) -> None:
        nonlocal total
        total += out.numel() * layer.weight[0].numel()

    for layer in network.modules():
        if isinstance(layer, LiftingConv2d):
            layer.register_forward_hook(see)
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    return total


@pytest.mark.parametrize("group", ["C2", "C4", "D1", "D2", "D4"])
def test_networks_are_matched(group):
    plain = resnet18(width=64), small_resnet(width=64)
    many = resnet18(group, 64, match="parameters"), small_resnet(group, 64, match="parameters")
    for one, other in zip(plain, many, strict=True):
        assert count(other) == pytest.approx(count(one), rel=0.05)
    busy = small_resnet(group, 64, match="compute")
    assert arithmetic(busy, 9) == pytest.approx(arithmetic(plain[1], 9), rel=0.01)
    assert count(small_resnet(group, 64)) > 1.5 * count(plain[1])


def test_arguments_out_of_range_are_told():
    assert matched_width(1, "D4", "compute") == 1
    with pytest.raises(ValueError, match="match 'cost' is none of"):
        matched_width(8, "C4", "cost")
    for wrong in ({"depths": ()}, {"depths": (1, 0)}, {"width": 0}):
        with pytest.raises(DataError, match="must be 1 or more"):
            ResNet("C4", **wrong)
    assert issubclass(SizeError, DataError)


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
