from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hierforecast.errors import DataError
from hierforecast.io import fetch
from hierforecast.io.fetch import DataFileNotFoundError, RemoteFile, locate

CONTENT = b"x,y\n1,2\n3,4\n"
FILE = RemoteFile("toy/data.csv", hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("HIERFORECAST_DATA", raising=False)


def put(folder: Path, content: bytes = CONTENT, name: str = FILE.name) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_root_goes_before_the_variable_before_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HIERFORECAST_DATA", str(tmp_path / "variable"))
    cached = put(tmp_path / "cache")
    assert locate(FILE, root=tmp_path / "root") == cached
    variable = put(tmp_path / "variable")
    assert locate(FILE, root=tmp_path / "root") == variable
    given = put(tmp_path / "root")
    assert locate(FILE, root=str(tmp_path / "root")) == given
    assert locate(FILE) == variable


def test_the_folder_of_the_files_themselves_will_do(tmp_path):
    flat = put(tmp_path, name="data.csv")
    assert locate(FILE, root=tmp_path) == flat


def test_not_found_names_the_three_places_and_the_remedy(tmp_path):
    with pytest.raises(DataFileNotFoundError) as caught:
        locate(replace(FILE, url="https://example.org/data.csv"), root=tmp_path, download=False)
    message = str(caught.value)
    for part in (str(tmp_path), "HIERFORECAST_DATA=(not set)", str(tmp_path / "cache")):
        assert part in message
    assert "https://example.org/data.csv" in message and "toy/data.csv" in message
    with pytest.raises(FileNotFoundError, match="no public address"):
        locate(FILE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"is empty \(0 bytes, expected 12\)"),
        (CONTENT[:-3], "truncated: 9 bytes, expected 12"),
        (CONTENT + b"5,6\n", "too long: 16 bytes, expected 12"),
        (CONTENT.replace(b"4", b"5"), f"expected {FILE.sha256}"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
    ],
)
def test_damaged_files_are_refused_where_they_lie(tmp_path, content, words):
    put(tmp_path / "cache")  # a good copy further on does not hide the bad one
    path = put(tmp_path / "root", content)
    with pytest.raises(DataError, match=words) as caught:
        locate(FILE, root=tmp_path / "root")
    assert str(path) in str(caught.value) and "get it again" in str(caught.value).lower()


def test_check_false_takes_a_changed_file_but_not_an_empty_one(tmp_path):
    path = put(tmp_path, b"changed on purpose")
    assert locate(FILE, root=tmp_path, check=False) == path
    path.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        locate(FILE, root=tmp_path, check=False)


def test_the_hash_is_remembered_until_the_file_changes(tmp_path, monkeypatch):
    path = put(tmp_path)
    locate(FILE, root=tmp_path)
    real, calls = hashlib.file_digest, []
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: calls.append(1) or real(*a))
    locate(FILE, root=tmp_path)
    assert not calls
    path.write_bytes(CONTENT.replace(b"4", b"5"))
    os.utime(path, (1, 1))
    with pytest.raises(DataError, match="SHA-256"):
        locate(FILE, root=tmp_path)
    assert calls


def test_downloads_into_the_cache_once(tmp_path, monkeypatch):
    asked = []

    def retrieve(url, known_hash, fname, path, progressbar):
        asked.append((url, known_hash))
        return str(put(Path(path), name=fname))

    monkeypatch.setattr(fetch.pooch, "retrieve", retrieve)
    file = replace(FILE, url="https://example.org/data.csv")
    assert locate(file) == tmp_path / "cache" / FILE.name
    assert locate(file).read_bytes() == CONTENT
    assert asked == [(file.url, f"sha256:{FILE.sha256}")]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ValueError("hash differs"), DataError, "serves something else"),
        (ConnectionError("no network"), FileNotFoundError, "ConnectionError: no network"),
    ],
)
def test_failed_downloads_say_what_to_do(monkeypatch, error, kind, words):
    def retrieve(*_, **__):
        raise error

    monkeypatch.setattr(fetch.pooch, "retrieve", retrieve)
    with pytest.raises(kind, match=words) as caught:
        locate(replace(FILE, url="https://example.org/data.csv"))
    assert "HIERFORECAST_DATA=<folder>" in str(caught.value)
