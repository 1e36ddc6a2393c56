"""Sums and means of series: linear maps of a joint distribution, coherent whatever they add up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hierforecast._random import seeded
from hierforecast.distributions.base import SceneDistribution
from hierforecast.distributions.sums import Sums

# Draws behind a quantile where a sum has no closed form.
_DRAWS = 2_000


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
        return self.sums.add(self.base.variance, power=2)  # of rows that are independent

    def _draw(self, shape: torch.Size) -> Tensor:
        return self.sums.add(self.base._draw(shape), axis=-3)

    def _quantile(self, level: Tensor) -> Tensor:
        if self.margins is not None:
            return self.margins._quantile(level)
        draws = self.sample((_DRAWS,), generator=seeded(0))
        found = np.quantile(draws.double().cpu().numpy(), level.flatten().numpy(), axis=0)
        return torch.from_numpy(found).to(draws).reshape(*level.shape[:-3], *self.event_shape)

    def _cdf(self, value: Tensor) -> Tensor:
        if self.margins is not None:
            return self.margins._cdf(value)
        draws = self.sample((_DRAWS,), generator=seeded(0))
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
