from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from hierforecast.image_ssl.data import relative_rotation
from hierforecast.image_ssl.data.rotations import (
    about_axis,
    angle_between,
    canonical,
    compose,
    from_euler,
    inverse,
    matrix,
    uniform_within,
)

ORACLE = [Rotation.random(50, random_state=np.random.RandomState(seed)) for seed in (0, 1)]


def ours(rotation: Rotation) -> torch.Tensor:
    """Scipy's x, y, z, w as w, x, y, z with w >= 0."""
    return canonical(torch.from_numpy(np.roll(rotation.as_quat(), 1, axis=-1).copy()))


FIRST, SECOND = (ours(rotation) for rotation in ORACLE)


def close(actual, expected):
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=0, atol=1e-12)


def test_against_scipy():
    close(matrix(FIRST), ORACLE[0].as_matrix())
    close(compose(SECOND, FIRST), ours(ORACLE[1] * ORACLE[0]))
    close(inverse(FIRST), ours(ORACLE[0].inv()))
    close(angle_between(FIRST, SECOND), np.rad2deg((ORACLE[1] * ORACLE[0].inv()).magnitude()))
    angles = torch.empty(50, 3, dtype=torch.float64).uniform_(-math.pi, math.pi)
    close(from_euler(angles), ours(Rotation.from_euler("xyz", angles.numpy())))
    axis = torch.nn.functional.normalize(angles, dim=1)
    degrees = torch.linspace(-170, 170, 50, dtype=torch.float64)
    vectors = axis * torch.deg2rad(degrees)[:, None]
    close(about_axis(axis, degrees), ours(Rotation.from_rotvec(vectors.numpy())))


def test_relative_rotation_composes():
    world, body = (relative_rotation(FIRST, SECOND, frame) for frame in ("world", "object"))
    close(compose(world, FIRST), SECOND)
    close(compose(FIRST, body), SECOND)
    close(world, ours(ORACLE[1] * ORACLE[0].inv()))
    close(body, ours(ORACLE[0].inv() * ORACLE[1]))
    assert (world[:, 0] >= 0).all() and (world - body).abs().max() > 0.5
    close(relative_rotation(-FIRST, SECOND), world)
    close(relative_rotation(FIRST, FIRST), torch.eye(4, dtype=torch.float64)[:1].expand(50, 4))
    # A turn before the viewer is the same rotation of the world whatever the pose.
    turn = about_axis(torch.eye(3, dtype=torch.float64)[2], torch.tensor(30.0, dtype=torch.float64))
    close(relative_rotation(FIRST, compose(turn, FIRST)), turn.expand(50, 4))
    with pytest.raises(ValueError, match="frame 'camera'"):
        relative_rotation(FIRST, SECOND, "camera")


@pytest.mark.parametrize("within", [180.0, 90.0, 20.0])
def test_rotations_are_spread_evenly(within):
    draws = np.random.default_rng(3).random((20_000, 3))
    rotations = uniform_within(draws, within)
    assert np.abs(np.linalg.norm(rotations, axis=1) - 1).max() < 1e-12
    assert rotations[:, 0].min() >= -1e-12
    known = Rotation.from_quat(np.roll(rotations, -1, axis=1))
    angles, most = known.magnitude(), math.radians(within)
    assert angles.max() <= most + 1e-9
    share = lambda a: (a - np.sin(a)) / (most - np.sin(most))  # noqa: E731
    assert kstest(angles, share).pvalue > 1e-3
    axes = known.as_rotvec() / angles[:, None]
    for k in range(3):  # Archimedes: each coordinate of an even direction is even
        assert kstest(axes[:, k], "uniform", (-1, 2)).pvalue > 1e-3
    if within == 180:
        turned = known.apply([0.6, 0.0, 0.8])
        assert kstest(turned[:, 1], "uniform", (-1, 2)).pvalue > 1e-3
        assert np.abs(known.as_matrix().mean(0)).max() < 0.02
