"""Where the gaps of a panel are, and the windows that answer for every missing cell once."""

from __future__ import annotations

import numpy as np
import pytest

from hierforecast.frame import read_frame
from hierforecast.inference.gaps import gaps_of, regrid, rounds
from tests.helpers import COLUMNS, H, L, make_frame


def test_gaps_are_found_as_by_hand():
    panel, _ = regrid(read_frame(make_frame(2, missing=0.5), COLUMNS), 1)
    found = []
    for row, offset in enumerate(panel.cell_offset):
        scene, open_ = panel.row_scene[row], None
        for step in range(panel.begin[scene], panel.cutoff[scene] + 1):
            gone = step < panel.cutoff[scene] and not panel.present[offset + step]
            if gone and open_ is None:
                open_ = step
            if not gone and open_ is not None:
                found.append((row, open_, step))
                open_ = None
    assert list(zip(*(x.tolist() for x in gaps_of(panel)), strict=True)) == found


@pytest.mark.parametrize("missing", [0.1, 0.6])
def test_every_missing_cell_is_answered_once(missing: float):
    """And its window sees its row before it; what is left is before a series was first seen."""
    panel, source = regrid(read_frame(make_frame(4, missing=missing), COLUMNS), H)
    before = panel.present.copy()
    times = np.zeros(len(before), dtype=int)
    for cutoffs, row, step in rounds(panel, L, H):
        assert (np.unique(cutoffs[:, 0], return_counts=True)[1] == 1).all()
        start = dict(cutoffs.tolist())
        for r, s in zip(row, step, strict=True):
            first = start[panel.row_scene[r]]
            cells = panel.cell_offset[r] + np.arange(max(first - L, 0), first)
            assert first <= s < first + H and panel.present[cells].any()
            times[panel.cell_offset[r] + s] += 1
    for r, offset in enumerate(panel.cell_offset):
        begin, end = panel.begin[panel.row_scene[r]], panel.cutoff[panel.row_scene[r]]
        seen = np.flatnonzero(before[offset : offset + end])
        inside = np.arange(len(before)) - offset
        later = (inside > seen[0]) & (inside >= begin) & (inside < end) & ~before
        own = (inside >= 0) & (inside < end + H)
        assert (times[own] == later[own]).all()
    assert (source >= 0).sum() == panel.cutoff[panel.row_scene].sum()
