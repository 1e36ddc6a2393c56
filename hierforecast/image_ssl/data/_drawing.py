"""What rendered sets share: scenes by their parameters, random numbers by counters, even colors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from hierforecast.image_ssl.data.arrays import ImageSet, Indices, Item

Parameters: TypeAlias = Mapping[str, Tensor]
Values: TypeAlias = np.ndarray | float
Kind = TypeVar("Kind")


class RenderedSet(ImageSet):
    """Pictures that are rendered from their parameters when asked for.

    Attributes:
        size: side of the pictures in pixels.
    """

    size: int

    @abstractmethod
    def parameters(self, indices: Indices) -> dict[str, Tensor]:
        """What the pictures with these numbers show, exactly, a row each."""

    @staticmethod
    @abstractmethod
    def render(parameters: Parameters, size: int) -> Tensor:
        """Pictures (b, 3, size, size), in [0, 1]."""

    @staticmethod
    @abstractmethod
    def coverage(parameters: Parameters, size: int) -> Tensor:
        """The share of each pixel that the object covers, (b, size, size)."""

    def __getitems__(self, indices: list[int]) -> Item:
        parameters = self.parameters(indices)
        images = self.render(parameters, self.size)
        return (images * 255).round().to(torch.uint8), parameters["label"]

    def mask(self, indices: Indices) -> Tensor:
        """Where the object is: bool (b, size, size), true where it covers half a pixel or more."""
        return self.coverage(self.parameters(indices), self.size) >= 0.5


def scene_of(
    whole: Mapping[str, np.ndarray], floats: Mapping[str, np.ndarray]
) -> dict[str, Tensor]:
    """Parameters as tensors: whole numbers, then floats, which become float32."""
    parameters = {name: torch.from_numpy(value) for name, value in whole.items()}
    return parameters | {name: torch.from_numpy(value).float() for name, value in floats.items()}


def by_kind(labels: Tensor, kinds: Collection[Kind]) -> Iterator[tuple[Kind, Tensor]]:
    """Each kind that there is, with the numbers of the rows whose label is its place."""
    for number, kind in enumerate(kinds):
        rows = (labels == number).nonzero()[:, 0]
        if len(rows):
            yield kind, rows


def uniform(numbers: np.ndarray, seed: int, count: int) -> np.ndarray:
    """Random numbers in [0, 1), (n, count), that depend on the seed and on `numbers` (n,) only.

    The counters go through the mixing function of SplitMix64 (Steele, Lea, Flood 2014), once for
    the seed, once for the number and once for the draw.
    """
    state = _mixed(np.array([seed], np.uint64))
    state = _mixed(state + numbers[:, None])
    state = _mixed(state + np.arange(count, dtype=np.uint64))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: np.ndarray) -> np.ndarray:
    """64 bits in, 64 bits out, each depending on all; arithmetic modulo 2^64."""
    state = (state + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def rgb(lightness: Values, chroma: Values, hue: np.ndarray) -> np.ndarray:
    """Colors (..., 3) in sRGB of those in Oklab's cylinder (Ottosson 2020), cut to a screen's.

    Args:
        lightness: 0 (black) to 1 (white).
        chroma: 0 (gray) to about 0.3.
        hue: degrees.
    """
    linear = linear_rgb(lightness, chroma, hue)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def linear_rgb(lightness: Values, chroma: Values, hue: np.ndarray) -> np.ndarray:
    """The same colors as amounts of light, in which shading is a product."""
    a, b = chroma * np.cos(np.deg2rad(hue)), chroma * np.sin(np.deg2rad(hue))
    cones = np.stack(np.broadcast_arrays(lightness, a, b), axis=-1) @ _LAB_TO_CONES.T
    return np.clip(cones**3 @ _CONES_TO_RGB.T, 0, 1)


_LAB_TO_CONES = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_CONES_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
