"""Certainty by the time since a series was last seen: bins, factors, and what uses them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Columns, Forecaster, HiPerformer, LastValue, Ridge
from hierforecast.nn.unseen import LEAST, PRIOR, Unseen, steps_unseen
from hierforecast.task import Task
from hierforecast.training import held_out
from tests.helpers import DOUBLE, make_frame, tiny

TASK = Task(11, 3, n_targets=2, n_types=2)


def rows(ages: list[int], types: list[int]) -> Any:
    """A batch of rows that were last seen so many steps before the cutoff."""
    present = torch.zeros(len(ages), 11, dtype=torch.bool)
    for row, age in enumerate(ages):
        present[row, : 11 - age] = True
    return SimpleNamespace(present=present, types=torch.tensor(types))


def test_bins_double_up_to_the_context():
    batch = rows([0, 1, 2, 3, 4, 7, 8, 10], [0] * 8)
    assert steps_unseen(batch.present).tolist() == [0, 1, 2, 3, 4, 7, 8, 10]
    unseen = Unseen(TASK)
    assert unseen.bins(batch).tolist() == [0, 1, 2, 2, 3, 3, 4, 4]
    assert unseen.factor.shape == (2, 7, 3, 2) and (unseen(batch) == 1).all()
    long = SimpleNamespace(present=torch.arange(200) < torch.tensor([[168], [1]]))
    assert unseen.bins(long).tolist() == [6, 6], "the last bin holds all that is longer"


def test_factors_are_those_of_the_errors_and_few_cells_change_little():
    generator = torch.Generator().manual_seed(0)
    ages = torch.randint(11, (4000,), generator=generator)
    types = torch.randint(2, (4000,), generator=generator)
    types[ages >= 8] = 0  # of the other type nothing is unseen so long
    batch = rows(ages.tolist(), types.tolist())
    size = torch.where(types == 0, 1 + ages, 2.0).double()[:, None, None]
    errors = size * torch.randn(4000, 3, 2, generator=generator, dtype=torch.float64)
    present = torch.rand(4000, 3, generator=generator) > 0.3
    errors[~present] = 1e9  # nobody looks there
    unseen = Unseen(TASK).double()
    unseen.fit(errors, present, batch)
    bins = np.digitize(ages.numpy(), [1, 2, 4, 8])
    for code in range(2):
        some = (types == code).numpy() & (ages > 0).numpy()
        for each in range(5):
            for step in range(3):
                seen = present[:, step].numpy()
                usual = (errors[some & seen, step] ** 2).mean(0)
                own = errors[some & seen & (bins == each), step] ** 2
                mixed = (own.sum(0) + PRIOR * usual) / (len(own) + PRIOR)
                expected = torch.ones(2).double() if each == 0 else (mixed / usual).sqrt()
                assert unseen.factor[code, each, step].tolist() == pytest.approx(expected.tolist())
    far = unseen.factor[0, 1:5, :, 0].mean(1)
    assert (far.diff() > 0).all() and far[0] < 0.6 < 1.2 < far[-1], "wider with the gap"
    assert (unseen.factor[1] - 1).abs().max() < 0.12, "a type whose errors do not grow"
    never = unseen.factor[1, 4:]
    assert (never - 1).abs().max() < 1e-14, "never shown: as all that are out of view"
    order = torch.randperm(4000, generator=generator)
    mixed_up = Unseen(TASK).double()
    twin = SimpleNamespace(present=batch.present[order], types=types[order])
    mixed_up.fit(errors[order], present[order], twin)
    assert torch.allclose(mixed_up.factor, unseen.factor, rtol=1e-12)
    assert torch.equal(unseen(twin), unseen(batch)[order])


def walks(seed: int, scenes: int = 150, lost: bool = True) -> pd.DataFrame:
    """Random walks, half of which are lost from view some steps before step 11."""
    rng = np.random.default_rng(seed)
    count = 4 * scenes
    gone = rng.integers(1, 10, count)
    gone[:: 2 if lost else 1] = 0  # of each scene some stay in view, so that it ends there
    walk = rng.normal(size=(count, 15, 2)).cumsum(1)
    for row, age in enumerate(gone):
        walk[row, 11 - age : 11] = np.nan
    number = np.repeat(np.arange(count), 15)
    flat = walk.reshape(-1, 2)
    return pd.DataFrame({
        "scene": number // 4, "unique_id": number % 4, "team": "a", "ds": np.tile(range(15), count),
        "x": flat[:, 0], "y": flat[:, 1], "gone": np.repeat(gone, 15),
    })  # fmt: skip


def width(forecaster: Forecaster, frame: pd.DataFrame) -> pd.Series:
    """Mean width of the 90 % interval by steps since a series was last seen."""
    name = type(forecaster.model).__name__
    found = forecaster.predict(frame[frame.ds < 11].drop(columns="gone"), level=[90])
    gone = frame.drop_duplicates(["scene", "unique_id"])[["scene", "unique_id", "gone"]]
    found = found.merge(gone)
    wide = found[f"{name}_x-hi-90"] - found[f"{name}_x-lo-90"]
    return wide.groupby(found.gone).mean()


@pytest.mark.parametrize("model", [LastValue(), Ridge(), HiPerformer(16, 1, 2, patch=4)])
def test_intervals_widen_with_the_gap_instead_of_jumping_once(model, monkeypatch):
    columns = Columns(target=["x", "y"], group="team", scene="scene")
    train, test = walks(0), walks(1)
    options = {"columns": columns, "max_steps": 1, "series_dropout": 0.0}
    forecaster = tiny(model, **options).fit(train, walks(2, 20))
    found = width(forecaster, test)
    assert found[9] > 1.08 * found[4] and found[4] > 1.08 * found[1] and found[1] > found[0]
    for learning in ("fit", "widen"):
        monkeypatch.setattr(Unseen, learning, lambda *given: None)
    flat = width(tiny(model, **options).fit(train, walks(2, 20)), test)
    assert abs(flat[9] / flat[1] - 1) < 0.1, "the broken twin jumps once"


def test_what_is_of_being_in_view_and_what_of_being_lost():
    """One in view, their ratio out of it, never nearly nothing; all of it in earlier versions."""
    batch, unseen = rows([0, 3, 5], [0, 1, 0]), Unseen(TASK)
    scale = torch.tensor([1.0, 4.0, 1e9])[:, None, None].expand(3, 3, 2)
    assert (unseen.in_view(batch, scale, torch.ones(3, 3, 2)) == 1).all()
    unseen.fit(torch.ones(3, 3, 2), torch.ones(3, 3, dtype=torch.bool), batch)
    found = unseen.in_view(batch, scale, torch.ones(3, 3, 2))
    assert found is not None
    assert torch.allclose(found[:, 0, 0], torch.tensor([1.0, 0.25, LEAST]))
    assert unseen.in_view(rows([0, 0], [0, 1]), scale[:2], scale[:2]) is None


def test_it_is_saved_bit_for_bit(tmp_path):
    forecaster = tiny(Ridge(), trainer=DOUBLE).fit(make_frame(4))
    assert (forecaster.model_.unseen.factor != 1).any()
    forecaster.save(tmp_path / "a")
    again = Forecaster.load(tmp_path / "a")
    assert torch.equal(again.model_.unseen.factor, forecaster.model_.unseen.factor)


def test_factors_make_intervals_cover_where_errors_have_tails():
    """By the 90 % quantile of misses, not by their squares; in view nothing moves, nor for few."""
    generator = torch.Generator().manual_seed(0)
    bins = torch.arange(5).repeat_interleave(400)
    size = torch.tensor([3.0, 1.0, 0.5, 2.0, 1.0])[bins]
    misses = size * torch.rand(2000, generator=generator) / 0.9
    unseen, each = Unseen(TASK), torch.ones(2000)
    unseen.widen(misses, torch.zeros_like(bins), bins, each)
    found = unseen.wider
    assert found[0, 0] == 1 and (found[1] == 1).all() and (unseen.factor == 1).all()
    assert found[0, 3] > 1.1 and (found[0, 1:3] == 1).all()
    few = Unseen(TASK)
    few.widen(misses, torch.zeros_like(bins), bins, each / 400)
    assert (few.wider == 1).all()
    batch = rows([0, 5, 5], [0, 0, 1])
    assert unseen(batch)[1].unique() == found[0, 3] and (unseen(batch)[[0, 2]] == 1).all()
    unseen.reset()
    assert (unseen(batch) == 1).all()


def test_a_fit_covers_those_out_of_view(monkeypatch):
    """Even where what squares say of the time unseen is too little; the broken twin covers less."""
    columns = Columns(target=["x", "y"], group="team", scene="scene")
    test = walks(1, 400)
    gone = test.drop_duplicates(["scene", "unique_id"])[["scene", "unique_id", "gone"]]

    def covered() -> float:
        forecaster = tiny(Ridge(), columns=columns).fit(walks(0, 400), walks(2, 20))
        found = forecaster.backtest(test.drop(columns="gone"), level=[90], n_windows=1)
        found = found.merge(gone).query("gone == 1")
        return float(found.x.between(found["Ridge_x-lo-90"], found["Ridge_x-hi-90"]).mean())

    def narrow(self: Unseen, *given: Any) -> None:
        self.factor[:, 1:] = 0.4

    monkeypatch.setattr(Unseen, "fit", narrow)
    assert 0.8 < covered() < 0.97
    monkeypatch.setattr(Unseen, "widen", lambda *given: None)
    assert covered() < 0.75


def test_held_out_contexts_lose_their_ends_where_training_windows_flatter(monkeypatch):
    """A model that knows its training windows is no less certain of others by what these say."""
    columns = Columns(target=["x", "y"], group="team", scene="scene")
    test = walks(1, 400).drop(columns="gone")
    wild = walks(2, 100, lost=False)
    wild[["x", "y"]] *= 1.7

    def width() -> float:
        forecaster = tiny(Ridge(), columns=columns).fit(walks(0, 400).drop(columns="gone"), wild)
        found = forecaster.backtest(test, level=[90], n_windows=1)
        lost = test.dropna().query("ds < 11").groupby(["scene", "unique_id"])["ds"].max() < 10
        found = found.merge(lost[lost].reset_index()[["scene", "unique_id"]])
        return float((found["Ridge_x-hi-90"] - found["Ridge_x-lo-90"]).mean())

    learned = width()
    monkeypatch.setattr(held_out, "HiddenEnds", lambda rate, seed: None)
    asked = width()
    assert 1.2 < learned / asked < 2.2, "the broken twin hides nothing"
