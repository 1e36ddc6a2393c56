from __future__ import annotations

import os
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import ImageFolder, UnreadableImageWarning, collate, load_cifar10
from hierforecast.image_ssl.data._decoding import read_image
from tests.image_ssl.data.pictures import picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for number, name in enumerate(("n03", "n01", "n02")):
            for index in range(3):
                picture(tmp_path / split / name / f"{index}.png", (10 * number, index, 0))
    return tmp_path


def test_classes_are_sorted_and_so_are_the_files(root):
    images = ImageFolder(root, 8, "train")
    assert images.classes == ("n01", "n02", "n03")
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    seen = [tuple(image[:, 0, 0].tolist()) for image, _ in images]
    assert seen == [(c, i, 0) for c in (10, 20, 0) for i in range(3)]
    assert ImageFolder(root / "val", 8).classes == images.classes
    batch, labels = next(iter(DataLoader(images, batch_size=9, collate_fn=collate)))
    assert batch.shape == (9, 3, 8, 8) and batch.dtype == torch.uint8
    assert torch.equal(labels, images.labels)
    assert len(images.subset(images.labels == 2).in_memory()) == 3
    some = ImageFolder(root, 8, "train", classes=("n03", "n01"))
    assert some[0][0][0, 0, 0] == 0 and some.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_loading_in_worker_processes(root):
    loader = DataLoader(
        ImageFolder(root, 8, "train"), batch_size=4, collate_fn=collate, num_workers=1
    )
    assert torch.cat([labels for _, labels in loader]).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 40), (20, 20), (7, 5), (5, 300)])
def test_the_middle_square_of_the_shorter_side(tmp_path, width, height):
    """A ramp along the longer side shows which part is kept; the size is exact for any ratio."""
    longer = max(width, height)
    ramp = np.linspace(0, 240, longer)
    pixels = ramp[:, None] if height == longer else ramp[None]
    pixels = np.broadcast_to(pixels, (height, width)).astype(np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "ramp.png")
    image, _ = ImageFolder(tmp_path, 10)[0]
    assert image.shape == (3, 10, 10) and image.is_contiguous()
    line = image[0].float().mean(1 if height == longer else 0)
    half = min(width, height) / longer / 2
    assert line.mean() == pytest.approx(120, abs=4)
    assert line[-1] - line[0] == pytest.approx(240 * 2 * half * 0.9, rel=0.2, abs=6)


def test_an_image_of_the_right_size_is_not_touched(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "x.png")
    np.testing.assert_array_equal(ImageFolder(tmp_path, 9)[0][0], pixels.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("P", "gif"), ("CMYK", "jpg"), ("RGBA", "png"), ("1", "bmp"), ("RGB", "JPEG")],
)
def test_other_modes_become_rgb(tmp_path, mode, suffix):
    picture(tmp_path / "a" / f"x.{suffix}", (255, 255, 255), mode=mode)
    image, _ = ImageFolder(tmp_path, 8)[0]
    assert image.shape == (3, 8, 8) and image.min() > 250


def test_what_is_transparent_becomes_white(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a" / "x.png")
    assert ImageFolder(tmp_path, 8)[0][0].min() == 255


def test_other_files_and_hidden_ones_are_left_alone(root):
    (root / "train" / "n01" / "notes.txt").write_text("no image")
    (root / "train" / "n01" / "._0.png").write_bytes(b"a trace of macOS")
    (root / "train" / ".cache").mkdir()
    (root / "train" / "list.csv").write_text("")
    assert len(ImageFolder(root, 8, "train")) == 9
    picture(root / "train" / "n01" / "deeper" / "still" / "x.PNG")
    assert len(ImageFolder(root, 8, "train")) == 10


def damage(root: Path) -> tuple[Path, Path]:
    """One file without a header, one cut short behind its header."""
    headless = root / "train" / "n01" / "1.png"
    headless.write_bytes(b"<html>404</html>")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    short = root / "train" / "n02" / "2.jpg"
    Image.fromarray(noise).save(short)
    short.write_bytes(short.read_bytes()[:1500])
    return headless, short


def test_raise_names_the_file_and_the_remedy(root):
    headless, short = damage(root)
    images = ImageFolder(root, 8, "train")
    paths = [Path(file) for file in images.files]
    for path in (headless, short):
        with pytest.raises(DataError, match='on_error="skip"') as caught:
            images[paths.index(path)]
        assert str(path) in str(caught.value)
    assert images[0][0].shape == (3, 8, 8)
    assert set(images.check()) == {str(headless)}
    assert set(images.check(whole=True)) == {str(headless), str(short)}


def test_skip_leaves_out_and_stands_in(root):
    headless, short = damage(root)
    with pytest.warns(UnreadableImageWarning, match="1 of 10 image files .* left out") as caught:
        images = ImageFolder(root, 8, "train", on_error="skip")
    assert len(caught) == 1 and str(headless) in str(caught[0].message)
    assert len(images) == 9 and images.labels.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    place = images.files.index(str(short))
    with pytest.warns(UnreadableImageWarning, match="stands in") as caught:
        image, label = images[place]
    assert len(caught) == 1 and str(short) in str(caught[0].message)
    next_image, next_label = images[place + 1]
    assert torch.equal(image, next_image) and label == next_label
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(images[place][0], image)  # known by now: no second warning
        assert len(images.in_memory()) == 9


def test_skip_with_nothing_left(tmp_path):
    path = picture(tmp_path / "a" / "x.png")
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 1 image files cannot be read.*x\.png"):
        ImageFolder(tmp_path, 8, on_error="skip")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    images = ImageFolder(tmp_path, 8, on_error="skip")
    with pytest.warns(UnreadableImageWarning), pytest.raises(DataError, match="none of the 1"):
        images[0]


def test_a_file_that_vanishes_is_named(root):
    images = ImageFolder(root, 8, "train")
    Path(images.files[0]).unlink()
    with pytest.raises(DataError, match="No such file"):
        images[0]


def test_folders_that_are_none(root, tmp_path):
    with pytest.raises(DataError, match=r"no folder .*test'.* has train, val"):
        ImageFolder(root, 8, "test")
    with pytest.raises(DataError, match="there is no folder"):
        ImageFolder(root / "no" / "where", 8)
    archive = tmp_path / "images.tar.gz"
    archive.write_bytes(b"")
    with pytest.raises(DataError, match=r"is a file.*extract the archive first"):
        ImageFolder(archive, 8)
    with pytest.raises(DataError, match="3 images but no class folders"):
        ImageFolder(root / "train" / "n01", 8)
    (root / "train" / "n00").mkdir()
    with pytest.raises(DataError, match=r"1 class folders of .* hold no images, e\.g\. 'n00'"):
        ImageFolder(root, 8, "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no class folders"):
        ImageFolder(tmp_path / "empty", 8)
    with pytest.raises(DataError, match=r"no folder .*n09"):
        ImageFolder(root, 8, "train", classes=("n09",))


def test_options_out_of_range(root):
    with pytest.raises(ValueError, match="on_error"):
        ImageFolder(root, 8, "train", on_error="ignore")
    with pytest.raises(ValueError, match="size"):
        ImageFolder(root, 0, "train")
    with pytest.raises(IndexError):
        ImageFolder(root, 8, "train")[9]


def test_a_link_back_to_the_folder_is_not_followed_for_ever(root):
    before = ImageFolder(root / "train", 8).files
    first = min(path for path in (root / "train").iterdir() if path.is_dir())
    (first / "loop").symlink_to(first)
    assert ImageFolder(root / "train", 8).files == before
    (first / "copy").symlink_to(max(p for p in (root / "train").iterdir() if p.is_dir()))
    assert len(ImageFolder(root / "train", 8)) > len(before), "other links are followed"


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch trapped) (w) file\n"


@pytest.mark.parametrize("thing", ["postscript", "strip", "bomb", "pipe", "device"])
def test_pictures_made_to_do_harm_are_named(thing, tmp_path, monkeypatch):
    """Pillow would run Ghostscript on PostScript, whatever the file is called."""
    path = tmp_path / "a.png"
    if thing == "postscript":
        path.write_bytes(POSTSCRIPT)
        Image.open(path).close()  # the trap works: Pillow by itself takes it
    elif thing == "strip":
        picture(path, width=60_000, height=1)
    elif thing == "bomb":
        picture(path, width=300, height=300)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    elif thing == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"a\.png'"):
        read_image(path, 64)


def test_the_real_jpegs_of_cifar10(shared_data, tmp_path):
    """Two images a class; the first of a class is, but for JPEG, the first of the lossless file."""
    path = shared_data / "cifar10" / "cifar10_jpg_10k_2k.tar.gz"
    if not path.is_file():
        pytest.skip("no cifar10 among the real data")
    with tarfile.open(path) as tar:
        wanted = [
            m for m in tar if m.name.startswith("test/") and m.name[-8:] in ("0000.jpg", "0001.jpg")
        ]
        tar.extractall(tmp_path, members=wanted, filter="data")
    images = ImageFolder(tmp_path, 32, "test", on_error="skip")
    lossless = load_cifar10("test", root=shared_data)
    assert len(images) == 20 and images.classes == lossless.classes
    for label in range(10):
        original = lossless.images[lossless.labels == label][0].float()
        jpeg = images[2 * label][0].float()
        assert (jpeg - original).square().mean().sqrt() < 20
