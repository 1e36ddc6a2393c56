"""Which sizes of images are exact: by measuring, by torch's windows, by growing outputs back."""

from __future__ import annotations

from functools import partial
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hierforecast.errors import DataError
from hierforecast.image_ssl.groups import FeatureAction, ImageAction
from hierforecast.image_ssl.nn import (
    EVEN,
    ODD,
    SMALL_STEM,
    ResNet,
    Sampling,
    SizeError,
    resnet18,
    resnet50,
    small_resnet,
)
from hierforecast.image_ssl.nn.sizes import is_exact, nearest_exact
from hierforecast.testing import assert_equivariant, equivariance_error
from tests.image_ssl.nn.building import STRIDED, build


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
