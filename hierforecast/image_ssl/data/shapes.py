"""Rendered shapes: an endless set of colored pictures whose every parameter is known.

The embedded default of the image room: nothing is downloaded. What the pictures are:
``datasets/shapes/README.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hierforecast._options import share, whole
from hierforecast.errors import DataError
from hierforecast.image_ssl.data._drawing import (
    Parameters,
    RenderedSet,
    rgb,
    scene_of,
    uniform,
)
from hierforecast.image_ssl.data._registry import Request, register
from hierforecast.image_ssl.data._rendering import OUTLINES, TEXTURES, coverage, render
from hierforecast.image_ssl.data.arrays import ImageSet, Indices, Item, whole_numbers
from hierforecast.image_ssl.data.views import MaskSet

CLASSES = tuple(OUTLINES)
TEXTURE_NAMES = tuple(TEXTURES)
N_CLASSES = len(CLASSES)
N_TEXTURES = len(TEXTURE_NAMES)
SIZE = 33  # odd: a network with strides is exactly equivariant on it
SCALES = (0.3, 0.46)
CONTRASTS = (0.06, 0.2)  # of textures, as a share of the color
LIGHT = 0.4
# How far the lightness of a shape is from its background's, in Oklab (black 0, white 1).
LIGHTNESS_GAP = 0.22
COUNTS = 4096, 1024  # that `open_set` renders to train and to evaluate on, by default
_DRAWS = 32  # random numbers that one picture may use


class RenderedShapes(RenderedSet):
    """Shapes of eight classes in any pose, color, texture and light, rendered when asked for.

    Picture `i` of one seed is always the same, whatever `n`, and whichever pictures are asked for
    beside it. Pictures of one seed are independent of each other and of every other seed: another
    seed makes a test set.

    Args:
        scales: smallest and largest radius of a shape, in fractions of the side, at most 0.5: all
            shapes lie wholly within the picture.
        light: strongest light, 0 (none) to 0.5; it shades shapes and background and casts shadows.
    """

    classes = CLASSES
    render, coverage = staticmethod(render), staticmethod(coverage)

    def __init__(
        self,
        n: int,
        seed: int = 0,
        size: int = SIZE,
        *,
        textures: Sequence[str] = TEXTURE_NAMES,
        scales: tuple[float, float] = SCALES,
        light: float = LIGHT,
    ) -> None:
        self.n, self.seed, self.size = whole("n", n), whole("seed", seed, 0), whole("size", size)
        if not textures or not {*textures} <= TEXTURES.keys():
            raise DataError(f"textures={list(textures)}: give some of {list(TEXTURE_NAMES)}")
        if not 0 < scales[0] <= scales[1] <= 0.5:
            raise DataError(f"scales={scales}: give 0 < smallest <= largest <= 0.5")
        self.textures, self.scales, self.light = (
            tuple(textures),
            scales,
            share("light", light, 0, 0.5),
        )

    def __len__(self) -> int:
        return self.n

    @property
    def labels(self) -> Tensor:
        """The class of every picture, int64 (n,)."""
        return self.parameters(np.arange(self.n))["label"]

    def parameters(self, indices: Indices) -> dict[str, Tensor]:
        """What the pictures with these numbers show, exactly; see `draw_parameters`."""
        numbers = whole_numbers(indices, self.n)
        return draw_parameters(
            numbers.numpy(), self.seed, self.textures, self.scales, light=self.light
        )


class ShapeMasks(MaskSet):
    """Rendered shapes with the class of every pixel: 0 where the background is, else 1 + class."""

    classes = ("background", *CLASSES)

    def __init__(self, images: RenderedShapes) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> Item:
        images, labels = self.images.__getitems__(indices)
        masks = self.images.mask(indices) * (labels + 1)[:, None, None]
        return images, masks.to(torch.uint8)


def draw_parameters(
    numbers: np.ndarray,
    seed: int = 0,
    textures: Sequence[str] = TEXTURE_NAMES,
    scales: tuple[float, float] = SCALES,
    *,
    light: float = LIGHT,
) -> dict[str, Tensor]:
    """The parameters of pictures by their numbers; `RenderedShapes` says what the options mean.

    Returns:
        A row a picture, float32 unless said otherwise. ``label``: class, int64. ``angle``: degrees
        counter-clockwise, in [0, 360), from pointing right. ``center``: (b, 2), x from the left
        and y from the top, and ``scale``: radius, in fractions of the side. ``light_angle``: where
        the light comes from, degrees; ``light_strength``. Then, each once with ``shape_`` and once
        with ``background_`` in front: ``color`` (b, 3), RGB in [0, 1]; ``texture``, int64, number
        in `TEXTURE_NAMES`; ``texture_angle``, degrees, of the shape's against the shape;
        ``period``, of the texture, in fractions of the side; ``phase`` (b, 2), in periods;
        ``contrast``, share of the color.
    """
    draw = iter(uniform(np.asarray(numbers, np.uint64), seed, _DRAWS).T)
    label = np.floor(next(draw) * N_CLASSES).astype(np.int64)
    angle = 360 * next(draw)
    scale = scales[0] + (scales[1] - scales[0]) * next(draw)
    center = np.stack([scale + (1 - 2 * scale) * next(draw) for _ in range(2)], axis=1)
    floats = {"angle": angle, "scale": scale, "center": center}
    floats |= {"light_angle": 360 * next(draw), "light_strength": light * next(draw)}
    known = np.array([TEXTURE_NAMES.index(name) for name in textures])
    whole = {"label": label}
    for what, largest in (("shape", 0.2), ("background", 0.3)):
        whole[f"{what}_texture"] = known[np.floor(next(draw) * len(known)).astype(int)]
        floats[f"{what}_texture_angle"] = 360 * next(draw)
        floats[f"{what}_period"] = 0.09 + (largest - 0.09) * next(draw)
        floats[f"{what}_phase"] = np.stack([next(draw), next(draw)], axis=1)
        floats[f"{what}_contrast"] = CONTRASTS[0] + (CONTRASTS[1] - CONTRASTS[0]) * next(draw)
    colors = _colors(*(next(draw) for _ in range(7)))
    floats["shape_color"], floats["background_color"] = colors
    return scene_of(whole, floats)


def turn(parameters: Parameters, degrees: float | Tensor) -> dict[str, Tensor]:
    """The same scenes, turned counter-clockwise about the middle of the picture, light and all.

    By 90 degrees, `render` then gives `torch.rot90` of the picture.

    Args:
        degrees: one angle, or one for each scene (b,).
    """
    angle = parameters["angle"]
    degrees = torch.as_tensor(degrees, dtype=angle.dtype, device=angle.device)
    radians = torch.deg2rad(degrees.expand_as(angle))
    right, up = parameters["center"][:, 0] - 0.5, 0.5 - parameters["center"][:, 1]
    x = right * torch.cos(radians) - up * torch.sin(radians)
    y = right * torch.sin(radians) + up * torch.cos(radians)
    turned = {**parameters, "center": torch.stack([0.5 + x, 0.5 - y], dim=1)}
    for name in ("angle", "light_angle", "background_texture_angle"):
        turned[name] = (parameters[name] + degrees) % 360
    return turned


def _colors(
    lightness: np.ndarray,
    step: np.ndarray,
    side: np.ndarray,
    hue: np.ndarray,
    away: np.ndarray,
    strong: np.ndarray,
    faint: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Colors of shapes and of backgrounds, (n, 3) each, from uniform random numbers (n,).

    They differ in lightness by `LIGHTNESS_GAP` at least and in hue by 60 degrees at least.
    """
    ground = 0.32 + 0.6 * lightness
    lighter = np.where(ground > 0.62, False, np.where(ground < 0.5, True, side < 0.5))
    room = np.where(lighter, 0.93 - ground, ground - 0.25) - LIGHTNESS_GAP
    shape = ground + np.where(lighter, 1, -1) * (LIGHTNESS_GAP + room * step)
    hue = 360 * hue
    return (
        rgb(shape, 0.1 + 0.12 * strong, hue),
        rgb(ground, 0.02 + 0.1 * faint, hue + 60 + 240 * away),
    )


def _open(request: Request) -> RenderedShapes:
    if request.split is not None or request.rest:
        raise DataError(f"shapes have no parts: {request.rest or request.split!r} is none of them")
    count = request.count(COUNTS[request.test])
    return RenderedShapes(count, seed=int(request.test), size=request.size)


register(
    "shapes",
    openers={
        ImageSet: lambda request: _open(request).in_memory(),
        MaskSet: lambda request: ShapeMasks(_open(request)),
    },
)
