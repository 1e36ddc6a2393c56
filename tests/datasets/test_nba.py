from __future__ import annotations

import hashlib
import tarfile

import numpy as np
import pandas as pd
import pytest

from hierforecast.datasets import _socialvae, nba
from hierforecast.datasets.nba import load_nba, split_games
from hierforecast.errors import DataError
from hierforecast.io.fetch import DataFileNotFoundError, RemoteFile

IDS = ["ball", *(f"home_{i}" for i in range(5)), *(f"away_{i}" for i in range(5))]

# --- socialvae on made files ------------------------------------------------------------------


def scene_text(frames: int = 6, seed: int = 0, agents: int = 11) -> tuple[str, np.ndarray]:
    """A file of the source's layout, without a newline at its end, and what it says."""
    values = np.random.default_rng(seed).uniform(1, 49, (frames, agents, 2)).round(4)
    ids = [-1, *range(100 + 10 * seed, 100 + 10 * seed + agents - 1)]
    lines = [
        f"{12 * t} {i} {x:.6f} {y:.6f} {'BALL' if i == -1 else 'PLAYER'}"
        for t in range(frames)
        for i, (x, y) in zip(ids, values[t], strict=True)
    ]
    return "\n".join(lines), values


SCENES = {
    "score/train/ATL_BOS_0021500001_1_700.0_690.0.txt": scene_text(9, 1)[0],
    "score/test/ATL_BOS_0021500001_1_700.0_690.0.txt": scene_text(9, 1)[0],  # the same again
    "rebound/train/ATL_BOS_0021500001_1_700.0_690.0.txt": scene_text(5, 2)[0],  # name taken
    "rebound/test/TOR_DAL_0021500002_2_583.99_575.03.txt": scene_text(1, 3)[0],
    "score/test/TOR_DAL_0021500003_4_20.0_12.0.txt": scene_text(7, 4)[0] + "\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in SCENES.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text)
    return tmp_path / "tree"


@pytest.fixture
def archive(tmp_path, tree, monkeypatch):
    """The tree as the loader's archive, with a cache folder of its own."""
    path = tmp_path / "data" / "nba" / "made.tar.xz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:xz") as tar:
        for folder in ("score", "rebound"):
            tar.add(tree / folder, arcname=folder)
    pin(monkeypatch, path)
    monkeypatch.setattr(_socialvae, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("HIERFORECAST_DATA", str(tmp_path / "data"))
    return path


def pin(monkeypatch, path):
    """Let the loader expect this file."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(nba, "SOCIALVAE_FILE", RemoteFile("nba/made.tar.xz", sha256))


def test_scenes_become_rows(tree):
    frame = load_nba(root=tree, rate=8.33)
    assert list(frame.columns) == ["scene", "ds", "unique_id", "team", "kind", "x", "y", "game"]
    assert frame["scene"].unique().tolist() == [
        "0021500001_1_700.0_690.0_2",  # a rebound scene has the plain name
        "0021500003_4_20.0_12.0",
    ]
    assert len(frame) == (9 + 7) * 11
    values = scene_text(9, 1)[1]
    first = frame[frame["game"] == "0021500001"]
    for number, name in enumerate(IDS):  # ball, five home, five visitors, as the file has them
        one = first[first["unique_id"] == name]
        assert one["ds"].tolist() == list(range(9))
        np.testing.assert_allclose(one[["x", "y"]], values[:, number], rtol=1e-6)
        assert set(one["team"]) == {name.split("_")[0]}
        assert set(one["kind"]) == {"ball" if name == "ball" else "player"}
    assert frame["x"].dtype == np.float32
    order = frame.sort_values(["scene", "ds", "unique_id"], ignore_index=True)
    pd.testing.assert_frame_equal(order, frame)


def test_exact_repeats_are_dropped_and_equal_names_told_apart(tree):
    frame = load_nba(root=tree, rate=8.33, kind=("score", "rebound"))
    steps = frame[frame["unique_id"] == "ball"].groupby("scene").size().to_dict()
    assert steps == {
        "0021500001_1_700.0_690.0": 5,
        "0021500001_1_700.0_690.0_2": 9,
        "0021500002_2_583.99_575.03": 1,
        "0021500003_4_20.0_12.0": 7,
    }
    rebounds = load_nba(root=tree, rate=8.33, kind="rebound")
    assert rebounds["scene"].nunique() == 2


def test_archive_and_folder_agree_and_the_archive_is_parsed_once(archive, tree, monkeypatch):
    first = load_nba(kind=("score", "rebound"))
    pd.testing.assert_frame_equal(first, load_nba(kind=("score", "rebound"), root=tree))
    monkeypatch.setattr(_socialvae, "_files", lambda place: pytest.fail("parsed again"))
    pd.testing.assert_frame_equal(first, load_nba(kind=("score", "rebound")))


def test_a_damaged_cache_is_made_again(archive, tmp_path):
    first = load_nba()
    (kept,) = (tmp_path / "cache" / "nba").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    pd.testing.assert_frame_equal(first, load_nba())
    assert [kept] == list((tmp_path / "cache" / "nba").iterdir())
    assert kept.stat().st_size > 100


def test_selection(tree):
    both = ("score", "rebound")
    assert load_nba(root=tree, games=["0021500003"])["game"].unique().tolist() == ["0021500003"]
    assert load_nba(root=tree, kind=both, max_scenes=2)["scene"].nunique() == 2
    parts = [
        set(load_nba(root=tree, kind=both, split=split)["game"])
        for split, games in split_games({"0021500001", "0021500002", "0021500003"}).items()
        if games
    ]
    assert sum(map(len, parts)) == 3 and set.union(*parts) == set(
        load_nba(root=tree, kind=both).game
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "espn"}, "source"),
        ({"split": "dev"}, "split"),
        ({"kind": "dunk"}, "kind"),
        ({"games": ["1"]}, "games not in"),
        ({"rate": 0}, "rate"),
        ({"rate": 25}, "8.33"),
        ({"max_scenes": 0}, "max_scenes"),
        ({"source": "cle", "games": ["1"]}, "games"),
        ({"source": "cle", "split": "test"}, "val"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(tree, arguments, message):
    with pytest.raises(ValueError, match=message):
        load_nba(**{"root": tree, **arguments})


def lines_without(text: str, number: int) -> str:
    lines = text.split("\n")
    return "\n".join(lines[:number] + lines[number + 1 :])


BAD_TEXTS = {
    "empty": ("", "empty"),
    "pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1", "git lfs pull"),
    "truncated": (scene_text()[0][:-300], "lines|not a scene"),
    "ten agents": (lines_without(scene_text()[0], 3), "11 to a frame"),
    "shuffled": (
        "\n".join(
            [*scene_text()[0].split("\n")[:11], *reversed(scene_text()[0].split("\n")[11:22])]
        ),
        "order of agents",
    ),
    "gap": (
        "\n".join(scene_text()[0].split("\n")[:11] + scene_text()[0].split("\n")[22:33]),
        "not numbered",
    ),
    "words": (scene_text()[0].replace("12 -1", "12 minus"), "not a scene"),
    "not a number": (scene_text()[0].replace(" PLAYER", "x PLAYER", 1), "not a scene"),
    "html": ("<html>404</html>", "11 to a frame"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_a_bad_scene_is_named_among_good_ones(tree, case):
    text, message = BAD_TEXTS[case]
    name = "A_B_0021500009_1_9.0_1.0.txt"
    (tree / "score" / "train" / name).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_nba(root=tree)
    assert name in str(caught.value) and "again" in str(caught.value)


def test_a_foreign_name_is_refused(tree):
    (tree / "score" / "train" / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"notes\.txt.*VISITOR_HOME"):
        load_nba(root=tree)


def test_a_truncated_or_empty_archive_is_named(archive, monkeypatch):
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="SHA-256"):
        load_nba()
    pin(monkeypatch, archive)
    with pytest.raises(DataError, match="cut short"):
        load_nba()
    with tarfile.open(archive, "w:xz"):
        pass
    pin(monkeypatch, archive)
    with pytest.raises(DataError, match="no scene"):
        load_nba()


def test_a_missing_archive_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("HIERFORECAST_DATA", raising=False)
    absent = RemoteFile("nba/nowhere.tar.xz", "0" * 64)
    monkeypatch.setattr(nba, "SOCIALVAE_FILE", absent)
    with pytest.raises(DataFileNotFoundError, match="HIERFORECAST_DATA"):
        load_nba(root=tmp_path)


# --- splits --------------------------------------------------------------------------------------


def test_games_are_dealt_once_and_for_all():
    games = [f"00215{i:05d}" for i in range(600)]
    parts = split_games(games)
    assert sorted(game for part in parts.values() for game in part) == games
    assert [len(parts[k]) / 600 for k in ("train", "val", "test")] == pytest.approx(
        [0.72, 0.08, 0.20], abs=0.05
    )
    assert split_games(reversed(games * 2)) == parts
    few = split_games(games[:50])
    assert all(set(few[name]) <= set(parts[name]) for name in parts)
    assert split_games(games, seed=1) != parts
    assert split_games(games, fractions=(0, 0, 1))["test"] == games
    assert split_games(games, fractions={"train": 0.5, "test": 0.5})["val"] == []
    with pytest.raises(ValueError, match="sum 1"):
        split_games(games, fractions=(0.9, 0.2, 0.2))


# --- cle on made files ------------------------------------------------------------------------


@pytest.fixture
def cle(tmp_path, monkeypatch):
    """Seven rows in two examples of 3 and 4; the last stop is one beyond the last row."""
    folder = tmp_path / "nba" / "cle_starters_5hz"
    folder.mkdir(parents=True)
    players = np.arange(7 * 10 * 2, dtype=float).reshape(7, 10, 2) / 140
    arrays = {
        "player_coords": players,
        "ball_coords": np.concatenate([players[:, 0] + 0.1, np.full((7, 1), 9.0)], 1),
        "example_stop_idxs": np.array([-1, 2, 7]),
    }
    files = {}
    for what, array in arrays.items():
        np.save(folder / f"{what}.npy", array)
        sha256 = hashlib.sha256((folder / f"{what}.npy").read_bytes()).hexdigest()
        files[what] = RemoteFile(f"nba/cle_starters_5hz/{what}.npy", sha256)
    monkeypatch.setattr(nba, "CLE_FILES", {"train": files, "val": files})
    return tmp_path, arrays


def test_cle_examples_become_scenes(cle):
    root, arrays = cle
    frame = load_nba("cle", rate=5, root=root, split="val")
    assert frame.groupby("scene")["ds"].max().to_dict() == {"cle_val_000": 2, "cle_val_001": 3}
    one = frame[(frame["scene"] == "cle_val_001") & (frame["unique_id"] == "away_0")]
    expected = arrays["player_coords"][3:, 5] * [94, 50]
    np.testing.assert_allclose(one[["x", "y"]], expected, rtol=1e-6)
    ball = frame[frame["unique_id"] == "ball"]
    np.testing.assert_allclose(ball["x"], arrays["ball_coords"][:, 0] * 94, rtol=1e-6)
    assert load_nba("cle", rate=5, root=root)["scene"].nunique() == 4


def test_cle_files_that_do_not_fit_are_refused(cle, monkeypatch):
    root, _ = cle
    files = nba.CLE_FILES["train"] | {"ball_coords": nba.CLE_FILES["train"]["player_coords"]}
    monkeypatch.setattr(nba, "CLE_FILES", {"train": files})
    with pytest.raises(DataError, match="do not fit together"):
        load_nba("cle", rate=5, root=root, split="train")
