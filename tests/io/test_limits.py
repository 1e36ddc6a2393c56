"""Files made to do harm: what unpacks to too much, waits for ever, or points elsewhere."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hierforecast import DataError, read_table
from hierforecast.cli import app
from hierforecast.datasets import _socialvae, sportvu
from hierforecast.datasets.sportvu import load_sportvu
from hierforecast.io import text
from hierforecast.io.limits import (
    MIB,
    is_inside,
    open_file,
    parse_json,
    read_array,
    read_arrays,
    read_file,
    read_tar,
    read_text,
)

LENGTHS = ["--context", "3", "--horizon", "1"]
WRITERS = {"xz": lzma.open, "gz": gzip.open, "plain": open}


def header(shape: object, dtype: str = "<f8", more: bytes = b"") -> bytes:
    """A .npy file that promises a shape."""
    stream = io.BytesIO()
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue() + more


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(["a", "bcd"]),
        np.zeros((0, 4), np.float32),
        np.array(3),
        np.arange(4, dtype=">i2"),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_arrays_are_read_as_numpy_reads_them(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    found = read_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, array, strict=True)
    assert found.flags.writeable and found.flags.f_contiguous == array.flags.f_contiguous
    np.savez(tmp_path / "a.npz", one=array, two=np.arange(3))
    both = read_arrays(tmp_path / "a.npz", MIB)
    np.testing.assert_array_equal(both["one"], array, strict=True)
    assert list(both) == ["one", "two"]


@pytest.mark.parametrize(
    "content",
    [
        header((10**12,)),
        header((10**12, 0, 10**12), more=b"x"),
        header((2**62, 4)),
        header((-1, 2)),
        header((3,), more=bytes(23)),
        header((3,), more=bytes(25)),
        header((10**9,), "|V0"),
        header((10**9,), "<U0"),
        header((1,), "|O", bytes(8)),
        header((2,))[:30],
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535,
        b"\x93NUMPY\x09\x09",
        b"",
        b"PK\x03\x04",
    ],
    ids=range(14),
)
def test_arrays_that_promise_more_than_they_hold_are_named(content, tmp_path):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy' cannot be read as an array"):
        read_array(tmp_path / "a.npy")


def test_an_archive_of_arrays_that_unpacks_to_too_much_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", bomb=np.zeros(2**20))
    assert (tmp_path / "a.npz").stat().st_size < 20_000
    with pytest.raises(DataError, match=r"a\.npz' unpacks to more, and at most 4 MiB"):
        read_arrays(tmp_path / "a.npz", 4 * MIB)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("bomb.npy", header((10**12,)))
    with pytest.raises(DataError, match=r"b\.npz:bomb\.npy' cannot be read as an array"):
        read_arrays(tmp_path / "b.npz", MIB)
    (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:900])
    with pytest.raises(DataError, match=r"c\.npz' is damaged"):
        read_arrays(tmp_path / "c.npz", 16 * MIB)


def make_tar(path: Path, packed: str, **files: bytes) -> Path:
    with WRITERS[packed](path, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("packed", WRITERS)
def test_a_tar_is_read_up_to_its_limit(packed, tmp_path):
    path = make_tar(tmp_path / "a.tar", packed, one=b"1" * 100, two=b"22")
    found = {name: stream.read() for name, stream in read_tar(path, MIB)}
    assert found == {"one": b"1" * 100, "two": b"22"}
    path = make_tar(tmp_path / "bomb.tar", packed, bomb=bytes(8 * MIB))
    with pytest.raises(DataError, match=r"bomb\.tar' unpacks to more, and at most 1 MiB are read"):
        list(read_tar(path, MIB))


def test_what_a_tar_does_not_count_is_counted(tmp_path):
    """A header's own long text, and a sparse file whose holes are nowhere in the archive."""
    long = tarfile.TarInfo("x")
    long.type, long.size = tarfile.XHDTYPE, 8 * MIB
    with lzma.open(tmp_path / "a.tar.xz", "wb") as stream:
        stream.write(long.tobuf() + bytes(8 * MIB))
    with pytest.raises(DataError, match=r"a\.tar\.xz' unpacks to more"):
        list(read_tar(tmp_path / "a.tar.xz", MIB))
    member = tarfile.TarInfo("holes")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\0" % (8 * MIB)
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "b.tar").write_bytes(bytes(block) + bytes(1024))
    with pytest.raises(DataError, match=r"b\.tar' unpacks to more"):
        list(read_tar(tmp_path / "b.tar", MIB))


def test_links_and_devices_in_a_tar_are_passed_over(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(f"score/{name}.txt")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        device = tarfile.TarInfo("score/device.txt")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    assert list(read_tar(tmp_path / "a.tar", MIB)) == []
    with pytest.raises(DataError, match="holds no scene"):
        _socialvae.read(tmp_path / "a.tar")


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar"])
def test_an_archive_of_scenes_that_is_a_bomb_is_named(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(_socialvae, "LARGEST", MIB)
    packed = "xz" if suffix.endswith("xz") else "plain"
    path = make_tar(tmp_path / f"games{suffix}", packed, **{"score/a.txt": bytes(4 * MIB)})
    with pytest.raises(DataError, match=rf"games{suffix}' unpacks to more"):
        _socialvae.read(path)


@pytest.mark.parametrize("names", [["game.json"], ["game.json", "else.bin"]], ids=len)
def test_a_game_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    names, tmp_path, monkeypatch
):
    """Beside a small game too: all that lies before it is unpacked on the way."""
    py7zr = pytest.importorskip("py7zr", reason="the extra 'sports' is not installed")
    monkeypatch.setattr(sportvu, "LARGEST", 8 * MIB)
    with py7zr.SevenZipFile(tmp_path / "game.7z", "w") as archive:
        for name in names[:-1]:
            archive.writestr("{}", name)
        archive.writestr(bytes(9 * MIB), names[-1])
        monkeypatch.setattr(py7zr.SevenZipFile, "extract", None)
    assert (tmp_path / "game.7z").stat().st_size < 10_000
    with pytest.raises(DataError, match=r"game\.7z' unpacks to 9 MiB, and at most 8 MiB are read"):
        load_sportvu(tmp_path / "game.7z")


@pytest.mark.parametrize("thing", ["pipe", "folder", "device", "loop"])
def test_only_files_are_opened(thing, tmp_path):
    path = tmp_path / "game.json"
    if thing == "pipe":
        os.mkfifo(path)
    elif thing == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if thing == "device" else path)
    for read in (read_text, load_sportvu, read_array):
        with pytest.raises(DataError, match=r"game\.json'.*give a file"):
            read(path)
    with pytest.raises(FileNotFoundError), open_file(tmp_path / "nowhere"):
        pass


def test_files_are_read_up_to_their_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert read_file(tmp_path / "a", 100) == b"x" * 100
    with pytest.raises(DataError, match=r"a' has 0.0 MiB, and at most 0 MiB are read"):
        read_file(tmp_path / "a", 99)
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"a' is no text in UTF-8"):
        read_text(tmp_path / "a")


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "", "nope", b"\xff", "1" * 5000])
def test_json_that_is_none_is_named(text):
    with pytest.raises(DataError, match=r"x\.json' is damaged .*: get it again"):
        parse_json(text, "x.json")


def test_names_stay_in_their_folder():
    assert all(map(is_inside, ("a", "a/b.jpg", "a..b", "..a/b", "å/ß")))
    outside = ("", "/a", "../a", "a/../../b", "..", "C:\\a", "C:a", "\\a", "a\\..\\..\\b", "a\0b")
    assert not any(map(is_inside, (*outside, "//host/share/a", "\\\\host\\share\\a")))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
def test_a_packed_table_that_is_a_bomb_is_named(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(text, "UNPACKED", MIB // 16)
    path = tmp_path / f"h.csv{suffix}"
    pd.DataFrame({"unique_id": "a", "ds": 1, "y": [2] * 10**5}).to_csv(path, index=False)
    assert path.stat().st_size < 3000
    with pytest.raises(DataError, match=rf"h\.csv{suffix}' unpacks to more, and at most"):
        read_table(path)
    result = CliRunner().invoke(app, ["fit", str(path), str(tmp_path / "m"), *LENGTHS])
    assert result.exit_code == 2 and f"h.csv{suffix}' unpacks to more" in result.stderr


def test_a_parquet_file_that_is_a_bomb_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "CELLS", 1000)
    monkeypatch.setattr(text, "CELLS_PER_BYTE", 10)
    frame = pd.DataFrame({"unique_id": "a", "ds": 1, "y": [2.0] * 10**6})
    frame.to_parquet(tmp_path / "h.parquet", compression="brotli")
    assert (tmp_path / "h.parquet").stat().st_size < 30_000
    with pytest.raises(DataError, match=r"h\.parquet' unpacks to 3,000,000 cells, and at most"):
        read_table(tmp_path / "h.parquet")
    (tmp_path / "i.parquet").write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    with pytest.raises(DataError, match=r"i\.parquet' is no whole Parquet file"):
        read_table(tmp_path / "i.parquet")
