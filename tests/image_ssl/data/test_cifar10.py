from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import cifar10, load_cifar10
from hierforecast.image_ssl.data.cifar10 import load_plain_pickle, read_batches
from hierforecast.io.fetch import RemoteFile
from tests.damage import RunsCode

PIXELS = 3 * 32 * 32
ROWS = np.random.default_rng(0).integers(0, 256, (4, PIXELS), dtype=np.uint8)
LABELS = [3, 0, 9, 3]


def archive(path: Path, batches: dict[str, bytes], folder: str = "cifar-10-batches-py") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def batch(**changes: object) -> bytes:
    """A batch as Python 3 writes it, with changed entries; None takes one away."""
    entries = {"data": ROWS, "labels": LABELS, "batch_label": "toy"} | changes
    return pickle.dumps({k: v for k, v in entries.items() if v is not None}, protocol=4)


def test_the_order_is_that_of_the_names_and_rows_are_channels_first(tmp_path):
    second = batch(data=255 - ROWS, labels=[1, 1, 2, 2])
    path = archive(tmp_path / "toy.tar.gz", {"b": second, "a": batch(), "readme.html": b"<html>"})
    images, labels = read_batches(path, ("a", "b"))
    assert images.shape == (8, 3, 32, 32) and images.dtype == np.uint8
    assert labels.tolist() == [*LABELS, 1, 1, 2, 2] and labels.dtype == np.int64
    for row in range(4):
        for channel, y, x in ((0, 0, 1), (1, 31, 0), (2, 5, 7)):
            place = channel * 1024 + y * 32 + x
            assert images[row, channel, y, x] == ROWS[row, place]
            assert images[row + 4, channel, y, x] == 255 - ROWS[row, place]


def test_loading_by_name(tmp_path, monkeypatch):
    names = [name for split in cifar10.BATCHES.values() for name in split]
    contents = {name: batch(labels=[number, 0, 0, 0]) for number, name in enumerate(names, start=1)}
    path = archive(tmp_path / "toy.tar.gz", contents)
    file = RemoteFile("toy.tar.gz", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(cifar10.FILES, "official", file)
    monkeypatch.setitem(cifar10.N_TRAIN, "official", 20)
    monkeypatch.setitem(cifar10.N_TEST, "official", 4)
    train = load_cifar10("train", "official", root=tmp_path)
    assert train.labels[::4].tolist() == [1, 2, 3, 4, 5] and train.classes[3] == "cat"
    assert load_cifar10("test", "official", root=tmp_path).labels.tolist() == [6, 0, 0, 0]
    monkeypatch.setitem(cifar10.N_TEST, "official", 5)
    with pytest.raises(DataError, match="4 images, expected 5"):
        load_cifar10("test", "official", root=tmp_path)
    for options in ({"split": "val"}, {"version": "jpeg"}):
        with pytest.raises(ValueError, match="is none of"):
            load_cifar10(root=tmp_path, **options)


@pytest.mark.parametrize("protocol", range(5))
def test_no_code_of_the_file_is_run(tmp_path, protocol):
    trap = tmp_path / "trap"
    content = pickle.dumps({"data": RunsCode(trap)}, protocol=protocol)
    with pytest.raises(DataError, match="refused and not run"):
        load_plain_pickle(io.BytesIO(content), "toy")
    assert not trap.exists()
    pickle.loads(content)
    assert trap.exists()  # the trap works: it was the reader that did not step in it


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(np.array([RunsCode(Path("trap"))], dtype=object)),
        pickle.dumps(np.zeros(2, dtype=[("x", "O")])),
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nndarray\n(I9\ntR.",
        b"cnumpy\ncore.multiarray._reconstruct\n.",
        b"cnumpy.core.multiarray\n_reconstruct\n(tR}b.",
        b"Pperson\n.",
        b"\x80\x05\x95",
        b"",
    ],
)
def test_other_traps(content):
    with pytest.raises(DataError):
        load_plain_pickle(io.BytesIO(content), "toy")


@pytest.mark.parametrize("kind", ["O", "S3", "M8[s]"])
def test_arrays_of_what_is_no_number_are_refused(kind):
    with pytest.raises(DataError, match="which is no number"):
        load_plain_pickle(io.BytesIO(pickle.dumps(np.zeros(2, kind), protocol=4)), "toy")


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("kind", ["u1", "<i4", ">i4", "<f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numbers_come_as_pickle_gives_them(protocol, kind, order):
    array = np.asarray(np.arange(12).reshape(3, 4) % 5, dtype=kind, order=order)
    content = pickle.dumps({"x": array, b"y": [1, "b", None, (2.5,)]}, protocol=protocol)
    ours = load_plain_pickle(io.BytesIO(content), "toy")
    np.testing.assert_array_equal(ours["x"], pickle.loads(content)["x"])
    assert ours["x"].dtype == array.dtype and ours["x"].flags.writeable
    assert ours[b"y"] == [1, "b", None, (2.5,)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (batch(labels=None), r"has no \['labels'\]"),
        (batch(data=None), r"has no \['data'\]"),
        (batch(data=ROWS[:, 1:]), "3071 columns"),
        (batch(data=ROWS.astype(np.float32)), "no table of uint8"),
        (batch(data=ROWS[0]), "no table of uint8"),
        (batch(labels=LABELS[:3]), "4 images and 3 labels"),
        (batch(labels=[0, 1, 2, 10]), "from 0 to 9"),
        (batch(labels=["cat"] * 4), "whole numbers"),
        (pickle.dumps([1, 2]), "a list, not a dictionary"),
        (batch()[:-100], "no whole pickle"),
        (b"<html>404</html>", "no whole pickle"),
    ],
)
def test_a_batch_that_is_none_is_named(tmp_path, content, message):
    path = archive(tmp_path / "toy.tar.gz", {"a": content})
    with pytest.raises(DataError, match=message) as caught:
        read_batches(path, ("a",))
    assert "a of '" in str(caught.value) and "toy.tar.gz" in str(caught.value)


def test_an_archive_that_is_none_is_named(tmp_path):
    path = archive(tmp_path / "toy.tar.gz", {"a": batch()})
    with pytest.raises(DataError, match="has no cifar-10-batches-py/b, cifar-10-batches-py/c"):
        read_batches(path, ("a", "b", "c"))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>404</html>", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"not a whole tar archive.*get it again"):
            read_batches(path, ("a",))
    elsewhere = archive(tmp_path / "other.tar.gz", {"a": batch()}, folder="elsewhere")
    with pytest.raises(DataError, match="has no"):
        read_batches(elsewhere, ("a",))


def test_the_real_subset(shared_data):
    if not (shared_data / "cifar10").is_dir():
        pytest.skip("no cifar10 among the real data")
    test = load_cifar10("test", root=shared_data)
    assert len(test) == cifar10.N_TEST["lossless"]
    # The first test images are known from every look at this set: cat, ship, ship, airplane, frog.
    known = [test.classes[label] for label in test.labels[:5]]
    assert known == ["cat", "ship", "ship", "airplane", "frog"]
    # Photographs: neighbours are alike, along both axes, and channels go together.
    pixels = test.images.float()
    for step in (pixels.diff(dim=2), pixels.diff(dim=3)):
        assert step.abs().mean() < 0.35 * pixels.std()
    assert torch.corrcoef(pixels.transpose(0, 1).flatten(1)).min() > 0.7
    with tarfile.open(shared_data / cifar10.FILES["lossless"].name) as tar:
        content = tar.extractfile("cifar-10-batches-py/test_batch").read()
    plain = pickle.loads(content, encoding="latin1")  # our own copy, its SHA-256 checked
    np.testing.assert_array_equal(test.images.numpy().reshape(-1, PIXELS), plain["data"])
    assert test.labels.tolist() == plain["labels"]
    assert len(load_cifar10(root=shared_data)) == cifar10.N_TRAIN["lossless"]
