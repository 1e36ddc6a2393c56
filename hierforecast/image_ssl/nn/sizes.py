"""Which image sizes an equivariant network is exact for.

A layer that samples every s-th pixel commutes with turns only if the sampled grid lies centered on
the image: nothing may be left over, ``(size + 2 padding - kernel) mod s == 0``. A 3 x 3 filter with
padding 1 and stride 2 therefore needs odd sizes, an even filter even ones; on the wrong parity the
turned image is sampled at other pixels, and the error is as large as the features themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from hierforecast.errors import DataError

# How far `nearest_exact` looks; every network here has exact sizes a few dozen pixels apart.
REACH = 512


class SizeError(DataError):
    """An image size for which a network would not be equivariant."""


@dataclass(frozen=True)
class Sampling:
    """A layer that looks at windows of an image.

    Attributes:
        kernel: side of the window.
        stride: pixels between windows.
        padding: pixels added at each side.
    """

    kernel: int
    stride: int = 1
    padding: int = 0

    def out(self, size: int) -> int:
        """Windows along a side of `size` pixels."""
        return (size + 2 * self.padding - self.kernel) // self.stride + 1

    def is_centered(self, size: int) -> bool:
        """Whether the windows lie centered on a side of `size` pixels."""
        return (size + 2 * self.padding - self.kernel) % self.stride == 0


def is_exact(size: int, layers: Iterable[Sampling]) -> bool:
    """Whether every layer in turn is centered, and something is left at the end."""
    for layer in layers:
        if not layer.is_centered(size):
            return False
        size = layer.out(size)
        if size < 1:
            return False
    return True


def nearest_exact(size: int, layers: Iterable[Sampling]) -> list[int]:
    """The exact sizes next to `size`, `size` itself included: below (if any), then above."""
    layers = tuple(layers)
    below = next((s for s in range(size, 0, -1) if is_exact(s, layers)), None)
    above = next((s for s in range(size, size + REACH + 1) if is_exact(s, layers)), None)
    if above is None:
        raise SizeError(
            f"these layers are exact for no size from {size} to {size + REACH}: together they "
            f"sample one pixel of {prod(layer.stride for layer in layers)}; use fewer strides"
        )
    return sorted({above} if below is None else {below, above})
