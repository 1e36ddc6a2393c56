"""Sums and means of series: linear maps of a joint distribution, coherent whatever they add up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierforecast._random import seeded
from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.latents import Latents
from hierforecast.distributions.sums import Sums

# Draws behind a quantile where a sum has no closed form; so many numbers are kept for the next one.
_DRAWS, _KEPT = 2_000, 2**24


class Totals(SceneDistribution):
    """Weighted sums of rows, where these have no distribution of the family's own.

    Either a row goes into several totals, so that they depend on one another through it, or a group
    with latents of its own is torn apart, or the family is not closed under sums. Draws are sums
    of joint draws; mean, variance and quantiles are each total's own.

    Args:
        base: of the rows.
        sums: which of them make a total.
        margins: the exact distribution of each total by itself; None where there is none in
            closed form: quantiles are those of seeded draws then.
    """

    def __init__(
        self, base: SceneDistribution, sums: Sums, margins: SceneDistribution | None = None
    ) -> None:
        self.base, self.sums, self.margins = base, sums, margins
        self._kept: Tensor | None = None
        _, steps, targets = base.event_shape
        scene = sums.scenes(base.scene)
        super().__init__(scene, base.n_scenes, steps, targets, base._validate_args)

    @property
    def mean(self) -> Tensor:
        """(G, H, D)."""
        return self.sums.add(self.base.mean)

    @property
    def variance(self) -> Tensor:
        """(G, H, D)."""
        if self.margins is not None:
            return self.margins.variance
        return self.base._total_variance(self.sums)

    def _draw(self, shape: torch.Size) -> Tensor:
        return self.sums.add(self.base._draw(shape), axis=-3)

    def _seeded(self) -> Tensor:
        """The draws (_DRAWS, G, H, D) behind quantiles: of all rows, to which totals are few."""
        if self._kept is not None:
            return self._kept
        draws = self.sample((_DRAWS,), generator=seeded(0))
        if draws.numel() <= _KEPT and not draws.requires_grad:
            self._kept = draws
        return draws

    def _quantile(self, level: Tensor) -> Tensor:
        if self.margins is not None:
            return self.margins._quantile(level)
        draws = self._seeded()
        found = np.quantile(draws.double().cpu().numpy(), level.flatten().numpy(), axis=0)
        return torch.from_numpy(found).to(draws).reshape(*level.shape[:-3], *self.event_shape)

    def _cdf(self, value: Tensor) -> Tensor:
        if self.margins is not None:
            return self.margins._cdf(value)
        draws = self._seeded()
        each = [(draws <= x).to(x).mean(0) for x in value.reshape(-1, *self.event_shape)]
        return torch.stack(each).view(value.shape)

    def _log_prob(self, value: Tensor, seen: Tensor) -> Tensor:
        raise NotImplementedError(
            "these totals share series, or their family is not closed under sums, and have no "
            "density in closed form: take one level at a time, or use `sample`"
        )

    def rows(self, index: Tensor) -> SceneDistribution:
        """As `SceneDistribution.rows`."""
        margins = None if self.margins is None else self.margins.rows(index)
        return coherent(self.base, self.sums.take(index), margins)


def coherent(
    base: SceneDistribution, sums: Sums, each: SceneDistribution | None
) -> SceneDistribution:
    """The joint distribution of totals: `each` total's own if they share nothing, see `Totals`."""
    return Totals(base, sums, each) if each is None or base.entangled(sums) else each


def summed(base: SceneDistribution, sums: Sums) -> Totals:
    """Totals whose draws are sums of the base's own draws, whatever family they are of."""
    each = base._aggregate(sums)
    return Totals(base, sums, each.margins if isinstance(each, Totals) else each)


class Within(NamedTuple):
    """What becomes of a level's latents in totals.

    Attributes:
        latents: of the totals whose rows have one owner; nothing of the others, each of which is
            an owner of its own.
        covariance: (G, m, m), what the others have of all their owners, over the m cells of a row.
        mixed: whether an owner's latents are in several totals, of which one has other owners too.
    """

    latents: Latents
    covariance: Tensor
    mixed: bool


def total(level: Latents, sums: Sums) -> Within:
    """The latents of totals: those that move all of a total's rows stay what they are."""
    every = torch.arange(len(level.factor), device=sums.row.device)
    owner = (every if level.owner is None else level.owner)[sums.row]
    one = owner.new_zeros(sums.count).scatter_(0, sums.total, owner)
    several = torch.zeros_like(one, dtype=torch.bool)
    several = several.index_fill(0, sums.total[one[sums.total] != owner], True)
    if level.owner is None:
        several = torch.ones_like(several)
    # Loads of each owner in each total.
    pair, place = (sums.total * max(level.count, 1) + owner).unique(return_inverse=True)
    of, owners = pair // max(level.count, 1), pair % max(level.count, 1)
    factor = level.whole
    flat = factor[sums.row].flatten(1, 2) * sums.weight.to(factor)[:, None, None]
    each = flat.new_zeros(len(pair), *flat.shape[1:]).index_add(0, place, flat)
    apart = several[of]
    own = each[apart] @ each[apart].mT
    covariance = own.new_zeros(sums.count, *own.shape[1:]).index_add(0, of[apart], own)
    uses = torch.bincount(owners, minlength=level.count)
    mixed = bool((uses[owners[apart]] > 1).any())
    numbers = torch.where(several, level.count + torch.arange(len(one), device=one.device), one)
    load = torch.where(several[:, None, None, None], 0, sums.add(factor))
    owners, kept = numbers.unique(return_inverse=True)
    return Within(Latents(load, kept, len(owners)), covariance, mixed)
