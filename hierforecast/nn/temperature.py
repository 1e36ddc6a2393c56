"""Temperature: a few numbers for each group type by which a trained distribution is stretched.

A trained network is, as a rule, too certain of itself, and one number fitted on held-out data mends
most of it (Guo et al., arXiv 1706.04599, section 4.2; here of joint densities).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hierforecast.distributions import SceneDistribution
from hierforecast.distributions.coupled import widened

# Held-out windows below which distributions are stretched only, never narrowed, and below which
# nothing is learned; how many standard errors a gain must be.
FEW, FEWEST, SURE = 20, 4, 2.0
# Pull towards one: so many numbers of a type have half the say in its temperature.
PRIOR = 100.0
# No held-out windows are believed that ask for more than a factor of four or so.
_STEPS, _FARTHEST = 12, 1.5


class Seen(NamedTuple):
    """A batch of held-out windows.

    Attributes:
        raw: their distribution at temperature one.
        types: (P,) group type of each row.
        values: (P, H, D) what came.
        present: (P, H) whether it was observed.
    """

    raw: SceneDistribution
    types: Tensor
    values: Tensor
    present: Tensor


class Temperature(nn.Module):
    """Stretches a joint distribution about its mean, the rows of a group type alike.

    Every deviation from the mean is multiplied by the temperature of the row's type: the family,
    the mean, correlations within a type and every symmetry stay as they are. The slow components
    that rows share, which say where a row ends up, have temperatures besides: networks learn them
    by heart first, while all others are still right. They are one until `fit` finds that others
    are better on windows that they were not learned from. A model of your own takes part if its
    ``temperature`` is one and its `forward` ends in it.

    Args:
        n_types: group types.
        components: K of `CoupledNormal`, 0 for other distributions.

    Attributes:
        log: (types,), logarithms of temperatures.
        slow: (types, K), those of the slow components besides; None where there are none.
    """

    added = ("log", "slow")  # earlier versions saved none
    slow: Tensor | None

    def __init__(self, n_types: int, components: int = 0) -> None:
        super().__init__()
        self.log: Tensor
        self.register_buffer("log", torch.zeros(n_types))
        self.register_buffer("slow", torch.zeros(n_types, components) if components else None)

    def forward(
        self,
        distribution: SceneDistribution,
        types: Tensor,
        loc: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
    ) -> SceneDistribution:
        """The stretched distribution of loc + scale * Y; types (P,) of its rows."""
        if self.slow is not None:
            distribution = widened(distribution, self.slow[types].exp())
        return stretched(distribution, _factor(self.log[types]), loc, scale)

    @torch.no_grad()
    def reset(self) -> None:
        """Temperature one."""
        for each in self._parts():
            each.zero_()

    def _parts(self) -> list[Tensor]:
        return [self.log] if self.slow is None else [self.log, self.slow]

    @torch.no_grad()
    def fit(self, batches: Sequence[Seen], overlap: float = 1.0) -> None:
        """Learn from held-out windows, unless that does not help for certain.

        Two halves of the windows are each other's judges: the temperatures of one are tried on the
        other, type by type, those of all deviations and those of slow components by themselves.
        They are kept (learned anew from all) if so the log-likelihood of a window grows by more
        than `SURE` standard errors: a single wild window, which would ask for a huge temperature,
        convinces nobody. A few windows of a short history may have been calm by chance, and can
        only say that forecasts are too certain.

        Args:
            batches: held-out windows in their order; neighbors in time side by side.
            overlap: in how many of them a step lies: of a few so many count as one.
        """
        self.reset()
        half, count = len(batches) // 2, sum(each.raw.n_scenes for each in batches)
        halves, few = (batches[:half], batches[half:]), count < FEW
        if count < FEWEST or not half:
            return
        every = [torch.ones_like(part) for part in self._parts()]
        found = [self._best(some, few, every) for some in halves]
        learned = _accepted(found, halves[::-1], overlap if few else 1.0)
        for part, best in zip(self._parts(), self._best(batches, few, learned), strict=True):
            part.copy_(best)

    @torch.enable_grad()
    def _best(
        self, batches: Sequence[Seen], wider: bool, learned: Sequence[Tensor]
    ) -> list[Tensor]:
        """Logarithms of the temperatures most likely on some windows, drawn to zero.

        Only those that are `learned` (one, others zero) differ from zero, and none is negative
        where they are only to be `wider`.
        """
        free = [torch.zeros_like(part, requires_grad=True) for part in learned]
        optimizer = torch.optim.LBFGS(
            free, max_iter=_STEPS, tolerance_change=1e-5, line_search_fn="strong_wolfe"
        )
        cells = sum(int(each.present.sum()) for each in batches)

        def loss() -> float:
            optimizer.zero_grad()
            logs = [x * y for x, y in zip(free, learned, strict=True)]
            total = torch.stack([PRIOR * log.square().sum() for log in logs]).sum()
            for each in batches:
                total = total - _log_prob(each, logs).sum()
            total = total / max(cells, 1)
            total.backward()
            return float(total.detach())

        if any(bool(some.any()) for some in learned):
            optimizer.step(loss)
        found = [x.detach().clamp(0.0 if wider else -_FARTHEST, _FARTHEST) for x in free]
        if not all(bool(x.isfinite().all()) for x in found):
            return [torch.zeros_like(x) for x in found]
        return [x * y for x, y in zip(found, learned, strict=True)]


@torch.no_grad()
def _accepted(
    found: Sequence[Sequence[Tensor]], judges: Sequence[Sequence[Seen]], overlap: float
) -> list[Tensor]:
    """One for the temperatures that make windows likelier, each with those before it, else zero.

    Args:
        found: logarithms of temperatures, as each half of the windows has them.
        judges: the other halves.
        overlap: so many windows count as one.
    """
    learned = [torch.zeros_like(part) for part in found[0]]

    def likelihoods() -> Tensor:
        return torch.cat([
            _log_prob(each, [x * y for x, y in zip(logs, learned, strict=True)])
            for logs, some in zip(found, judges, strict=True)
            for each in some
        ]).double()  # fmt: skip

    now = likelihoods()
    for one in (of_type for part in learned for of_type in part.split(1)):
        one.fill_(1.0)
        gain = likelihoods() - now
        if gain.mean() > SURE * gain.std() * (overlap / len(gain)) ** 0.5:
            now = now + gain
        else:
            one.zero_()
    return learned


def stretched(
    distribution: SceneDistribution,
    factor: Tensor,
    loc: Tensor | float = 0.0,
    scale: Tensor | float = 1.0,
) -> SceneDistribution:
    """That of loc + scale * (mean + factor * (Y - mean)); at a factor of one loc + scale * Y.

    The factor can be broadcast to (P, H, D).
    """
    moved = loc + scale * ((1 - factor) * distribution.mean)
    return distribution.affine(moved, scale * factor)


def _log_prob(seen: Seen, logs: Sequence[Tensor]) -> Tensor:
    """Log density (B,) of what came, at temperatures by their logarithms, see `Temperature`."""
    log, *slow = logs
    raw = widened(seen.raw, slow[0][seen.types].exp()) if slow else seen.raw
    return stretched(raw, _factor(log[seen.types])).log_prob(seen.values, seen.present)


def _factor(log: Tensor) -> Tensor:
    """Logarithms (P,) as factors (P, 1, 1)."""
    return log.exp()[:, None, None]
