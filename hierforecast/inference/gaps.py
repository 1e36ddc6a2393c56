"""Gaps of a panel: where series are not observed, and by which windows each gap is filled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from hierforecast.frame import Panel


class Round(NamedTuple):
    """One window of some scenes, and the cells that it answers for.

    Attributes:
        cutoffs: (W, 2) scene and step at which the window's horizon begins, a scene once at most.
        row, step: (m,) the cells.
    """

    cutoffs: np.ndarray
    row: np.ndarray
    step: np.ndarray

    def of_scenes(self, scenes: np.ndarray, panel: Panel) -> Round:
        """The part of it that is about some scenes."""
        cells = np.isin(panel.row_scene[self.row], scenes)
        cutoffs = self.cutoffs[np.isin(self.cutoffs[:, 0], scenes)]
        return Round(cutoffs, self.row[cells], self.step[cells])


def rounds(panel: Panel, context: int, horizon: int) -> Iterator[Round]:
    """Windows for all gaps that follow an observed cell, one of each scene in a round.

    A window begins with the earliest gap that is left. It answers for every gap that ends within
    it, so for those at the same time jointly. A gap that does not end within the window that it
    begins is answered for in pieces of half a horizon, all but the last without knowing its end.

    Args:
        panel: with at least a horizon of empty cells after each scene's last observed step. Cells
            that are answered for become present once the next round is asked for.
        context, horizon: steps of a window.
    """
    gaps = gaps_of(panel)
    later = gaps[1] > panel.begin[panel.row_scene[gaps[0]]]
    row, start, stop = (x[later] for x in gaps)
    scene, last = panel.row_scene[row], panel.cutoff[panel.row_scene[row]]
    while len(row):
        first = np.full(len(panel.length), np.iinfo(np.int64).max)
        np.minimum.at(first, scene, start)
        begin = first[scene]
        end = begin + horizon
        whole = (stop < end) | ((stop == last) & (stop == end))
        whole &= observed_between(panel, row, np.maximum(begin - context, 0), begin)
        piece = ~whole & (start == begin)
        until = np.where(whole, stop, np.minimum(stop, begin + max(1, horizon // 2)))
        taken = whole | piece
        count = np.where(taken, until - start, 0)
        cells = np.repeat(row, count)
        step = np.repeat(start - count.cumsum() + count, count) + np.arange(count.sum())
        scenes = np.unique(scene)
        yield Round(np.stack([scenes, first[scenes]], axis=1), cells, step)
        panel.present[panel.cell_offset[cells] + step] = True
        start = np.where(taken, until, start)
        left = start < stop
        row, start, stop, scene, last = (x[left] for x in (row, start, stop, scene, last))


def gaps_of(panel: Panel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, first step and the one after the last (g,) of each gap in its scene's history.

    Args:
        panel: with an empty cell after each row's history at least.
    """
    begin, end = (panel.cell_offset + x[panel.row_scene] for x in (panel.begin, panel.cutoff))
    edge = np.zeros(len(panel.present), dtype=np.int64)
    edge[begin], edge[end] = 1, -1
    missing = edge.cumsum().astype(bool) & ~panel.present
    change = np.diff(missing.astype(np.int64), prepend=0)
    start, stop = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    row = np.searchsorted(panel.cell_offset, start, side="right") - 1
    return row, start - panel.cell_offset[row], stop - panel.cell_offset[row]


def observed_between(
    panel: Panel, row: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> np.ndarray:
    """Whether rows (m,) are present at any step from start up to stop (m,)."""
    seen = np.concatenate([[0], np.cumsum(panel.present)])
    offset = panel.cell_offset[row]
    return seen[offset + stop] > seen[offset + start]


def regrid(panel: Panel, extra: int, backward: bool = False) -> tuple[Panel, np.ndarray]:
    """A copy of a panel up to each scene's last observed step and so many empty ones after it.

    Args:
        panel: the data.
        extra: empty steps.
        backward: time runs from the last observed step to the first; the clock is not turned.

    Returns:
        The copy, and the cell (cells,) of the panel that each of its cells is, -1 for empty ones.
    """
    first = panel.begin if backward else np.zeros_like(panel.begin)
    steps = panel.cutoff - first
    size = (steps + extra)[panel.row_scene]
    offset = np.cumsum(size) - size
    row = np.repeat(np.arange(len(size)), size)
    scene, at = panel.row_scene[row], np.arange(len(row)) - offset[row]
    then = panel.cutoff[scene] - 1 - at if backward else at
    source = np.where(at < steps[scene], panel.cell_offset[row] + then, -1)

    def cells(values: np.ndarray, empty: Any) -> np.ndarray:
        kept = (source >= 0).reshape(-1, *[1] * (values.ndim - 1))
        return np.where(kept, values[source], empty)

    past, known = (
        cells(getattr(panel, role), [c.missing for c in panel.vocabulary.of(role)])
        for role in ("past", "known")
    )
    copy = replace(
        panel, cell_offset=offset, begin=panel.begin - first, cutoff=steps, length=steps + extra,
        values=cells(panel.values, 0.0), present=cells(panel.present, False),
        past=past, known=known,
    )  # fmt: skip
    return copy, source
