"""How surprising series were on held-out windows: what the scores of others are ranked among."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierforecast.inference.forecast import Forecast
from hierforecast.inference.forecasts import Forecasts
from hierforecast.windows import few_windows

# Series of each group type whose scores are kept, so that the least p-value is 1 / 1001.
MOST = 1_000
# Multiplications of a second or two, and rows that are scored at most.
WORK, MANY = 1_000_000_000, 5_000


class Scored(NamedTuple):
    """What happened in windows, series by series, each given all others of its scene.

    Attributes:
        rows: (R,) row of the panel.
        cutoff: (R,) step at which the horizon starts.
        types: (R,) code of the group type.
        log_prob: (R, H) float64, log density of each step given the row's earlier ones too, NaN
            where nothing was observed.
        score: (R, H), the same of numbers in standard deviations of their forecast.
    """

    rows: np.ndarray
    cutoff: np.ndarray
    types: np.ndarray
    log_prob: np.ndarray
    score: np.ndarray

    @classmethod
    def of(cls, forecast: Forecast) -> Scored:
        """Those of one batch."""
        future = forecast.future
        found = forecast.conditional_log_prob().double().cpu()
        found = torch.where(future.present, found, torch.nan)
        parts = found, found + forecast.log_size().double().cpu()
        return cls(
            future.rows.numpy(),
            future.cutoff.numpy(),
            forecast.batch.types.cpu().numpy(),
            *(part.numpy() for part in parts),
        )

    @classmethod
    def join(cls, parts: Sequence[Scored]) -> Scored:
        """All of several batches, sorted by row and cutoff."""
        found = cls(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        order = np.lexsort((found.cutoff, found.rows))
        return cls(*(each[order] for each in found))

    @property
    def seen(self) -> np.ndarray:
        """(R, H) bool, where something was observed."""
        return ~np.isnan(self.log_prob)

    @property
    def all_scores(self) -> np.ndarray:
        """(R, 1 + H) float32: the mean over the steps of a window, then those of each step."""
        count = self.seen.sum(1)
        total = np.nansum(self.score, axis=1)
        mean = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
        return np.column_stack([mean, self.score]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """Scores of held-out windows, pooled by group type and step.

    Attributes:
        values: (T, 1 + H, n) float32, of each type those of whole windows, then of each step,
            sorted; infinite beyond those that there are.
    """

    values: Tensor

    @classmethod
    def of(
        cls, scored: Scored, n_types: int, most: int | None = None, seed: int = 0
    ) -> HeldOutScores:
        """From windows with an outcome.

        Args:
            scored: their scores.
            n_types: T, or 0 where groups have no types.
            most: series of a type that are kept, chosen at random; None: all.
            seed: of the choice.
        """
        kept = np.flatnonzero(scored.seen.any(1))
        kept = np.random.default_rng(seed).permutation(kept)
        scores, types = scored.all_scores[kept], scored.types[kept]
        parts = [scores[types == code][:most] for code in range(max(n_types, 1))]
        size = max((len(part) for part in parts), default=0)
        values = np.full((len(parts), scores.shape[1], size), np.inf, dtype=np.float32)
        for code, part in enumerate(parts):
            values[code, :, : len(part)] = np.where(np.isnan(part), np.inf, part).T
        return cls(torch.from_numpy(np.sort(values, axis=-1)))

    @classmethod
    def check(cls, values: Tensor, n_types: int, horizon: int) -> HeldOutScores:
        """Those that were saved.

        Raises:
            ValueError: if they cannot be such.
        """
        shape = max(n_types, 1), 1 + horizon
        if values.ndim != 3 or values.shape[:2] != shape or values.dtype != torch.float32:
            raise ValueError(f"scores of shape {tuple(values.shape)} {values.dtype} for {shape}")
        if bool(values.isnan().any()) or bool((values.diff(dim=-1) < 0).any()):
            raise ValueError("scores that are not sorted numbers")
        return cls(values)

    def lacks(self, types: np.ndarray) -> Iterator[int]:
        """Which of some types (R,) have no scores."""
        for code in np.unique(types).tolist():
            if not bool((self.values[code, 0] < torch.inf).any()):
                yield code

    def p_values(self, scored: Scored) -> np.ndarray:
        """Shares (R, 1 + H) of the scores of the same type and step that are at most as high.

        ``(1 + count) / (1 + n)``, as if the score itself were among them: never 0; NaN without any.
        """
        scores, found = scored.all_scores, np.full((len(scored.rows), self.values.shape[1]), np.nan)
        for code in np.unique(scored.types):
            own = scored.types == code
            for column, pool in enumerate(self.values[code].numpy()):
                found[own, column] = p_values(scores[own, column], pool[pool < np.inf])
        return found


def held_out_scores(forecasts: Forecasts, seed: int) -> HeldOutScores | None:
    """Those that a fit keeps; None for a family without a formula for them.

    Args:
        forecasts: of held-out windows, see `affordable`.
        seed: of the choice among them.
    """
    parts = []
    for forecast in forecasts:
        if not forecast.raw.has_conditionals:
            return None
        parts.append(Scored.of(forecast))
    types = forecasts.windows.panel.vocabulary.types
    return HeldOutScores.of(Scored.join(parts), len(types), MOST, seed)


def affordable(forecasts: Forecasts, seed: int) -> Forecasts | None:
    """Those of random windows, so many that matrices of each row's cells take a second or two.

    None for hundreds of cells ahead, as each row takes the cube of their number.
    """
    windows = forecasts.windows
    cells = windows.prediction_length * len(windows.panel.columns.targets)
    few = few_windows(windows, len(windows), min(WORK // cells**3, MANY), seed)
    rows = np.diff(windows.panel.row_offset)[few.cutoffs[:, 0]].sum()
    return replace(forecasts, windows=few) if rows * cells**3 <= 4 * WORK else None


def p_values(scores: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Shares of sorted held-out scores (n,) that are at most as high, with the score among them."""
    if not len(held_out):
        return np.full(len(scores), np.nan)
    return (1 + np.searchsorted(held_out, scores, side="right")) / (1 + len(held_out))
