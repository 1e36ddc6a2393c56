"""Whole numbers as intervals of a latent variable: every count is an atom."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hierforecast.distributions.atoms import tail
from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.quadrature import precise, quadrature
from hierforecast.distributions.warps import Warp

# Counts up to which a mean is summed term by term, and at a time.
_MOST, _BLOCK = 2_048, 64
# Step of log concentration for its derivative, which is good to ten digits.
_STEP = 1e-5


class Counts(Warp):
    """x is a whole number, at least zero: `last(k)` is the largest z that gives at most k.

    Values are rounded to whole numbers of units first. `log_prob` is that of the z which an atom
    stands for, see `Atoms`; a single count has its exact probability.
    """

    @property
    def has_atoms(self) -> bool:
        """See `Warp`: all are."""
        return True

    @abstractmethod
    def last(self, count: Tensor) -> Tensor:
        """The largest z whose x is at most a count >= 0."""

    def atom(self, y: Tensor) -> Tensor:
        """See `Warp`."""
        return self.standard(y).round() >= 0

    def lower(self, y: Tensor) -> Tensor:
        """See `Warp`."""
        return self._below((self.standard(y) - _ROUNDING).ceil() - 1)

    def upper(self, y: Tensor) -> Tensor:
        """See `Warp`."""
        return self._below((self.standard(y) + _ROUNDING).floor())

    def _below(self, count: Tensor) -> Tensor:
        return torch.where(count >= 0, self.last(count.clamp(min=0)), -torch.inf)

    def _up(self, x: Tensor) -> Tensor:
        return self.last(x.round().clamp(min=0))

    def _log_slope(self, x: Tensor) -> Tensor:
        return torch.full_like(x, -torch.inf)

    def moments(self, base: SceneDistribution) -> tuple[Tensor, Tensor]:
        """See `Warp`: sums of the probabilities of more than k, for all k that matter.

        Where counts of several thousands matter, by `quadrature`, to some digits.
        """
        most = self._down(
            precise(base._quantile(torch.full((1, 1, 1), 1 - 1e-12, dtype=torch.float64)))
        )
        if bool((most > _MOST).any()):
            mean, variance = quadrature(self._down, base)
        else:
            first, second = torch.zeros_like(most), torch.zeros_like(most)
            for start in range(0, int(most.max()) + 1 if most.numel() else 0, _BLOCK):
                k = torch.arange(start, start + _BLOCK).to(most)[:, None, None, None]
                more = 1 - base._cdf(self.last(k.expand(-1, *most.shape)))
                first, second = first + more.sum(0), second + ((2 * k + 1) * more).sum(0)
            mean, variance = first, (second - first.square()).clamp(min=0)
        unit = torch.as_tensor(self.unit)
        return self.at + unit * mean.to(base.mean), unit.square() * variance.to(base.mean)

    def _moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


# What is as near to a whole number as this is one: values come through units and back.
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Rounded(Counts):
    """The whole part of another map's y: x = max(0, floor(of y)).

    Kowal and Canale, "Simultaneous transformation and rounding (STAR) models for integer-valued
    data" (2020). Cheap, smooth in its parameters, and with as many zeros as z below that of one.

    Args:
        at, unit: see `Warp`.
        of: a map without atoms above zero, such as `Log` or `Root`; its unit is in counts.
    """

    of: Warp

    def last(self, count: Tensor) -> Tensor:
        """See `Counts`."""
        return self.of.to_base(count + 1)

    def _down(self, z: Tensor) -> Tensor:
        return self.of.from_base(z).floor().clamp(min=0)


@dataclass(frozen=True, eq=False)
class NegativeBinomial(Counts):
    """Negative binomial counts where z is standard normal: x = Q(Phi(z)).

    The variance is ``mean + mean^2 / concentration``. Probabilities are scipy's, on the CPU, their
    derivatives exact in the mean and good to ten digits in the concentration.

    Args:
        at, unit: see `Warp`.
        mean: > 0.
        concentration: > 0; much for Poisson counts, little for many zeros.
    """

    mean: Tensor | float
    concentration: Tensor | float

    def last(self, count: Tensor) -> Tensor:
        """See `Counts`."""
        below, above = _Tails.apply(count, self.mean, self.concentration)
        # Of the smaller probability, in which no digit is lost.
        low, high = (x.clamp(min=1e-300) for x in (below, above))
        return torch.where(below < above, torch.special.ndtri(low), -torch.special.ndtri(high)).to(
            torch.promote_types(count.dtype, torch.float32)
        )

    def _down(self, z: Tensor) -> Tensor:
        wide = precise(z.detach()).cpu()
        mean, size = (precise(torch.as_tensor(x).detach()).cpu().numpy() for x in
                      (self.mean, self.concentration))  # fmt: skip
        share = size / (size + mean)
        # Finite where z is, however far off.
        low, high = (
            torch.where(x.isinf(), tail(x), tail(x).clamp(min=1e-300)) for x in (wide, -wide)
        )
        nbinom = _nbinom()
        found = np.where(low < high, nbinom.ppf(low, size, share), nbinom.isf(high, size, share))
        return torch.from_numpy(np.maximum(found, 0)).to(z)


class _Tails(torch.autograd.Function):
    """P(x <= k) and P(x > k) of negative binomial counts, float64."""

    @staticmethod
    def forward(ctx: Any, count: Tensor, mean: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Of counts, means and concentrations that can be broadcast."""
        ctx.save_for_backward(count, mean, size)
        below, above = _tails(*(x.detach().double().cpu().numpy() for x in (count, mean, size)))
        return torch.from_numpy(below).to(count.device), torch.from_numpy(above).to(count.device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, below: Tensor, above: Tensor) -> tuple[None, Tensor, Tensor]:
        """By the mean: less the probability of k under a concentration that is larger by one."""
        count, mean, size = ctx.saved_tensors
        k, m, r = (x.double().cpu().numpy() for x in (count, mean, size))
        by_mean = -_nbinom().pmf(k, r + 1, r / (r + m))
        up, down = (_tails(k, m, r * np.exp(step)) for step in (_STEP, -_STEP))
        by_size = [(x - y) / (2 * _STEP * r) for x, y in zip(up, down, strict=True)]
        like = below.cpu().double(), above.cpu().double()
        both = [torch.from_numpy(np.asarray(x)) for x in (by_mean, *by_size)]
        for_mean = (like[0] - like[1]) * both[0]
        for_size = like[0] * both[1] + like[1] * both[2]
        return (
            None,
            for_mean.sum_to_size(mean.shape).to(mean),
            for_size.sum_to_size(size.shape).to(size),
        )


def _nbinom() -> Any:
    from scipy.stats import nbinom  # late: takes half as long to load as torch

    return nbinom


def _tails(count: np.ndarray, mean: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import betainc

    share = size / (size + mean)
    return betainc(size, count + 1, share), betainc(count + 1, size, mean / (size + mean))
