from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hierforecast.datasets import basketball
from hierforecast.datasets.basketball import simulate_basketball
from tests.datasets.scripts import script

IDS = ["ball", *(f"{team}_{i}" for team in ("home", "away") for i in range(5))]
STEP = 0.16


def to_tracks(frame: pd.DataFrame) -> np.ndarray:
    """(scenes, steps, 11, 2), agents in the order of IDS; NaN where there is no row."""
    index = pd.MultiIndex.from_product(
        [range(frame["scene"].max() + 1), range(frame["ds"].max() + 1), IDS]
    )
    table = frame.set_index(["scene", "ds", "unique_id"])[["x", "y"]].reindex(index)
    return table.to_numpy().reshape(*map(len, index.levels[:2]), 11, 2)


@pytest.fixture(scope="module")
def frame():
    return simulate_basketball(512, seed=5)


@pytest.fixture(scope="module")
def tracks(frame):
    return to_tracks(frame)


def test_the_frame_is_as_promised(frame):
    assert list(frame.columns) == ["scene", "ds", "unique_id", "team", "kind", "x", "y"]
    assert len(frame) == 512 * 50 * 11
    assert not frame.isna().any().any()
    assert frame["scene"].dtype == np.int64 and frame["ds"].dtype == np.int64
    order = frame.sort_values(["scene", "ds", "unique_id"], ignore_index=True)
    pd.testing.assert_frame_equal(order, frame)
    assert set(frame["unique_id"]) == set(IDS)
    assert (frame["team"] == frame["unique_id"].str.split("_").str[0]).all()
    assert (frame["kind"] == np.where(frame["team"] == "ball", "ball", "player")).all()
    assert not frame.duplicated(["scene", "ds", "unique_id"]).any()


def test_the_same_seed_gives_the_same_frame_and_another_does_not():
    first = simulate_basketball(3, 20, seed=4)
    pd.testing.assert_frame_equal(first, simulate_basketball(3, 20, seed=4))
    other = simulate_basketball(3, 20, seed=5)
    assert ((first["x"] - other["x"]).abs() > 0.1).mean() > 0.9


def test_a_scene_does_not_depend_on_how_many_there_are(monkeypatch):
    few = simulate_basketball(3, 20)
    monkeypatch.setattr(basketball, "CHUNK", 2)
    many = simulate_basketball(5, 20)
    pd.testing.assert_frame_equal(many[many["scene"] < 3], few)
    start = many[(many["ds"] == 0) & (many["unique_id"] == "home_0")]
    assert start["x"].nunique() == 5


def test_everybody_is_on_the_court(tracks):
    assert tracks.min() >= 0.0
    assert (tracks <= [94.0, 50.0]).all()
    # The whole court is in use, both halves alike.
    assert tracks[..., 0].min() < 3 and tracks[..., 0].max() > 91


def test_players_have_momentum_and_the_ball_flies(tracks):
    velocity = np.diff(tracks, axis=1) / STEP
    speed = np.linalg.norm(velocity, axis=-1)
    noise = 4 * np.sqrt(2) * basketball.CAMERA_NOISE / STEP
    assert speed[:, :, 1:].max() < 25 + noise
    assert 3 < np.median(speed[:, :, 1:]) < 6
    change = np.linalg.norm(np.diff(velocity, axis=1), axis=-1)[:, :, 1:] / STEP
    assert np.quantile(change, 0.999) < 30
    flying = (speed[:, :, 0] > 27) & (speed[:, :, 0] < 47)
    assert 0.05 < flying.mean() < 0.3
    nearest = np.linalg.norm(tracks[:, :, 1:] - tracks[:, :, :1], axis=-1).min(-1)
    assert 1.0 < np.median(nearest) < 2.0


def test_nobody_walks_through_another_and_defenders_mark(tracks):
    apart = np.linalg.norm(tracks[:, :, 1:6, None] - tracks[:, :, None, 6:], axis=-1)
    assert np.quantile(apart, 0.001) > 0.5
    assert 3 < np.median(apart.min(-1)) < 8
    # Shuffling one team over the scenes breaks the marking.
    strangers = np.linalg.norm(tracks[:, :, 1:6, None] - tracks[::-1, :, None, 6:], axis=-1)
    assert np.median(strangers.min(-1)) > 1.5 * np.median(apart.min(-1))


def test_numbers_teams_and_directions_tell_nothing(tracks):
    """Each sample mean lies within 4.5 standard errors of what symmetry demands."""
    per_scene = tracks[:, :, 1:].mean(1) - [47.0, 25.0]  # (scenes, players, 2)

    def far(values):
        return np.abs(values.mean(0)) / (values.std(0) / np.sqrt(len(values)))

    assert (far(per_scene) < 4.5).all()
    speed = np.linalg.norm(np.diff(tracks[:, :, 1:], axis=1), axis=-1).mean(1)
    assert (far(speed - speed.mean(1, keepdims=True)) < 4.5).all()
    to_ball = np.linalg.norm(tracks[:, :, 1:] - tracks[:, :, :1], axis=-1).mean(1)
    assert (far(to_ball - to_ball.mean(1, keepdims=True)) < 4.5).all()


def ridge_forecast(past: np.ndarray, future: np.ndarray, train: int) -> np.ndarray:
    """Horizon from the context relative to the last position, one fit for ball and for players."""
    last = past[:, -1:]
    forecast = np.empty_like(future)
    for agents in (slice(0, 1), slice(1, 11)):
        context = (past - last)[:, :-1, agents].transpose(0, 2, 1, 3)
        context = context.reshape(*context.shape[:2], -1)
        place = last[:, 0, agents] - [47.0, 25.0]
        inputs = np.concatenate([context, place, np.ones_like(place[..., :1])], -1)
        answers = (future - last)[:, :, agents].transpose(0, 2, 1, 3)
        a = inputs[:train].reshape(-1, inputs.shape[-1])
        b = answers[:train].reshape(len(a), -1)
        weights = np.linalg.solve(a.T @ a + 10.0 * np.eye(a.shape[1]), a.T @ b)
        moved = (inputs @ weights).reshape(answers.shape).transpose(0, 2, 1, 3)
        forecast[:, :, agents] = moved + last[:, :, agents]
    return forecast


def test_there_is_more_to_learn_than_constant_velocity(tracks):
    past, future, train = tracks[:, :40], tracks[:, 40:], 384
    steps = np.arange(1, 11)[:, None, None]
    constant = past[:, -1:] + (past[:, -1:] - past[:, -2:-1]) * steps

    def ade(forecast):
        return np.linalg.norm(forecast - future, axis=-1)[train:].mean()

    assert 2.0 < ade(constant) < 3.6
    assert ade(ridge_forecast(past, future, train)) < 0.78 * ade(constant)


@pytest.mark.parametrize("missing", [0.1, 0.4, 0.8])
def test_players_are_missing_in_pieces_and_whole_and_the_ball_never(missing):
    frame = simulate_basketball(200, 50, missing=missing)
    seen = np.isfinite(to_tracks(frame)[..., 0])
    assert seen[:, :, 0].all()
    players = seen[:, :, 1:].transpose(0, 2, 1).reshape(-1, 50)
    assert 1 - players.mean() == pytest.approx(missing, abs=0.04)
    whole = ~players.any(1)
    assert missing / 4 < whole.mean() < missing
    part = players[~whole & ~players.all(1)]
    changes = np.diff(part.astype(int), axis=1)
    assert (changes == 1).any() and (changes == -1).any()  # they enter and they leave
    assert (~part).sum() / ((changes == -1).sum() + (~part[:, 0]).sum()) > 4  # mean gap, steps


def test_missing_takes_rows_away_and_changes_no_other():
    full = simulate_basketball(4, 30, seed=2)
    part = simulate_basketball(4, 30, seed=2, missing=0.3)
    assert len(part) < len(full)
    keys = ["scene", "ds", "unique_id"]
    both = part.merge(full, on=keys, suffixes=("", "_full"), validate="one_to_one")
    assert len(both) == len(part)
    assert (both["x"] == both["x_full"]).all() and (both["y"] == both["y_full"]).all()
    assert (part.index == np.arange(len(part))).all()


@pytest.mark.parametrize(
    "arguments",
    [{"n_scenes": 0}, {"n_scenes": 1.5}, {"n_steps": 0}, {"seed": -1}, {"missing": 1.0}],
    ids=str,
)
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        simulate_basketball(**{"n_scenes": 1, **arguments})


def test_one_step_and_a_long_game_stay_finite():
    assert len(simulate_basketball(1, 1)) == 11
    long = simulate_basketball(2, 600)
    assert np.isfinite(long[["x", "y"]].to_numpy()).all()
    ball = long[long["unique_id"] == "ball"]
    assert (ball.groupby("scene")["x"].max() - ball.groupby("scene")["x"].min() > 70).all()


def test_the_card_says_what_the_constants_say(repository):
    card = (repository / "datasets" / "basketball" / "README.md").read_text()
    for name in ("STEP_SECONDS", "TEAM_SIZE"):
        assert f"| `{name}` | {getattr(basketball, name)} |" in card


def test_prepare_writes_the_table(tmp_path):
    pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    rows = script("basketball").prepare(4, 0, 0.2, tmp_path / "table.parquet")
    assert rows == len(pd.read_parquet(tmp_path / "table.parquet")) < 4 * 50 * 11
