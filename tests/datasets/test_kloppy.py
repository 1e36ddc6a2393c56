"""Frames of kloppy, and of what only looks like it, in the columns of `load_soccer`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hierforecast.datasets import from_kloppy
from hierforecast.datasets._tracks import COLUMNS
from hierforecast.errors import DataError


class Thing:
    """Has the attributes that it is given; like kloppy's players it is a key by identity."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def kloppy_like(unit="m", low=(-52.5, -34.0), high=(52.5, 34.0), orientation="bottom-to-top"):
    """Two teams of one, two periods of four frames, the third of them not there."""
    home, away = (Thing(ground=Thing(value=side)) for side in ("home", "away"))
    keeper = Thing(player_id=11, starting_position=Thing(value="x", code="GK"))
    player = Thing(player_id="p7", starting_position=None)
    home.players, away.players = [keeper], [player]
    x_dim, y_dim = (Thing(min=low[i], max=high[i]) for i in (0, 1))
    pitch = Thing(
        x_dim=x_dim, y_dim=y_dim, unit=Thing(value=unit), pitch_length=105, pitch_width=68
    )
    frames = []
    for period in (1, 2):
        for step in (0, 1, 3):
            at = Thing(x=high[0], y=high[1])
            centre = Thing(x=(low[0] + high[0]) / 2, y=(low[1] + high[1]) / 2)
            players = {keeper: Thing(coordinates=centre)} if step else {}
            players[player] = Thing(coordinates=None)
            if period == 2:
                players[player].coordinates = at
            frames.append(
                Thing(
                    timestamp=timedelta(seconds=step / 10),
                    period=Thing(id=period),
                    ball_coordinates=at,
                    players_data=players,
                )
            )
    system = Thing(vertical_orientation=Thing(value=orientation))
    metadata = Thing(
        teams=[home, away], frame_rate=10, pitch_dimensions=pitch, coordinate_system=system
    )
    return Thing(metadata=metadata, frames=frames)


def test_kloppy_like_frames_become_rows():
    frame = from_kloppy(kloppy_like())
    assert list(frame.columns) == list(COLUMNS)
    assert frame.groupby(["scene", "unique_id"]).ds.apply(list).to_dict() == {
        ("period1", "11"): [1, 3],
        ("period1", "ball"): [0, 1, 3],
        ("period2", "11"): [1, 3],
        ("period2", "ball"): [0, 1, 3],
        ("period2", "p7"): [0, 1, 3],
    }
    one = frame.drop_duplicates("unique_id").set_index("unique_id")
    assert one["team"].to_dict() == {"ball": "ball", "11": "home", "p7": "away"}
    assert one["kind"].to_dict() == {"ball": "ball", "11": "goalkeeper", "p7": "player"}


@pytest.mark.parametrize(
    ("unit", "low", "high", "orientation", "ball"),
    [
        ("m", (-52.5, -34.0), (52.5, 34.0), "bottom-to-top", (52.5, 34.0)),
        ("normed", (0.0, 0.0), (1.0, 1.0), "top-to-bottom", (52.5, -34.0)),
        ("cm", (0.0, 0.0), (10500.0, 6800.0), "bottom-to-top", (52.5, 34.0)),
    ],
)
def test_every_coordinate_system_becomes_metres(unit, low, high, orientation, ball):
    frame = from_kloppy(kloppy_like(unit, low, high, orientation), rate=5)
    assert frame.loc[frame.unique_id == "ball", ["x", "y"]].iloc[0].tolist() == pytest.approx(ball)
    assert frame.loc[frame.unique_id == "ball", "ds"].tolist() == [0, 0]  # frame 2 is not there
    centre = (
        from_kloppy(kloppy_like(unit, low, high, orientation))
        .query("unique_id == '11'")[["x", "y"]]
        .to_numpy()
    )
    np.testing.assert_allclose(centre, 0, atol=1e-12)


def test_kloppy_data_that_say_too_little():
    rateless, boundless, empty = (
        kloppy_like(),
        kloppy_like("normed", (0.0, 0.0), (1.0, 1.0)),
        kloppy_like(),
    )
    rateless.metadata.frame_rate = None
    boundless.metadata.pitch_dimensions.pitch_length = None
    empty.frames = []
    for dataset, message in (
        (rateless, "frame_rate"),
        (boundless, "pitch_length in meters"),
        (empty, r"no frame .* only_alive=False"),
    ):
        with pytest.raises(DataError, match=message):
            from_kloppy(dataset)


@pytest.mark.parametrize(("unit", "below"), [("m", -10.0), ("cm", -10.0), ("normed", -10.0)])
def test_a_ball_below_the_pitch_was_not_seen(unit, below):
    size = {"m": (52.5, 34.0), "cm": (5250.0, 3400.0), "normed": (0.5, 0.5)}[unit]
    dataset = kloppy_like(unit, tuple(-one for one in size), size)
    for frame, z in zip(dataset.frames, (below, 0.1, None, -0.02, float("nan"), 3.0), strict=True):
        frame.ball_coordinates = Thing(x=0.0, y=0.0, z=z)
    dataset.frames[3].ball_coordinates.x = size[0]  # noise of a ball on the grass
    frame = from_kloppy(dataset)
    ball = frame[frame.unique_id == "ball"].groupby("scene").ds.apply(list).to_dict()
    assert ball == {"period1": [0, 2], "period2": [0, 3]}  # nobody is seen in the first frame
    assert frame[["x", "y"]].notna().all(axis=None)


def test_places_that_are_no_numbers_have_no_row():
    dataset = kloppy_like()
    for number, frame in enumerate(dataset.frames):
        bad = [float("nan"), float("inf"), None][number % 3]
        frame.ball_coordinates = Thing(x=bad, y=1.0)
    frame = from_kloppy(dataset)
    assert "ball" not in set(frame.unique_id) and len(frame) == 7


def test_a_player_who_is_in_no_list_is_in_his_own_team_or_named():
    dataset = kloppy_like()
    stranger = Thing(player_id="p99", team=dataset.metadata.teams[1], starting_position=None)
    dataset.frames[4].players_data[stranger] = Thing(coordinates=Thing(x=1.0, y=2.0))
    rows = from_kloppy(dataset).query("unique_id == 'p99'")
    assert rows[["scene", "ds", "team", "kind", "x", "y"]].to_numpy().tolist() == [
        ["period2", 1, "away", "player", 1.0, 2.0]
    ]
    stranger.team = None
    with pytest.raises(DataError, match=r"player 'p99' is seen but in no team: add him to"):
        from_kloppy(dataset)


@pytest.mark.parametrize(
    "known",
    [
        {"positions": Thing(items={"45:00": None, "60:00": Thing(code="GK")})},
        {"positions": Thing(items={"60:00": "Goalkeeper"})},
        {"attributes": {"playing_position": "GK"}},
    ],
    ids=["code", "name", "attribute"],
)
def test_a_goalkeeper_from_the_bench_is_one(known):
    dataset = kloppy_like()
    bench = Thing(player_id="p12", starting=False, starting_position=None, **known)
    dataset.metadata.teams[0].players.append(bench)
    dataset.frames[4].players_data[bench] = Thing(coordinates=Thing(x=1.0, y=2.0))
    frame = from_kloppy(dataset)
    kinds = frame.drop_duplicates("unique_id").set_index("unique_id")["kind"].to_dict()
    assert kinds == {"11": "goalkeeper", "p12": "goalkeeper", "p7": "player", "ball": "ball"}


def test_a_player_who_is_listed_twice_is_one():
    dataset, once = kloppy_like(), from_kloppy(kloppy_like())
    home, away = dataset.metadata.teams
    home.players = home.players * 2
    away.players = [*away.players, Thing(player_id="p7", starting_position=Thing(value="x"))]
    pd.testing.assert_frame_equal(from_kloppy(dataset), once)


def test_a_period_beside_the_pitch_is_named():
    dataset = kloppy_like()
    for frame in dataset.frames[3:]:
        frame.ball_coordinates = Thing(x=-98.0, y=40.0)
        for player in frame.players_data.values():
            player.coordinates = Thing(x=-99.0, y=41.0)
    with pytest.raises(
        DataError, match=r"period 2 is played beside the pitch, around -99, 41 meters"
    ):
        from_kloppy(dataset)


def test_a_kloppy_data_set():
    # Imported here: kloppy is an extra.
    domain = pytest.importorskip("kloppy.domain", reason="the extra 'sports' is not installed")
    home, away = (
        domain.Team(team_id=side, name=side, ground=domain.Ground(side))
        for side in ("home", "away")
    )
    keeper = domain.Player(
        player_id="k", team=home, jersey_no=1, starting_position=domain.PositionType.Goalkeeper
    )
    back = domain.Player(
        player_id="b", team=away, jersey_no=4, starting_position=domain.PositionType.LeftBack
    )
    start = pd.Timestamp("2024-01-01", tz="UTC").to_pydatetime()
    period = domain.Period(id=1, start_timestamp=start, end_timestamp=start + timedelta(seconds=1))
    bench = domain.Player(player_id="s", team=home, jersey_no=12)
    unlisted = domain.Player(player_id="u", team=away, jersey_no=44)
    home.players, away.players = [keeper, bench], [back]
    # Versions after 3.16 want them.
    more = {"statistics": []} if "statistics" in domain.Frame.__dataclass_fields__ else {}
    frames = [
        domain.Frame(
            period=period,
            timestamp=timedelta(seconds=i / 25),
            **more,
            ball_owning_team=None,
            ball_state=None,
            frame_id=i,
            players_data={
                keeper: domain.PlayerData(coordinates=domain.Point(0.0, 0.5)),
                back: domain.PlayerData(coordinates=domain.Point(1.0, 0.0)),
                bench: domain.PlayerData(coordinates=domain.Point(0.5, 0.5)),
                unlisted: domain.PlayerData(coordinates=domain.Point(0.5, 1.0)),
            },
            other_data={},
            ball_coordinates=domain.Point3D(0.5, 0.5, 0.0) if i else None,
        )
        for i in range(3)
    ]
    # The provider's own system: a unit square, y pointing down.
    system = domain.MetricaCoordinateSystem(pitch_length=100, pitch_width=60)
    metadata = domain.Metadata(
        periods=[period],
        teams=[home, away],
        coordinate_system=system,
        pitch_dimensions=system.pitch_dimensions,
        orientation=domain.Orientation.STATIC_HOME_AWAY,
        flags=domain.DatasetFlag(0),
        provider=domain.Provider.METRICA,
        frame_rate=25,
    )
    dataset = domain.TrackingDataset(records=frames, metadata=metadata)
    bench.set_position(domain.Time(period, timedelta(0)), domain.PositionType.Goalkeeper)
    frame = from_kloppy(dataset)
    rows = frame.drop_duplicates("unique_id").set_index("unique_id")
    assert rows[["x", "y"]].to_dict("index") == {
        "k": {"x": -50.0, "y": 0.0},
        "b": {"x": 50.0, "y": 30.0},
        "s": {"x": 0.0, "y": 0.0},
        "u": {"x": 0.0, "y": -30.0},
        "ball": {"x": 0.0, "y": 0.0},
    }
    kinds = {"k": "goalkeeper", "s": "goalkeeper", "b": "player", "u": "player", "ball": "ball"}
    assert rows["kind"].to_dict() == kinds
    teams = {"k": "home", "s": "home", "b": "away", "u": "away", "ball": "ball"}
    assert rows["team"].to_dict() == teams
    assert frame.loc[frame.unique_id == "ball", "ds"].tolist() == [1, 2]
