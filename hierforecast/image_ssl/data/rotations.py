"""Rotations of space as unit quaternions (..., 4), in the order w, x, y, z.

A quaternion and its negative are the same rotation; what is returned here has w >= 0.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from hierforecast._options import one_of

Frame: TypeAlias = Literal["world", "object"]


def compose(second: Tensor, first: Tensor) -> Tensor:
    """The rotation `first` and then `second`, in the order of matrices; shapes broadcast."""
    w, x, y, z = second.unbind(-1)
    a, b, c, d = first.unbind(-1)
    product = (
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    )
    return canonical(torch.stack(product, dim=-1))


def inverse(rotation: Tensor) -> Tensor:
    """The rotation that undoes it."""
    return rotation * rotation.new_tensor([1.0, -1.0, -1.0, -1.0])


def relative_rotation(first: Tensor, second: Tensor, frame: Frame = "world") -> Tensor:
    """What turns the pose `first` into the pose `second`.

    Args:
        frame: about whose axes. "world": `second` is the relative rotation after `first`, so that
            the same turn before the camera is the same rotation whatever the pose. "object":
            `second` is `first` after the relative rotation, as in the code published with SIE
            (Garrido et al. 2023).
    """
    way = second, inverse(first)
    return compose(*(way if one_of("frame", frame, get_args(Frame)) == "world" else way[::-1]))


def canonical(rotation: Tensor) -> Tensor:
    """The same rotation with w >= 0."""
    return torch.where(rotation[..., :1] < 0, -rotation, rotation)


def angle_between(first: Tensor, second: Tensor) -> Tensor:
    """The angle of the rotation from one pose to the other, degrees in [0, 180], (...)."""
    turn = compose(second, inverse(first))
    return torch.rad2deg(2 * torch.atan2(turn[..., 1:].norm(dim=-1), turn[..., 0].abs()))


def about_axis(axis: Tensor, degrees: Tensor) -> Tensor:
    """The rotation by angles (...) counter-clockwise about unit vectors (..., 3)."""
    half = torch.deg2rad(degrees).unsqueeze(-1) / 2
    return canonical(torch.cat([torch.cos(half), torch.sin(half) * axis], dim=-1))


def from_euler(angles: Tensor) -> Tensor:
    """The rotation about the world's x, then y, then z axis, from angles (..., 3) in radians.

    These are Tait-Bryan angles about fixed axes: Blender's "XYZ", and `scipy`'s "xyz".
    """
    degrees = torch.rad2deg(angles)
    x, y, z = torch.eye(3, dtype=angles.dtype, device=angles.device)
    about_x, about_y, about_z = (
        about_axis(axis.expand(angles.shape), degrees[..., k]) for k, axis in enumerate((x, y, z))
    )
    return compose(about_z, compose(about_y, about_x))


def matrix(rotation: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3), which act on columns."""
    w, x, y, z = rotation.unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def uniform_within(draws: np.ndarray, degrees: float) -> np.ndarray:
    """Rotations spread evenly over those by `degrees` at most, from random numbers in [0, 1).

    Evenly means: by the invariant measure of the rotations. The share of all rotations whose angle
    is at most a is (a - sin a) / pi; no axis is preferred.

    Args:
        draws: (n, 3).
        degrees: largest angle, above 0, at most 180: all rotations.

    Returns:
        Quaternions (n, 4), w >= 0.
    """
    angles = np.linspace(0, math.radians(degrees), 4097)
    share = angles - np.sin(angles)
    half = np.interp(draws[:, 0] * share[-1], share, angles) / 2
    up, around = 2 * draws[:, 1] - 1, 2 * math.pi * draws[:, 2]
    flat = np.sqrt(1 - up**2)
    axis = np.stack([flat * np.cos(around), flat * np.sin(around), up], axis=1)
    return np.concatenate([np.cos(half)[:, None], np.sin(half)[:, None] * axis], axis=1)
