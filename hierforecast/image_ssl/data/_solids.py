"""Solids as unions of convex bodies, each the meeting of half-spaces n . p <= d.

A solid is planes (b, bodies, m, 4), rows (n, d), and vertices (b, v, 3), in units of its own, from
its thickness (b,), a share from 0 to 1. Each plane has the number of its paint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

Body: TypeAlias = tuple[Tensor, Tensor]
Numbers: TypeAlias = Sequence[float | Tensor]
Part: TypeAlias = tuple[Numbers, Numbers]

PAINTS = 6
ROUND = 20  # flat sides that stand for a round one: five to each of four paints
SEGMENTS = 12  # of a ring: three to each of four paints


@dataclass(frozen=True)
class Solid:
    """A kind of object: from thickness to planes and vertices, and its paints (bodies, m)."""

    build: Callable[[Tensor], Body]
    paints: tuple[tuple[int, ...], ...]


def shaped(solid: Solid, thickness: Tensor, stretch: Tensor) -> Tensor:
    """Planes of solids that just fit the unit ball, (b, bodies, m, 4), with unit normals.

    Args:
        thickness: of its parts, (b,), 0 to 1.
        stretch: factor along each of its axes, (b, 3).
    """
    planes, vertices = solid.build(thickness)
    vertices = vertices * stretch[:, None]
    center = (vertices.amax(1) + vertices.amin(1)) / 2
    radius = (vertices - center[:, None]).square().sum(-1).sqrt().amax(1)
    normals = planes[..., :3] / stretch[:, None, None]
    inside = planes[..., 3] - (normals * center[:, None, None]).sum(-1)
    length = normals.square().sum(-1).sqrt()
    offsets = inside / (length * radius[:, None, None])
    return torch.cat([normals / length[..., None], offsets[..., None]], dim=-1)


def _frustum(thickness: Tensor, sides: int, top: float) -> Body:
    """A cone of flat sides from z = -1, where it is 1 from axis to side, to z = 1: `top`."""
    b = len(thickness)
    around = (torch.arange(sides).to(thickness) + 0.5) * (2 * math.pi / sides)
    flat = [torch.cos(around), torch.sin(around)]
    slope, middle = (1 - top) / 2, (1 + top) / 2
    side = torch.stack([*flat, torch.full_like(around, slope), torch.full_like(around, middle)], -1)
    ends = side.new_tensor([[0.0, 0.0, -1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    corner = around + math.pi / sides
    rim = torch.stack([torch.cos(corner), torch.sin(corner)], -1) / math.cos(math.pi / sides)
    low = torch.cat([rim, -torch.ones_like(rim[:, :1])], -1)
    high = torch.cat([rim * top, torch.ones_like(rim[:, :1])], -1)
    planes, vertices = torch.cat([side, ends]), torch.cat([low, high])
    return planes.expand(b, 1, -1, 4), vertices.expand(b, -1, 3)


def _box(center: Numbers, half: Numbers, like: Tensor) -> Body:
    """One box for each solid: planes (b, 1, 6, 4), vertices (b, 8, 3)."""
    middle, reach = (
        torch.stack([torch.as_tensor(value).to(like).expand_as(like) for value in values], -1)
        for values in (center, half)
    )
    sides = torch.cat([torch.eye(3), -torch.eye(3)]).to(like).expand(len(like), 6, 3)
    offsets = torch.cat([reach + middle, reach - middle], dim=-1)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).to(like)
    planes = torch.cat([sides, offsets[..., None]], dim=-1)
    return planes[:, None], middle[:, None] + signs * reach[:, None]


def _boxes(
    thickness: Tensor, thin: float, more: float, parts: Callable[[Tensor], Sequence[Part]]
) -> Body:
    """A union of boxes of half widths from `thin` to `thin + more`."""
    bodies = [_box(*part, thickness) for part in parts(thin + more * thickness)]
    return torch.cat([planes for planes, _ in bodies], 1), torch.cat([v for _, v in bodies], 1)


def _ring(thickness: Tensor) -> Body:
    """Wedges of a flat ring around z: outer, inner, two meeting and two flat sides each."""
    height, hole = 0.2 + 0.16 * thickness, 0.68 - 0.2 * thickness
    step = 2 * math.pi / SEGMENTS
    middle = (torch.arange(SEGMENTS).to(thickness) + 0.5) * step
    quarter = (step + math.pi) / 2  # from a wedge's middle to what its meeting sides look at
    zero = torch.zeros_like(middle)
    looks = [
        torch.stack([torch.cos(angle), torch.sin(angle), zero], -1)
        for angle in (middle, middle + math.pi, middle + quarter, middle - quarter)
    ]
    looks += [torch.stack([zero, zero, zero + sign], -1) for sign in (1, -1)]
    meeting = torch.zeros_like(hole)
    offsets = torch.stack([meeting + 1, -hole, meeting, meeting, height, height], -1)
    normals = torch.stack(looks, 1).expand(len(thickness), SEGMENTS, 6, 3)
    planes = torch.cat([normals, offsets[:, None, :, None].expand_as(normals[..., :1])], -1)
    rim = torch.stack([torch.cos(middle - step / 2), torch.sin(middle - step / 2)], -1)
    rim = (rim / math.cos(step / 2)).expand(len(thickness), SEGMENTS, 2)
    ends = [(sign * height)[:, None, None].expand_as(rim[..., :1]) for sign in (1, -1)]
    return planes, torch.cat([torch.cat([rim, end], -1) for end in ends], 1)


def _sectors(sides: int) -> tuple[int, ...]:
    """Paints of the sides of a round or flat-sided solid, then of its two ends."""
    around = tuple(min(4, sides) * k // sides for k in range(sides))
    return (*around, 4, 5)


_SIX = (0, 1, 2, 3, 4, 5)  # one for each direction that a box has a side in
_WEDGES = tuple(
    (4 * k // SEGMENTS, (4 * k // SEGMENTS + 2) % 4, 0, 0, 4, 5) for k in range(SEGMENTS)
)


# Middles and half sides of boxes, from the half width of the parts.
def _arch(w: Tensor) -> list[Part]:
    legs: list[Part] = [((w - 1, 0, 0), (w, 1, 0.5)), ((1 - w, 0, 0), (w, 1, 0.5))]
    return [*legs, ((0, 1 - w, 0), (1, w, 0.5))]


def _cross(w: Tensor) -> list[Part]:
    return [((0, 0, 0), (1, w, w)), ((0, 0, 0), (w, 1, w)), ((0, 0, 0), (w, w, 1))]


def _ell(w: Tensor) -> list[Part]:
    return [((w - 1, 0, 0), (w, 1, 0.5)), ((0, w - 1, 0), (1, w, 0.5))]


# No kind is another one stretched, and every side that is seen has a paint that tells which it is.
SOLIDS: dict[str, Solid] = {
    "arch": Solid(partial(_boxes, thin=0.2, more=0.12, parts=_arch), (_SIX,) * 3),
    "box": Solid(partial(_box, (0, 0, 0), (1, 1, 1)), (_SIX,)),
    "cone": Solid(partial(_frustum, sides=ROUND, top=0.0), (_sectors(ROUND),)),
    "cross": Solid(partial(_boxes, thin=0.2, more=0.16, parts=_cross), (_SIX,) * 3),
    "cylinder": Solid(partial(_frustum, sides=ROUND, top=1.0), (_sectors(ROUND),)),
    "ell": Solid(partial(_boxes, thin=0.25, more=0.15, parts=_ell), (_SIX,) * 2),
    "prism": Solid(partial(_frustum, sides=3, top=1.0), (_sectors(3),)),
    "pyramid": Solid(partial(_frustum, sides=4, top=0.0), (_sectors(4),)),
    "ring": Solid(_ring, _WEDGES),
    "tetrahedron": Solid(partial(_frustum, sides=3, top=0.0), (_sectors(3),)),
}
