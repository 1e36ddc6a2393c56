from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest

from hierforecast.datasets._tracks import COLUMNS
from hierforecast.datasets.sportvu import load_sportvu
from hierforecast.errors import DataError

HOME, AWAY = 1610612737, 1610612765
FIVE_AND_FIVE = [(HOME, 11), (HOME, 12), (HOME, 13), (HOME, 14), (HOME, 15)] + [
    (AWAY, p) for p in (21, 22, 23, 24, 25)
]


def moment(ms, people=None, quarter=1, ball=0, clock=700.0):
    """One moment; x is the time in seconds, y the player id; the ball stands at place `ball`."""
    rows = [[t, p, ms / 1000, float(p), 0] for t, p in (people or FIVE_AND_FIVE)]
    if ball is not None:
        rows.insert(ball, [-1, -1, ms / 1000, -0.5, 6.0])
    return [quarter, ms, clock, None, None, rows]


def save_game(path, *events, **extra):
    path.write_text(
        json.dumps({"gameid": "0021500001", "events": [{"moments": e} for e in events], **extra})
    )
    return path


def test_overlapping_events_are_merged_and_sorted(tmp_path):
    one = [moment(40 * i) for i in range(6)]
    two = [moment(40 * i) for i in range(4, 10)]
    frame = load_sportvu(save_game(tmp_path / "g.json", two, [], one), rate=25)
    assert frame["scene"].unique().tolist() == ["0021500001_1_000"]
    ball = frame[frame["unique_id"] == "ball"]
    assert ball["ds"].tolist() == list(range(10))
    np.testing.assert_allclose(ball["x"], 0.04 * np.arange(10), atol=1e-6)
    assert list(frame.columns) == [*COLUMNS, "game"]
    assert frame.groupby("team")["unique_id"].nunique().to_dict() == {
        str(HOME): 5,
        str(AWAY): 5,
        "ball": 1,
    }
    assert set(frame["game"]) == {"0021500001"}


def test_the_ball_and_the_players_are_found_by_id(tmp_path):
    shuffled = [moment(40 * i, FIVE_AND_FIVE[i:] + FIVE_AND_FIVE[:i], ball=i) for i in range(5)]
    frame = load_sportvu(save_game(tmp_path / "g.json", shuffled), rate=25)
    assert frame["scene"].nunique() == 1 and len(frame) == 5 * 11
    players = frame[frame["kind"] == "player"]
    assert (players["y"] == players["unique_id"].astype(float)).all()
    ball = frame[frame["kind"] == "ball"]
    assert (ball["y"] == -0.5).all()  # a little outside the court, and kept
    assert set(ball["unique_id"]) == {"ball"} and len(ball) == 5


def test_ten_rows_are_missing_rows_and_no_new_scene(tmp_path):
    moments = [moment(40 * i) for i in range(8)]
    moments[0] = moment(0, FIVE_AND_FIVE[1:])
    moments[3] = moment(120, FIVE_AND_FIVE[:-1])
    moments[5] = moment(200, ball=None)
    frame = load_sportvu(save_game(tmp_path / "g.json", moments), rate=25)
    assert frame["scene"].nunique() == 1
    steps = frame.groupby("unique_id")["ds"].apply(list).to_dict()
    assert steps["11"] == [1, 2, 3, 4, 5, 6, 7]
    assert steps["25"] == [0, 1, 2, 4, 5, 6, 7]
    assert steps["ball"] == [0, 1, 2, 3, 4, 6, 7]
    assert steps["12"] == list(range(8))


def test_the_fuller_of_two_equal_moments_is_kept(tmp_path):
    thin = [moment(40 * i, FIVE_AND_FIVE[1:]) for i in range(3)]
    frame = load_sportvu(
        save_game(tmp_path / "g.json", thin, [moment(40 * i) for i in range(3)]), rate=25
    )
    assert len(frame) == 33


def test_scenes_end_at_gaps_quarters_and_substitutions(tmp_path):
    bench = [*FIVE_AND_FIVE[:-1], (AWAY, 26)]
    times = [0, 40, 80, 1000, 1040, 1080, 1120]  # stalled clock, a gap, a substitution, a quarter
    moments = [moment(t, clock=500.0) for t in times[:4]]
    moments += [moment(t, bench, clock=500.0) for t in times[4:6]]
    moments += [moment(times[6], bench, quarter=2)]
    frame = load_sportvu(save_game(tmp_path / "g.json", moments), rate=25)
    sizes = frame[frame["unique_id"] == "ball"].groupby("scene").size().to_dict()
    assert sizes == {
        "0021500001_1_000": 3,
        "0021500001_1_001": 1,
        "0021500001_1_002": 2,
        "0021500001_2_003": 1,
    }
    third = frame[frame["scene"] == "0021500001_1_002"]
    assert "26" in set(third["unique_id"]) and "25" not in set(third["unique_id"])


def test_jitter_is_no_gap_and_near_twins_are_one_moment(tmp_path):
    times = [0, 39, 80, 83, 122, 161]
    frame = load_sportvu(save_game(tmp_path / "g.json", [moment(t) for t in times]), rate=25)
    assert frame["scene"].nunique() == 1 and frame["ds"].max() == 4


def test_sportvu_rates(tmp_path):
    path = save_game(tmp_path / "g.json", [moment(40 * i) for i in range(26)])
    five = load_sportvu(path, rate=5)
    assert five.loc[five["unique_id"] == "11", "ds"].tolist() == list(range(6))
    exact = load_sportvu(path, rate=25)
    pd.testing.assert_series_equal(
        five["x"], exact.loc[exact["ds"] % 5 == 0, "x"].reset_index(drop=True)
    )
    odd = load_sportvu(path, rate=6.0)
    ball = odd[odd["unique_id"] == "ball"]
    np.testing.assert_allclose(ball["x"], np.arange(7) / 6, atol=1e-6)


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), None], ids=str)
def test_who_has_no_numbers_for_a_place_has_no_row(nothing, tmp_path):
    moments = [moment(40 * i) for i in range(6)]
    for row in moments[2][5][:3]:  # the ball and two players
        row[2] = nothing
    moments[4][5][5][3] = nothing
    moments[5][5] = [[team, player, nothing, nothing, 0] for team, player, *_ in moments[5][5]]
    frame = load_sportvu(save_game(tmp_path / "g.json", moments), rate=25)
    assert frame.scene.nunique() == 1 and frame[["x", "y"]].notna().all(axis=None)
    assert frame.groupby("ds").size().to_dict() == {0: 11, 1: 11, 2: 8, 3: 11, 4: 10}
    assert set(frame[frame.ds == 2].unique_id) == {str(p) for p in (13, 14, 15, *range(21, 26))}


def test_of_two_copies_of_a_moment_the_one_with_more_places_is_taken(tmp_path):
    torn, whole = moment(0), moment(0)
    for row in torn[5]:
        row[3] = float("nan")
    for events in ([torn, moment(40)], [whole]), ([whole], [torn, moment(40)]):
        frame = load_sportvu(save_game(tmp_path / "g.json", *events), rate=25)
        assert frame.groupby("ds").size().to_dict() == {0: 11, 1: 11}


BAD_GAMES = {
    "empty": (b"", "is empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "truncated": (b'{"gameid": "1", "events": [{"mom', "cut short"),
    "not text": (bytes(range(128, 256)), "not JSON"),
    "other JSON": (b"[1, 2]", "without a list 'events'"),
    "no events": (b'{"gameid": "1", "events": []}', "no tracking"),
    "no moments": (b'{"events": [{"moments": []}, {"moments": null}]}', "2 events is empty"),
    "broken moment": (b'{"events": [{"moments": [[1, 2]]}]}', "broken moment"),
    "broken row": (b'{"events": [{"moments": [[1, 2, 3, 4, null, [[1, 2]]]]}]}', "broken row"),
    "deep": (b"[" * 10**5, "nested too deeply"),
    "endless time": (b'{"events": [{"moments": [[1, Infinity, 3, 4, null, []]]}]}', "broken mom"),
    "event, a number": (b'{"events": [3]}', "no tracking"),
    "moment, a number": (b'{"events": [{"moments": [3]}]}', "broken moment"),
    "no places": (
        b'{"events": [{"moments": [[1, 2, 3, 4, null, [[1, 2, NaN, NaN, 0]]]]}]}',
        "without places",
    ),
    "bare 7z": (b"7z\xbc\xaf\x27\x1c and nothing more", "not a whole .7z"),
}


@pytest.mark.parametrize("case", BAD_GAMES)
def test_a_bad_game_is_named_with_a_remedy(tmp_path, case):
    content, message = BAD_GAMES[case]
    path = tmp_path / "some_game.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_sportvu(path)
    assert "some_game.json" in str(caught.value)


def test_a_7z_archive_is_read_whole(tmp_path):
    py7zr = pytest.importorskip("py7zr", reason="the extra 'sports' is not installed")
    source = save_game(tmp_path / "0021500001.json", [moment(40 * i) for i in range(200)])
    path = tmp_path / "game.7z"
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.write(source, source.name)
    pd.testing.assert_frame_equal(load_sportvu(path), load_sportvu(source))

    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"game\.7z.*not a whole"):
        load_sportvu(path)
    damaged = bytearray(whole)
    damaged[60:200] = bytes(140)
    path.write_bytes(bytes(damaged))
    with pytest.raises(DataError, match=r"game\.7z"):
        load_sportvu(path)
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.writef(io.BytesIO(b"hello"), "readme.txt")
    with pytest.raises(DataError, match=r"no \.json"):
        load_sportvu(path)
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.write(source, "a.json")
        archive.write(source, "b.json")
    with pytest.raises(DataError, match="one by one"):
        load_sportvu(path)


def test_an_absent_game_is_an_absent_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_sportvu(tmp_path / "nowhere.json")
