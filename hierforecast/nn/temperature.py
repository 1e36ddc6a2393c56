"""Temperature: one number for each group type by which a trained joint distribution is stretched.

A trained network is, as a rule, too certain of itself, and one number fitted on held-out data mends
most of it (Guo et al., arXiv 1706.04599, section 4.2; here of joint densities).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hierforecast.distributions import SceneDistribution

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
    the mean, correlations within a type and every symmetry stay as they are. It is one until `fit`
    finds that another is better on windows that it was not learned from. A model of your own takes
    part if its ``temperature`` is one and its `forward` ends in it.

    Args:
        n_types: group types.
    """

    added = ("log",)  # earlier versions saved none

    def __init__(self, n_types: int) -> None:
        super().__init__()
        self.log: Tensor
        self.register_buffer("log", torch.zeros(n_types))

    def forward(
        self,
        distribution: SceneDistribution,
        types: Tensor,
        loc: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
    ) -> SceneDistribution:
        """The stretched distribution of loc + scale * Y; types (P,) of its rows."""
        return stretched(distribution, _factor(self.log[types]), loc, scale)

    @torch.no_grad()
    def reset(self) -> None:
        """Temperature one."""
        self.log.zero_()

    def fit(self, batches: Sequence[Seen], overlap: float = 1.0) -> None:
        """Learn from held-out windows, unless that does not help for certain.

        Two halves of the windows are each other's judges: the temperatures of one are tried on the
        other. They are kept (learned anew from all) if so the log-likelihood of a window grows by
        more than `SURE` standard errors: a single wild window, which would ask for a huge
        temperature, convinces nobody. A few windows of a short history may have been calm by
        chance, and can only say that forecasts are too certain.

        Args:
            batches: held-out windows in their order; neighbors in time side by side.
            overlap: in how many of them a step lies: of a few so many count as one.
        """
        self.reset()
        half, count = len(batches) // 2, sum(each.raw.n_scenes for each in batches)
        halves, few = (batches[:half], batches[half:]), count < FEW
        if count < FEWEST or not half:
            return
        found = [self._best(some, few) for some in halves]
        if _helps(found, halves[::-1], overlap if few else 1.0):
            with torch.no_grad():
                self.log.copy_(self._best(batches, few))

    def _best(self, batches: Sequence[Seen], wider: bool) -> Tensor:
        """Logarithms (types,) of the temperatures most likely on some windows, drawn to zero.

        None is negative where they are only to be `wider`.
        """
        log = torch.zeros_like(self.log, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [log], max_iter=_STEPS, tolerance_change=1e-5, line_search_fn="strong_wolfe"
        )
        cells = sum(int(each.present.sum()) for each in batches)

        def loss() -> float:
            optimizer.zero_grad()
            total = PRIOR * log.square().sum()
            for each in batches:
                total = total - _log_prob(each, log).sum()
            total = total / max(cells, 1)
            total.backward()
            return float(total.detach())

        optimizer.step(loss)
        found = log.detach().clamp(0.0 if wider else -_FARTHEST, _FARTHEST)
        return found if bool(found.isfinite().all()) else torch.zeros_like(found)


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


def _log_prob(seen: Seen, log: Tensor) -> Tensor:
    """Log density (B,) of what came, at temperatures whose logarithms are (types,)."""
    wider = stretched(seen.raw, _factor(log[seen.types]))
    return wider.log_prob(seen.values, seen.present)


def _factor(log: Tensor) -> Tensor:
    """Logarithms (P,) as factors (P, 1, 1)."""
    return log.exp()[:, None, None]


@torch.no_grad()
def _helps(logs: Sequence[Tensor], parts: Sequence[Sequence[Seen]], overlap: float) -> bool:
    """Whether the windows of each part are more likely at its temperatures than at one."""
    gain = torch.cat([
        _log_prob(each, log) - _log_prob(each, torch.zeros_like(log))
        for log, part in zip(logs, parts, strict=True)
        for each in part
    ]).double()  # fmt: skip
    return bool(gain.mean() > SURE * gain.std() * (overlap / len(gain)) ** 0.5)
