"""Demand from frame to frame: smoothing of all history, numbers that stay above zero."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Columns, Forecaster
from hierforecast.distributions import Warped
from hierforecast.errors import DataError
from hierforecast.frame import read_frame
from hierforecast.frame.vocabulary import Vocabulary
from hierforecast.testing import randomize_
from hierforecast.windows import WindowDataset, history
from hierforecast.windows.history import History, learn_smoothing, settled, thin
from tests.windows.shops import COLUMNS, H, L, T, forecaster, sales


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return sales()


@pytest.fixture(scope="module")
def fitted(frame) -> Forecaster:
    made = forecaster().fit(frame)
    randomize_(made.model_)
    return made


def numbers(found: pd.DataFrame) -> pd.DataFrame:
    return found.set_index(["unique_id", "ds"]).sort_index()


def test_the_default_for_sales_is_demand(fitted):
    smoothing = fitted.vocabulary_.smoothing
    assert fitted.model_.scaler.origin == "history"
    assert smoothing.seasons == (7,) and len(smoothing.shifts) == 1


@pytest.mark.parametrize(
    "columns, change",
    [
        (COLUMNS, lambda f: f.assign(y=f.y - 5)),  # below zero
        (COLUMNS, lambda f: f.assign(ds=(f.ds - f.ds.min()).dt.days)),  # no season
        (Columns(target=["y", "z"], group="group"), lambda f: f.assign(z=f.y + 0.5)),  # a place
    ],
)
def test_other_frames_keep_their_scale(frame, columns, change):
    made = forecaster(columns).fit(change(frame))
    assert made.model_.scaler.origin == "row" and made.vocabulary_.smoothing is None


def test_units_and_revenue_are_demand_both(frame):
    both = frame.assign(z=2.5 * frame["y"])
    made = forecaster(Columns(target=["y", "z"], group="group")).fit(both)
    assert made.model_.scaler.origin == "history"
    assert (made.predict(both, level=[90]).filter(like="HiPerformer").to_numpy() >= 0).all()


def test_a_season_can_be_stated(frame):
    counted = frame.assign(ds=(frame.ds - frame.ds.min()).dt.days)
    made = forecaster(Columns(group="group", season=(7, 14))).fit(counted)
    assert made.vocabulary_.smoothing.seasons == (7, 14)


def test_what_is_negative_is_smoothed_as_it_is(frame):
    below = frame.assign(y=frame.y - 50)
    made = forecaster(scale="demand").fit(below)
    assert made.vocabulary_.smoothing.shifts == ()
    assert (made.predict(below, level=[99])["HiPerformer-lo-99"] < 0).any()


def test_nothing_is_below_zero(fitted, frame):
    found = fitted.predict(frame, level=[50, 99.9])
    assert (found.filter(like="HiPerformer").to_numpy() >= 0).all()
    assert (found["HiPerformer-lo-99.9"] <= found["HiPerformer-hi-99.9"]).all()
    draws = fitted.sample(frame, 200, seed=0)
    assert (draws.HiPerformer >= 0).all() and (draws.HiPerformer == 0).any()
    totals = fitted.predict(frame, by="group", level=[90])
    assert (totals.filter(like="HiPerformer").to_numpy() >= 0).all()
    group = found.unique_id.map(frame.drop_duplicates("unique_id").set_index("unique_id").group)
    sums = found.groupby([group.rename("group"), "ds"]).HiPerformer.sum().reset_index()
    np.testing.assert_allclose(totals.HiPerformer, sums.HiPerformer, rtol=1e-9)


def test_the_point_is_the_mean_of_the_draws(frame, monkeypatch):
    monkeypatch.setattr(history, "SHIFTS", (0.1,))  # nearly all of it grows by factors
    made = forecaster().fit(frame)
    point = numbers(made.predict(frame))
    draws = made.sample(frame, 4000, seed=1).groupby(["unique_id", "ds"]).HiPerformer
    standard = draws.std() / 4000**0.5
    assert ((draws.mean() - point.HiPerformer).abs() / standard).max() < 5
    other = (draws.median() - point.HiPerformer).abs() / standard
    assert (other > 5).mean() > 0.5  # skewed: the median is another number


def test_history_before_the_context_counts(fitted, frame):
    short = frame[frame.ds > frame.ds.max() - pd.Timedelta(days=2 * L)]
    one, two = (numbers(fitted.predict(f)).HiPerformer for f in (frame, short))
    assert ((one - two).abs() / one > 1e-3).mean() > 0.5


def test_shuffled_rows_and_new_names_change_nothing(fitted, frame):
    before = fitted.predict(frame, level=[80])
    shuffled = frame.sample(frac=1.0, random_state=0)
    pd.testing.assert_frame_equal(before, fitted.predict(shuffled, level=[80]))
    names = {"shop 0": "shop 1", "shop 1": "zz", "shop 3": "aa", "shop 5": "shop 0"}
    swapped = {"a": "b", "b": "a"}
    moved = frame.assign(
        unique_id=frame.unique_id.map(lambda n: names.get(n, n)), group=frame.group.map(swapped)
    )
    after = numbers(fitted.predict(moved, level=[80]))
    before = before.assign(unique_id=before.unique_id.map(lambda n: names.get(n, n)))
    np.testing.assert_allclose(after, numbers(before), rtol=1e-10, atol=1e-10)
    across = frame.assign(unique_id=frame.unique_id.map({"shop 0": "shop 3", "shop 3": "shop 0"}))
    across.unique_id = across.unique_id.fillna(frame.unique_id)
    across.group = np.where(across.unique_id < "shop 3", "a", "b")
    found = numbers(fitted.predict(across)).HiPerformer["shop 3"]
    assert np.abs(found / numbers(before).HiPerformer["shop 0"].to_numpy() - 1).max() > 1e-4


def test_missing_is_deleted(fitted, frame):
    gone = (frame.unique_id == "shop 2") & (frame.ds.dt.day % 3 == 0)
    deleted, empty = frame[~gone], frame.assign(y=frame.y.mask(gone))
    one, two = (fitted.predict(f, level=[80]) for f in (deleted, empty))
    pd.testing.assert_frame_equal(one, two)
    without = frame[frame.unique_id != "shop 2"]
    there, away = numbers(fitted.predict(frame)), numbers(fitted.predict(without))
    assert len(there) - len(away) == H


def test_nothing_leaks(fitted, frame):
    """A batch is the same whatever comes after its cutoff."""
    later = frame.assign(y=np.where(frame.ds > "2024-02-20", 9e9, frame.y))
    batches = []
    for each in (frame, later):
        panel = read_frame(each, COLUMNS, vocabulary=fitted.vocabulary_, dtype=np.float64)
        cutoffs = np.array([[0, 30], [0, 51]])
        windows = WindowDataset(panel, cutoffs, L, H, origin="history", calendar=True)
        batches.append(windows.__getitems__([0, 1]))
    (one, ahead), (two, beyond) = batches
    for name in ("values", "present", "naive", "known"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(ahead.offset, beyond.offset)
    assert not torch.equal(ahead.values, beyond.values)


def test_a_window_leads_back_to_the_numbers(fitted, frame):
    panel = read_frame(frame, COLUMNS, vocabulary=fitted.vocabulary_, dtype=np.float64)
    cutoffs = np.array([[0, step] for step in range(L, T - H + 1)])
    windows = WindowDataset(panel, cutoffs, L, H, origin="history")
    _, future = windows.__getitems__(range(len(cutoffs)))
    z = torch.from_numpy(future.offset) + torch.from_numpy(future.unit) * future.values
    found = windows.warp.from_base(z)[..., 0]
    cells = panel.cell_offset[future.rows] + future.cutoff.numpy()
    truth = torch.from_numpy(panel.values[cells[:, None] + np.arange(H), 0])
    seen = future.present
    torch.testing.assert_close(found[seen], truth[seen], rtol=1e-9, atol=1e-9)


def test_scenes_are_smoothed_by_themselves(frame):
    short = frame[frame.ds >= "2024-01-20"]
    both = pd.concat([frame.assign(scene=0), short.assign(scene=1)])
    scenes = read_frame(both, Columns(group="group", scene="scene"))
    alone = read_frame(short, COLUMNS)
    end = np.array([T, T])
    scenes.vocabulary = alone.vocabulary = scenes.learn(end)
    scenes.vocabulary = alone.vocabulary = type(alone.vocabulary)(
        smoothing=learn_smoothing(alone, end[:1], H)
    )
    many = History(scenes, np.array([[0, 50], [1, 30], [1, 41]]), H)
    one = History(alone, np.array([[0, 41]]), H)
    rows = np.arange(6)
    found, plain = many.ahead(6 + rows, np.full(6, 41)), one.ahead(rows, np.full(6, 41))
    for a, b in zip(found, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    np.testing.assert_allclose(many.errors[scenes.cell_offset[6] :], one.errors, atol=1e-12)


def test_likelihood_is_that_of_the_numbers(frame):
    made = forecaster().fit(frame)
    distribution, index = made.distribution(frame)
    assert isinstance(distribution, Warped)
    assert len(index) == len(distribution.scene) == 6
    value = distribution.median + 1.0
    step = 1e-5
    moved = distribution.cdf(value + step) - distribution.cdf(value - step)
    cells = torch.zeros_like(value, dtype=torch.bool)
    cells[0, 1] = True
    density = distribution.log_prob(value, cells).exp()
    torch.testing.assert_close(density, moved[0, 1] / (2 * step), rtol=1e-5, atol=0)


def test_what_if_and_save(fitted, frame, tmp_path):
    plain = fitted.predict(frame, level=[80])
    plan = plain.rename(columns={"HiPerformer": "y"})[["unique_id", "ds", "y"]]
    plan = plan[plan.unique_id == "shop 0"].assign(y=[0.0, 1.25, 3.0])
    given = fitted.predict(frame, level=[80], given=plan)
    row = given[given.unique_id == "shop 0"]
    for column in ("HiPerformer", "HiPerformer-lo-80", "HiPerformer-hi-80"):
        assert row[column].tolist() == [0.0, 1.25, 3.0]
    assert not given[given.unique_id == "shop 1"].equals(plain[plain.unique_id == "shop 1"])
    fitted.save(tmp_path / "shops")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "shops").predict(frame, [80]), plain)


@pytest.mark.parametrize(
    "change",
    [{"steps": []}, {"growth": [[1.0], [1.0]]}, {"shifts": [-1.0]}, {"seasons": [0]},
     {"steps": [0.0]}, {"growth": [[]]}, {"shifts": ["1"]}, {"seasons": [7.5]},
     {"growth": [[1.0, 1.0]]}, None],
    ids=str,
)  # fmt: skip
def test_a_damaged_file_is_refused(fitted, tmp_path, change):
    fitted.save(tmp_path / "shops")
    path = tmp_path / "shops" / "forecaster.json"
    saved = json.loads(path.read_text())
    if change is None:
        del saved["vocabulary"]["smoothing"]
    else:
        saved["vocabulary"]["smoothing"].update(change)
    path.write_text(json.dumps(saved))
    with pytest.raises(DataError, match="'vocabulary'"):
        Forecaster.load(tmp_path / "shops")


def test_what_knows_no_scores_has_settings_alike(fitted):
    saved = fitted.vocabulary_.to_dict()
    assert Vocabulary.from_dict(saved) == fitted.vocabulary_
    assert fitted.vocabulary_.smoothing.usual(0).scores.any()
    del saved["smoothing"]["scores"]
    learned = Vocabulary.from_dict(saved).smoothing
    learned.check(1)
    assert not learned.usual(0).scores.any()


@pytest.mark.parametrize("scores", [((0.0,),), ((np.nan,) * 50,), ((0.0,) * 50,) * 2])
def test_scores_of_other_settings_are_refused(fitted, scores):
    with pytest.raises(ValueError, match="smoothing has scores"):
        replace(fitted.vocabulary_.smoothing, scores=scores).check(1)


def test_a_warm_start_keeps_its_scale(frame):
    made = forecaster().fit(frame)
    below = frame.assign(y=frame.y.where(frame.unique_id != "shop 0", -1.0))
    made.fit(below, warm_start=True)
    assert made.model_.scaler.origin == "history"
    assert (made.predict(below, level=[90]).filter(like="HiPerformer").to_numpy() >= 0).all()


def test_training_windows_begin_when_seasons_are_known(frame):
    panel = read_frame(frame, COLUMNS)
    cutoffs = np.array([[0, step] for step in range(L, T)])
    assert settled(panel, cutoffs, (7,))[0, 1] == 14
    assert settled(panel, cutoffs, (52,))[0, 1] == (T - 1) // 3
    assert len(thin(panel, cutoffs, H)) == len(cutoffs)


def test_a_history_too_short_to_judge_by_is_smoothed(frame):
    short = frame[(frame.ds < "2024-01-12") & (frame.unique_id != "shop 4")]
    made = forecaster().fit(short)
    assert made.report_.coverage.empty and len(made.history_) == 3
    assert not made.model_.linear.weight.weight.any() and not made.model_.decoder.moves
