"""Pretraining: what is hidden stays hidden, and fits go on with what was learned."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from hierforecast import DataError, Forecaster, HiPerformer, Ridge, Shards, shard
from hierforecast._random import seeded
from hierforecast.frame import read_frame
from hierforecast.io.checkpoints import LAST
from hierforecast.training.pretraining import MaskedPooledWindows, MaskedWindows
from hierforecast.windows import Window, WindowDataset
from hierforecast.windows.cutoffs import cutoffs_of
from hierforecast.windows.hiding import HiddenPieces
from tests.helpers import COLUMNS, DOUBLE, EVERYTHING, QUIET, H, L, make_frame, tiny

HIDE = HiddenPieces(0.5)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return make_frame()


# --- what is hidden ------------------------------------------------------------------------------


def windows_of(frame: pd.DataFrame, early: bool = False) -> WindowDataset:
    panel = read_frame(frame, EVERYTHING, dtype=np.float64)
    cutoffs = cutoffs_of(panel, L, H)
    if early:
        cutoffs = cutoffs - [0, 7]
    return WindowDataset(panel, cutoffs, L, H, origin="row")


def same(one: Any, other: Any) -> bool:
    parts = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)]
    tensors = [(x, y) for x, y in parts if isinstance(x, Tensor)]
    return all(torch.equal(x.nan_to_num(7), y.nan_to_num(7)) for x, y in tensors)


class Traced(WindowDataset):
    """Broken: cells are hidden in the batch, whose offsets have seen them."""

    def __getitems__(self, indices: Any, generator: Any = None) -> Window:
        batch, future = super().__getitems__(indices, generator)
        present = torch.from_numpy(HIDE(batch.present.numpy(), batch.scene.numpy(), seeded(0)))
        values = torch.where(present[..., None], batch.values, 0)
        return Window(replace(batch, values=values, present=present), future)


def moved(windows: WindowDataset, rows: Tensor, steps: Tensor) -> WindowDataset:
    """The same with other values in some cells, and other covariates observed with them."""
    panel = deepcopy(windows.panel)
    cells = panel.cell_offset[rows.numpy()] + steps.numpy()
    panel.values[cells] += 1000
    panel.past[cells] = 3
    other = deepcopy(windows)
    other.panel = panel
    return other


def test_hidden_values_never_reach_the_network(frame):
    windows = windows_of(frame)
    for first in range(0, len(windows), 5):
        seen, future = MaskedWindows(windows, HIDE).__getitems__([first], seeded(first))
        row, step = future.present.nonzero().T
        other = moved(windows, future.rows[row], future.cutoff[row] - L + step)
        again, asked_for = MaskedWindows(other, HIDE).__getitems__([first], seeded(first))
        assert same(seen, again)
        assert not len(row) or not torch.equal(future.values, asked_for.values)
    whole = Traced(windows.panel, windows.cutoffs, L, H, origin="row")
    seen, future = whole.__getitems__([0])
    row, step = (~seen.present).nonzero().T
    other = moved(whole, future.rows[row], future.cutoff[row] - L + step)
    assert not same(seen, other.__getitems__([0])[0])


def test_what_is_asked_is_what_was_hidden_and_no_step_before_the_scene(frame):
    for early in (False, True):
        windows = windows_of(frame, early)
        shown = MaskedWindows(windows, HIDE)
        every = range(len(windows))
        (whole, _), (batch, future) = windows.__getitems__(every), shown.__getitems__(every)
        assert torch.equal(batch.present | future.present, whole.present)
        assert not (batch.present & future.present).any() and future.present.any()
        # Each row is counted from its last cell that is seen: it is the same path, moved.
        asked_for = torch.where(future.present[..., None], future.values, batch.values)
        apart = torch.where(whole.present[..., None], whole.values - asked_for, torch.nan)
        middle = apart.nanmedian(1, keepdim=True).values
        torch.testing.assert_close(apart, middle.where(apart.isfinite(), apart), equal_nan=True)


def test_pieces_of_every_length_are_hidden_and_something_is_always_left():
    present, window = np.ones((4000, 7), dtype=bool), np.repeat(np.arange(1000), 4)
    shown = HiddenPieces(0.4)(present, window, seeded(0))
    hidden = ~shown
    assert shown.any(1).all() and hidden.any(1).mean() == pytest.approx(0.4, abs=0.03)
    assert {*hidden.sum(1)} == set(range(7)) and hidden.any(0).all()
    assert (np.abs(np.diff(hidden.astype(int), axis=1)).sum(1) <= 2).all()  # one piece each
    assert not HiddenPieces(0.5)(np.zeros((3, 5), dtype=bool), np.arange(3), seeded(0)).any()
    assert HiddenPieces(0.5)(np.ones((9, 1), dtype=bool), np.arange(9), seeded(0)).all()


# --- Forecaster.pretrain -------------------------------------------------------------------------


def model(**options: Any) -> HiPerformer:
    return HiPerformer(8, 1, 2, **{"dropout": 0.2, **options})


def same_weights(one: Any, other: Any) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_a_fit_goes_on_with_what_was_pretrained(frame, tmp_path):
    forecaster = tiny(model(), max_steps=10, seed=3).pretrain(frame)
    before = deepcopy(forecaster.model_)
    assert list(forecaster.history_.step) == [*range(1, 11)]
    assert not before.decoder.moves and forecaster.report_.rungs.empty
    forecaster.save(tmp_path / "pretrained")
    loaded = Forecaster.load(tmp_path / "pretrained")
    few = make_frame(2, seed=1)
    fits = [each.fit(few, warm_start=True) for each in (forecaster, loaded)]
    assert same_weights(fits[0].model_, fits[1].model_)
    after = forecaster.model_.state_dict()
    for name in ("scaler.scale", "linear.weight.weight", "horizon_scale"):
        assert torch.equal(after[name], before.state_dict()[name])  # those of the larger frame
    names = forecaster.report_.rungs.rung.tolist()
    assert "start" in names and "baseline" not in names


def test_what_is_hidden_is_filled_in_better_than_before(frame):
    smooth = frame.assign(y=100 * np.sin(frame.ds + frame.x.round()))
    options = {"columns": replace(COLUMNS, target="y"), "learning_rate": 0.01}
    forecaster = tiny(HiPerformer(16, 1, 2, patch=4), max_steps=200, **options).pretrain(smooth)
    loss = forecaster.history_.loss
    assert loss[-20:].mean() < 0.9 * loss[:5].mean()


def test_the_same_seed_learns_the_same_from_rows_in_any_order(frame):
    one, other, third = (
        tiny(model(), seed=seed, trainer=QUIET).pretrain(rows)
        for seed, rows in ((1, frame), (1, frame.sample(frac=1, random_state=0)), (2, frame))
    )
    assert same_weights(one.model_, other.model_)
    assert not same_weights(one.model_, third.model_)


def test_a_resumed_pretraining_ends_where_the_uninterrupted_one_ends(frame, tmp_path):
    lightning = pytest.importorskip("lightning.pytorch.callbacks")

    class Killed(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any, **options: Any) -> None:
            if trainer.global_step == 13:
                raise RuntimeError("killed")

    def start(folder: str, *callbacks: Any, **options: Any) -> Forecaster:
        kept = {"default_root_dir": str(tmp_path / folder), "callbacks": [*callbacks]}
        trainer = {**QUIET, **kept, "val_check_interval": 3}
        return tiny(model(), max_steps=30, seed=3, trainer=trainer, **options)

    whole = start("whole").pretrain(frame)
    with pytest.raises(RuntimeError, match="killed"):
        start("killed", Killed()).pretrain(frame)
    assert (tmp_path / "killed" / LAST).exists()
    with pytest.raises(DataError, match="the share of hidden pieces"):
        start("killed").fit(frame, resume=True)
    with pytest.raises(DataError, match="the share of hidden pieces"):
        start("killed").pretrain(frame, hidden=0.2, resume=True)
    found = start("killed").pretrain(frame, resume=True)
    assert same_weights(whole.model_, found.model_)
    pd.testing.assert_frame_equal(whole.history_, found.history_)


def test_a_bar_counts_its_steps(frame, capsys):
    tiny(model(), trainer={"accelerator": "cpu"}).pretrain(frame)
    out, err = capsys.readouterr()
    assert "4/4" in out + err


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions_of_a_fit(frame, precision):
    trainer = {**DOUBLE, "precision": precision}
    forecaster = tiny(model(), trainer=trainer).pretrain(frame, make_frame(2, seed=4))
    assert np.isfinite(forecaster.history_.loss).all()
    assert forecaster.history_.val_loss.notna().any()


def test_shards_larger_than_memory_are_pretrained_on_pool_after_pool(tmp_path, monkeypatch):
    folder = shard(make_frame(40), tmp_path / "big", COLUMNS, 500, bar=False)
    pools, at = [], MaskedPooledWindows.at

    def seen(own: MaskedPooledWindows, batch: int) -> WindowDataset:
        pools.append(own.span_of(batch)[2])
        assert isinstance(at(own, batch), MaskedWindows)
        return at(own, batch)

    monkeypatch.setattr(MaskedPooledWindows, "at", seen)
    big = Shards(folder, 2200)
    assert not big.fits
    forecaster = tiny(model(), max_steps=200, learning_rate=1e-4).pretrain(big)
    assert len(pools) > 2
    assert forecaster.history_.loss.between(0, 3).all()


@pytest.mark.parametrize(
    ("forecaster", "options", "says"),
    [
        (tiny(model()), {"hidden": 0}, "leaves nothing to fill in"),
        (tiny(model()), {"hidden": 0.7}, "hidden=0.7 must be a number between 0 and 0.5"),
        (tiny(model(), context_length=1), {}, "two observed steps in one .context_length=1"),
        (tiny(Ridge()), {}, "Ridge as it is built here cannot be asked"),
        (tiny(model(scale="returns")), {}, "not for demand or returns"),
    ],
    ids=["none", "too many", "one step", "a baseline", "returns"],
)
def test_nothing_to_learn_is_an_error_that_says_what_to_do(forecaster, options, says, frame):
    with pytest.raises(DataError, match=says):
        forecaster.pretrain(frame, **options)
    assert not hasattr(forecaster, "model_")
