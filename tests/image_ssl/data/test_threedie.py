from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation
from torch.utils.data import DataLoader

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import ThreeDIEBench, UnreadableImageWarning, collate
from hierforecast.image_ssl.data.rotations import compose
from hierforecast.image_ssl.data.threedie import LATENTS, N_CLASSES, read_latents
from tests.damage import RunsCode, truncate

OBJECTS = ("02691156/aaa", "02691156/bbb", "03001627/ccc", "03001627/ddd")
VIEWS = 5


def latents(number: int) -> np.ndarray:
    """Seven numbers within their ranges, another seven for each view."""
    low = np.array([-np.pi / 2] * 3 + [0.0] * 4)
    high = np.array([np.pi / 2] * 3 + [1, np.pi / 4, 2 * np.pi, 1])
    return low + (high - low) * np.random.default_rng(number).random(7)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four objects in five views; the grey of view i is 12 i."""
    for place, name in enumerate(OBJECTS):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for view in range(VIEWS):
            number = place * VIEWS + view
            Image.new("RGB", (32, 32), (12 * number,) * 3).save(folder / f"image_{view}.jpg")
            np.save(folder / f"latent_{view}.npy", latents(number))
    (tmp_path / "LICENSE").write_text("CC BY-NC")
    # The split's lists are not sorted, and its labels are not those of sorted folders.
    np.save(tmp_path / "val_images.npy", np.array([f"/{OBJECTS[3]}", f"/{OBJECTS[0]}"]))
    np.save(tmp_path / "val_labels.npy", np.array([7, 2]))
    return tmp_path


def greys(images: torch.Tensor) -> list[int]:
    return [round(float(image.float().mean()) / 12) for image in images]


def path(root: Path, number: int, kind: str) -> Path:
    place, view = divmod(number, VIEWS)
    name = f"image_{view}.jpg" if kind == "image" else f"latent_{view}.npy"
    return root / OBJECTS[place] / name


def test_numbers_are_objects_and_views(root):
    images = ThreeDIEBench(root, 9, views=VIEWS)
    assert images.n_objects == 4 and len(images) == 20
    assert images.classes == ("02691156", "03001627")
    assert images.labels.tolist() == [0] * 10 + [1] * 10
    batch, labels = next(iter(DataLoader(images, batch_size=20, collate_fn=collate)))
    assert batch.shape == (20, 3, 9, 9) and torch.equal(labels, images.labels)
    assert greys(batch) == list(range(20))
    parameters = images.parameters([3, 19, -1])
    assert parameters["object"].tolist() == [0, 3, 3] and parameters["label"].tolist() == [0, 1, 1]
    for row, number in enumerate((3, 19, 19)):
        own = latents(number)
        for k, name in enumerate(LATENTS[3:], start=3):
            assert float(parameters[name][row]) == pytest.approx(own[k], abs=1e-6)
        pose = Rotation.from_euler("xyz", own[:3]).as_quat(canonical=True)
        assert parameters["quaternion"][row].numpy() == pytest.approx(np.roll(pose, 1), abs=1e-6)
        assert parameters["angles"][row].numpy() == pytest.approx(own[:3], abs=1e-6)
    assert len(ThreeDIEBench(root, 9, views=2)) == 8
    assert greys(ThreeDIEBench(root, 9, views=2)[3][0][None]) == [6]
    with pytest.raises(IndexError):
        images[20]


def test_the_lists_of_a_split(root, tmp_path_factory):
    images = ThreeDIEBench(root, 9, "val", views=VIEWS)
    assert greys(images.__getitems__([0, 5])[0]) == [15, 0]
    assert images.labels[::5].tolist() == [7, 2] and len(images.classes) == N_CLASSES
    assert images.classes[7] == "03001627" and images.classes[2] == "02691156"
    with pytest.raises(DataError, match=r"train_images\.npy.*facebookresearch/SIE"):
        ThreeDIEBench(root, 9, "train")
    elsewhere = tmp_path_factory.mktemp("lists")
    for what in ("images", "labels"):
        (root / f"val_{what}.npy").rename(elsewhere / f"val_{what}.npy")
    assert ThreeDIEBench(root, 9, "val", lists=elsewhere).objects == images.objects


@pytest.mark.parametrize("frame", ["world", "object"])
def test_pairs(root, frame):
    images = ThreeDIEBench(root, 9, views=VIEWS, frame=frame)
    pairs = images.pairs(range(20), torch.Generator().manual_seed(0))
    first, second = pairs.numbers
    assert (first != second).all() and torch.equal(first // 5, second // 5)
    assert greys(pairs.first) == first.tolist() and greys(pairs.second) == second.tolist()
    for row in range(20):
        start, end = (latents(int(number)) for number in pairs.numbers[:, row])
        one, two = (Rotation.from_euler("xyz", own[:3]) for own in (start, end))
        turn = two * one.inv() if frame == "world" else one.inv() * two
        expected = np.roll(turn.as_quat(canonical=True), 1)
        assert pairs.relative["rotation"][row].numpy() == pytest.approx(expected, abs=1e-5)
        change = [float(pairs.relative[name][row, 0]) for name in LATENTS[3:]]
        assert change == pytest.approx(end[3:] - start[3:], abs=1e-5)


DAMAGE = {
    "a truncated image": lambda root: truncate(path(root, 7, "image")),
    "no image": lambda root: path(root, 7, "image").write_text("<html>"),
    "a missing image": lambda root: path(root, 7, "image").unlink(),
    "truncated latents": lambda root: truncate(path(root, 7, "latents")),
    "missing latents": lambda root: path(root, 7, "latents").unlink(),
    "too few latents": lambda root: np.save(path(root, 7, "latents"), np.zeros(6)),
    "latents that are none": lambda root: np.save(path(root, 7, "latents"), np.full(7, np.nan)),
    "words": lambda root: np.save(path(root, 7, "latents"), np.array(["x"] * 7)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_cannot_be_read_is_named_or_stood_in_for(root, damage):
    DAMAGE[damage](root)
    kind = "image" if "image" in damage else "latents"
    images = ThreeDIEBench(root, 9, views=VIEWS)
    with pytest.raises(DataError, match=path(root, 7, kind).name):
        if kind == "image":
            images[7]
        else:
            images.parameters([7])
    assert list(images.check()) == [str(path(root, 7, kind))]
    # Another view of the same object, image and parameters alike, and one warning.
    images = ThreeDIEBench(root, 9, views=VIEWS, on_error="skip")
    with pytest.warns(UnreadableImageWarning, match=path(root, 7, kind).name):
        pairs = images.pairs([7, 6], torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert greys(images[7][0][None]) == [8]
        shown = images.parameters([7])
        pairs = images.pairs([7] * 40, torch.Generator().manual_seed(0))
    expected = torch.from_numpy(latents(8)[3:]).float()
    assert [float(shown[name]) for name in LATENTS[3:]] == pytest.approx(expected.tolist())
    assert set(pairs.numbers[0].tolist()) == {8} and set(pairs.numbers[1].tolist()) == {5, 6, 9}
    assert greys(pairs.second) == pairs.numbers[1].tolist()
    start, end = (images.parameters(numbers)["quaternion"] for numbers in pairs.numbers)
    torch.testing.assert_close(compose(pairs.relative["rotation"], start), end, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore::hierforecast.image_ssl.data.UnreadableImageWarning")
def test_an_object_without_views_and_one_with_a_single_view(root):
    for number in (5, 6, 7, 8, 9, 11, 12, 13, 14):
        path(root, number, "image").unlink()
    images = ThreeDIEBench(root, 9, views=VIEWS, on_error="skip")
    assert greys(images[7][0][None]) == [10] and int(images[7][1]) == 1
    pairs = images.pairs([7], torch.Generator().manual_seed(0))
    assert pairs.numbers.tolist() == [[10], [10]]
    assert pairs.relative["rotation"][0].tolist() == pytest.approx([1, 0, 0, 0], abs=1e-6)
    assert pairs.labels.tolist() == [1]
    for number in range(20):
        path(root, number, "latents").unlink()
    with pytest.raises(DataError, match="none of the 20 views"):
        ThreeDIEBench(root, 9, views=VIEWS, on_error="skip")[0]


def test_no_code_of_the_files_is_run(root, tmp_path):
    trap = tmp_path / "trap"
    bad = np.array([RunsCode(trap)] * 7, dtype=object)
    for file in (path(root, 0, "latents"), root / "val_images.npy", root / "val_labels.npy"):
        kept = file.read_bytes()
        np.save(file, bad, allow_pickle=True)
        with pytest.raises(DataError, match=file.name):
            ThreeDIEBench(root, 9, "val", views=VIEWS).parameters([5])
        file.write_bytes(kept)
    assert not trap.exists()
    np.savez(root / "two.npz", latents(0), latents(1))
    with pytest.raises(DataError, match="cannot be read as an array"):
        read_latents(root / "two.npz")
    np.save(root / "val_images.npy", bad, allow_pickle=True)
    np.load(root / "val_images.npy", allow_pickle=True)
    assert trap.exists()  # the trap works: it was the reader that did not step in it


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (["/a/b", "/a/c"], [0], "number for each of 2"),
        (["/a/b", "/a/c"], [0, -1], "number for each of 2"),
        (["/a/b", "/a/c"], [0.0, 1.0], "number for each of 2"),
        (["/a/b", "/c/d"], [4, 4], "c and a one class, 4"),
        (["/a/b", "/a"], [0, 0], "'a', which is no"),
        (["/a/b", "../b"], [0, 0], "which is no"),
        (["/a/b", "C:/b"], [0, 0], "which is no"),
        (["/a/b", "/a/c"], [0, 10**12], "number for each of 2"),
        ([1, 2], [0, 0], "not names"),
        (np.array([], dtype=str), [], "not names"),
    ],
)
def test_lists_that_are_none(root, names, labels, message):
    np.save(root / "val_images.npy", np.array(names))
    np.save(root / "val_labels.npy", np.array(labels))
    with pytest.raises(DataError, match=message):
        ThreeDIEBench(root, 9, "val")


def test_folders_and_options(root, tmp_path_factory):
    with pytest.raises(DataError, match=r"<synset>/<object>.*3DIEBench\.tar\.gz"):
        ThreeDIEBench(tmp_path_factory.mktemp("empty"), 9)
    with pytest.raises(DataError, match="there is no folder"):
        ThreeDIEBench(root / "nowhere", 9)
    for options in (
        {"size": 0},
        {"split": "test"},
        {"views": 0},
        {"on_error": "ignore"},
        {"frame": "camera"},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            ThreeDIEBench(root, **({"size": 9} | options))
