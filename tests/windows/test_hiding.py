"""Rows that a training leaves out of very wide windows; `test_dataset` has what is hidden."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import DataError, Forecaster, HiPerformer
from hierforecast._random import seeded
from hierforecast.frame import read_frame
from hierforecast.training.examples import windows_of
from hierforecast.training.fitting import _few_checks
from hierforecast.windows import sample_windows
from hierforecast.windows.cutoffs import cutoffs_of
from hierforecast.windows.hiding import HiddenEnds, some_rows
from tests.helpers import COLUMNS, DOUBLE, TEAMS, H, L, make_frame, tiny

MODEL = HiPerformer(8, 1, 2, patch=4)
BUILT: Any = SimpleNamespace(origin="row", uses_calendar=False)  # what windows ask of a model
GROUPS = np.repeat(np.arange(6), [30, 2, 3, 5, 4, 1])
Sample = Callable[..., np.ndarray]


def shares(sample: Sample, group: np.ndarray, draws: int = 4000) -> np.ndarray:
    """How often each row of one window is taken."""
    generator, taken = torch.Generator().manual_seed(0), np.zeros(len(group))
    for _ in range(draws):
        taken[sample(np.zeros_like(group), group, 20, generator)] += 1
    return taken / draws


def first_members(
    window: np.ndarray, group: np.ndarray, most: int, generator: torch.Generator
) -> np.ndarray:
    """Broken: of a large group always the same members, random groups otherwise."""
    turn = torch.rand(6, generator=generator).numpy()[group]
    return np.sort(np.lexsort((np.arange(len(group)), turn))[:most])


def unlike(sample: Sample) -> float:
    """How differently members of one group are taken, at most."""
    taken = shares(sample, GROUPS)
    return max(np.ptp(taken[group == GROUPS]) for group in range(6))


def test_members_are_taken_alike_whatever_their_place():
    assert unlike(some_rows) < 0.05
    assert unlike(first_members) > 0.3


def test_a_window_has_whole_groups_and_members_of_large_ones():
    size = np.bincount(GROUPS)
    for seed in range(50):
        kept = some_rows(np.zeros_like(GROUPS), GROUPS, 20, seeded(seed))
        assert len(kept) == 20 and (np.diff(kept) > 0).all()
        found = np.bincount(GROUPS[kept], minlength=6)
        assert found[0] >= 5  # the others do not fill the window
        assert (found[1:] == size[1:]).sum() >= 4  # but for the one that is cut
    whole = some_rows(np.zeros(60, dtype=int), np.repeat(np.arange(20), 3), 12, seeded(0))
    assert (np.diff(whole.reshape(4, 3)) == 1).all()


def test_large_groups_leave_room_for_each_other_and_a_single_one_fills_the_window():
    group = np.repeat(np.arange(10), 100)
    kept = some_rows(np.zeros_like(group), group, 40, seeded(0))
    assert sorted(np.bincount(group[kept]))[-4:] == [10] * 4
    assert len(some_rows(np.zeros(500, dtype=int), np.zeros(500, dtype=int), 40, seeded(0))) == 40


def test_each_window_draws_for_itself_and_small_ones_draw_nothing():
    window, group = np.repeat([0, 1, 2], [50, 7, 50]), np.r_[np.arange(50), [0] * 7, np.arange(50)]
    kept = some_rows(window, group, 10, seeded(0))
    parts = [group[kept[window[kept] == number]] for number in range(3)]
    assert [len(part) for part in parts] == [10, 7, 10] and set(parts[0]) != set(parts[2])
    generator = seeded(0)
    before = generator.get_state()
    assert (some_rows(window, group, 50, generator) == np.arange(107)).all()
    assert torch.equal(before, generator.get_state())


def test_rows_left_out_are_as_if_they_had_never_been():
    frame = make_frame(2, missing=0.0)
    plan = tiny(MODEL, max_rows=5, series_dropout=0.0, trainer=DOUBLE)._plan()

    def windows(frame: pd.DataFrame):
        panel = read_frame(frame, COLUMNS, dtype=np.float64)
        panel.vocabulary = panel.learn(panel.length)
        return windows_of(plan, BUILT, panel, cutoffs_of(panel, L, H))

    every = windows(frame)
    batch, future = every.__getitems__([0], seeded(3))
    assert len(batch.values) == 5 < sum(TEAMS.values())
    kept = frame.unique_id.isin(every.panel.ids[future.rows.numpy()])
    alone = windows(frame[kept | (frame.scene == 1)])
    alone.panel.vocabulary = every.panel.vocabulary
    other, _ = alone.__getitems__([0], seeded(4))
    assert torch.equal(batch.values, other.values) and torch.equal(batch.present, other.present)
    assert batch.hierarchy.members == other.hierarchy.members


def fitted(**options) -> Forecaster:
    return tiny(MODEL, **options).fit(make_frame(6, missing=0.05))


@pytest.fixture(scope="module")
def sampled() -> Forecaster:
    return fitted(max_rows=4)


def test_a_fit_of_some_rows_forecasts_all_of_them(sampled, tmp_path):
    history = make_frame(6, missing=0.05).query("ds < 20")
    forecast = sampled.predict(history)
    assert forecast.unique_id.nunique() == sum(TEAMS.values())
    pd.testing.assert_frame_equal(fitted(max_rows=4).predict(history), forecast)
    sampled.save(tmp_path / "saved")
    loaded = Forecaster.load(tmp_path / "saved")
    assert loaded.max_rows == 4
    pd.testing.assert_frame_equal(loaded.predict(history), forecast)


def test_rows_enough_change_nothing(sampled):
    one, other, all_of_them = sampled, fitted(max_rows=9), fitted()
    assert not one.history_.loss.equals(other.history_.loss)
    pd.testing.assert_frame_equal(other.history_, all_of_them.history_)


def test_statistics_and_windows_to_stop_by_are_of_some_rows_too():
    plan = tiny(MODEL, max_rows=4, batch_size=None)._plan()
    panel = read_frame(make_frame(3), COLUMNS)
    windows = windows_of(plan, BUILT, panel, cutoffs_of(panel, L, H))
    batch, _ = sample_windows(windows, 20, plan.seed, seeded(0))
    assert len(batch.values) < 20 and batch.n_scenes == 4
    windows.max_rows = None
    few = _few_checks(plan.sized(9), windows)
    assert len(few.__getitems__([0, 1], seeded(0)).batch.values) <= 8
    assert windows.max_rows is None


def test_batches_of_windows_count_the_rows_that_they_have():
    plan = tiny(MODEL, max_rows=50, batch_size=None)._plan()
    assert plan.sized(20_000).batch == plan.sized(50).batch == 14
    assert tiny(MODEL, batch_size=None)._plan().sized(20_000).batch == 4
    with pytest.raises(DataError, match="max_rows=0"):
        tiny(MODEL, max_rows=0).fit(make_frame())


def test_very_wide_windows_are_forecast_fewer_at_a_time(monkeypatch):
    panel = read_frame(make_frame(3), COLUMNS)
    windows = windows_of(tiny(MODEL)._plan(), BUILT, panel, cutoffs_of(panel, L, H))
    assert windows.at_once(64) == 64
    monkeypatch.setattr("hierforecast.windows.dataset.AT_ONCE", 30)
    assert windows.at_once(64) == 3 and windows.at_once(2) == 2
    monkeypatch.setattr("hierforecast.windows.dataset.AT_ONCE", 3)
    assert windows.at_once(64) == 1


def test_ends_of_contexts_are_hidden_and_something_is_always_left():
    window = np.repeat(np.arange(300), 5)
    present = np.random.default_rng(0).random((1500, 32)) < 0.7
    present[::7, 1:] = False  # first step only
    present[::7, 0] = True
    hide = HiddenEnds(0.4, seed=3)
    shown = hide(present, window)
    assert (shown <= present).all() and shown.any(1).all()
    hidden = (shown != present).any(1)
    assert np.bincount(window, ~hidden).min() > 0, "one of each window is left as it was"
    late = np.where(hidden, 32 - (present & ~shown).argmax(1), 0)
    first = 32 - late
    for row in np.flatnonzero(hidden):
        assert (shown[row, : first[row]] == present[row, : first[row]]).all()
        assert not shown[row, first[row] :].any()
    counts = np.histogram(late[hidden], [1, 2, 4, 8, 16, 33])[0]
    assert counts.min() > 0.5 * counts.max(), "all doublings come alike"
    assert np.array_equal(HiddenEnds(0.4, seed=3)(present, window), shown)
    assert not np.array_equal(hide(present, window), shown), "it draws anew each time"
