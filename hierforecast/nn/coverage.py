"""By how much intervals are to be widened to cover their share, and how sure that is."""

from __future__ import annotations

import torch
from torch import Tensor

from hierforecast.distributions import SceneDistribution

# The central interval that is looked at.
LEVEL = 0.9
# Standard error of the logarithm of a normal number's quantile at that level, from one number; by
# how much what was found of the next bins counts; the least miss.
ERROR, BESIDE, LEAST = 0.884, 0.5, 0.1


def misses(distribution: SceneDistribution, value: Tensor) -> tuple[Tensor, Tensor]:
    """By how many half widths of the interval a value (P, H, D) misses the mean, float64.

    Returns:
        (P, H, D), and where there is a width at all.
    """
    mean = distribution.mean.double()
    ends = distribution.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2])).double()
    away = value.double() - mean
    half = torch.where(away < 0, mean - ends[0], ends[1] - mean)
    return away.abs() / half, half > 0


def quantiles_by(found: Tensor, code: Tensor, share: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Of misses (m,), log quantiles (count,) of those of each code, 0 without any, and their size.

    Args:
        found: the misses.
        code: (m,) from 0 to `count`.
        share: (m,), so much of an independent number is each.
        count: codes.
    """
    ratio, size = torch.zeros(2, count, dtype=torch.float64)
    for number in code.unique().tolist():
        own = code == number
        ratio[number] = found[own].double().clamp(min=LEAST).quantile(LEVEL).log()
        size[number] = share[own].double().sum()
    return ratio, size


def sure(ratio: Tensor, size: Tensor) -> Tensor:
    """Logarithms (T, bins), means over bins side by side, drawn to 0 as far as chance may explain.

    Each is multiplied by 1 - e² / m², m the mean and e its standard error, or by nothing where that
    is negative (James and Stein, 1961): what is sure stays nearly what it is.

    Args:
        ratio: of each bin by itself.
        size: independent numbers that it was learned from.
    """
    number = torch.arange(ratio.shape[1])
    apart = (number - number[:, None]).abs()
    beside = ((apart == 0) + BESIDE * (apart == 1)).to(ratio)
    count = (size @ beside).clamp(min=1e-9)
    mean = (size * ratio) @ beside / count
    unsure = ERROR**2 / count
    return mean * (1 - unsure / mean.square().clamp(min=1e-12)).clamp(min=0)
