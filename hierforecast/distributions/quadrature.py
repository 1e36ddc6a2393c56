"""Moments of functions of a distribution's cells."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.lowrank import LowRankNormal
from hierforecast.distributions.parts import IndependentParts
from hierforecast.distributions.stretched import ScaleMixture

# Standard deviations to either side that quadrature looks at, and its nodes.
_REACH, _NODES = 8.2, 256


def components(p: SceneDistribution) -> list[tuple[Tensor, Tensor, Tensor]] | None:
    """The normals that every cell is a mixture of: weights, means, variances; None of others.

    The correlations of all components are the same. Each is (P, H, D), or can be broadcast to it.
    """
    if isinstance(p, LowRankNormal):
        return [(torch.ones_like(p.mean[:1, :1, :1]), p.mean, p.variance)]
    if isinstance(p, ScaleMixture):
        weights = p.weights[p.scene, :, None, None].to(p.mean)
        pairs = zip(p.scales.to(p.mean), weights.unbind(1), strict=True)
        return [(weight, p.mean, scale.square() * p.base.variance) for scale, weight in pairs]
    if not isinstance(p, IndependentParts):
        return None
    found = components(p.base)
    if found is None:
        return None
    shape = p.base.event_shape
    return [tuple(x.expand(shape).reshape(p.event_shape) for x in each) for each in found]  # type: ignore[misc]


def parts(p: SceneDistribution) -> Tensor:
    """(P, H, D), the independent part of its scene that a cell belongs to."""
    if isinstance(p, IndependentParts):
        return parts(p.base).reshape(p.event_shape)
    return p.scene[:, None, None].expand(p.event_shape)


def quadrature(value: Callable[[Tensor], Tensor], base: SceneDistribution) -> tuple[Tensor, Tensor]:
    """Mean and variance (P, H, D) of values of a distribution's cells, from its quantiles.

    Gauss-Legendre between the quantiles of -8.2 and 8.2 standard deviations of a normal: to 1e-10
    for smooth values, to 1e-4 of a standard deviation where they jump.
    """
    x, weight = normal_nodes()
    level = torch.special.ndtr(x)[:, None, None, None]
    found = value(precise(base._quantile(level)))
    mean = torch.einsum("k,kphd->phd", weight.to(found), found)
    return mean, torch.einsum("k,kphd->phd", weight.to(found), (found - mean).square())


@cache
def normal_nodes() -> tuple[Tensor, Tensor]:
    """Nodes and weights of a quadrature for a standard normal variable, float64."""
    x, weight = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(_NODES))
    weight = weight * (-0.5 * (_REACH * x).square()).exp()
    return _REACH * x, weight / weight.sum()


def precise(x: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return x.float() if x.is_mps else x.double()
