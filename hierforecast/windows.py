"""Scenes cut into (context, horizon) windows: dataset, collation and Lightning data module.

A window is two numbers, (scene, cutoff); its cells are gathered when a batch is made, so nothing is
copied once per window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from hierforecast._options import whole
from hierforecast.batch import Future, SceneBatch, hierarchy_of
from hierforecast.errors import DataError, Remedy, SeriesDroppedWarning, warn_user
from hierforecast.frame import Panel
from hierforecast.frame.table import show
from hierforecast.frame.units import AS_THEY_ARE

EPSILON = np.finfo(np.float64).eps


class Window(NamedTuple):
    """A batch of windows: what the model sees and what came after."""

    batch: SceneBatch
    future: Future


class Hide(Protocol):
    """Hides context cells: presence (P, L) and window (P,) -> presence (P, L)."""

    def __call__(
        self, present: np.ndarray, window: np.ndarray, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """Return a presence that is nowhere larger."""
        ...


@dataclass(frozen=True)
class SeriesDropout:
    """Hides whole series and pieces of series at random, so that fewer agents are nothing new.

    Each window draws a share between 0 and twice `rate`. Each of its series is hidden with that
    probability, and of the others each loses one piece of its context with that probability. At
    least one series of a window always stays as it was.

    Args:
        rate: the mean share of hidden series, between 0 and 0.5.

    Raises:
        ValueError: if `rate` is out of range.
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 0.5:
            raise ValueError(
                f"series_dropout={self.rate} must lie between 0 and 0.5: it is the mean share of "
                "hidden series, and up to twice as many are hidden in a window"
            )

    def __call__(
        self, present: np.ndarray, window: np.ndarray, generator: torch.Generator | None = None
    ) -> np.ndarray:
        """See `Hide`."""
        rows, steps = present.shape
        n_windows = int(window.max(initial=-1)) + 1
        share = 2 * self.rate * torch.rand(n_windows, generator=generator).numpy()[window]
        whole, piece, start, length, keep = torch.rand(5, rows, generator=generator).numpy()
        # A piece begins at any step and is of any length; what sticks out of the context is cut.
        begin, more = (np.floor(draw * steps)[:, None] for draw in (start, length))
        clock = np.arange(steps)[None]
        in_piece = (clock >= begin) & (clock <= begin + more) & (piece < share)[:, None]
        hidden = in_piece | (whole < share)[:, None]
        # Of the series seen in a window, the one with the largest draw stays as it was.
        keep[~present.any(1)] = -1
        best = np.full(n_windows, -1.0)
        np.maximum.at(best, window, keep)
        hidden[keep == best[window]] = False
        return present & ~hidden


class WindowDataset(Dataset[Window]):
    """Windows of a panel; asked for a list of them, it hands back one packed batch.

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
        origin: ``"row"``: each row's own last visible value; ``"zero"``: none, but the units of the
            training frame still; None: the user's numbers as they are.

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
    ) -> None:
        self.panel, self.cutoffs, self.hide, self.origin = panel, cutoffs, hide, origin
        self.context_length, self.prediction_length = context_length, prediction_length
        learned = panel.vocabulary.targets if origin else ()
        learned = learned or (AS_THEY_ARE,) * len(panel.columns.targets)
        self.middle, self.unit = np.array([(u.offset, u.unit) for u in learned]).T
        if origin == "zero":
            self.unit = np.maximum(self.unit, np.exp2(np.frexp(self.middle)[1]))
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
        """Several windows as one packed batch; what `hide` hides is drawn by `generator`."""
        panel, length = self.panel, self.context_length
        scenes, cutoffs = self.cutoffs[np.asarray(indices, dtype=np.int64)].T
        counts = panel.row_offset[scenes + 1] - panel.row_offset[scenes]
        window = np.repeat(np.arange(len(scenes)), counts)
        first = np.cumsum(counts) - counts
        rows = np.arange(len(window)) + (panel.row_offset[scenes] - first)[window]
        # Steps before a scene's first one are missing; they look at that first one's cell.
        step = cutoffs[:, None] + np.arange(-length, self.prediction_length)
        cells = panel.cell_offset[rows, None] + np.maximum(step, 0)[window]
        present = panel.present[cells[:, :length]] & (step[window, :length] >= 0)
        if self.hide is not None:
            present = self.hide(present, window, generator)
        kept = present.any(1)
        rows, window, cells, present = rows[kept], window[kept], cells[kept], present[kept]
        order, hierarchy = hierarchy_of(window, panel.groups[rows])
        rows, window, cells, present = rows[order], window[order], cells[order], present[order]
        seen, tensor = panel.present[cells], torch.from_numpy
        seen[:, :length] = present
        values, offset = self._targets(cells, present, seen)
        known = self._covariates("known", cells)
        if len(cutoffs) and cutoffs.min() < length:
            known[step[window] < 0] = np.nan
        # A missing step hides all that was observed with it, also where a frame still holds it.
        past = self._covariates("past", cells[:, :length])
        past[~present] = np.nan
        level = (offset - self.middle) / self.unit if self.origin == "row" else 0.0 * offset
        batch = SceneBatch(
            values=tensor(values[:, :length]),
            present=tensor(present),
            past=tensor(past),
            known=tensor(known),
            static=tensor(self._covariates("static", rows)),
            types=tensor(panel.types[rows]),
            scene=tensor(window),
            n_scenes=len(scenes),
            hierarchy=hierarchy,
            level=tensor(level.astype(panel.dtype)),
        )
        future = Future(
            tensor(values[:, length:]),
            tensor(seen[:, length:]),
            tensor(rows),
            tensor(cutoffs[window]),
            *((offset, self.unit) if self.origin else ()),
        )
        return Window(batch, future)

    def _targets(
        self, cells: np.ndarray, present: np.ndarray, seen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values (P, L + H, D) in the model's units, 0 where not seen, and their offset (P, 1, D).

        The offset is an observed value of the row itself, so the row moves with it exactly, and no
        other row has a say in it.
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

    def _covariates(self, role: str, at: np.ndarray) -> np.ndarray:
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


def cutoffs_of(
    panel: Panel, context_length: int, prediction_length: int, stride: int = 1
) -> np.ndarray:
    """Every window whose context and horizon hold at least one observed cell.

    A scene lasts from its first observed step to its last. One that is too short for a whole window
    has one window, its last: the steps before its first are missing.

    Args:
        panel: the data.
        context_length: L.
        prediction_length: H.
        stride: steps between cutoffs of a scene, counted back from the last of them, whose
            horizon ends with the scene's last observed step.

    Returns:
        (W, 2) pairs (scene, cutoff), by scene and cutoff.

    Raises:
        DataError: if no scene is long enough, or nothing is observed where it would have to be.
    """
    stride = whole("stride", stride)
    room = panel.cutoff - panel.begin - prediction_length
    if room.max() < 1:
        raise DataError(
            f"too little context: a window needs a step of context and prediction_length = "
            f"{prediction_length} steps, but the longest scene has "
            f"{int(room.max()) + prediction_length}; give longer scenes, or fit with a smaller "
            "prediction_length"
        )
    counts = np.where(room >= 1, np.maximum(room - context_length, 0) // stride + 1, 0)
    scene = np.repeat(np.arange(len(counts)), counts)
    back = np.arange(len(scene)) - np.repeat(np.cumsum(counts) - counts, counts)
    cutoff = panel.cutoff[scene] - prediction_length - stride * back
    observed, offset = observed_before(panel)
    at = offset[scene] + cutoff
    in_context = observed[at] > observed[at - np.minimum(cutoff, context_length)]
    in_horizon = observed[at + prediction_length] > observed[at]
    pairs = np.stack([scene, cutoff], axis=1)[in_context & in_horizon]
    if not len(pairs):
        raise DataError(
            "no window has a series observed both in its context and in its horizon: give scenes "
            "with fewer missing steps, or lengthen context_length or prediction_length"
        )
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def last_cutoffs(panel: Panel, context_length: int) -> np.ndarray:
    """One window for each scene, whose context ends at its last observed time: (S, 2).

    Warns:
        SeriesDroppedWarning: for series that are not observed within their scene's context.
    """
    dropped = np.flatnonzero(~panel.observed_within(context_length))
    if len(dropped):
        warn_user(_dropped(panel, dropped, context_length), SeriesDroppedWarning)
    return np.stack([np.arange(len(panel.cutoff)), panel.cutoff], axis=1)


def _dropped(panel: Panel, rows: np.ndarray, context_length: int) -> str:
    """Series (m,) that get no forecast, counted and named with their last observed time."""
    named = []
    for row in rows[:5].tolist():
        scene, begin = panel.row_scene[row : row + 1], panel.cell_offset[row]
        steps = np.flatnonzero(panel.present[begin : begin + panel.cutoff[scene[0]]])
        time = show(panel.times(scene, steps[-1:])[0]) if len(steps) else ""
        named.append(
            f"{panel.series_name(row)} ({f'last at {time}' if time else 'never observed'})"
        )
    more = ", ..." if len(rows) > 5 else ""
    return (
        f"{len(rows)} of {len(panel.row_scene)} series get no forecast: they are not observed "
        f"within the last {context_length} steps (context_length) of their scene: "
        f"{', '.join(named)}{more}"
    )


def split_cutoffs(
    panel: Panel,
    context_length: int,
    prediction_length: int,
    seed: int,
    held_out: Panel | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Windows to train on and windows to stop by: (W, 2) and (V, 2), sharing no horizon step.

    Without a held-out panel a tenth of the scenes is held out; if that is less than one scene, the
    last tenth of each scene's time.
    """
    lengths = context_length, prediction_length
    _check_lengths(panel, *lengths)
    every = cutoffs_of(panel, *lengths)
    if held_out is not None:
        return every, cutoffs_of(held_out, *lengths, stride=prediction_length)
    sparse = cutoffs_of(panel, *lengths, stride=prediction_length)
    scenes = np.unique(every[:, 0])
    if len(scenes) >= 10:
        kept = np.random.default_rng(seed).permutation(scenes)[: len(scenes) // 10]
        return every[~np.isin(every[:, 0], kept)], sparse[np.isin(sparse[:, 0], kept)]
    held = np.maximum((panel.cutoff - panel.begin) // 10, prediction_length)
    from_step = panel.cutoff - held
    early = every[:, 1] + prediction_length <= from_step[every[:, 0]]
    late = sparse[:, 1] >= from_step[sparse[:, 0]]
    if not early.any():  # too short to hold anything out
        return every, every[:0]
    return every[early], sparse[late]


def some_of(
    windows: WindowDataset, rows: int, seed: int, generator: torch.Generator | None = None
) -> Window:
    """Random windows of about so many rows in all (one window at least), as one batch."""
    scene, offset = windows.cutoffs[:, 0], windows.panel.row_offset
    size = offset[scene + 1] - offset[scene]
    order = np.random.default_rng(seed).permutation(len(scene))
    count = max(1, int(np.searchsorted(np.cumsum(size[order]), rows)))
    return windows.__getitems__(np.sort(order[:count]), generator)


def _check_lengths(panel: Panel, context_length: int, prediction_length: int) -> None:
    """Refuse to learn from scenes of which none fills a window, and tell which are not used.

    Raises:
        DataError: if no scene has L + H steps.

    Warns:
        UserWarning: if some scenes have no step of context.
    """
    length = panel.cutoff - panel.begin
    need, longest = context_length + prediction_length, int(length.max())
    if longest < need:
        fits = longest - prediction_length
        remedy = Remedy(f"forecaster.set_params(context_length={fits})", f"--context {fits}")
        raise DataError(
            f"too little context: a window needs context_length + prediction_length = "
            f"{context_length} + {prediction_length} = {need} steps, but the longest scene has "
            f"{longest}; give longer scenes" + (", or a shorter context" if fits > 0 else ""),
            remedy if fits > 0 else None,
        )
    unused = np.flatnonzero(length <= prediction_length)
    if len(unused):
        warn_user(
            f"{len(unused)} of {len(panel.cutoff)} scenes are not used: they have no more than "
            f"prediction_length = {prediction_length} steps: "
            f"{', '.join(map(panel.scene_name, unused[:5].tolist()))}"
            f"{', ...' if len(unused) > 5 else ''}"
        )


def observed_before(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Cumulated count of observed cells by step, for all scenes end to end, and their offsets.

    Entry ``offset[s] + t`` counts the cells of scene `s` observed before step `t`.
    """
    offset = np.concatenate([[0], np.cumsum(panel.length + 1)])
    cells = np.flatnonzero(panel.present)
    row = np.searchsorted(panel.cell_offset, cells, side="right") - 1
    at = offset[panel.row_scene[row]] + cells - panel.cell_offset[row] + 1
    return np.cumsum(np.bincount(at, minlength=offset[-1])), offset
