"""Impute: where series were while they were not observed, from the distribution of a forecast.

A window begins where a series vanishes. Its forecast is conditioned on all that was observed after
that, of the series itself once it reappears and of all others, so that a path leaves where it
vanished and arrives where it reappears. No second model is needed, and none is trained.

What is filled counts as observed in later windows. Draws each go on from their own; a bound is
widened by how far the point moves when a path has been at that bound until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from hierforecast._progress import progress
from hierforecast.errors import SeriesDroppedWarning, warn_user
from hierforecast.frame import Panel
from hierforecast.inference.draws import Draws
from hierforecast.inference.forecast import Forecast
from hierforecast.inference.forecasts import Forecasts, central, suffixes
from hierforecast.inference.gap_widths import GapWidths
from hierforecast.inference.gaps import Round, gaps_of, observed_between, regrid, rounds

# Makes forecasts of a panel's windows.
MakeForecasts = Callable[[Panel, np.ndarray], Forecasts]
# So many numbers of each cell, (count, P, H, D), are asked of a forecast.
Ask = Callable[[Forecast, int], torch.Tensor]


@dataclass
class Imputation:
    """The cells of a panel that were not observed.

    Args:
        panel: the data.
        context, horizon: steps of a window.
        make: makes forecasts.
        columns: names of the answer's columns, one for each target.
        random: of joint draws.
        turns: whether the model may see time run backward.
        widths: how much wider paths are than the model says; None for as it says.
        bar: whether long work shows a bar.
    """

    panel: Panel
    context: int
    horizon: int
    make: MakeForecasts
    columns: Sequence[str]
    random: Draws
    turns: bool = True
    widths: GapWidths | None = None
    bar: bool = True

    def to_frame(self, percents: Sequence[float], shares: Sequence[float]) -> Any:
        """Points, intervals and quantiles: a row for each cell."""
        names = suffixes(percents, shares)

        def ask(forecast: Forecast, _: int) -> torch.Tensor:
            bounds = [bound for p in percents for bound in central(forecast, p)]
            bounds += [forecast.raw.quantile(share) for share in shares]
            return torch.stack([forecast.mean, *map(forecast.numbers, bounds)])

        values, row, step = self._fill(len(names), ask, own=False)
        cells = {
            column + name: values[k, :, d]
            for d, column in enumerate(self.columns)
            for k, name in enumerate(names)
        }
        return self.panel.to_frame(row, step, cells)

    def draws_to_frame(self, n: int) -> Any:
        """Joint draws: the rows of `to_frame` once per draw, with a ``sample_id``."""
        values, row, step = self._fill(n, Forecast.draws, own=True)
        cells: dict[str, Any] = {"sample_id": np.repeat(np.arange(n), len(row))}
        cells |= {column: values[..., d].reshape(-1) for d, column in enumerate(self.columns)}
        return self.panel.to_frame(np.tile(row, n), np.tile(step, n), cells)

    def _fill(self, count: int, ask: Ask, own: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers (count, m, D) of all cells, and the cells' rows and steps (m,).

        Args:
            count: numbers of each cell.
            ask: asks a forecast for so many.
            own: whether a later window sees each of them, one by one; else the first for all.
        """
        values = np.repeat(self.panel.values[None], count, axis=0)
        present = self.panel.present.copy()
        for backward in (False, True)[: 1 + self.turns]:
            now = replace(self.panel, values=values[0], present=present)
            side, source = regrid(now, self.horizon, backward)
            kept = source >= 0
            copies = np.where(kept[:, None], values[:, source], 0.0)
            self._warn_of_long(side)
            fresh = ~self.panel.present[source] & side.present
            work = _Work(side, copies, fresh, own, self, self.random.also(int(backward)))
            for part in self._rounds(side, backward):
                work.answer(part, ask)
            values[:, source[kept]] = copies[:, kept]
            present[source[kept]] = side.present[kept]
        cell = np.flatnonzero(present & ~self.panel.present)
        row = np.searchsorted(self.panel.cell_offset, cell, side="right") - 1
        self._warn_of_left(present)
        return values[:, cell], row, cell - self.panel.cell_offset[row]

    def _rounds(self, side: Panel, backward: bool) -> Iterable[Round]:
        """The rounds, with a bar if there are several."""
        dry = replace(side, present=side.present.copy())
        total = sum(1 for _ in rounds(dry, self.context, self.horizon))
        what = "impute, backward" if backward else "impute"
        return progress(rounds(side, self.context, self.horizon), what, total, self.bar)

    def _warn_of_long(self, side: Panel) -> None:
        """Say which gaps do not fit in a window."""
        row, start, stop = gaps_of(side)
        later = start > side.begin[side.row_scene[row]]
        ends = stop < side.cutoff[side.row_scene[row]]
        length = stop - start
        long = later & (length + ends > self.horizon)
        if long.any():
            warn_user(
                f"gaps of up to {int(length[long].max())} steps ({int(long.sum())} of them) do not "
                f"fit in prediction_length={self.horizon}: each is filled in pieces, of which only "
                "the last knows where the series reappears; for better paths fit with a longer "
                "prediction_length"
            )

    def _warn_of_left(self, present: np.ndarray) -> None:
        """Say which series have cells left, because nothing of them is observed before."""
        left = np.unique(gaps_of(regrid(replace(self.panel, present=present), 1)[0])[0])
        if not len(left):
            return
        named = ", ".join(self.panel.series_name(row) for row in left[:5].tolist())
        more = ", ..." if len(left) > 5 else ""
        warn_user(
            f"{len(left)} series have steps that are not imputed: {named}{more}. They are not "
            "observed before, and the model cannot look back in time (it uses a calendar or "
            "smoothing), or they are never observed",
            SeriesDroppedWarning,
        )


class _Work(NamedTuple):
    """The panel of one direction of time while its gaps are filled.

    Attributes:
        side: the panel; what is filled becomes present.
        copies: (k, cells, D) its values, one set for each number that is asked for.
        filled: (cells,) bool, what was filled until now.
        own, job: see `Imputation`.
        random: of this direction's draws.
    """

    side: Panel
    copies: np.ndarray
    filled: np.ndarray
    own: bool
    job: Imputation
    random: Draws

    def answer(self, part: Round, ask: Ask) -> None:
        """Write the numbers of a round's cells into the copies."""
        side, copies, scenes = self.side, self.copies, part.cutoffs[:, 0]
        # Windows without a filled cell are the same for all numbers.
        stale = np.isin(scenes, self._touched(part))
        if not self.own:
            self._ask(part, 0, slice(None), len(copies), ask)
            if stale.any() and len(copies) > 1:
                self._widen(part.of_scenes(scenes[stale], side))
        else:
            for which, each in ((~stale, [slice(None)]), (stale, [*range(len(copies))])):
                if which.any():
                    some = part.of_scenes(scenes[which], side)
                    for to in each:
                        source, count = (0, len(copies)) if isinstance(to, slice) else (to, 1)
                        self._ask(some, source, to, count, ask)
        self.filled[side.cell_offset[part.row] + part.step] = True

    def _widen(self, part: Round) -> None:
        """Add to bounds what it means that the path until now may have been at them: as squares."""
        cells = self.side.cell_offset[part.row] + part.step
        point, bounds = self.copies[0, cells], self.copies[1:, cells]
        away = np.empty_like(bounds)
        for k in range(1, len(self.copies)):
            self._ask(part, k, k, 1, lambda forecast, _: forecast.mean[None])
            away[k - 1] = self.copies[k, cells] - point
        far = bounds - point
        self.copies[1:, cells] = point + np.sign(far) * np.hypot(far, away)

    def _touched(self, part: Round) -> np.ndarray:
        """Scenes of which a window shows a cell that was filled."""
        cutoff = self._cutoff(part)
        before = np.maximum(cutoff - self.job.context, 0)
        seen = replace(self.side, present=self.filled)
        rows = np.flatnonzero(np.isin(self.side.row_scene, part.cutoffs[:, 0]))
        after = cutoff[rows] + self.job.horizon
        return self.side.row_scene[rows[observed_between(seen, rows, before[rows], after)]]

    def _cutoff(self, part: Round) -> np.ndarray:
        """The cutoff (R,) of each row's scene."""
        cutoff = np.zeros(len(self.side.length), dtype=np.int64)
        cutoff[part.cutoffs[:, 0]] = part.cutoffs[:, 1]
        return cutoff[self.side.row_scene]

    def _ask(self, part: Round, source: int, to: slice | int, count: int, ask: Ask) -> None:
        """Ask about windows that show one of the copies, and write into some."""
        side, start = self.side, self._cutoff(part)
        window = side.cell_offset[:, None] + start[:, None] + np.arange(self.job.horizon)
        wanted = np.zeros(window.shape, dtype=bool)
        wanted[part.row, part.step - start[part.row]] = True
        panel = replace(side, values=self.copies[source])
        given = np.where(side.present[window][..., None], panel.values[window], np.nan)
        forecasts = self.job.make(panel, part.cutoffs)
        one = () if isinstance(to, slice) else (to,)
        random = self.random.also(*self.random.more, *one)
        for forecast in replace(forecasts, given=given, random=random):
            row = forecast.future.rows.numpy()
            at, missing = wanted[row], np.isnan(given[row]).any(-1)
            if self.job.widths is not None:
                forecast = self.job.widths.stretch(forecast, torch.from_numpy(missing))
            found = ask(forecast, count).cpu().numpy()[:, at]
            self.copies[to, window[row][at]] = found if isinstance(to, slice) else found[0]
