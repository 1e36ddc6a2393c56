"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from hierforecast import LastValue, cli
from hierforecast.io import atomic
from hierforecast.io.atomic import new_folder, only_writer, write_atomically
from hierforecast.io.files import write_table
from tests.helpers import make_frame, tiny

TABLE = pd.DataFrame({"a": range(1000), "b": "x"})
NAMES = ["t.csv", "t.csv.gz", "t.parquet"]


def full(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_table_and_nothing_else(name, step, tmp_path, monkeypatch):
    path = tmp_path / "new" / name
    write_table(TABLE, path)
    before = path.read_bytes()
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match=rf"No space left on device: '.*{name}'"):
        write_table(TABLE.head(3), path)
    monkeypatch.undo()
    assert path.read_bytes() == before and os.listdir(path.parent) == [name]
    write_table(TABLE.head(3), path)
    pd.testing.assert_frame_equal(read(path), TABLE.head(3), check_dtype=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full disk")
def test_what_is_no_file_is_written_straight(tmp_path):
    (tmp_path / "pipe.csv").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_table(TABLE, tmp_path / "pipe.csv")
    assert os.listdir(tmp_path) == ["pipe.csv"]
    os.mkfifo(tmp_path / "real.csv")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "real.csv").read_bytes()))
    reader.start()
    write_table(TABLE.head(2), tmp_path / "real.csv")
    reader.join()
    assert found == [b"a,b\n0,x\n1,x\n"]


@pytest.mark.parametrize("broken", [OSError(5, "bad disk"), KeyboardInterrupt(), ValueError()])
def test_half_a_file_is_never_seen(broken, tmp_path):
    (tmp_path / "f").write_bytes(b"old")

    def write(stream):
        stream.write(b"half")
        stream.flush()
        assert (tmp_path / "f").read_bytes() == b"old"
        raise broken

    with pytest.raises(type(broken)):
        write_atomically(tmp_path / "f", write)
    assert (tmp_path / "f").read_bytes() == b"old" and os.listdir(tmp_path) == ["f"]


def test_links_and_rights_stay(tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    (tmp_path / "f").chmod(0o640)
    (tmp_path / "link").symlink_to(tmp_path / "f")
    write_atomically(tmp_path / "link", lambda stream: stream.write(b"new"))
    assert (tmp_path / "link").is_symlink() and (tmp_path / "f").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
    write_atomically(tmp_path / "g", lambda stream: stream.write(b"new"))
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "g").stat().st_mode) == 0o666 & ~mask


def test_one_writer_at_a_time(tmp_path):
    inside, most = [], []

    def write() -> None:
        for _ in range(50):
            with only_writer(tmp_path) as certain:
                inside.append(certain)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 200 and max(most) == 1
    with pytest.raises(OSError, match="body"), only_writer(tmp_path):
        raise OSError("body")


FILL = """
import sys, time
from pathlib import Path
from hierforecast.io.atomic import new_folder
with new_folder("place") as part:
    (part / "waiting").mkdir()
    (part / "waiting" / "rows").write_text("many")
    print("at it", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no folders")
def test_what_a_killed_process_left_of_a_folder_is_removed_and_nothing_else(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    killed, living = (
        subprocess.Popen([sys.executable, "-c", FILL], cwd=tmp_path, **pipes) for _ in range(2)
    )
    for process in (killed, living):
        assert process.stdout.readline() == "at it\n"
    killed.kill()
    killed.communicate()
    others = [f".place.{'0' * 15}.part", f".place.x.{'0' * 16}.part", f".other.{'0' * 16}.part"]
    for name in others:
        (tmp_path / name).mkdir()
    assert len(os.listdir(tmp_path)) == 5
    with new_folder(tmp_path / "place") as part:
        left = set(os.listdir(tmp_path)) - {part.name, *others}
        assert len(left) == 1  # of the one that lives
        (part / "new").write_text("")
    shutil.rmtree(tmp_path / "place")
    living.communicate("")
    assert (tmp_path / "place" / "waiting" / "rows").read_text() == "many"
    assert {*os.listdir(tmp_path)} == {"place", *others}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no folders")
@pytest.mark.parametrize("opened", [False, True])
def test_a_folder_that_another_removed_before_it_was_locked_is_made_again(
    opened, tmp_path, monkeypatch
):
    locked, found = atomic._locked, []

    def late(folder, wait=True):
        found.append(folder)
        lock = locked(folder, wait) if opened else None
        if len(found) == 1:
            folder.rmdir()
        return lock if opened else locked(folder, wait)

    monkeypatch.setattr(atomic, "_locked", late)
    with new_folder(tmp_path / "place") as part:
        assert part.is_dir() and part == found[1] != found[0]
    assert os.listdir(tmp_path) == ["place"]


def test_out_on_a_full_disk_keeps_the_old_forecast_and_fails(tmp_path, monkeypatch):
    frame = make_frame(n_scenes=2)
    tiny(LastValue()).fit(frame).save(tmp_path / "model")
    frame.to_csv(tmp_path / "h.csv", index=False)
    (tmp_path / "out.csv").write_text("old")
    words = [str(tmp_path / name) for name in ("h.csv", "model")]
    options = ["--out", str(tmp_path / "out.csv")]
    monkeypatch.setattr(os, "fsync", full)
    result = CliRunner().invoke(cli.app, ["predict", *words, *options])
    assert result.exit_code == 2 and "No space left on device" in result.stderr
    assert "out.csv" in result.stderr and (tmp_path / "out.csv").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["h.csv", "model", "out.csv"]
