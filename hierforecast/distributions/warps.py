"""Monotone maps between the cells of a `Warped` distribution and those of its base."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.quadrature import components, precise, quadrature

# Stands for minus infinity where it would meet another one.
_LOWEST = 1e30


@dataclass(frozen=True, eq=False)
class Warp(ABC):
    """An increasing map of each cell: y = at + unit * x, and x increases with the base's z.

    Several z may give one y, its *atom*, which then has a probability of its own: all of z from
    `lower` to `upper`. A negative unit, as after `affine`, turns the order round.

    Args:
        at: broadcastable to (P, H, D), as all parameters are; or a number.
        unit: not zero.
    """

    at: Tensor | float
    unit: Tensor | float

    def __post_init__(self) -> None:
        for name, value in self._fields().items():
            if not isinstance(value, Tensor | Warp):  # float64: exact, and promotes nothing
                object.__setattr__(self, name, torch.tensor(value, dtype=torch.float64))

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def has_atoms(self) -> bool:
        """Whether some y have a probability of their own."""
        return False

    def standard(self, y: Tensor) -> Tensor:
        """The x of y."""
        return (y - self.at) / self.unit

    def to_base(self, y: Tensor) -> Tensor:
        """The z of y; of an atom, the largest."""
        return self._up(self.standard(y))

    def from_base(self, z: Tensor) -> Tensor:
        """The y of z."""
        return self.at + self.unit * self._down(z)

    def log_slope(self, y: Tensor) -> Tensor:
        """Log |dz / dy|, of a y that is no atom; -inf where there is no z."""
        x = self.standard(y)
        return self._log_slope(x) - torch.as_tensor(self.unit).abs().log().to(x)

    def atom(self, y: Tensor) -> Tensor:
        """Which y (*s, P, H, D) are atoms, bool."""
        return torch.zeros_like(y, dtype=torch.bool)

    def lower(self, y: Tensor) -> Tensor:
        """The end of the z whose x is less than that of y: -inf if none is."""
        return self.to_base(y)

    def upper(self, y: Tensor) -> Tensor:
        """The largest z whose x is at most that of y: -inf if none is."""
        return self.to_base(y)

    def moments(self, base: SceneDistribution) -> tuple[Tensor, Tensor]:
        """Mean and variance (P, H, D) of y, z being of a distribution; see `quadrature`."""
        normals = components(base)
        if normals is None:
            like = base.median  # its mean may take another quadrature
            mean, variance = quadrature(self._down, base, self._floor(base))
        else:
            like = normals[0][1]
            weights = [precise(weight) for weight, _, _ in normals]
            each = [self._moments(precise(loc), precise(square)) for _, loc, square in normals]
            mean = torch.stack([w * m for w, (m, _) in zip(weights, each, strict=True)]).sum(0)
            squares = [v + (m - mean).square() for m, v in each]
            variance = torch.stack([w * v for w, v in zip(weights, squares, strict=True)]).sum(0)
        unit = torch.as_tensor(self.unit)
        return self.at + unit * mean.to(like), unit.square() * variance.to(like)

    def _floor(self, base: SceneDistribution) -> Tensor | None:
        """The probability (P, H, D) of all z whose x is the least of all; None if none is."""
        return None

    def change(self, parameter: Callable[[Tensor], Tensor]) -> Self:
        """The same with every parameter changed: cast or indexed."""
        changed: dict[str, Any] = {
            name: x.change(parameter) if isinstance(x, Warp) else parameter(x)
            for name, x in self._fields().items()
        }
        return replace(self, **changed)

    def rows(self, index: Tensor) -> Self:
        """That of some rows, (p,) int64 or (P,) bool."""
        return self.change(lambda x: x[index] if x.ndim == 3 and len(x) > 1 else x)

    def affine(self, loc: Tensor, scale: Tensor) -> Self:
        """That of loc + scale * y."""
        return replace(self, at=loc + scale * self.at, unit=scale * self.unit)

    @abstractmethod
    def _up(self, x: Tensor) -> Tensor:
        """X -> z."""

    @abstractmethod
    def _down(self, z: Tensor) -> Tensor:
        """Z -> x."""

    @abstractmethod
    def _log_slope(self, x: Tensor) -> Tensor:
        """Log dz / dx; -inf where there is no z."""

    @abstractmethod
    def _moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of x, z being normal; all float64."""


class Floored(Warp):
    """Non-negative x: all z up to that of zero give zero, which has their probability."""

    shift: Tensor | float

    @property
    def has_atoms(self) -> bool:
        """See `Warp`: zero is one where it is shifted."""
        return bool((torch.as_tensor(self.shift) > 0).any())

    def atom(self, y: Tensor) -> Tensor:
        """See `Warp`."""
        return (self.standard(y) == 0) & (torch.as_tensor(self.shift) > 0)

    def lower(self, y: Tensor) -> Tensor:
        """See `Warp`."""
        return torch.where(self.standard(y) > 0, self.to_base(y), -torch.inf)

    def upper(self, y: Tensor) -> Tensor:
        """See `Warp`."""
        return torch.where(self.standard(y) >= 0, self.to_base(y), -torch.inf)

    def _floor(self, base: SceneDistribution) -> Tensor | None:
        nothing = torch.zeros_like(base.scene, dtype=torch.float64)[:, None, None]
        return base._cdf(self._up(nothing).clamp(min=-_LOWEST))

    def _log_slope(self, x: Tensor) -> Tensor:
        inside = x > 0
        return torch.where(inside, self._inner_slope(torch.where(inside, x, 1)), -torch.inf)

    @abstractmethod
    def _inner_slope(self, x: Tensor) -> Tensor:
        """Log dz / dx of a positive x."""


@dataclass(frozen=True, eq=False)
class Log(Floored):
    """Positive y of any size: x = max(0, exp(z) - shift).

    Large y grow by factors, those below ``unit * shift`` by amounts. Without a shift y is lognormal
    and zero impossible; with one, zero has the probability of z <= log(shift).

    Args:
        at, unit: see `Warp`.
        shift: >= 0.
    """

    shift: Tensor | float

    def _up(self, x: Tensor) -> Tensor:
        # log(x + shift), exact for a small x beside a shift of one, and finite at a negative x.
        inside = x.clamp(min=0) + self.shift
        return torch.where(inside > 0, torch.where(inside > 0, inside, 1).log(), -torch.inf)

    def _down(self, z: Tensor) -> Tensor:
        return (z.exp() - self.shift).clamp(min=0)

    def _inner_slope(self, x: Tensor) -> Tensor:
        return -(x + self.shift).log()

    def _moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """A call option's price: Black and Scholes, "The pricing of options" (1973)."""
        shift, std = precise(torch.as_tensor(self.shift)), variance.sqrt()
        away = mean - torch.where(shift > 0, torch.where(shift > 0, shift, 1).log(), -torch.inf)
        share = [_above(away + power * variance, std) for power in range(3)]
        power = [(n * mean + n * n * variance / 2).exp() for n in range(3)]
        first = power[1] * share[1] - shift * share[0]
        # About the mean of exp(z) and not about zero, which would lose digits at a small variance.
        grown = power[1].square() * variance.expm1()
        second = power[2] * share[2] - 2 * shift * power[1] * share[1] + shift.square() * share[0]
        plain = torch.isinf(away) | (share[0] == 1)
        return first, torch.where(plain, grown, (second - first.square()).clamp(min=0))


@dataclass(frozen=True, eq=False)
class Root(Floored):
    """Non-negative y with lighter tails: x = max(0, z)^2 - shift, and zero where that is negative.

    Args:
        at, unit: see `Warp`.
        shift: > 0: an unshifted root has an infinite density at zero.
    """

    shift: Tensor | float

    def _up(self, x: Tensor) -> Tensor:
        return (x.clamp(min=0) + self.shift).sqrt()

    def _down(self, z: Tensor) -> Tensor:
        return (z.clamp(min=0).square() - self.shift).clamp(min=0)

    def _inner_slope(self, x: Tensor) -> Tensor:
        return -math.log(2) - 0.5 * (x + self.shift).log()

    def _moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """By the moments E z^n of z above the root of the shift, from n - 1 and n - 2."""
        shift, std = precise(torch.as_tensor(self.shift)), variance.sqrt()
        edge = shift.sqrt()
        at = (edge - mean) / torch.where(std > 0, std, 1)
        density = torch.where(std > 0, (-0.5 * at.square()).exp() / math.sqrt(2 * math.pi), 0)
        raw = [_above(mean - edge, std)]
        raw.append(mean * raw[0] + std * density)
        for n in range(2, 5):
            edges = std * density * edge ** (n - 1)
            raw.append(mean * raw[-1] + (n - 1) * variance * raw[-2] + edges)
        first = raw[2] - shift * raw[0]
        second = raw[4] - 2 * shift * raw[2] + shift.square() * raw[0]
        return first, (second - first.square()).clamp(min=0)


def _above(away: Tensor, std: Tensor) -> Tensor:
    """P(z > edge) where the mean lies `away` above the edge; of certain z too."""
    certain = (away >= 0).to(away)
    return torch.where(std > 0, torch.special.ndtr(away / torch.where(std > 0, std, 1)), certain)
