from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hierforecast.datasets import load_pedestrians, pedestrians
from hierforecast.errors import DataError
from hierforecast.io.fetch import RemoteFile
from tests.datasets.scripts import script

SITE = "780\t1.0\t8.5\t3.6\n790\t1.0\t9.6\t3.8\n790\t2.0\t13.6\t5.8\n810.0\t1\t10.7\t4.0\n"


@pytest.fixture
def known(tmp_path, monkeypatch) -> Path:
    """A made site that the loader knows."""
    path = tmp_path / "pedestrians" / "square.txt"
    path.parent.mkdir()
    path.write_text(SITE)
    file = RemoteFile("pedestrians/square.txt", hashlib.sha256(SITE.encode()).hexdigest())
    monkeypatch.setattr(pedestrians, "FILES", {"square": file})
    return path


def test_rows_are_who_is_seen(known, tmp_path):
    frame = load_pedestrians("square", root=tmp_path)
    assert list(frame.columns) == ["scene", "ds", "unique_id", "x", "y"]
    assert frame.to_numpy().tolist() == [
        ["square", 78, "1", 8.5, 3.6],
        ["square", 79, "1", 9.6, 3.8],
        ["square", 79, "2", 13.6, 5.8],
        ["square", 81, "1", 10.7, 4.0],
    ]
    assert load_pedestrians(known).equals(frame), "by its path"
    other = known.with_name("street.txt")
    other.write_text(SITE)
    both = load_pedestrians(["square", other], root=tmp_path)
    assert both["scene"].tolist() == 4 * ["square"] + 4 * ["street"]


def test_sites_that_are_not_there(known, tmp_path):
    with pytest.raises(ValueError, match=r"'eth': choose from \['square'\]"):
        load_pedestrians(["eth"], root=tmp_path)
    with pytest.raises(ValueError, match="sites is empty"):
        load_pedestrians([])
    with pytest.raises(FileNotFoundError):
        load_pedestrians(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("790\t1.0\t9.6\t3.8", "790\t1.0\t9.6", "two numbers"),
        ("9.6", "nan", "two numbers"),
        ("9.6", "inf", "two numbers"),
        ("9.6", "far", "'x'.*'far' in line 2"),
        ("790\t2.0", "790\t2.5", "whole number of a person"),
        ("790\t2.0", "790\ttwo", "whole number of a person"),
        ("790\t2.0", "795\t2.0", "'ds'"),
        (SITE, "", "empty"),
    ],
)
def test_broken_files_are_refused_by_name(known, old, new, words):
    path = known.with_name("broken.txt")
    path.write_text(SITE.replace(old, new))
    with pytest.raises(DataError, match=f"(?s){words}") as error:
        load_pedestrians(path)
    assert "broken.txt" in str(error.value)


def test_a_truncated_file_is_refused(known, tmp_path):
    known.write_text(SITE[:-10])
    with pytest.raises(DataError, match=r"SHA-256.*Delete it"):
        load_pedestrians("square", root=tmp_path)


def test_the_real_sites_have_the_counts_of_the_card(shared_data, tmp_path):
    if not (shared_data / "pedestrians").is_dir():
        pytest.skip(f"the pedestrians are not in {shared_data}")
    pytest.importorskip("pyarrow")
    rows = script("pedestrians").prepare(shared_data, tmp_path / "pedestrians.parquet")
    assert rows == sum(pedestrians.N_ROWS.values())
    walks = load_pedestrians(root=shared_data).groupby(["scene", "unique_id"])
    steps = walks[["x", "y"]].diff().pow(2).sum(axis=1).pow(0.5) * pedestrians.NATIVE_RATE
    assert 0.5 < steps.median() < 1.5 and steps.quantile(0.99) < 3, "meters a second"
