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

# Standard deviations to either side that quadrature looks at, and its nodes.
_REACH, _NODES = 8.2, 256


def is_normal(p: SceneDistribution) -> bool:
    """Whether the cells of a distribution are jointly normal."""
    return is_normal(p.base) if isinstance(p, IndependentParts) else isinstance(p, LowRankNormal)


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
