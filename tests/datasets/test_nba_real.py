"""The loaders on the real files; skipped where they are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hierforecast.datasets import _socialvae, nba
from hierforecast.datasets.nba import load_nba, split_games
from hierforecast.datasets.sportvu import load_sportvu
from hierforecast.errors import DataError
from tests.datasets.scripts import script


@pytest.fixture(scope="module")
def real(shared_data):
    """The folder that holds nba/."""
    if not (shared_data / "nba").is_dir():
        pytest.skip(f"the NBA files are not in {shared_data}")
    return shared_data


@pytest.fixture(scope="module")
def scores(real):
    return load_nba(root=real, rate=8.33, progress=False)


def test_the_archive_counts(scores, real):
    scenes = _socialvae.read(nba._socialvae_place(real))
    counts = nba.SOCIALVAE_COUNTS
    assert len(scenes.label) == len(set(scenes.label)) == counts["scenes"]
    assert len(set(scenes.game)) == counts["games"]
    for kind in ("score", "rebound"):
        assert (scenes.kind == kind).sum() == counts[kind]
        assert scenes.lengths[scenes.kind == kind].sum() == nba.SOCIALVAE_STEPS[kind]
    sizes = {name: len(games) for name, games in split_games(scenes.game).items()}
    assert sizes == nba.SOCIALVAE_SPLIT_GAMES
    assert scores["scene"].nunique() == counts["score"]
    assert len(scores) == 11 * nba.SOCIALVAE_STEPS["score"]
    assert scores["x"].between(0, 94).all() and scores["y"].between(0, 50).all()


def test_one_real_file_row_by_row(scores):
    one = scores[scores["scene"] == "0021500431_4_167.4_155.0"]
    assert one["ds"].max() == 103
    start = one[one["ds"] == 0].set_index("unique_id")
    assert start.loc["ball", ["x", "y"]].tolist() == pytest.approx([9.68778, 19.26014], rel=1e-6)
    assert start.loc["home_0", "x"] == pytest.approx(57.88373, rel=1e-6)
    assert start.loc["home_4", "x"] == pytest.approx(11.1912, rel=1e-6)
    assert start.loc["away_4", "x"] == pytest.approx(54.2737, rel=1e-6)


def test_constant_velocity_on_the_archive_is_what_was_measured_before(real):
    """40 -> 10 at 6.25 Hz: 3.14 / 6.79 ft was measured on other games of the same source."""
    frame = load_nba(root=real, split="test", progress=False)
    errors = []
    for _, scene in frame.groupby("scene"):
        tracks = scene[["x", "y"]].to_numpy(float).reshape(-1, 11, 2)
        for start in range(0, len(tracks) - 49, 5):
            past, future = tracks[start : start + 40], tracks[start + 40 : start + 50]
            steps = np.arange(1, 11)[:, None, None]
            forecast = past[-1] + steps * (past[-1] - past[-2])
            errors.append(np.linalg.norm(forecast - future, axis=-1))
    error = np.array(errors)
    assert error.mean() == pytest.approx(3.14, abs=0.15)
    assert error[:, -1].mean() == pytest.approx(6.79, abs=0.35)


def test_real_splits_share_no_game(real):
    parts = {split: set(load_nba(root=real, split=split, rate=0.5).game) for split in nba.SPLITS}
    assert not parts["train"] & parts["test"]
    assert not parts["train"] & parts["val"]
    assert not parts["val"] & parts["test"]


@pytest.mark.parametrize("part", ["train", "val"])
def test_the_cle_counts(part, real):
    frame = load_nba("cle", rate=5, root=real, split=part)
    assert frame["scene"].nunique() == nba.CLE_EXAMPLES[part]
    assert len(frame) == 11 * nba.CLE_STEPS[part]
    assert frame["x"].between(-10, 104).all() and not frame["x"].between(0, 94).all()
    players = frame[frame["kind"] == "player"]
    moved = players.groupby(["scene", "unique_id"])[["x", "y"]].diff().pow(2).sum(axis=1).pow(0.5)
    assert moved.quantile(0.9999) < 10  # windows do not cross examples: nobody jumps


@pytest.mark.parametrize("name", ["GameDataSample.json", "2015-10-27_DET_ATL.json"])
def test_real_sportvu_in_both_layouts(name, real):
    frame = load_sportvu(real / "nba" / "sportvu_raw" / name, rate=25)
    assert set(frame["scene"]) == {"0021500001_1_000"}
    assert len(frame) == 603 * 11  # 150 + 503 moments, 50 of them in both events
    assert frame.groupby("team")["unique_id"].nunique().tolist() == [5, 5, 1]
    start = frame[(frame["ds"] == 0) & (frame["unique_id"] == "ball")]
    assert start[["x", "y"]].to_numpy().tolist()[0] == pytest.approx([47.25031, 26.14806], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [("01.23.2016.CHI.at.CLE.7z", "466 events is empty"), ("01.23.2016.UTA.at.WAS.7z", "no .json")],
)
def test_real_archives_without_tracking(name, message, real):
    pytest.importorskip("py7zr", reason="the extra 'sports' is not installed")
    with pytest.raises(DataError, match=message) as caught:
        load_sportvu(real / "nba" / "sportvu_raw" / name)
    assert name in str(caught.value)


def test_prepare_writes_the_table(tmp_path, real):
    pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    out = tmp_path / "cle.parquet"
    rows = script("nba").prepare("cle", real, out)
    assert rows == len(pd.read_parquet(out)) == 11 * sum(nba.CLE_STEPS.values())
