from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hierforecast.datasets import soccer
from hierforecast.datasets.soccer import load_soccer, read_tracking
from hierforecast.errors import DataError
from hierforecast.io.fetch import RemoteFile
from tests.datasets.scripts import script

HEADER = ",".join(["Ball", "Ball", *["P,"] * 26, *["Camera,"] * 4])


def write_csv(path: Path, values: np.ndarray) -> Path:
    """(T, 27, 2) as a file of the source's layout."""
    corners = np.ones((len(values), 4, 2))
    flat = np.concatenate([values, corners], axis=1).reshape(len(values), -1)
    lines = [",".join("nan" if np.isnan(v) else f"{v:.2E}" for v in row) for row in flat]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """11 frames; the ball moves by 1 m a frame, away_0 is unseen in frames 3 to 6."""
    values = np.full((11, 27, 2), np.nan)
    values[:, 0] = np.stack([np.arange(11.0), -np.arange(11.0)], axis=-1)
    values[:, 1] = values[:, 0] + 20
    values[3:7, 1] = np.nan
    values[:, 26] = 40.0
    path = write_csv(tmp_path / "soccer" / "tiny.csv", values)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(soccer, "FILES", {7: RemoteFile("soccer/tiny.csv", sha256)})
    return tmp_path


def test_rows_are_what_is_seen(tiny):
    frame = load_soccer([7], rate=25, root=tiny)
    assert list(frame.columns) == ["scene", "ds", "unique_id", "team", "kind", "x", "y"]
    assert frame.groupby("unique_id").size().to_dict() == {"away_0": 7, "ball": 11, "home_13": 11}
    assert frame.loc[frame.unique_id == "away_0", "ds"].tolist() == [0, 1, 2, 7, 8, 9, 10]
    assert not frame.isna().any().any()
    one = frame.drop_duplicates("unique_id").set_index("unique_id")
    assert one["team"].to_dict() == {"ball": "ball", "away_0": "away", "home_13": "home"}
    assert one["kind"].to_dict() == {"ball": "ball", "away_0": "player", "home_13": "goalkeeper"}


def test_decimation_is_exact_and_interpolation_never_enters_a_gap(tiny):
    five = load_soccer([7], rate=5, root=tiny)
    assert five.loc[five.unique_id == "ball", "x"].tolist() == [0.0, 5.0, 10.0]
    assert five.loc[five.unique_id == "away_0", "ds"].tolist() == [0, 2]
    ten = load_soccer([7], rate=10, root=tiny)  # frames 0, 2.5, 5, 7.5, 10
    assert ten.loc[ten.unique_id == "ball", "y"].tolist() == [0.0, -2.5, -5.0, -7.5, -10.0]
    # 2.5 lies between a frame that is there and one that is not, 7.5 between two that are.
    assert ten.loc[ten.unique_id == "away_0", "ds"].tolist() == [0, 3, 4]


def test_clips_are_scenes_that_start_at_zero(tiny):
    frame = load_soccer([7], rate=25, clip_length=0.16, root=tiny)
    ball = frame[frame.unique_id == "ball"]
    assert ball.groupby("scene").ds.max().to_dict() == {
        "subset7/000": 3,
        "subset7/001": 3,
        "subset7/002": 2,
    }
    assert ball["x"].tolist() == list(range(11))
    whole = load_soccer([7], rate=25, root=tiny)
    assert whole["scene"].unique().tolist() == ["subset7"]
    assert whole["x"].tolist() == frame["x"].tolist()


def test_other_matches_and_paths_of_the_format(tiny, tmp_path):
    """Only the files that are known have a SHA-256 to be checked."""
    known = next(tiny.rglob("*.csv"))
    other = tmp_path / "tracking_data_partially_observed_subset12.csv"
    other.write_bytes(known.read_bytes())
    frame = load_soccer((12, other), root=tmp_path)
    assert frame.scene.unique().tolist() == ["subset12", other.stem]
    assert frame[frame.scene == "subset12"].x.tolist() == load_soccer([7], root=tiny).x.tolist()
    with pytest.raises(FileNotFoundError, match=r"subset13\.csv' was not found.*Remedy: download"):
        load_soccer([13], root=tmp_path)
    with pytest.raises(FileNotFoundError):
        load_soccer([tmp_path / "none.csv"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subsets": [-3]}, "subset=-3 must be a whole number"),
        ({"subsets": []}, "choose from"),
        ({"rate": 0}, "rate=0"),
        ({"rate": 50}, "at most 25"),
        ({"clip_length": 0.1}, "make it longer"),
    ],
)
def test_options_out_of_range(tiny, options, words):
    with pytest.raises(ValueError, match=words):
        load_soccer(**{"subsets": [7], "root": tiny, **options})


def test_broken_files(tmp_path):
    values = np.zeros((3, 27, 2))
    values[1, 4, 0] = np.nan
    with pytest.raises(DataError, match="x without its y"):
        read_tracking(write_csv(tmp_path / "half.csv", values))
    path = write_csv(tmp_path / "a.csv", np.zeros((3, 27, 2)))
    path.write_text(path.read_text().replace("0.00E+00", "what", 1))
    with pytest.raises(DataError, match="cannot be read as numbers"):
        read_tracking(path)
    path.write_text(HEADER + "\n")
    with pytest.raises(DataError, match="cannot be read as numbers"):
        read_tracking(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="found 2 cells, first 'a'"):
        read_tracking(path)


def test_the_real_files_have_the_counts_of_the_card(tmp_path, shared_data):
    if not (shared_data / "soccer").is_dir():
        pytest.skip(f"the soccer files are not in {shared_data}")
    pytest.importorskip("pyarrow")
    assert script("soccer").prepare(shared_data, tmp_path / "soccer.parquet") == 433_073
    frame = pd.read_parquet(tmp_path / "soccer.parquet")
    players = frame[frame.kind != "ball"].groupby(["scene", "ds"]).size()
    assert 9.5 < players.mean() < 11.1 and players.max() == 20
    assert frame.groupby(["scene", "team"]).unique_id.nunique().unique().tolist() == [11, 1]
    keepers = frame[frame.kind == "goalkeeper"].groupby(["scene", "team"]).x.mean().unstack()
    assert (keepers["away"] > 0).to_dict() == {f"subset{i}": i == 7 for i in (10, 7, 8, 9)}
