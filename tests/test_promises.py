"""The promises of the design, from frame to frame: exchange, missing series, nothing leaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import HiPerformer
from hierforecast.batch import SceneBatch
from hierforecast.distributions import SceneDistribution
from hierforecast.errors import SeriesDroppedWarning
from tests.helpers import DOUBLE, H, L, make_frame, tiny
from tests.promised import (
    KEYS,
    NOW,
    fitted,
    holes,
    predict,
    predict_exactly,
    pytestmark,  # noqa: F401
    renamed,
    worst,
)
from tests.promised import (
    forecaster as forecaster,
)
from tests.promised import (
    frame as frame,
)

# --- 1. equivariance -----------------------------------------------------------------------------


def test_shuffled_rows_give_the_same_frame_bit_for_bit(forecaster, frame):
    shuffled = frame.sample(frac=1.0, random_state=0)[frame.columns[::-1]]
    assert not shuffled.index.equals(frame.index)
    history, known = holes(frame), frame[frame.ds >= NOW]
    mixed = shuffled[shuffled.index.isin(history.index)]
    options = {"known": known} if forecaster.columns.known_covariates else {}
    one = forecaster.predict(history[history.ds < NOW], [80], **options)
    if options:
        options = {"known": known.sample(frac=1.0, random_state=1)}
    two = forecaster.predict(mixed[mixed.ds < NOW], [80], **options)
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_members_of_a_group_may_change_their_names(forecaster, frame):
    names = {"home_0": "home_2", "home_2": "home_1", "home_1": "zz", "bench_0": "aa"}
    before = predict(forecaster, frame)
    history = holes(frame).pipe(renamed, "unique_id", names)
    after = predict_exactly(forecaster, history, renamed(frame, "unique_id", names))
    assert worst(renamed(before, "unique_id", names), after) <= 1e-10


@pytest.mark.parametrize(
    "names", [{"home": "away", "away": "home"}, {"home": "bench", "bench": "home", "ball": "zz"}]
)
def test_groups_may_change_their_names(forecaster, frame, names):
    before = predict(forecaster, frame)
    after = predict_exactly(forecaster, renamed(holes(frame), "team", names), frame)
    assert worst(before, after) <= 1e-10


def test_teams_may_change_sides_and_players_at_once(forecaster, frame):
    """Every trajectory is handed to another name: of another member and of the other team."""
    names = {f"home_{i}": f"away_{(i + 1) % 3}" for i in range(3)}
    names |= {f"away_{i}": f"home_{2 - i}" for i in range(3)}
    before = predict(forecaster, frame)
    teams = {"home": "away", "away": "home"}
    swapped, history = (
        f.pipe(renamed, "unique_id", names).pipe(renamed, "team", teams)
        for f in (frame, holes(frame))
    )
    after = predict_exactly(forecaster, history, swapped)
    assert worst(renamed(before, "unique_id", names), after) <= 1e-10


def test_scenes_may_change_their_names(forecaster, frame):
    names = {0: 2, 1: 0, 2: 1}
    before = predict(forecaster, frame)
    history, swapped = (renamed(f, "scene", names) for f in (holes(frame), frame))
    after = predict_exactly(forecaster, history, swapped)
    assert worst(renamed(before, "scene", names), after) <= 1e-10


@pytest.mark.parametrize("name", ["lowrank", "everything", "crossed", "student, by series"])
def test_a_swap_across_groups_changes_the_forecast(name, frame):
    names = {"home_0": "away_0", "away_0": "home_0"}
    swapped = renamed(frame, "unique_id", names)
    swapped["team"] = swapped.unique_id.str.rsplit("_").str[0]
    before = predict(fitted(name), frame)
    history = holes(frame).pipe(renamed, "unique_id", names)
    history["team"] = history.unique_id.str.rsplit("_").str[0]
    after = predict_exactly(fitted(name), history, swapped)
    assert worst(renamed(before, "unique_id", names), after) > 1e-4


class FavoursTheFirst(HiPerformer):
    """Broken: the first row is special."""

    def forward(self, batch: SceneBatch) -> SceneDistribution:
        first = torch.zeros(len(batch.values), 1, 1).to(batch.values)
        first[:1] = 1
        return super().forward(batch).affine(first, 1.0)


def test_a_broken_model_is_caught_from_frame_to_frame(frame):
    forecaster = tiny(FavoursTheFirst(12, 1, 2), trainer=DOUBLE).fit(make_frame())
    before = predict(forecaster, frame)
    names = {0: 2, 2: 0}
    after = predict_exactly(
        forecaster, renamed(holes(frame), "scene", names), renamed(frame, "scene", names)
    )
    assert worst(renamed(before, "scene", names), after) > 1e-3


# --- 2. missing means deleted --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "scenes"),
    [
        (["home_1"], [0, 1, 2]),
        (["bench_0", "bench_1"], [0, 1, 2]),
        (["ball_0"], [0, 1, 2]),
        (["away_0", "ball_0"], [1]),
    ],
    ids=["one of a group", "a whole group", "the only one of a type", "in one scene"],
)
@pytest.mark.filterwarnings("ignore::hierforecast.errors.SeriesDroppedWarning")
def test_missing_rows_missing_values_and_no_series_are_the_same_for_the_others(
    forecaster, frame, gone, scenes
):
    history = holes(frame)[lambda f: f.ds < NOW]
    whose = history.unique_id.isin(gone) & history.scene.isin(scenes)
    context = history.ds >= NOW - L
    nothing = history.copy()
    nothing.loc[whose & context, ["x", "y"]] = np.nan
    one_target = history.copy()
    one_target.loc[whose & context, "y"] = np.nan
    cut, deleted = history[~(whose & context)], history[~whose]
    # The scene's time ends where it did.
    assert (deleted.groupby("scene").ds.max() == NOW - 1).all()
    forecasts = [
        predict_exactly(forecaster, h, pd.concat([h, frame[frame.ds >= NOW]]))
        for h in (deleted, cut, nothing, one_target)
    ]
    for forecast in forecasts[1:]:
        assert worst(forecasts[0], forecast) <= 1e-10
    whole = predict_exactly(forecaster, history, pd.concat([history, frame[frame.ds >= NOW]]))
    assert len(whole) > len(forecasts[0])


@pytest.mark.parametrize("name", ["lowrank", "everything", "student, by series"])
def test_the_others_do_notice_a_missing_series(name, frame):
    """Else the test above would say nothing."""
    before = predict(fitted(name), frame)
    after = predict(fitted(name), frame[frame.unique_id != "home_1"])
    before = before[before.unique_id != "home_1"]
    assert worst(before, after) > 1e-4


def test_junk_beside_a_missing_target_changes_exactly_nothing(forecaster, frame):
    one = frame.copy()
    rows = np.random.default_rng(1).random(len(one)) < 0.2
    one.loc[rows, "x"] = np.nan
    two = one.copy()
    two.loc[rows, ["y", "pulse"]] = 1e6
    two.loc[rows, "mood"] = "down"
    pd.testing.assert_frame_equal(
        predict(forecaster, one), predict(forecaster, two), check_exact=True
    )


def test_a_row_of_nothing_is_a_row_that_is_not_there(frame):
    """At single steps too, where nothing is known in advance."""
    forecaster = fitted("lowrank")
    history = frame[frame.ds < NOW]
    rows = (np.random.default_rng(1).random(len(history)) < 0.3) & (history.ds < NOW - 1)
    empty = history.copy()
    empty.loc[rows, "y"] = np.nan
    one, two = (forecaster.predict(h, [80]) for h in (history[~rows], empty))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_a_step_and_a_scene_without_anybody(forecaster, frame):
    """A step that nobody has is a step; a scene that nobody is seen in is forecast for nobody."""
    history = frame.copy()
    history.loc[(history.scene == 0) & (history.ds.between(14, 16)), ["x", "y"]] = np.nan
    history.loc[history.scene == 1, ["x", "y"]] = np.nan
    with pytest.warns(SeriesDroppedWarning, match=r"^9 of 27 series .*\(never observed\)"):
        forecast = predict(forecaster, history)
    assert set(forecast.scene) == {0, 2}
    assert forecast.notna().all().all()
    two = forecast[forecast.scene == 2]
    before = predict(forecaster, frame)
    assert worst(before[before.scene == 2], two) <= 1e-10


def test_steps_that_nobody_has_any_more_are_no_history(forecaster, frame):
    """Rows without targets after the last observed time, more than a context of them."""
    since = NOW - L - 1
    history = frame[frame.ds < NOW].copy()
    history.loc[history.ds >= since, ["x", "y"]] = np.nan
    known = frame if forecaster.columns.known_covariates else None
    one = forecaster.predict(history, [80])  # what is known in advance stands in these rows
    two = forecaster.predict(history[history.ds < since], [80], known=known)
    assert one.ds.min() == since and len(one) == 27 * H
    assert worst(one, two) <= 1e-10


# --- 3. nothing leaks ----------------------------------------------------------------------------


def scrambled(frame: pd.DataFrame, since: int) -> pd.DataFrame:
    """Targets and past covariates since a step are something else altogether, or missing."""
    later = frame.ds >= since
    out = frame.copy()
    out.loc[later, ["x", "y", "pulse"]] *= -100
    out.loc[later, "mood"] = "up"
    out.loc[later & (np.arange(len(out)) % 3 == 0), ["x", "y", "pulse"]] = np.nan
    return out


def test_the_horizon_never_reaches_the_forecast(forecaster, frame):
    def at_cutoff(frame: pd.DataFrame) -> pd.DataFrame:
        backtest = forecaster.backtest(frame, stride=1, level=[80])
        return backtest[backtest.cutoff == NOW - 1].drop(columns="cutoff")

    other = scrambled(frame, NOW)
    one, two = (at_cutoff(f).drop(columns=["x", "y"]) for f in (frame, other))
    assert worst(one, two) == 0
    assert not at_cutoff(frame)[["x", "y"]].equals(at_cutoff(other)[["x", "y"]])


@pytest.mark.parametrize("now", [12, 17, 20])
def test_a_backtest_is_the_forecast_of_the_frame_cut_at_its_cutoff(forecaster, frame, now):
    options: dict[str, Any] = {}
    if forecaster.columns.known_covariates:
        options = {"known": frame.loc[frame.ds >= now, [*KEYS, "plan", "weather"]]}
    frame = frame[(frame.ds >= now) | (frame.ds == now - 1) | (np.arange(len(frame)) % 5 > 0)]
    backtest = forecaster.backtest(frame, stride=1, level=[80])
    at = backtest[backtest.cutoff == now - 1].drop(columns=["cutoff", "x", "y"])
    forecast = forecaster.predict(frame[frame.ds < now], [80], **options)
    assert worst(at, forecast) <= 1e-10


def test_the_context_is_all_that_is_seen(forecaster, frame):
    """What lies before the context changes nothing, unless a model smooths all of the history."""
    early = frame.copy()
    early.loc[early.ds < NOW - L, ["x", "y", "pulse"]] = 1e4
    early.loc[early.ds < NOW - L, "plan"] = -3.0
    one, two = predict(forecaster, frame), predict(forecaster, early)
    assert one.equals(two) != (forecaster.model_.origin == "history")


def test_later_training_data_do_not_teach_the_units():
    """Nor does `fit` look at the steps that it holds out, where the network answers."""
    frame = make_frame(n_scenes=2, steps=60, missing=0.0)
    late = frame.copy()
    late.loc[late.ds >= 54, ["x", "y"]] *= 50
    one, two = (tiny(HiPerformer(12, 1, 2), max_steps=1).fit(f) for f in (frame, late))
    for name, x in one.model_.named_buffers():
        assert torch.equal(x, dict(two.model_.named_buffers())[name]), name
