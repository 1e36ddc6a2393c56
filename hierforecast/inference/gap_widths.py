"""How much wider paths through gaps are than their distribution says, by length of gap.

A path between two ends that are seen asks a forecast for something that its steps ahead hardly
show: how far errors stray and come back within a second. A distribution that is right about steps
ahead may be too certain there. So held-out windows are given gaps, and what their distribution,
conditioned as `impute` does, misses the truth by says how far it is to be stretched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hierforecast.inference.forecast import Forecast
from hierforecast.inference.forecasts import Forecasts
from hierforecast.nn.coverage import misses, quantiles_by, sure
from hierforecast.nn.temperature import stretched

# The shortest gap of each bin of lengths; the last bin is of gaps whose end no window shows.
SHORTEST = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
OPEN = len(SHORTEST)
# Bounds of a factor, and the share of a window's series that are hidden.
BOUNDS, HIDDEN = (0.1, 10.0), 0.4


@dataclass(frozen=True, eq=False)
class GapWidths:
    """By what to multiply deviations within gaps, rows of a group type and gaps of a length alike.

    Means stay as they are, and so does every symmetry: a factor knows the group type and how long
    the gap is, and nothing else.

    Attributes:
        factor: (T, 1 + bins of lengths) float32; T is one where groups have no types.
    """

    factor: Tensor

    @classmethod
    def check(cls, factor: Tensor, n_types: int) -> GapWidths:
        """Those that were saved.

        Raises:
            ValueError: if they cannot be such.
        """
        shape = max(n_types, 1), 1 + OPEN
        if factor.shape != shape or factor.dtype != torch.float32:
            raise ValueError(f"factors of shape {tuple(factor.shape)} {factor.dtype} for {shape}")
        if not bool(((factor >= BOUNDS[0]) & (factor <= BOUNDS[1])).all()):
            raise ValueError(f"factors out of {BOUNDS[0]:g}..{BOUNDS[1]:g}")
        return cls(factor)

    def stretch(self, forecast: Forecast, missing: Tensor) -> Forecast:
        """A forecast that was conditioned on the rest, stretched about its mean within its gaps.

        Args:
            forecast: conditioned.
            missing: (P, H) bool, the steps of its rows that are not known.
        """
        bins = bins_of(missing)
        table = F.pad(self.factor, (0, 1), value=1.0)  # -1: in no gap
        factor = table[forecast.batch.types.cpu()[:, None], bins].to(forecast.raw.mean)
        return forecast._replace(raw=stretched(forecast.raw, factor[..., None]))


def bins_of(missing: Tensor) -> Tensor:
    """Bin (P, H) int64 of the gap that each step lies in, -1 where it is not missing (P, H)."""
    rows = F.pad(missing.cpu(), (1, 0))  # a gap ends with its row
    begins = rows[:, 1:] & ~rows[:, :-1]
    number = begins.flatten().cumsum(0).view(begins.shape)
    inside = number[rows[:, 1:]]
    length = inside.bincount(minlength=1)
    kind = torch.bucketize(length, torch.tensor(SHORTEST), right=True) - 1
    kind[number[:, -1][rows[:, -1]]] = OPEN
    return torch.where(rows[:, 1:], kind[number], -1)


def learn_gap_widths(forecasts: Forecasts, seed: int) -> GapWidths:
    """Learn from held-out windows, in each of which some series get a gap at its beginning.

    A factor is that with which the central 90 % interval holds as many of the hidden cells.

    Args:
        forecasts: of held-out windows, see `affordable`.
        seed: of what is hidden.

    Raises:
        NotImplementedError: if the family cannot be conditioned.
    """
    generator = np.random.default_rng(seed)
    count = max(len(forecasts.windows.panel.vocabulary.types), 1)
    found = [_misses(forecast, generator) for forecast in forecasts]
    each, types, bins, gaps = (torch.cat(parts) for parts in zip(*found, strict=True))
    code, shape = types * (1 + OPEN) + bins, (count, 1 + OPEN)
    ratio, size = (x.view(shape) for x in quantiles_by(each, code, gaps, count * (1 + OPEN)))
    parts = [sure(ratio[:, own], size[:, own]) for own in (slice(OPEN), slice(OPEN, None))]
    return GapWidths(torch.cat(parts, 1).exp().clamp(*BOUNDS).float())


def _misses(
    forecast: Forecast, generator: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the numbers (m,) that are hidden from one batch, what is found once the rest is known.

    Returns:
        By how many half widths of the interval they miss the mean, group type, bin, and by how much
        of a gap each counts.
    """
    present = forecast.future.present.cpu()
    hidden = _hide(present, forecast.raw.scene.cpu(), generator)
    value = forecast.outcome().cpu()
    shown = forecast.known(value.to(forecast.raw.mean.device), (present & ~hidden)[..., None])
    rows = hidden.any(1)
    raw = shown.raw.rows(rows.to(forecast.raw.mean.device))
    away, wide = (x.cpu() for x in misses(raw, value[rows].to(raw.mean.device)))
    looked = (hidden & present)[rows][..., None] & wide
    each = (1 / looked.sum((1, 2)).clamp(min=1).double())[:, None, None].expand_as(away)
    codes = forecast.batch.types.cpu()[rows][:, None, None].expand_as(away)
    bins = bins_of(~present | hidden)[rows][..., None].expand_as(away)
    return away[looked], codes[looked], bins[looked], each[looked]


def _hide(present: Tensor, scene: Tensor, generator: np.random.Generator) -> Tensor:
    """Steps (P, H) that are hidden: of a share of each scene's rows the first ones.

    A length is as probable as it is short, so that all doublings come alike, that of the whole
    horizon too. At least one row of each scene is hidden.

    Args:
        present: (P, H), where the truth is known.
        scene: (P,) of each row.
        generator: draws.
    """
    steps = present.shape[1]
    draw, size = (torch.from_numpy(x) for x in generator.random((2, len(scene))))
    length = torch.exp(size * np.log(steps + 1)).long().clamp(1, steps)
    least = draw.new_full((int(scene.max()) + 1 if len(scene) else 0,), torch.inf)
    least = least.scatter_reduce(0, scene, draw, "amin")
    rows = (draw < HIDDEN) | (draw == least[scene])
    return rows[:, None] & (torch.arange(steps) < length[:, None])
