"""Windows that begin before their scene does: which there are, and what a fit makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import HiPerformer
from hierforecast.errors import DataError
from hierforecast.frame import Columns, Panel
from hierforecast.training import batching, fitting, loop
from hierforecast.windows import WindowDataset
from hierforecast.windows.cutoffs import cutoffs_of, early_cutoffs
from tests.helpers import QUIET, H, L, make_frame, tiny
from tests.windows.test_dataset import awkward_panel, cell, rows_of

MODEL = HiPerformer(8, 1, 2)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return awkward_panel()


def pairs(cutoffs: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(pair) for pair in cutoffs.tolist()]


@pytest.mark.parametrize("least", [1, 3, L])
def test_early_cutoffs_are_all_those_before_a_whole_context(panel, least):
    windows = cutoffs_of(panel, L, H)
    wanted = []
    for scene, length in enumerate(panel.cutoff):
        for cutoff in range(least, min(L, length - H + 1)):
            seen = np.array(
                [
                    panel.present[cell(panel, row, 0) : cell(panel, row, cutoff + H)]
                    for row in rows_of(panel, scene)
                ]
            )
            if seen[:, :cutoff].any() and seen[:, cutoff:].any():
                wanted.append((scene, cutoff))
    found = pairs(early_cutoffs(panel, L, H, least, windows))
    assert set(found) == set(wanted) - set(pairs(windows)) and len(set(found)) == len(found)
    assert (2, 5) in pairs(windows), "a scene without a whole window has its last one already"
    assert bool(found) == (least < L)


def test_only_scenes_that_are_learned_from_have_early_windows(panel):
    windows = cutoffs_of(panel, L, H)
    some = windows[windows[:, 0] != 3]
    assert set(early_cutoffs(panel, L, H, 1, some)[:, 0]) == {0, 1, 2, 4}
    assert not len(early_cutoffs(panel, L, H, 1, windows[:0]))


def test_an_early_window_shows_no_step_before_its_scene(panel):
    early = early_cutoffs(panel, L, H, 3, cutoffs_of(panel, L, H))
    data = WindowDataset(panel, early, L, H)
    assert not data.whole.any()
    batch, future = data.__getitems__(range(len(early)))
    shown = future.cutoff[:, None] + torch.arange(-L, 0)
    assert not batch.present[shown < 0].any() and batch.present[shown >= 0].any()
    assert not batch.values[shown < 0].any() and not batch.known[:, :L][shown < 0].isfinite().any()


class Recorder:
    """What `loop.train` is given, instead of training."""

    def __call__(self, model: Any, windows: WindowDataset, *rest: Any, **more: Any) -> Any:
        self.windows = windows
        return loop.Trained(pd.DataFrame({"step": [1], "loss": [0.0], "val_loss": [0.0]}))


@pytest.fixture
def recorder(monkeypatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(fitting, "_train", lambda plan, *rest: tuple(found(*rest)))
    return found


def test_a_fit_learns_from_early_windows_if_asked_to(recorder):
    frame = make_frame(n_scenes=12)
    tiny(MODEL).fit(frame)
    usual = recorder.windows
    assert usual.whole.all()
    tiny(MODEL, min_context=3).fit(frame)
    more = recorder.windows
    assert pairs(more.cutoffs[: len(usual)]) == pairs(usual.cutoffs)
    early = more.cutoffs[~more.whole]
    assert set(early[:, 0]) == set(usual.cutoffs[:, 0]), "held-out scenes stay held out"
    assert set(early[:, 1]) == set(range(3, L))
    tiny(MODEL, min_context=L).fit(frame)
    assert pairs(recorder.windows.cutoffs) == pairs(usual.cutoffs)


def test_units_and_the_linear_start_are_those_of_whole_contexts(recorder):
    frame = make_frame(n_scenes=12)
    one, two = (tiny(MODEL, min_context=least).fit(frame).model_ for least in (None, 1))
    for (name, x), y in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_smoothed_series_have_early_windows_once_smoothing_has_settled(recorder):
    days = pd.date_range("2024-01-01", periods=90)
    y = 10 + np.arange(90) % 7 + np.random.default_rng(0).uniform(0, 2, (2, 90))
    frame = pd.DataFrame(
        {"unique_id": np.repeat(["a", "b"], 90), "ds": [*days] * 2, "y": y.reshape(-1)}
    )
    options = {"columns": Columns(group=None), "context_length": 40, "prediction_length": 7}
    tiny(HiPerformer(8, 1, 2, scale="demand"), min_context=3, **options).fit(frame)
    early = recorder.windows.cutoffs[~recorder.windows.whole]
    assert early[:, 1].min() == 14, "two seasons"
    # What smoothing says of their horizons is what it says to windows that are nothing else.
    windows = recorder.windows
    alone = WindowDataset(windows.panel, early, 40, 7, origin="history", calendar=True)
    windows.hide = None
    places = np.flatnonzero(~windows.whole), range(len(early))
    one, other = (x.__getitems__(y) for x, y in zip((windows, alone), places, strict=True))
    assert torch.equal(one.batch.naive, other.batch.naive)
    assert torch.equal(one.future.values, other.future.values)


class OnlyNumbers:
    """Of a `WindowDataset`: which windows are in a batch."""

    def __init__(self, whole: np.ndarray) -> None:
        self.whole = whole

    def __len__(self) -> int:
        return len(self.whole)

    def __getitems__(self, indices: np.ndarray, generator: torch.Generator) -> np.ndarray:
        return indices


def batches(whole: np.ndarray, size: int, count: int) -> list[np.ndarray]:
    module = loop.Training(MODEL, tiny(MODEL, batch_size=size)._plan())
    module.trainer = type("T", (), {"world_size": 1, "global_rank": 0})()
    return [b for b, _ in zip(batching.Batches(OnlyNumbers(whole), module), range(count))]  # noqa: B905


def test_at_least_half_of_a_batch_has_whole_contexts():
    few = np.arange(100) < 10
    for batch in batches(few, 7, 30):
        assert few[batch].sum() == 4 and len(batch) == 7
    seen = np.concatenate(batches(few, 8, 45))
    assert set(seen) == set(range(100)), "both kinds are gone through to the last"
    assert np.bincount(seen[few[seen]])[:10].tolist() == [18] * 10


@pytest.mark.parametrize("whole", [np.arange(100) < 60, np.zeros(100, bool), np.ones(100, bool)])
def test_windows_are_drawn_alike_where_enough_are_whole(whole):
    seen = np.concatenate(batches(whole, 10, 10))
    assert sorted(seen) == list(range(100))
    np.testing.assert_array_equal(seen, np.concatenate(batches(whole | True, 10, 10)))


@pytest.mark.parametrize(
    ("least", "error"),
    [(0, "min_context=0"), (L + 1, f"min_context={L + 1} is more than context_length={L}")],
)
def test_a_context_of_nothing_or_too_much_is_refused(least, error):
    with pytest.raises(DataError, match=error):
        tiny(MODEL, min_context=least, trainer=QUIET).fit(make_frame())
