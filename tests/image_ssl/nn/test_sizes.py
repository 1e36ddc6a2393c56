"""Sampling against torch's own convolutions, and exact sizes by listing them."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from hierforecast.errors import DataError
from hierforecast.image_ssl.nn import EVEN, ODD, Sampling, SizeError
from hierforecast.image_ssl.nn.sizes import is_exact, nearest_exact


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
