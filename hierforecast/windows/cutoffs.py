"""Where windows end: every cutoff of a panel, the last ones, those to train on and to stop by."""

from __future__ import annotations

import numpy as np

from hierforecast._options import whole
from hierforecast.errors import (
    DataError,
    NothingToForecastError,
    Remedy,
    SeriesDroppedWarning,
    warn_user,
)
from hierforecast.frame import Panel
from hierforecast.frame.table import show

# Held-out windows below which nothing should be chosen by them.
ENOUGH = 8
# Cells that are counted at a time: their numbers take 24 times the memory of their presence.
CELLS = 2**18


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
        raise NothingToForecastError(
            f"too little context: a window needs a step of context and prediction_length = "
            f"{prediction_length} steps, but the longest scene has "
            f"{int(room.max()) + prediction_length}; give longer scenes, or fit with a smaller "
            "prediction_length"
        )
    counts = _count(panel, context_length, prediction_length, stride)
    scene = np.repeat(np.arange(len(counts)), counts)
    back = np.arange(len(scene)) - np.repeat(np.cumsum(counts) - counts, counts)
    cutoff = panel.cutoff[scene] - prediction_length - stride * back
    pairs = _with_something(panel, scene, cutoff, context_length, prediction_length)
    if not len(pairs):
        raise NothingToForecastError(
            "no window has a series observed both in its context and in its horizon: give scenes "
            "with fewer missing steps, or lengthen context_length or prediction_length"
        )
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def early_cutoffs(
    panel: Panel, context_length: int, prediction_length: int, least: int, windows: np.ndarray
) -> np.ndarray:
    """Windows that begin before their scene does: more to learn from where scenes are short.

    Their context holds `least` steps of the scene or more, but not all L, and their horizon is
    whole.

    Args:
        panel: the data.
        context_length: L.
        prediction_length: H.
        least: steps of a scene before the cutoff.
        windows: (W, 2), those that there are; only their scenes have more.

    Returns:
        (V, 2) pairs (scene, cutoff), none of which is among the windows.
    """
    scenes = np.unique(windows[:, 0])
    first = panel.begin[scenes] + least
    stop = np.minimum(
        panel.begin[scenes] + context_length, panel.cutoff[scenes] - prediction_length + 1
    )
    counts = np.maximum(stop - first, 0)
    place = np.repeat(np.arange(len(scenes)), counts)
    cutoff = first[place] + np.arange(len(place)) - (np.cumsum(counts) - counts)[place]
    pairs = _with_something(panel, scenes[place], cutoff, context_length, prediction_length)
    there = 1 + int(panel.length.max(initial=0))  # cutoffs are below it
    return pairs[~np.isin(pairs @ (there, 1), windows @ (there, 1))]


def _with_something(
    panel: Panel, scene: np.ndarray, cutoff: np.ndarray, context_length: int, prediction_length: int
) -> np.ndarray:
    """Those windows, as pairs, of which context and horizon hold at least one observed cell."""
    observed, offset = observed_before(panel)
    at = offset[scene] + cutoff
    in_context = observed[at] > observed[at - np.minimum(cutoff, context_length)]
    in_horizon = observed[at + prediction_length] > observed[at]
    return np.stack([scene, cutoff], axis=1)[in_context & in_horizon]


def last_cutoffs(panel: Panel, context_length: int, newcomers: bool = False) -> np.ndarray:
    """One window for each scene, whose context ends at its last observed time: (S, 2).

    Args:
        panel: the data.
        context_length: L.
        newcomers: whether series that are not observed are forecast too, by others of their scene.

    Warns:
        SeriesDroppedWarning: for series that are not observed within their scene's context.
    """
    seen = panel.observed_within(context_length)
    if newcomers:
        seen |= np.bincount(panel.row_scene, seen, len(panel.cutoff))[panel.row_scene] > 0
    dropped = np.flatnonzero(~seen)
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
    last tenth of each scene's time, or as much of it as `ENOUGH` windows take. Held-out windows are
    a horizon apart, less where they would be fewer than that.
    """
    lengths = context_length, prediction_length
    _check_lengths(panel, *lengths)
    every = cutoffs_of(panel, *lengths)
    if held_out is not None:
        return every, cutoffs_of(held_out, *lengths, stride=_stride(held_out, *lengths))
    scenes = np.unique(every[:, 0])
    if len(scenes) >= 10:
        sparse = cutoffs_of(panel, *lengths, stride=prediction_length)
        kept = np.random.default_rng(seed).permutation(scenes)[: len(scenes) // 10]
        return every[~np.isin(every[:, 0], kept)], sparse[np.isin(sparse[:, 0], kept)]
    held, stride = _held_steps(panel, *lengths)
    until_end = panel.cutoff[every[:, 0]] - every[:, 1]
    held, stride = held[every[:, 0]], stride[every[:, 0]]
    early = until_end >= held + prediction_length
    late = (until_end <= held) & ((until_end - prediction_length) % stride == 0)
    if not early.any():  # too short to hold anything out
        return every, every[:0]
    return every[early], every[late]


def _held_steps(
    panel: Panel, context_length: int, prediction_length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Steps at each scene's end that are held out (S,), and steps between cutoffs there (S,).

    It is the last tenth, with windows a horizon apart, if these are enough. If not, each scene
    holds out as many as it takes to be enough together, spread over a fifth of its time at most,
    overlapping where that is too short. A scene keeps as many windows to train on as it holds out.
    """
    length = panel.cutoff - panel.begin
    tenth = np.maximum(length // 10, prediction_length)
    stride = np.full_like(tenth, prediction_length)
    windows = _count(panel, context_length, prediction_length)
    sparse = _count(panel, context_length, prediction_length, prediction_length)
    if np.minimum(tenth // prediction_length, sparse).sum() >= ENOUGH:
        return tenth, stride
    # So many overlapping windows take prediction_length - 1 more from those to train on.
    most = np.maximum(windows - prediction_length + 1, 0) // 2
    each = (n for n in range(1, ENOUGH) if np.minimum(most, n).sum() >= ENOUGH)
    counts = np.minimum(most, next(each, ENOUGH))
    room = np.minimum(length // 5, windows - counts) - prediction_length
    stride = np.clip(room // np.maximum(counts - 1, 1), 1, prediction_length)
    return np.where(counts, prediction_length + stride * (counts - 1), 0), stride


def _count(
    panel: Panel, context_length: int, prediction_length: int, stride: int = 1
) -> np.ndarray:
    """Windows of each scene (S,), whatever is observed in them; see `cutoffs_of`."""
    room = panel.cutoff - panel.begin - prediction_length
    return np.where(room >= 1, np.maximum(room - context_length, 0) // stride + 1, 0)


def _stride(panel: Panel, context_length: int, prediction_length: int) -> int:
    """The horizon, or the longest stride below it with which a panel has `ENOUGH` windows."""
    for stride in range(prediction_length, 1, -1):
        if _count(panel, context_length, prediction_length, stride).sum() >= ENOUGH:
            return stride
    return 1


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
    count = np.zeros(offset[-1], dtype=np.int64)
    for start in range(0, len(panel.present), CELLS):
        cells = start + np.flatnonzero(panel.present[start : start + CELLS])
        if len(cells):
            row = np.searchsorted(panel.cell_offset, cells, side="right") - 1
            at = offset[panel.row_scene[row]] + cells - panel.cell_offset[row] + 1
            first = at.min()
            found = np.bincount(at - first)
            count[first : first + len(found)] += found
    return np.cumsum(count, out=count), offset
