"""Growth: how far above its median a forecast in logarithms may reach, so that means make sense."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hierforecast.distributions import Ceiling, Damped, SceneDistribution, Warp, Warped
from hierforecast.distributions.quadrature import components, normal_nodes
from hierforecast.nn.temperature import FEWEST, SURE

# Logarithms above the median from which on growth is damped, none first; by what share a window's
# squared error must fall, and within which share of the best a milder limit is good enough.
LIMITS, MARGIN, WITHIN = (torch.inf, 2.0, 1.0, 0.5, 0.25), 0.05, 0.1
# Every so many nodes of the quadrature are enough to compare means by.
_EVERY = 4
# What squared errors count as at most.
_BEYOND = 1e300
# In logarithms: a deviation from which on a forecast is unsteady; how far beyond the most that its
# series has shown it reaches undamped; and over how much more factors turn into amounts.
UNSTEADY, ABOVE, WIDTH = 0.5, math.log(2), 0.25
# An edge that nothing reaches.
_NONE = 1e30


def below_ceiling(
    distribution: SceneDistribution, loc: np.ndarray, unit: np.ndarray, top: np.ndarray
) -> SceneDistribution:
    """The distribution damped beyond twice the most that a series has shown; see `Ceiling`.

    Where sales begin, end or come in lumps, their logarithms jump, and exponentials of such errors
    are ruled by sizes that nobody has seen. Rows that are steady stay as they are.

    Args:
        distribution: of y.
        loc, unit: (P, H, D); loc + unit * y are logarithms.
        top: (P, 1, D) the most that was seen of each row, as a logarithm.
    """
    middle, upper = (distribution.quantile(level) for level in (0.5, 0.84))
    at, size, most = (torch.from_numpy(x).to(middle.device) for x in (loc, unit, top))
    jumps = size * (upper - middle) > UNSTEADY
    # Of normals means have a formula without an edge: all rows take the same way, or those of a
    # series would depend on its neighbors by the error of a quadrature.
    if components(distribution) is None and not bool(jumps.any()):
        return distribution
    edge = torch.where(jumps, (most + ABOVE - at) / size, _NONE)
    return Warped(distribution, Ceiling(0.0, 1.0, edge, WIDTH / size))


class Looked(NamedTuple):
    """A batch of held-out windows.

    Attributes:
        raw: their distribution without a limit.
        logs: loc and unit, broadcastable to (P, H, D): loc + unit * y are logarithms.
        warp: from these to the user's numbers.
        truth: (P, H, D) the user's numbers that came, NaN where they are not known.
        rows: (P,) which series of the frame a row is.
    """

    raw: SceneDistribution
    logs: Sequence[Tensor]
    warp: Warp
    truth: Tensor
    rows: Tensor


class Growth(nn.Module):
    """Damps what is far above the median of a distribution whose exponentials are forecast.

    Errors in logarithms have heavy tails on both sides, and a mean of exponentials is ruled by the
    upper one: by sizes that no window has shown. From a limit on, factors upward become amounts
    (see `Damped`); medians, quantiles below them, and every symmetry stay as they are. There is
    none until `fit` finds that means are closer with one, in windows not learned from.
    """

    added = ("limit",)  # earlier versions saved none

    def __init__(self) -> None:
        super().__init__()
        self.limit: Tensor
        self.register_buffer("limit", torch.tensor(torch.inf))

    def forward(
        self, distribution: SceneDistribution, unit: Tensor | float = 1.0
    ) -> SceneDistribution:
        """The distribution damped above its median.

        Args:
            distribution: of y; unit * y is a logarithm, but for a constant.
            unit: broadcastable to (P, H, D).
        """
        if bool(self.limit.isinf()):
            return distribution
        middle = distribution.median
        limit = (self.limit / torch.as_tensor(unit, device=middle.device)).to(middle)
        return Warped(distribution.affine(-middle / limit, 1 / limit), Damped(middle, limit))

    @torch.no_grad()
    def reset(self) -> None:
        """No limit."""
        self.limit.fill_(torch.inf)

    @torch.no_grad()
    def fit(self, batches: Sequence[Looked], overlap: float = 1.0) -> None:
        """Learn from held-out windows, unless that does not help for certain.

        Means are judged by squared errors, in amounts and in shares of each series' own size. Of
        both and of the windows the geometric mean counts, so that a single wild one convinces
        nobody; it must fall by `MARGIN` and `SURE` standard errors. Of the limits under which it
        does, the mildest is taken that is `WITHIN` the best: the next windows may differ.

        Args:
            batches: held-out windows; without any limit learned before.
            overlap: in how many of them a step lies: so many count as one.
        """
        self.reset()
        if not batches or sum(each.raw.n_scenes for each in batches) < FEWEST:
            return
        errors = _errors(batches)  # (limits, windows)
        if errors.shape[1] < FEWEST:  # where nothing was sold, nothing is to be seen
            return
        gains = errors[:1] - errors
        mean, unsure = gains.mean(1), gains.std(1) * (overlap / gains.shape[1]) ** 0.5
        sound = mean > (SURE * unsure).clamp(min=MARGIN)
        if bool(sound.any()):
            enough = sound & (mean >= mean[sound].max() - WITHIN)
            self.limit.fill_(LIMITS[int(enough.int().argmax())])  # the first of them


def _errors(batches: Sequence[Looked]) -> Tensor:
    """Logarithms of the mean squared errors of means (limits, windows), see `Growth.fit`."""
    size, found = _sizes(batches), []
    for each in batches:
        known, own = ~each.truth.isnan(), size[each.rows.cpu()].to(each.truth)
        share = torch.where(own > 0, 1 / own.clamp(min=torch.finfo(own.dtype).tiny), 0)
        apart = torch.stack([torch.where(known, mean - each.truth, 0) for mean in _means(each)])
        squares = apart.square().sum((2, 3)).clamp(max=_BEYOND)  # means may be infinite
        both = torch.stack([squares, squares * share.square()])
        scenes = both.new_zeros(*both.shape[:2], each.raw.n_scenes)
        scenes = scenes.index_add(2, each.raw.scene, both)
        found.append(scenes[..., (scenes > 0).all(0).all(0)])
    return torch.cat(found, -1).log().mean(0).double().cpu()


def _sizes(batches: Sequence[Looked]) -> Tensor:
    """The mean size of what came of each series of the frame, 0 of those that are not there."""
    total = torch.zeros(2, 1 + max(int(each.rows.max()) for each in batches), dtype=torch.float64)
    for each in batches:
        known = ~each.truth.isnan()
        shown = torch.where(known, each.truth, 0).double().abs()
        pair = torch.stack([shown.sum((1, 2)), known.sum((1, 2)).double()])
        total.index_add_(1, each.rows.cpu(), pair.cpu())
    return total[0] / total[1].clamp(min=1)


def _means(each: Looked) -> list[Tensor]:
    """Means (P, H, D) of the user's numbers under each limit."""
    x, weight = (a[::_EVERY] for a in normal_nodes())
    loc, unit = each.logs
    level = torch.special.ndtr(x).to(each.truth.device)[:, None, None, None]
    middle = loc + unit * each.raw.median.double()
    apart = loc + unit * each.raw._quantile(level).double() - middle
    weight = (weight / weight.sum()).to(apart)
    found = []
    for limit in LIMITS:
        damped = apart if limit == torch.inf else Damped(0.0, limit).from_base(apart / limit)
        found.append(torch.einsum("k,kphd->phd", weight, each.warp.from_base(middle + damped)))
    return found
