from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest

from hierforecast.datasets import load_nfl, nfl
from hierforecast.errors import DataError
from hierforecast.io import fetch
from hierforecast.io.fetch import RemoteFile
from tests.datasets.scripts import script

PLAY = """possessionFlag\tteamAbbr\tframe\tplayer\tx\ty
1.0\tBUF\t0\tBUF_2\t10\t20
1.0\tBUF\t1\tBUF_2\t12\t20
1.0\tBUF\t2\tBUF_2\t14\t21
1.0\tBUF\t2\tBUF_2\t99\t99
0.0\tMIA\t0\tMIA_2\t30\t20
0.0\tMIA\t2\tMIA_2\t31\t20
\t\t0\tball\t11\t25
\t\t1\tball\t\t25
\t\t2\tball\t13\t25
\t\t3\tball\t14\t25
"""
# As the repository has it: other columns too, and no names but jersey numbers.
SOURCE = (
    PLAY.replace("player", "jerseyNumber")
    .replace("BUF_2", "2")
    .replace("MIA_2", "2.0")
    .replace("ball", "")
)


def write(path: Path, text: str = PLAY) -> Path:
    path.write_text(text)
    return path


def test_rows_are_who_has_a_place(tmp_path):
    frame = load_nfl(write(tmp_path / "2018_BUF_1_2.tsv"))
    assert list(frame.columns) == ["scene", "ds", "unique_id", "team", "kind", "x", "y"]
    rows = frame.drop(columns="scene").to_numpy().tolist()
    assert rows == [
        [0, "ball", "ball", "ball", 11, 25],
        [0, "BUF_2", "BUF", "offense", 10, 20],
        [0, "MIA_2", "MIA", "defense", 30, 20],
        [1, "BUF_2", "BUF", "offense", 12, 20],
        [2, "ball", "ball", "ball", 13, 25],
        [2, "BUF_2", "BUF", "offense", 14, 21],  # of the frame that is there twice, the first
        [2, "MIA_2", "MIA", "defense", 31, 20],
        [3, "ball", "ball", "ball", 14, 25],
    ]
    assert frame["scene"].unique().tolist() == ["2018_BUF_1_2"]


def test_tables_of_the_repository_itself_are_the_same(tmp_path):
    ours = load_nfl(write(tmp_path / "a.tsv"))
    theirs = load_nfl(write(tmp_path / "b.tsv", SOURCE))
    assert theirs.assign(scene="a").equals(ours)
    both = load_nfl(tmp_path)
    assert both["scene"].unique().tolist() == ["a", "b"] and len(both) == 2 * len(ours)


def test_rates_keep_frames_or_go_between_neighbors(tmp_path):
    path = write(tmp_path / "a.tsv")
    five = load_nfl(path, rate=5)
    assert five[five.unique_id == "BUF_2"].x.tolist() == [10, 14]
    assert five[five.unique_id == "MIA_2"].ds.tolist() == [0, 1]
    odd = load_nfl(path, rate=20 / 3)  # frames 0, 1.5, 3
    assert odd[odd.unique_id == "BUF_2"].x.tolist() == [10, 13]
    assert odd[odd.unique_id == "ball"].ds.tolist() == [0, 2]
    for rate, words in ((0, "rate=0"), (25, "at most 10")):
        with pytest.raises(ValueError, match=words):
            load_nfl(path, rate=rate)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("teamAbbr", "club", r"no columns \['teamAbbr'\].*read_table"),
        ("player", "name", r"no columns \['player', 'jerseyNumber'\]"),
        (PLAY[PLAY.index("\n") :], "\n", "has no rows"),
        ("1\tball", "1.5\tball", "'frame'.* is not a number of frames below 36,000"),
        ("3\tball", "99999\tball", "'frame'.* is not a number of frames below 36,000"),
        ("0.0\tMIA\t2\tMIA_2", "0.0\tBUF\t2\tMIA_2", "'MIA_2' in two teams"),
        ("0.0\tMIA\t2\tMIA_2", "\tMIA\t2\tMIA_2", r"neither with nor without the ball \(line 7\)"),
        ("31\t20", "thirty\t20", "column 'x' .* is not numbers"),
        (PLAY, "", "cannot be read"),
    ],
)
def test_what_is_no_play_is_refused_by_name(tmp_path, old, new, words):
    assert old in PLAY
    path = write(tmp_path / "a.tsv", PLAY.replace(old, new))
    with pytest.raises(DataError, match=f"(?s){words}") as error:
        load_nfl(path)
    assert path.as_posix() in str(error.value)


def test_files_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("HIERFORECAST_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"28_plays\.tar\.xz' was not found.*its card"):
        load_nfl(root=tmp_path)
    with pytest.raises(FileNotFoundError):
        load_nfl(tmp_path / "none.tsv")


def test_a_damaged_archive_is_refused(tmp_path, monkeypatch):
    archive = tmp_path / "nfl" / "plays.tar.xz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:xz") as packed:
        packed.add(write(tmp_path / "a.tsv"), "a.tsv")
    content = archive.read_bytes()

    def know(content: bytes) -> None:
        archive.write_bytes(content)
        known = RemoteFile("nfl/plays.tar.xz", hashlib.sha256(content).hexdigest())
        monkeypatch.setattr(nfl, "FILES", known)

    know(content)
    assert load_nfl(root=tmp_path).equals(load_nfl(tmp_path / "a.tsv"))
    archive.write_bytes(content[:-20])
    with pytest.raises(DataError, match="SHA-256"):
        load_nfl(root=tmp_path)
    know(content[:-20])
    with pytest.raises(DataError, match="damaged"):
        load_nfl(root=tmp_path)


def test_the_real_plays_have_the_counts_of_the_card(shared_data, tmp_path):
    if not (shared_data / "nfl").is_dir():
        pytest.skip(f"the NFL files are not in {shared_data}")
    pytest.importorskip("pyarrow")
    assert script("nfl").prepare(shared_data, tmp_path / "nfl.parquet") == nfl.N_ROWS
    frame = load_nfl(root=shared_data)
    sides = frame.groupby(["scene", "kind"])["unique_id"].nunique().unstack()
    assert (sides == {"ball": 1, "defense": 11, "offense": 11}).all(axis=None)
    steps = frame.sort_values(["scene", "unique_id", "ds"]).groupby(["scene", "unique_id"])
    speed = np.hypot(steps["x"].diff(), steps["y"].diff()) * nfl.NATIVE_RATE
    assert speed[frame.kind != "ball"].quantile(0.99) < 10, "yards a second"
