"""The whole backbone: every element, every stem, both modes; the plain one against torch."""

from __future__ import annotations

from functools import partial
from itertools import product

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
    Sampling,
    SizeError,
    matched_width,
    resnet18,
    resnet50,
    small_resnet,
)
from hierforecast.image_ssl.nn.heads import Projector
from hierforecast.image_ssl.nn.sizes import is_exact, nearest_exact
from hierforecast.image_ssl.split import SplitBackbone, SplitChannels
from hierforecast.image_ssl.views import Views
from hierforecast.testing import assert_equivariant, equivariance_error, randomize_

STRIDED = (Sampling(3, 2, 1),)
NETWORKS = {  # options, an exact size
    "small": ({"depths": (2, 1)}, 9),
    "small, even": ({"depths": (1, 1), "halving": EVEN}, 8),
    "strided stem": ({"depths": (1, 1), "stem": STRIDED}, 13),
    "ImageNet stem, odd": ({"depths": (1, 1), "stem": ODD.large_stem}, 25),
    "ImageNet stem, even": ({"depths": (1, 1), "stem": EVEN.large_stem, "halving": EVEN}, 24),
    "bottleneck": ({"depths": (2, 1), "bottleneck": True}, 9),
    "bottleneck, even": ({"depths": (1, 2), "bottleneck": True, "halving": EVEN}, 12),
}


def build(group: str, width: int = 2, **options) -> ResNet:
    return randomize_(ResNet(group, width=width, **options)).double()


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


def measured(network: ResNet, size: int) -> float:
    """The error of the layers alone, on a size that nobody has checked; inf if they cannot."""
    layers = lambda x: network.stages(network.stem(x)).mean((-2, -1))  # noqa: E731
    images, name = torch.rand(2, 3, size, size).double(), network.group.name
    act = partial(ImageAction(name).act, 1), partial(FeatureAction(name).act, 1)  # generates it
    try:
        return equivariance_error(layers, images, *act, relative=True)
    except RuntimeError:  # the image is smaller than a filter
        return float("inf")


@pytest.mark.parametrize("name", ["C4", "D1"])
@pytest.mark.parametrize(
    "options",
    [
        {"depths": (1,)},
        {"depths": (1, 1)},
        {"depths": (1, 1, 1)},
        {"depths": (1, 1, 1), "halving": EVEN},
        {"depths": (1, 1), "stem": STRIDED},
        {"depths": (1, 1), "stem": ODD.large_stem},
        {"depths": (1, 1), "stem": EVEN.large_stem, "halving": EVEN},
        {"depths": (1, 1), "stem": (Sampling(5, 3, 0), Sampling(2, 1))},
        {"depths": (1, 1), "stem": STRIDED, "halving": EVEN},
        {"depths": (1, 1), "bottleneck": True},
    ],
)
def test_the_constructor_knows_which_sizes_are_exact(options, name):
    network = build(name, width=4, **options).eval()  # wide enough that ReLU leaves something
    errors = {size: measured(network, size) for size in range(5, 41)}
    exact = [size for size, error in errors.items() if error < 1e-10]
    assert exact
    for size, error in errors.items():
        assert error < 1e-10 or error > 1e-3, f"{size}: {error}"
        if size in exact:
            ResNet(name, width=1, **options, image_size=size)
            continue
        with pytest.raises(SizeError, match=f"image size {size} is not exact for {name}") as told:
            ResNet(name, width=1, **options, image_size=size)
        if exact[0] < size < exact[-1]:
            below = max(other for other in exact if other < size)
            above = min(other for other in exact if other > size)
            assert f"sizes near it are {below} and {above};" in str(told.value)
        with pytest.raises(SizeError, match=f"image size {size} "):
            network(torch.zeros(1, 3, size, size).double())
        assert ResNet("C1", width=1, **options, image_size=size).is_exact(size)


@pytest.mark.parametrize(
    ("network", "sizes"),
    [
        (small_resnet, [29, 33, 37, 41]),
        (partial(small_resnet, halving=EVEN), [28, 32, 36, 40]),
        (resnet18, [33, 65, 193, 225, 257]),
        (partial(resnet18, halving=EVEN), [32, 64, 192, 224, 256]),
        (partial(resnet18, stem=SMALL_STEM), [33, 41, 57, 65]),
        (resnet50, [193, 225, 257]),
    ],
)
def test_known_sizes(network, sizes):
    built = network("C4", 2)
    found = [size for size in range(min(sizes), max(sizes) + 1) if built.is_exact(size)]
    assert set(sizes) <= set(found)
    assert not built.is_exact(sizes[0] + 1)
    assert len({size % (found[1] - found[0]) for size in found}) == 1


def test_resizing_commutes_and_takes_the_nearest_exact_size():
    network = build("D4", depths=(1, 1, 1), resize=True).eval()
    turn, features = ImageAction("D4"), FeatureAction("D4")
    for size, wanted in ((15, 17), (16, 17), (14, 13), (17, 17), (12, 13), (2, 1), (3, 5)):
        # Several: of one image at 1 x 1, a norm in training has no variance but that of rounding.
        images = torch.rand(3, 3, size, size).double()
        by_hand = F.interpolate(images, (wanted, wanted), mode="bilinear", antialias=True)
        torch.testing.assert_close(network(images), network(by_hand), rtol=1e-12, atol=1e-12)
        for a in range(1, 8):
            assert_equivariant(network, images, partial(turn.act, a), partial(features.act, a))
    wide = torch.rand(1, 3, 16, 10).double()
    assert_equivariant(network, wide, partial(turn.act, 5), partial(features.act, 5))
    assert ResNet("C4", (1, 1, 1), 1, image_size=32, resize=True).image_size == 33
    assert ResNet("C1", (1, 1, 1), 1, image_size=32, resize=True).image_size == 32


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


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), list(product([1, 2, 3, 4, 7], [1, 2, 3], [0, 1, 3]))
)
def test_windows_lie_where_torch_puts_them(kernel, stride, padding):
    sampling = Sampling(kernel, stride, padding)
    layer = nn.Conv1d(1, 1, kernel, stride, padding, bias=False).double()
    nn.init.ones_(layer.weight)
    for size in range(max(1, kernel - 2 * padding), 20):
        out = layer(torch.ones(1, 1, size).double())
        assert sampling.out(size) == out.shape[-1]
        place = torch.arange(size).double()[None, None]
        # Where windows have their middles, measured from the center of the image.
        first = (kernel - 1) / 2 - padding
        middles = first + stride * torch.arange(out.shape[-1]).double() - (size - 1) / 2
        centered = torch.equal(middles, -middles.flip(0))
        assert sampling.is_centered(size) == centered
        seen = layer(place - (size - 1) / 2)  # odd, and stays so where windows lie centered
        assert not centered or torch.allclose(seen, -seen.flip(-1))


CHAINS = {
    "nothing": (),
    "one": (Sampling(3, 2, 1),),
    "odd": (Sampling(3, 1, 1), *[ODD.conv] * 2),
    "even": (Sampling(3, 1, 1), *[EVEN.conv] * 2),
    "ImageNet": (*ODD.large_stem, *[ODD.conv] * 3),
    "large window": (Sampling(5, 3),),
    "thirds": (Sampling(5, 3), Sampling(3, 2, 1)),
    "mixed": (Sampling(3, 2, 1), Sampling(4, 2, 1)),
}


@pytest.mark.parametrize("layers", CHAINS.values(), ids=list(CHAINS))
def test_exact_sizes_are_those_that_outputs_grow_back_to(layers):
    grown = set()
    for size in range(1, 130):  # from what is left at the end back to the image
        for layer in reversed(layers):
            size = (size - 1) * layer.stride + layer.kernel - 2 * layer.padding
        grown.add(size)
    found = {size for size in range(1, 130) if is_exact(size, layers)}
    assert found == {size for size in grown if 1 <= size < 130}
    for size in range(1, 90):
        below = [other for other in found if other <= size]
        above = [other for other in found if other >= size]
        wanted = {min(above)} | ({max(below)} if below else set())
        assert nearest_exact(size, iter(layers)) == sorted(wanted)


def test_the_shortcut_samples_what_the_convolution_does():
    for halving in (ODD, EVEN):
        for size in range(2, 40):
            assert halving.conv.is_centered(size) == halving.shortcut.is_centered(size)
            if halving.conv.is_centered(size):
                assert halving.conv.out(size) == halving.shortcut.out(size)


def test_no_exact_size_is_told():
    with pytest.raises(
        SizeError, match="no size from 34 to 546: together they sample one pixel of 4096"
    ):
        nearest_exact(34, [Sampling(3, 2, 1)] * 12)
    assert issubclass(SizeError, DataError)
