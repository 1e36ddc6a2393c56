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

# Standard deviations to either side that quadrature looks at, its nodes, and those that will do
# where a value's bend is known; values held at a time.
_REACH, _NODES, _FEWER, _AT_ONCE = 8.2, 256, 64, 2**20
_ROOT = float(np.sqrt(2 * np.pi))


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


def quadrature(
    value: Callable[[Tensor], Tensor], base: SceneDistribution, least: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and variance (P, H, D) of values of a distribution's cells, from its quantiles.

    Gauss-Legendre up to the quantile of 8.2 standard deviations of a normal. In deviations it errs
    by 1e-10 for smooth values, 1e-4 for those that bend at `least`, 1e-3 for those that bend
    elsewhere, and about 1e-4 for steps of a thousandth of one; steps of one are not for it (.04).

    Args:
        value: of a cell, (..., P, H, D) to the same.
        base: the distribution.
        least: (P, H, D), probability up to whose quantile all values are the same: nodes begin
            there, and fewer will do. None: they begin 8.2 deviations below.
    """

    def at(score: Tensor) -> Tensor:
        return value(precise(base._quantile(torch.special.ndtr(score))))

    start = torch.full((1, 1, 1), -_REACH, dtype=torch.float64)
    if least is not None:
        start = torch.special.ndtri(precise(least)).clamp(-_REACH, _REACH)
    half = (_REACH - start) / 2
    nodes = (a.to(start).view(-1, 1, 1, 1) for a in _legendre(_NODES if least is None else _FEWER))
    size = max(1, _AT_ONCE // max(1, base.event_shape.numel()))
    # Less the value of what lies below all nodes, which then needs none; or else of the median.
    middle = at(0 * start if least is None else start)
    first, second = torch.zeros_like(middle), torch.zeros_like(middle)
    for t, weight in zip(*(a.split(size) for a in nodes), strict=True):
        score = start + half * (t + 1)
        away = at(score) - middle
        share = (weight * half * (-0.5 * score.square()).exp() / _ROOT).to(away) * away
        first, second = first + share.sum(0), second + (share * away).sum(0)
    return middle + first, (second - first.square()).clamp(min=0)


@cache
def _legendre(count: int) -> tuple[Tensor, Tensor]:
    x, weight = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy(x), torch.from_numpy(weight)


@cache
def normal_nodes() -> tuple[Tensor, Tensor]:
    """Nodes and weights of a quadrature for a standard normal variable, float64."""
    x, weight = _legendre(_NODES)
    weight = weight * (-0.5 * (_REACH * x).square()).exp()
    return _REACH * x, weight / weight.sum()


def precise(x: Tensor) -> Tensor:
    """In float64, where the device has it."""
    return x.float() if x.is_mps else x.double()
