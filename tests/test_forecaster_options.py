"""Options of a `Forecaster`, and the windows that `fit` holds out to stop by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hierforecast import Columns, DataError, HiPerformer, LastValue, NotFittedError, Ridge
from hierforecast.frame import read_frame
from hierforecast.windows.cutoffs import split_cutoffs
from tests.forecasters import (
    KEYS,
    pytestmark,  # noqa: F401
    small,
)
from tests.forecasters import (
    frame as frame,
)
from tests.helpers import COLUMNS, QUIET, H, L, make_frame, tiny

# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_length": 0}, "context_length=0 must be"),
        ({"prediction_length": 0}, "prediction_length=0 must be"),
        ({"prediction_length": 2.5}, r"prediction_length=2\.5 must be"),
        ({"batch_size": 0}, "batch_size=0 must be"),
        ({"max_steps": 0}, "max_steps=0 must be"),
        ({"series_dropout": 0.7}, r"series_dropout=0\.7 must be a number between 0 and 0\.5"),
    ],
)
def test_options_out_of_range_are_refused(options, message, frame):
    with pytest.raises(ValueError, match=message):
        tiny(**options).fit(frame)


def test_options_go_in_and_come_out():
    forecaster = tiny(HiPerformer(8, 1, 2))
    assert forecaster.get_params(deep=False).keys() < forecaster.get_params().keys()
    assert forecaster.get_params()["model__width"] == 8
    model = forecaster.model
    forecaster.set_params(max_steps=7, model__width=16, model__head="gaussian")
    assert forecaster.max_steps == 7
    assert forecaster.model.get_params() == {**model.get_params(), "width": 16, "head": "gaussian"}
    assert model.get_params()["width"] == 8, "the model that was given is left alone"
    with pytest.raises(ValueError, match=r"'model__size' is no option; options are \['batch_size'"):
        forecaster.set_params(model__size=3)
    with pytest.raises(ValueError, match=r"'steps' is no option"):
        forecaster.set_params(steps=3)
    assert "context_length=11" in repr(forecaster)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"prediction_length": 3}, "prediction_length=4, now 3"),
        ({"context_length": 8}, "context_length=11, now 8"),
        ({"columns": replace(COLUMNS, group=None)}, "columns.group='team', now None"),
    ],
)
def test_what_belongs_to_a_fit_is_not_changed_after_it(option, message, frame, tmp_path):
    forecaster = tiny(LastValue()).fit(frame)
    before = {name: getattr(forecaster, name) for name in option}
    forecaster.set_params(**option)
    verbs = (
        lambda: forecaster.predict(frame),
        lambda: forecaster.sample(frame, 2),
        lambda: forecaster.impute(frame),
        lambda: forecaster.backtest(frame),
        lambda: forecaster.evaluate(frame),
        lambda: forecaster.save(tmp_path / "saved"),
    )
    for verb in verbs:
        with pytest.raises(NotFittedError, match=f"fitted with {message}: fit again, or set"):
            verb()
    assert not (tmp_path / "saved").exists()
    forecaster.set_params(**before).predict(frame)
    forecaster.set_params(**option).fit(frame).predict(frame)


@pytest.mark.parametrize("model", [HiPerformer(8, 1, 2), LastValue(), Ridge(0.1)])
def test_scikit_learn_clones(model, frame):
    base = pytest.importorskip("sklearn.base")
    forecaster = tiny(model).fit(frame)
    twin = base.clone(forecaster)
    assert not hasattr(twin, "model_") and twin.model is not model
    assert type(twin.model) is type(model) and twin.model.get_params() == model.get_params()
    assert repr(twin) == repr(forecaster)
    pd.testing.assert_frame_equal(twin.fit(frame).predict(frame), forecaster.predict(frame))
    assert base.clone(model).get_params() == model.get_params()


def test_the_model_that_is_given_stays_a_plan(frame):
    model = HiPerformer(8, 1, 2)
    one, two = (tiny(model, prediction_length=n).fit(frame) for n in (2, 3))
    assert model.task is None and not list(model.parameters())
    assert one.model_.task.prediction_length == 2 and two.model_.task.prediction_length == 3


# --- windows to stop by --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenes", "steps", "count"),
    [(12, 24, 3), (1, 400, 10), (1, 80, 8), (1, 33, 8), (1, 30, 6), (1, 21, 2), (3, 40, 9),
     (9, 24, 9), (2, 18, 0)],
)  # fmt: skip
def test_held_out_windows_are_enough_and_share_no_horizon_with_training(scenes, steps, count):
    panel = read_frame(make_frame(scenes, steps, missing=0.0), COLUMNS)
    train, held = split_cutoffs(panel, L, H, seed=0)

    def cells(pairs: np.ndarray) -> set[tuple[int, int]]:
        return {(s, c + h) for s, c in pairs.tolist() for h in range(H)}

    assert len(held) == count and len(train) >= len(held)
    assert not cells(train) & cells(held)
    if scenes >= 10:
        assert not set(train[:, 0]) & set(held[:, 0])
    for scene in np.unique(held[:, 0]):  # the last ones, evenly spaced
        own = held[held[:, 0] == scene, 1]
        assert own[-1] == steps - H and len(set(np.diff(own))) <= 1
    again = split_cutoffs(panel, L, H, seed=0)
    assert all((x == y).all() for x, y in zip((train, held), again, strict=True))


def test_too_short_to_hold_anything_out():
    panel = read_frame(make_frame(2, L + H), COLUMNS)
    train, held = split_cutoffs(panel, L, H, seed=0)
    assert len(train) == 2 and not len(held)


def test_scenes_of_unlike_length_hold_out_enough_together():
    long, short = make_frame(1, 60, missing=0.0), make_frame(2, 16, missing=0.0)
    short["scene"] += 1
    panel = read_frame(pd.concat([long, short]), COLUMNS)
    train, held = split_cutoffs(panel, L, H, seed=0)
    assert np.bincount(held[:, 0], minlength=3).tolist() == [8, 0, 0], "16 steps are two windows"
    assert np.bincount(train[:, 0])[1:].tolist() == [2, 2]


@pytest.mark.parametrize(("steps", "stride"), [(80, 4), (40, 3), (24, 1), (16, 1)])
def test_a_frame_to_stop_by_is_cut_as_often_as_is_enough(steps, stride):
    panel, val = (read_frame(make_frame(1, n, missing=0.0), COLUMNS) for n in (30, steps))
    train, held = split_cutoffs(panel, L, H, 0, val)
    assert len(train) == 30 - L - H + 1, "all of them"
    assert held[-1, 1] == steps - H and set(np.diff(held[:, 1])) == {stride}
    assert len(held) >= min(8, steps - L - H + 1)


def test_a_frame_to_stop_by_may_be_given(frame):
    forecaster = small(columns=COLUMNS).fit(frame, val=make_frame(seed=9))
    assert len(forecaster.predict(frame))
    with pytest.raises(DataError, match="too little context"):
        small(columns=COLUMNS).fit(frame, val=frame[frame.ds < H])


def test_learning_learns():
    """A drift that a line cannot say: the sign depends on the group's other member."""
    rng = np.random.default_rng(0)
    pieces = []
    for scene in range(80):
        sign = rng.choice([-1, 1])
        time = np.arange(L + H)
        lead = sign * 5 + 0.1 * rng.normal(size=len(time))
        follow = np.where(time < L, 0, sign * (time - L + 1)) + 0.1 * rng.normal(size=len(time))
        for name, y in (("lead", lead), ("follow", follow)):
            pieces.append(pd.DataFrame({"scene": scene, "unique_id": name, "ds": time, "y": y}))
    frame = pd.concat(pieces).assign(group="g", kind=lambda f: f.unique_id)
    columns = Columns(scene="scene", group_type="kind")
    model = HiPerformer(16, 1, 2, dropout=0.0, head="gaussian", scale="coordinates")
    options: dict[str, Any] = {"max_steps": 160, "batch_size": 32, "learning_rate": 1e-2}
    forecaster = small(model, columns, series_dropout=0.0, trainer=QUIET, **options).fit(frame)
    test = frame[frame.scene < 20]
    found = forecaster.predict(test[test.ds < L]).merge(test, on=KEYS)
    follow = found[found.unique_id == "follow"]
    assert (follow.HiPerformer - follow.y).abs().mean() < 0.3 * follow.y.abs().mean()
    assert torch.is_grad_enabled()
