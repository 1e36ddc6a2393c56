"""Pictures of solids before a wall from their parameters: rays, light and shadows.

The viewer looks along -z from far away (an orthographic camera): x points to the right, y up and z
to the viewer. A solid fits the unit ball around the origin; the wall is the plane z = `WALL`. A
scene turned by 90 degrees about z is `torch.rot90` of the picture.

Along a ray o + s u, a half-space n . p <= d allows s <= (d - n . o) / (n . u) or, where n . u < 0,
s >= that. A convex body is met from the largest lower bound to the smallest upper one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hierforecast.image_ssl.data._drawing import Parameters, by_kind
from hierforecast.image_ssl.data._solids import SOLIDS, shaped
from hierforecast.image_ssl.data.rotations import matrix

RADIUS = 0.46  # of the unit ball, in sides of the picture
WALL = -1.05
FINE = 2  # rays along each side of a pixel
AMBIENT = 0.38
WALL_SOFTNESS = 0.4  # a shadow is full behind this much of the solid, in radii
OWN_SOFTNESS = 0.12
_PARALLEL = 1e-4  # to a side, for a ray: then the side bounds it far out
_FAR = 1e9
_AT_ONCE = 1 << 18  # bounds of rays held at a time


def render(parameters: Parameters, size: int) -> Tensor:
    """Pictures of the scenes that the parameters describe.

    Args:
        parameters: as `RenderedObjects.parameters` gives them, in any float type; scenes may be
            changed at will, for instance to see one object in two poses.

    Returns:
        (b, 3, size, size), in [0, 1], sRGB; a pixel is the mean light of its rays.
    """
    return _draw(parameters, size, (3, size, size), _picture)


def coverage(parameters: Parameters, size: int) -> Tensor:
    """The share of each pixel's rays that meet the solid: (b, size, size)."""

    def cover(parameters: Parameters, kind: str, size: int) -> Tensor:
        planes = _posed(parameters, kind)
        return _mean(_surface(planes, *_rays(planes, size))[2].to(planes.dtype))

    return _draw(parameters, size, (size, size), cover)


def light_direction(parameters: Parameters) -> Tensor:
    """Unit vectors (b, 3) to where the light comes from."""
    theta, phi = parameters["light_theta"], parameters["light_phi"]
    flat = torch.sin(theta)
    return torch.stack([flat * torch.cos(phi), flat * torch.sin(phi), torch.cos(theta)], dim=-1)


def _draw(
    parameters: Parameters,
    size: int,
    shape: tuple[int, ...],
    draw: Callable[[Parameters, str, int], Tensor],
) -> Tensor:
    """Draw the scenes of each kind of solid together, a few at a time: (b, *shape)."""
    out = parameters["quaternion"].new_empty((len(parameters["label"]), *shape))
    for name, mine in by_kind(parameters["label"], SOLIDS):
        paints = SOLIDS[name].paints
        planes = len(paints) * len(paints[0])
        for some in mine.split(max(1, _AT_ONCE // (planes * (FINE * size) ** 2))):
            out[some] = draw({n: v[some] for n, v in parameters.items()}, name, size)
    return out


def _picture(parameters: Parameters, kind: str, size: int) -> Tensor:
    planes, source = _posed(parameters, kind), light_direction(parameters)
    x, y = _rays(planes, size)
    height, side, seen = _surface(planes, x, y)
    wall = _wall(parameters, planes, x, y, source)
    lit = torch.ones_like(height)
    if planes.shape[1] > 1:  # a convex body throws no shadow on itself
        lit = 1 - _shadow(planes, x, y, height, source, OWN_SOFTNESS)

    normals, paint = planes[..., :3].flatten(1, 2), _paints(parameters, kind)
    facing = (normals * source[:, None]).sum(-1, keepdim=True).clamp(min=0)
    dim = paint * AMBIENT * (0.75 + 0.25 * normals[..., 2:])
    bright = paint * facing * parameters["light_color"][:, None]
    channels = []
    for k in range(3):
        solid = _gather(dim[..., k], side) + lit * _gather(bright[..., k], side)
        channels.append(_mean(torch.where(seen, solid, wall[:, k])))
    light = torch.stack(channels, dim=1).clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _posed(parameters: Parameters, kind: str) -> Tensor:
    """Planes (b, bodies, m, 4) of the solids as they stand."""
    planes = shaped(SOLIDS[kind], parameters["thickness"], parameters["stretch"])
    turn = matrix(parameters["quaternion"])[:, None, None]
    normals = planes[..., None, :3]
    return torch.cat([(turn * normals).sum(-1), planes[..., 3:]], dim=-1)


def _rays(planes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Where the rays go, in radii of the unit ball: x (n,), to the right, and y (n,), downwards."""
    n = FINE * size
    along = (torch.arange(n).to(planes) - (n - 1) / 2) / (n * RADIUS)
    return along, -along


def _bounds(
    planes: Tensor, direction: Tensor, x: Tensor, y: Tensor, z: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds of rays from (x, y, z) by each plane, (b, bodies, m, n, n)."""
    speed = (planes[..., :3] * direction[:, None, None]).sum(-1)
    least = torch.where(speed < 0, -_PARALLEL, _PARALLEL)
    speed = torch.where(speed.abs() < _PARALLEL, least, speed)
    # Sums over x and y alone are small; only their sum is as large as the rays are many.
    per_x, per_y, per_z, start = (planes / speed[..., None])[..., None, None].unbind(-3)
    fixed = start - per_y * y[:, None]
    if isinstance(z, float):
        fixed = fixed - per_z * z
    ahead = (speed > 0)[..., None, None]
    along = -per_x * x
    lower = along + torch.where(ahead, -_FAR, fixed)
    upper = along + torch.where(ahead, fixed, _FAR)
    if isinstance(z, Tensor):
        depth = per_z * z[:, None, None]
        lower, upper = lower - depth, upper - depth
    return lower, upper


def _surface(planes: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the viewer sees: height z, number of the plane, and whether there is any, (b, n, n)."""
    back = planes.new_tensor([0.0, 0.0, 1.0]).expand(len(planes), 3)
    lower, upper = _bounds(planes, back, x, y, 0.0)
    top, side = upper.min(dim=2)
    top = torch.where(top > lower.amax(dim=2), top, -_FAR)
    height, body = top.max(dim=1)
    own = side.gather(1, body[:, None])[:, 0]
    return height, body * planes.shape[2] + own, height > -_FAR


def _shadow(
    planes: Tensor, x: Tensor, y: Tensor, z: Tensor | float, light: Tensor, softness: float
) -> Tensor:
    """How much of the light the solid keeps from the points (x, y, z), (b, n, n), 0 to 1."""
    lower, upper = _bounds(planes, light, x, y, z)
    through = (upper.amin(dim=2) - lower.amax(dim=2).clamp(min=0)).clamp(min=0)
    return (through.sum(dim=1) / softness).clamp(max=1)


def _paints(parameters: Parameters, kind: str) -> Tensor:
    """Color of each plane, (b, planes, 3), linear."""
    return parameters["paints"][:, torch.tensor(SOLIDS[kind].paints).flatten()]


def _wall(parameters: Parameters, planes: Tensor, x: Tensor, y: Tensor, light: Tensor) -> Tensor:
    """The wall behind the solid, lit and in its shadow, (b, 3, n, n), linear."""
    shadow = _shadow(planes, x, y, WALL, light, WALL_SOFTNESS)
    away = light[:, 0, None, None] * x + light[:, 1, None, None] * y[:, None]
    direct = (light[:, 2, None, None] + 0.18 * away) * (1 - shadow)
    # What lies in the shadow of a solid also sees less of the room's light.
    glow = AMBIENT * (1 - 0.3 * shadow)
    shine = parameters["light_color"][:, :, None, None]
    color = parameters["background_color"][:, :, None, None]
    return color * (glow[:, None] + shine * direct[:, None])


def _gather(values: Tensor, side: Tensor) -> Tensor:
    """The value (b, planes) of the plane that each ray meets, (b, n, n)."""
    return values.gather(1, side.flatten(1)).reshape(side.shape)


def _mean(rays: Tensor) -> Tensor:
    """Means of the rays of each pixel, (b, size, size)."""
    parts = [rays[:, i::FINE, j::FINE] for i in range(FINE) for j in range(FINE)]
    return torch.stack(parts).sum(0) / len(parts)
