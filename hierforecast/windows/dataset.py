"""Scenes cut into (context, horizon) windows: the data set, and random samples of it.

A window is two numbers, (scene, cutoff), whose cells are gathered when a batch is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from hierforecast.batch import Future, Hierarchy, SceneBatch, hierarchy_of
from hierforecast.errors import DataError
from hierforecast.frame import Panel
from hierforecast.frame.calendar import Calendar
from hierforecast.frame.vocabulary import AS_THEY_ARE
from hierforecast.windows.hiding import Hide, some_rows
from hierforecast.windows.history import Ahead, History, as_smoothed, residual

EPSILON = np.finfo(np.float64).eps
# Rows that are forecast at a time, about.
AT_ONCE = 2**15


class Window(NamedTuple):
    """A batch of windows: what the model sees and what came after."""

    batch: SceneBatch
    future: Future


class Chosen(NamedTuple):
    """What a batch is gathered of: all that is known of it before a number is looked at.

    Attributes:
        rows, window, cutoffs: (P,) of the panel, and of each its window and cutoff.
        cells: (P, L + H) of the panel; a step before the first one looks at that one's.
        present: (P, L), what the model sees.
        hierarchy: who meets whom.
        n_scenes: windows.
        early: (W, L + H) steps of each window, some of them before the first; None: none is.
        dates: (W, L + H, C) features of the calendar, None for none.
    """

    rows: np.ndarray
    window: np.ndarray
    cutoffs: np.ndarray
    cells: np.ndarray
    present: np.ndarray
    hierarchy: Hierarchy
    n_scenes: int
    early: np.ndarray | None
    dates: np.ndarray | None


class WindowDataset(Dataset[Window]):
    """Windows of a panel; for a list of them it gives one packed batch.

    A model may name the `origin` from which it wants numbers counted. They are then given less an
    offset and over a unit, worked out in float64: float32 has seven digits, and a walk near 1e8
    would spend them on its level. Its distribution is to be in the same units; `Forecasts` leads
    back.

    Args:
        panel: the data.
        cutoffs: (W, 2) pairs (scene, step at which the horizon starts); see `cutoffs_of`.
        context_length: L.
        prediction_length: H.
        hide: hides context cells in training.
        max_rows: of a window in training, taken at random, see `some_rows`; None: all.
        origin: ``"row"``: each row's own last visible value; ``"zero"``: none, but the units of the
            training frame still; ``"history"``: what smoothing forecasts, see `History`; None: the
            user's numbers as they are.
        calendar: whether the model uses the calendar, see `Model.uses_calendar`.

    Raises:
        DataError: if the user's numbers as they are would not fit the panel's dtype.
    """

    def __init__(
        self,
        panel: Panel,
        cutoffs: np.ndarray,
        context_length: int,
        prediction_length: int,
        hide: Hide | None = None,
        origin: str | None = None,
        calendar: bool = False,
        max_rows: int | None = None,
    ) -> None:
        self.panel, self.cutoffs, self.hide, self.origin = panel, cutoffs, hide, origin
        self.max_rows = max_rows
        self.context_length, self.prediction_length = context_length, prediction_length
        learned = panel.vocabulary.targets if origin else ()
        learned = learned or (AS_THEY_ARE,) * len(panel.columns.targets)
        self.middle, self.unit = np.array([(u.offset, u.unit) for u in learned]).T
        if origin == "zero":
            self.unit = np.maximum(self.unit, np.exp2(np.frexp(self.middle)[1]))
        names = panel.vocabulary.calendar if calendar else ()
        self.calendar = Calendar(panel.clock, names) if names else None
        self.history, self.warp = None, None
        if origin == "history":
            self.history = History(panel, cutoffs, prediction_length)
            self.warp = self.history.warp
        if origin is None:
            _check_squares(panel)

    def __len__(self) -> int:
        """Windows."""
        return len(self.cutoffs)

    def __getitem__(self, index: int) -> Window:
        """One window as a batch of one scene."""
        return self.__getitems__([index])

    def __getitems__(
        self, indices: Sequence[int] | np.ndarray, generator: torch.Generator | None = None
    ) -> Window:
        """Several windows as one packed batch; `generator` draws what is hidden and left out."""
        return self.gathered(self.chosen(indices, generator))

    def chosen(
        self, indices: Sequence[int] | np.ndarray, generator: torch.Generator | None = None
    ) -> Chosen:
        """What a batch is to be gathered of, all but its numbers; arguments of `__getitems__`."""
        panel, length = self.panel, self.context_length
        scenes, cutoffs = self.cutoffs[np.asarray(indices, dtype=np.int64)].T
        window, rows = self._rows(scenes)
        if self.max_rows is not None:
            kept = some_rows(window, panel.groups[rows, -1], self.max_rows, generator)
            window, rows = window[kept], rows[kept]
        # Steps before a scene's first one are missing; they look at that first one's cell.
        step = cutoffs[:, None] + np.arange(-length, self.prediction_length)
        cells = panel.cell_offset[rows, None] + np.maximum(step, 0)[window]
        present, short = panel.present[cells[:, :length]], bool((step < 0).any())
        if short:
            present &= (step >= 0)[window, :length]
        if self.hide is not None:
            present = self.hide(present, window, generator)
        kept = np.flatnonzero(present.any(1))
        codes = (panel.groups, *panel.crossed)
        order, hierarchy = hierarchy_of(window[kept], *(each[rows[kept]] for each in codes))
        kept = kept[order]
        dates = None
        if self.calendar is not None:
            dates = self.calendar.at(scenes, step).astype(panel.dtype)
        kinds = rows[kept], window[kept], cutoffs[window[kept]], cells[kept], present[kept]
        return Chosen(*kinds, hierarchy, len(scenes), step if short else None, dates)

    def gathered(self, chosen: Chosen) -> Window:
        """The batch of what was chosen."""
        rows, window, cutoffs, cells, present, hierarchy, n_scenes, early, dates = chosen
        panel, length = self.panel, self.context_length
        seen, tensor = panel.present[cells], torch.from_numpy
        seen[:, :length] = present
        ahead = None
        if self.history is None:
            values, offset = self._targets(cells, present, seen)
            unit, level = self.unit, self.level(offset)
        else:
            ahead = self.history.ahead(rows, cutoffs)
            offset, unit, level = ahead.loc, ahead.unit, np.zeros((len(rows), 1, 1))
            values = self._residuals(cells, present, seen, ahead)
        known = self.covariates("known", cells)
        if early is not None:
            known[early[window] < 0] = np.nan
        if dates is not None:
            dates = dates[window]
            known = np.concatenate([known, dates], axis=-1) if known.shape[-1] else dates
        # A missing step hides all that was observed with it, also where a frame still holds it.
        past = self.covariates("past", cells[:, :length])
        past[~present] = np.nan
        batch = SceneBatch(
            values=tensor(values[:, :length]),
            present=tensor(present),
            past=tensor(past),
            known=tensor(known),
            static=tensor(self.covariates("static", rows)),
            types=tensor(panel.types[rows]),
            scene=tensor(window),
            n_scenes=n_scenes,
            hierarchy=hierarchy,
            level=tensor(level.astype(panel.dtype)),
            naive=None if ahead is None else tensor(ahead.naive.astype(panel.dtype)),
        )
        whole = bool(seen[:, length:].all())
        after = map(tensor, (values[:, length:], seen[:, length:], rows, cutoffs))
        parts: Any = (*after, *((offset, unit) if self.origin else (0.0, 1.0)), whole)
        return Window(batch, Future(*parts))

    @property
    def sizes(self) -> np.ndarray:
        """Rows (W,) of each window, at most."""
        rows = self.panel.rows_of(self.cutoffs[:, 0])
        return rows if self.max_rows is None else np.minimum(rows, self.max_rows)

    def at_once(self, size: int) -> int:
        """So many windows at a time, or as few very wide ones as memory has room to forecast."""
        return max(1, min(size, int(AT_ONCE / max(1, self.sizes.mean()))))

    @property
    def whole(self) -> np.ndarray:
        """Which windows (W,) have a context that lies within their scene."""
        return self.cutoffs[:, 1] - self.panel.begin[self.cutoffs[:, 0]] >= self.context_length

    def level(self, offset: np.ndarray) -> np.ndarray:
        """Where offsets (P, 1, D) lie, see `SceneBatch`."""
        return (offset - self.middle) / self.unit if self.origin == "row" else 0.0 * offset

    def _residuals(
        self, cells: np.ndarray, present: np.ndarray, seen: np.ndarray, ahead: Ahead
    ) -> np.ndarray:
        """Errors of smoothing (P, L + H, D) in its units: one step ahead, then from the cutoff."""
        assert self.history is not None
        length = present.shape[1]
        truth = as_smoothed(self.panel.values[cells[:, length:]], self.warp)
        context = np.where(present[..., None], self.history.errors[cells[:, :length]], 0.0)
        horizon = np.where(seen[:, length:, None], residual(truth, ahead.loc) / ahead.unit, 0.0)
        return np.concatenate([context, horizon], axis=1).astype(self.panel.dtype)

    def _rows(self, scenes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Window and row of the panel (P,) of every series of the scenes (W,) of the windows."""
        starts, counts = self.panel.row_offset[scenes], self.panel.rows_of(scenes)
        window = np.repeat(np.arange(len(scenes)), counts)
        first = np.cumsum(counts) - counts
        return window, np.arange(len(window)) + (starts - first)[window]

    def _targets(
        self, cells: np.ndarray, present: np.ndarray, seen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values (P, L + H, D) in the model's units, 0 where not seen, and their offset (P, 1, D).

        The offset is an observed value of the row itself, so the row moves with it exactly, and
        depends on no other row.
        """
        values, length = np.take(self.panel.values, cells, axis=0), present.shape[1]
        rows, last = np.arange(len(values)), length - 1 - present[:, ::-1].argmax(1)
        offset = values[rows, last] if self.origin == "row" else np.zeros((1, len(self.unit)))
        out = np.empty(values.shape, dtype=self.panel.dtype)
        for d, unit in enumerate(self.unit):  # numpy is slow where the last axis is short
            own = offset[:, d, None]
            column = np.where(seen, values[..., d], own)
            column -= own
            if self.origin == "row":
                # What differs by a rounding or two of its level is a constant.
                still = np.abs(column[:, :length]).max(1) <= 2 * EPSILON * np.abs(own[:, 0])
                column[still, :length] = 0
            out[..., d] = column / unit
        return out, offset[:, None]

    def covariates(self, role: str, at: Any) -> np.ndarray:
        """Covariates of a role in the model's units: (*at.shape, C)."""
        values = getattr(self.panel, role)[at]
        if self.origin is not None:
            for c, covariate in enumerate(self.panel.vocabulary.of(role)):
                if covariate.units != AS_THEY_ARE:
                    values[..., c] = covariate.units.apply(values[..., c])
        return values.astype(self.panel.dtype, copy=False)


def _check_squares(panel: Panel) -> None:
    """Refuse numbers whose squares the panel's dtype cannot hold: a model is given them as such."""
    most = np.finfo(panel.dtype).max ** 0.5
    for d, name in enumerate(panel.columns.targets):
        largest = np.abs(panel.values[:, d]).max(initial=0, where=panel.present)
        if largest > most:
            raise DataError(
                f"column {name!r} goes to {largest:g}, but the model takes numbers as they are and "
                f"squares beyond {most:.3g} do not fit {panel.dtype}: divide the column by a "
                "constant, or let the model name its origin (see WindowDataset)"
            )


def sample_windows(
    windows: WindowDataset, rows: int, seed: int, generator: torch.Generator | None = None
) -> Window:
    """Random windows of about so many rows in all (one window at least), as one batch."""
    return windows.__getitems__(np.sort(_order(windows, rows, seed)), generator)


def few_windows(windows: WindowDataset, most: int, rows: int, seed: int) -> WindowDataset:
    """Random windows, so many at most, of about so many rows in all (one window at least)."""
    some = copy(windows)
    some.cutoffs = windows.cutoffs[np.sort(_order(windows, rows, seed)[:most])]
    return some


def _order(windows: WindowDataset, rows: int, seed: int) -> np.ndarray:
    """Numbers of random windows of about so many rows in all."""
    size = windows.sizes
    order = np.random.default_rng(seed).permutation(len(size))
    return order[: max(1, int(np.searchsorted(np.cumsum(size[order]), rows)))]
