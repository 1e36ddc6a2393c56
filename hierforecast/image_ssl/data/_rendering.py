"""Pictures of colored shapes from their parameters: outlines, textures, light.

A picture is a function of its parameters and its size, in torch, on the device of the parameters.
Places are measured from the center of the picture, in fractions of its side, x to the right and y
*up*; angles in degrees, counter-clockwise. So a scene turned by 90 degrees is `torch.rot90` of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from hierforecast.image_ssl.data._drawing import Parameters, by_kind

Outline: TypeAlias = Callable[[Tensor, Tensor], Tensor]

CHUNK = 64  # images at once: their intermediate results stay in a core's cache
SHADOW_LENGTH = 0.05  # of the picture's side
SHADOW_BLUR = 0.07  # width of a shadow's edge, of the picture's side


def _box(u: Tensor, v: Tensor, left: float, right: float, low: float, high: float) -> Tensor:
    across = (u - (left + right) / 2).abs() - (right - left) / 2
    along = (v - (low + high) / 2).abs() - (high - low) / 2
    return torch.maximum(across, along)


def _disc(u: Tensor, v: Tensor, u0: float, v0: float, radius: float) -> Tensor:
    return torch.sqrt((u - u0) ** 2 + (v - v0) ** 2) - radius


def _wedge(u: Tensor, v: Tensor, tip: float, base: float, half: float) -> Tensor:
    """The isosceles triangle with its tip at (tip, 0) and its base between (base, ±half)."""
    length = math.hypot(tip - base, half)
    sides = ((u - tip) * half + v.abs() * (tip - base)) / length
    return torch.maximum(sides, base - u)


def _heart(u: Tensor, v: Tensor) -> Tensor:
    half = 0.55  # of the side of a square on its corner; a disc stands on each of its upper sides
    u = u + 0.38 * half
    lobe = half / math.sqrt(2)
    v = v.abs()
    square = (u.abs() + v) / math.sqrt(2) - half
    return torch.minimum(square, _disc(u, v, lobe, lobe, half))


def _ring(u: Tensor, v: Tensor) -> Tensor:
    band = (torch.sqrt(u**2 + v**2) - 0.73).abs() - 0.25
    return torch.maximum(band, torch.minimum(0.34 - v.abs(), u))


# Signed distances to the outline, negative inside, each within the unit disc and pointing along u.
# None is another one turned or mirrored, and none looks the same after any turn: an angle is one.
OUTLINES: dict[str, Outline] = {
    "arrow": lambda u, v: torch.minimum(
        _wedge(u, v, 1.0, -0.05, 0.86), _box(u, v, -0.95, 0.0, -0.28, 0.28)
    ),
    "crescent": lambda u, v: torch.maximum(
        _disc(u, v, 0.0, 0.0, 0.98), -_disc(u, v, 0.4, 0.0, 0.8)
    ),
    "ell": lambda u, v: torch.minimum(
        _box(u, v, -0.6, -0.14, -0.78, 0.78), _box(u, v, -0.6, 0.62, -0.78, -0.32)
    ),
    "half disc": lambda u, v: torch.maximum(_disc(u, v, -0.35, 0.0, 0.93), -0.35 - u),
    "heart": _heart,
    "open ring": _ring,
    "tee": lambda u, v: torch.minimum(
        _box(u, v, -0.74, -0.28, -0.67, 0.67), _box(u, v, -0.3, 0.97, -0.22, 0.22)
    ),
    "triangle": lambda u, v: _wedge(u, v, 1.0, -0.8, 0.6),
}

# Plane waves whose lengths have no common measure: their sum looks irregular and needs no table.
_WAVES = ((0.41, 0.13, 0.9), (-0.23, 0.47, 2.2), (0.37, 0.61, 4.1), (-0.83, 0.29, 5.3))


def _clouds(u: Tensor, v: Tensor) -> Tensor:
    waves = [torch.sin(2 * math.pi * (a * u + b * v) + c) for a, b, c in _WAVES]
    return torch.stack(waves).sum(0).mul(0.6)


# In periods along u and v, cut off at -1 and 1. Where a period spans many pixels, stripes, checks
# and dots are made sharper before that; clouds never are.
TEXTURES: dict[str, Outline | None] = {
    "plain": None,
    "stripes": lambda u, v: torch.sin(2 * math.pi * u),
    "checks": lambda u, v: 2 * (torch.sin(math.pi * u) * torch.sin(math.pi * v)),
    "dots": lambda u, v: torch.cos(2 * math.pi * u) + torch.cos(2 * math.pi * v) - 0.6,
    "clouds": _clouds,
}


def render(parameters: Parameters, size: int) -> Tensor:
    """Pictures of the scenes that the parameters describe.

    Args:
        parameters: as `RenderedShapes.parameters` gives them, in any float type and on any device;
            scenes may be changed at will, for instance to see one object in two poses.

    Returns:
        (b, 3, size, size), in [0, 1]; edges are anti-aliased over one pixel.
    """
    return _in_chunks(_render, parameters, size)


def coverage(parameters: Parameters, size: int) -> Tensor:
    """How much of each pixel the shape covers: (b, size, size), in [0, 1]."""
    return _in_chunks(_coverage, parameters, size)


def _in_chunks(
    draw: Callable[[Parameters, int], Tensor], parameters: Parameters, size: int
) -> Tensor:
    parts = {name: value.split(CHUNK) for name, value in parameters.items()}
    chunks = zip(*parts.values(), strict=True)
    return torch.cat([draw(dict(zip(parts, chunk, strict=True)), size) for chunk in chunks])


def _render(parameters: Parameters, size: int) -> Tensor:
    light = _direction(parameters["light_angle"])
    strength = _each(parameters["light_strength"])
    x, y = _grid(parameters, size)
    cover = _coverage(parameters, size)
    shade = strength * (light[0] * x + light[1] * y)  # from one side of the picture to the other

    ground = _paint(parameters, "background", x, y, size)
    shadow = _distance(parameters, x + SHADOW_LENGTH * light[0], y + SHADOW_LENGTH * light[1])
    dark = 1.2 * strength * (0.5 - shadow / SHADOW_BLUR).clamp(0, 1)
    ground = ground * ((1 + shade) * (1 - dark)).unsqueeze(1)

    u, v = _in_pose(parameters, x, y)
    scale = _each(parameters["scale"])
    surface = _paint(parameters, "shape", u * scale, v * scale, size)
    turned = _direction(parameters["light_angle"] - parameters["angle"])
    volume = 0.6 * strength * (turned[0] * u + turned[1] * v)  # over the shape: it looks solid
    surface = surface * (1 + shade + volume).unsqueeze(1)
    return torch.lerp(ground, surface, cover.unsqueeze(1)).clamp(0, 1)


def _coverage(parameters: Parameters, size: int) -> Tensor:
    return (0.5 - size * _distance(parameters, *_grid(parameters, size))).clamp(0, 1)


def _grid(parameters: Parameters, size: int) -> tuple[Tensor, Tensor]:
    """Places of the pixels' middles, x (1, 1, size) and y (1, size, 1)."""
    angle = parameters["angle"]
    along = torch.arange(size, dtype=angle.dtype, device=angle.device)
    along = (along - (size - 1) / 2) / size
    return along.reshape(1, 1, size), -along.reshape(1, size, 1)


def _each(values: Tensor) -> Tensor:
    """One number for each picture, (b, 1, 1), to stand beside pixels."""
    return values.reshape(-1, 1, 1)


def _direction(degrees: Tensor) -> tuple[Tensor, Tensor]:
    radians = torch.deg2rad(_each(degrees))
    return torch.cos(radians), torch.sin(radians)


def _in_pose(parameters: Parameters, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Places as the shape sees them: its center at 0, along its axis, in units of its scale."""
    cosine, sine = _direction(parameters["angle"])
    scale = _each(parameters["scale"])
    right = x - _each(parameters["center"][:, 0] - 0.5)
    up = y - _each(0.5 - parameters["center"][:, 1])
    return (cosine * right + sine * up) / scale, (cosine * up - sine * right) / scale


def _distance(parameters: Parameters, x: Tensor, y: Tensor) -> Tensor:
    """Signed distance to the outline, in fractions of the picture's side, (b, size, size)."""
    u, v = _in_pose(parameters, x, y)
    distance = torch.empty_like(u)
    for outline, mine in by_kind(parameters["label"], OUTLINES.values()):
        distance[mine] = outline(u[mine], v[mine])
    return distance * _each(parameters["scale"])


def _paint(parameters: Parameters, what: str, x: Tensor, y: Tensor, size: int) -> Tensor:
    """Color and texture of the shape or the background, (b, 3, size, size)."""
    color = parameters[f"{what}_color"][:, :, None, None]
    cosine, sine = _direction(parameters[f"{what}_texture_angle"])
    period = _each(parameters[f"{what}_period"])
    phase = parameters[f"{what}_phase"]
    u = (cosine * x + sine * y) / period + _each(phase[:, 0])
    v = (cosine * y - sine * x) / period + _each(phase[:, 1])
    pattern = torch.zeros_like(u)
    for texture, mine in by_kind(parameters[f"{what}_texture"], TEXTURES.values()):
        if texture is not None:
            # The steepest sine then climbs from -1 to 1 within about one pixel.
            sharpness = (period[mine] * size / math.pi).clamp(min=1)
            waves = texture(u[mine], v[mine])
            pattern[mine] = (waves if texture is _clouds else waves * sharpness).clamp(-1, 1)
    return color * (1 + _each(parameters[f"{what}_contrast"]) * pattern).unsqueeze(1)
