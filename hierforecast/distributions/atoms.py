"""Values with a probability of their own, zeros and counts, in a joint density of latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Standard deviations from an interval beyond which the reference is moved up to it.
_FAR = 30.0
# Standard deviations from the mean at which everything ends.
_END = 40.0


@dataclass(frozen=True, eq=False)
class Atoms:
    """Which z of its interval an atom stands for.

    An atom is seen as the z at a `place`, uniform in [0, 1], of a reference normal distribution's
    probability of its interval: the distributional transform (Rueschendorf, "On the distributional
    transform, Sklar's theorem, and the empirical copula process", 2009). Its log slope is the log
    of that probability over the density of the reference at z. The mean over uniform places of a
    joint density times slopes is then the joint probability, for any reference; if the reference
    is the margin, a single atom has its exact probability at every place.

    Args:
        center: (P, H, D), mean of the reference.
        width: (P, H, D), its standard deviation.
        place: broadcastable to (P, H, D).
    """

    center: Tensor
    width: Tensor
    place: Tensor

    def latent(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Z (*s, P, H, D) of intervals, and their log slopes."""
        width = self.width.clamp(min=1e-30)
        # The ends of all numbers, where a density has no gradient left.
        lower = torch.where(lower.isinf(), self.center - _END * width, lower)
        low, high = ((x - self.center) / width for x in (lower, upper))
        # A reference far off the interval would be lost in roundings: any other is as right.
        moved = (low - _FAR).clamp(min=0) + (high + _FAR).clamp(max=0)
        low, high = low - moved, high - moved
        # The side of the interval that is nearer to the mean comes second, so that no digit of
        # a small probability is lost.
        side = torch.where(low + high > 0, -1, 1).to(low)
        first, second = torch.where(side > 0, low, -high), torch.where(side > 0, high, -low)
        place = torch.where(side > 0, self.place.to(low), 1 - self.place.to(low))
        below, above = tail(first), tail(second)
        share = (above - below).clamp(min=1e-300)
        z = torch.special.ndtri((below + place * share).clamp(min=1e-300))
        slope = share.log() + 0.5 * z.square() + 0.918938533204672742
        return self.center + width * (side * z + moved), slope + width.log()

    def change(self, parameter: Callable[[Tensor], Tensor]) -> Atoms:
        """The same with every tensor changed: cast or indexed."""
        return Atoms(*(parameter(x) for x in (self.center, self.width, self.place)))


def tail(x: Tensor) -> Tensor:
    """P(z <= x) of a standard normal z: all digits of small ones, which torch's `ndtr` loses."""
    return 0.5 * torch.special.erfc(-(0.5**0.5) * x)
