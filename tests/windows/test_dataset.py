"""Windows against plain slicing, and what series dropout may and may not hide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hierforecast.errors import DataError, SeriesDroppedWarning
from hierforecast.frame import Panel, read_frame
from hierforecast.windows import WindowDataset
from hierforecast.windows import cutoffs as counting
from hierforecast.windows.cutoffs import cutoffs_of, last_cutoffs, observed_before, split_cutoffs
from hierforecast.windows.hiding import SeriesDropout
from tests.helpers import EVERYTHING, H, L, make_frame


def awkward_panel(seed: int = 0) -> Panel:
    """Scenes of unlike lengths and rosters, one too short, with long holes."""
    frame = make_frame(n_scenes=5, steps=30, seed=seed, missing=0.5)
    ends = {0: 30, 1: 16, 2: 9, 3: 25, 4: 30}
    frame = frame[frame.ds < frame.scene.map(ends)]
    frame = frame[~((frame.scene == 3) & frame.unique_id.str.startswith("home"))]
    frame = frame[~((frame.scene == 4) & frame.ds.between(4, 22))]  # windows of nothing
    frame.loc[frame.unique_id == "away_1", ["x", "pulse"]] = np.nan
    return read_frame(frame, EVERYTHING, dtype=np.float64)


def cell(panel: Panel, row: int, step: int) -> int:
    return int(panel.cell_offset[row]) + step


def rows_of(panel: Panel, scene: int) -> range:
    return range(int(panel.row_offset[scene]), int(panel.row_offset[scene + 1]))


@pytest.fixture(scope="module")
def panel() -> Panel:
    return awkward_panel()


@pytest.mark.parametrize("stride", [1, 3, H])
def test_cutoffs_are_all_windows_with_something_in_both_parts(panel, stride):
    wanted = []
    assert not panel.begin.any()
    for scene, length in enumerate(panel.cutoff):
        # A scene that is too short for a whole window has one, whose context is cut.
        for cutoff in range(length - H, min(L, length - H) - 1, -stride):
            begin = max(0, cutoff - L)
            seen = np.array(
                [
                    panel.present[cell(panel, row, begin) : cell(panel, row, cutoff + H)]
                    for row in rows_of(panel, scene)
                ]
            )
            if seen[:, : cutoff - begin].any() and seen[:, cutoff - begin :].any():
                wanted.append((scene, cutoff))
    found = cutoffs_of(panel, L, H, stride)
    assert [tuple(pair) for pair in found.tolist()] == sorted(wanted)
    assert {scene for scene, _ in wanted} == {0, 1, 2, 3, 4} and panel.cutoff[2] < L + H
    every = sum(max(1, length - L - H + 1) for length in panel.cutoff)
    assert len(wanted) < every / stride, "the panel has windows of nothing"


def test_a_batch_holds_what_slicing_would(panel):
    cutoffs = cutoffs_of(panel, L, H)
    rng = np.random.default_rng(0)
    picked = rng.choice(len(cutoffs), 7).tolist()
    batch, future = WindowDataset(panel, cutoffs, L, H).__getitems__(picked)
    wanted = {
        (window, row)
        for window, (scene, cutoff) in enumerate(cutoffs[picked])
        for row in rows_of(panel, scene)
        if panel.present[cell(panel, row, cutoff - L) : cell(panel, row, cutoff)].any()
    }
    found = list(zip(batch.scene.tolist(), future.rows.tolist(), strict=True))
    assert set(found) == wanted and len(found) == len(wanted)
    assert batch.n_scenes == len(picked)
    for at, (window, row) in enumerate(found):
        scene, cutoff = cutoffs[picked[window]]
        assert panel.row_scene[row] == scene and future.cutoff[at] == cutoff
        before = slice(cell(panel, row, cutoff - L), cell(panel, row, cutoff))
        after = slice(before.stop, before.stop + H)
        present = panel.present[before]
        np.testing.assert_array_equal(batch.present[at], present)
        np.testing.assert_array_equal(batch.values[at], panel.values[before])
        past = np.where(present[:, None], panel.past[before], np.nan)
        np.testing.assert_array_equal(batch.past[at], past)
        np.testing.assert_array_equal(batch.known[at], panel.known[before.start : after.stop])
        np.testing.assert_array_equal(batch.static[at], panel.static[row])
        assert batch.types[at] == panel.types[row]
        np.testing.assert_array_equal(future.values[at], panel.values[after])
        np.testing.assert_array_equal(future.present[at], panel.present[after])
    for one, two in ((0, -1), (3, 5)):  # the plan belongs to these rows in this order
        codes = panel.groups[future.rows[[one, two]], -1]
        same = batch.scene[one] == batch.scene[two] and codes[0] == codes[1]
        assert (batch.hierarchy.group[one] == batch.hierarchy.group[two]) == same


def test_one_window_is_the_batch_of_one(panel):
    windows = WindowDataset(panel, cutoffs_of(panel, L, H), L, H)
    one, many = windows[2], windows.__getitems__([2, 9])
    kept = many.batch.scene == 0
    assert torch.equal(one.batch.values, many.batch.values[kept])
    assert len(windows) == len(windows.cutoffs)


def test_batches_share_no_memory_with_the_panel():
    panel = awkward_panel(1)
    before = panel.values.copy()
    batch, future = WindowDataset(panel, cutoffs_of(panel, L, H), L, H)[0]
    batch.values.fill_(7), future.values.fill_(7), batch.present.fill_(True)
    np.testing.assert_array_equal(panel.values, before)


def test_what_stands_in_missing_cells_never_gets_out(panel):
    """Values and past covariates of missing cells are blanked, whatever a panel holds there."""
    rng = np.random.default_rng(0)
    junk = replace(panel, values=panel.values.copy(), past=panel.past.copy())
    junk.values[~panel.present] = rng.choice([np.nan, np.inf, 1e30], (~panel.present).sum())[
        :, None
    ]
    junk.past[~panel.present] = 99
    cutoffs = cutoffs_of(panel, L, H)
    (one, _), (two, _) = (WindowDataset(p, cutoffs, L, H)[4] for p in (panel, junk))
    assert torch.equal(one.values, two.values)
    np.testing.assert_array_equal(one.past, two.past)


def test_last_cutoffs_end_with_the_scene(panel):
    expected = r"^5 of 42 series get no forecast: .* scene 0, unique_id 'away_1' \(never observed\)"
    for length in (9, L):  # scene 2 is shorter than L: its context is cut
        with pytest.warns(SeriesDroppedWarning, match=expected):
            found = last_cutoffs(panel, length)
        assert found.tolist() == [[0, 30], [1, 16], [2, 9], [3, 25], [4, 30]]


def test_too_short_and_too_empty_panels_are_named(panel):
    with pytest.raises(DataError, match=r"too little context: .* 28 \+ 4 = 32 steps, .* has 30"):
        split_cutoffs(panel, 28, H, 0)
    with pytest.raises(DataError, match=r"too little context: .* = 30 steps, .* has 30"):
        cutoffs_of(panel, L, 30)
    with pytest.raises(DataError, match=r"stride=0 must be"):
        cutoffs_of(panel, L, H, stride=0)
    empty = replace(panel, present=np.zeros_like(panel.present))
    with pytest.raises(DataError, match=r"no window .* observed"):
        cutoffs_of(empty, L, H)


def test_a_window_without_a_series(panel):
    empty = replace(panel, present=np.zeros_like(panel.present))
    windows = WindowDataset(empty, np.array([[0, 15], [1, 12]]), L, H)
    batch, future = windows.__getitems__([0, 1])
    assert len(batch.values) == len(future.values) == 0
    assert batch.n_scenes == 2 and batch.values.shape == (0, L, 2)


# --- series dropout ------------------------------------------------------------------------------


def hide(rate: float, present: np.ndarray, window: np.ndarray, seed: int = 0) -> np.ndarray:
    before = present.copy()
    after = SeriesDropout(rate)(present, window, torch.Generator().manual_seed(seed))
    np.testing.assert_array_equal(present, before)
    assert not (after & ~present).any(), "dropout shows nothing that was missing"
    return after


def test_dropout_hides_series_and_pieces_about_as_often_as_it_says():
    window = np.repeat(np.arange(2000), 11)
    present = np.ones((len(window), 20), dtype=bool)
    after = hide(0.2, present, window)
    whole = ~after.any(1)
    pieces = ~whole & ~after.all(1)
    # One of eleven is spared; of the others E[s] = 0.2 go whole, and E[s (1 - s)] lose a piece.
    assert whole.mean() == pytest.approx(0.2 * 10 / 11, abs=0.01)
    assert pieces.mean() == pytest.approx((0.2 - 0.4**2 / 3) * 10 / 11, abs=0.01)
    gaps = np.diff(np.pad(~after[pieces], ((0, 0), (1, 1))).astype(int), axis=1) == 1
    assert (gaps.sum(1) == 1).all(), "a piece is one run of steps"
    shares = np.bincount(window, whole) / 11
    assert shares.min() == 0 and shares.max() > 0.4, "windows differ in how much they lose"
    first, last = ~after[pieces][:, 0], ~after[pieces][:, -1]
    assert first.any() and last.any() and (~first & ~last).any(), "pieces stand anywhere"


def test_dropout_never_empties_a_window_of_those_that_were_seen():
    rng = np.random.default_rng(0)
    window = np.repeat(np.arange(3000), 6)
    present = rng.random((len(window), 8)) < 0.3
    present[rng.random(len(window)) < 0.7] = False  # most of the roster is not in the window
    after = hide(0.5, present, window)
    had, has = (np.bincount(window, p.any(1)) > 0 for p in (present, after))
    np.testing.assert_array_equal(had, has)
    untouched = (after == present).all(1) & present.any(1)
    np.testing.assert_array_equal(np.bincount(window, untouched) > 0, had)


def test_dropout_follows_its_generator_and_leaves_the_global_ones_alone():
    window, present = np.repeat(np.arange(20), 5), np.ones((100, 9), dtype=bool)
    state, torchs = np.random.get_state()[1].copy(), torch.get_rng_state()
    one = hide(0.3, present, window)
    np.testing.assert_array_equal(one, hide(0.3, present, window))
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert torch.equal(torchs, torch.get_rng_state())
    assert not (one == hide(0.3, present, window, seed=1)).all()


def test_dropout_of_nothing_and_of_no_rows():
    window, present = np.repeat(np.arange(20), 5), np.ones((100, 9), dtype=bool)
    assert hide(0.0, present, window).all()
    assert hide(0.3, np.zeros((0, 9), dtype=bool), np.zeros(0, dtype=np.int64)).shape == (0, 9)


@pytest.mark.parametrize("rate", [-0.1, 0.6, float("nan")])
def test_dropout_rate_is_checked(rate):
    with pytest.raises(ValueError, match=r"series_dropout=.* between 0 and 0\.5"):
        SeriesDropout(rate)


def test_hidden_series_are_hidden_from_the_batch(panel):
    cutoffs = cutoffs_of(panel, L, H)

    def hide_odd(present: np.ndarray, window: np.ndarray, generator: object) -> np.ndarray:
        return present & (np.arange(len(present)) % 2 == 0)[:, None]

    batch, future = WindowDataset(panel, cutoffs, L, H, hide=hide_odd)[0]
    whole, _ = WindowDataset(panel, cutoffs, L, H)[0]
    first = panel.row_offset[cutoffs[0, 0]]
    assert ((future.rows - first) % 2 == 0).all()
    assert 0 < len(batch.values) < len(whole.values)

    def hide_late(present: np.ndarray, window: np.ndarray, generator: object) -> np.ndarray:
        return present & (np.arange(L) < 5)

    batch, _ = WindowDataset(panel, cutoffs, L, H, hide=hide_late)[0]
    assert not batch.present[:, 5:].any() and (batch.values[:, 5:] == 0).all()
    assert batch.past[:, 5:].isnan().all()


@pytest.mark.parametrize("at_a_time", [1, 7, 10**6])
def test_observed_cells_are_counted_piece_by_piece(panel, at_a_time, monkeypatch):
    monkeypatch.setattr(counting, "CELLS", at_a_time)
    observed, offset = observed_before(panel)
    total = 0
    for scene, length in enumerate(panel.length):
        rows = range(panel.row_offset[scene], panel.row_offset[scene + 1])
        for step in range(length + 1):
            if step:
                total += sum(bool(panel.present[panel.cell_offset[r] + step - 1]) for r in rows)
            assert observed[offset[scene] + step] == total
    assert total == panel.present.sum() > 0
