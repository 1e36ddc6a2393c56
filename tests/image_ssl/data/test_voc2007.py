from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import UnreadableImageWarning, load_voc2007
from hierforecast.image_ssl.data.voc2007 import CLASSES

NAMES = ("000005", "000007", "000009")
MAIN = Path("VOCdevkit/VOC2007/ImageSets/Main")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images; image k shows class k, and class k + 1 only as difficult."""
    (tmp_path / MAIN).mkdir(parents=True)
    pictures = tmp_path / "VOCdevkit/VOC2007/JPEGImages"
    pictures.mkdir()
    for number, name in enumerate(NAMES):
        Image.new("RGB", (20, 16), (60 * number, 0, 0)).save(pictures / f"{name}.jpg")
    for number, kind in enumerate(CLASSES):
        words = [1 if number == k else 0 if number == k + 1 else -1 for k in range(3)]
        # The files have two blanks before a number without a sign.
        lines = [f"{name} {word:2d}\n" for name, word in zip(NAMES, words, strict=True)]
        (tmp_path / MAIN / f"{kind}_trainval.txt").write_text("".join(lines))
    return tmp_path


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2007"])
def test_labels_are_one_zero_or_not_to_be_judged(root, below):
    images = load_voc2007(root / below, size=9)
    assert images.multi_label and images.classes == CLASSES and len(images) == 3
    expected = torch.zeros(3, 20)
    for k in range(3):
        expected[k, k], expected[k, k + 1] = 1, float("nan")
    torch.testing.assert_close(images.labels, expected, equal_nan=True)
    image, label = images[2]
    assert image.shape == (3, 9, 9) and image[0].float().mean() == pytest.approx(120, abs=3)
    torch.testing.assert_close(label, expected[2], equal_nan=True)
    kept = images.in_memory()
    assert kept.multi_label
    torch.testing.assert_close(kept.labels, expected, equal_nan=True)


def test_what_is_missing_is_named_with_its_address(root, tmp_path):
    with pytest.raises(DataError, match=r"aeroplane_test\.txt.*VOCtest_06-Nov-2007\.tar"):
        load_voc2007(root, "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"JPEGImages.*VOCtrainval_06-Nov-2007\.tar"):
        load_voc2007(tmp_path / "empty")
    with pytest.raises(DataError, match="there is no folder"):
        load_voc2007(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="split"):
        load_voc2007(root, "validation")


def test_lists_that_are_none(root):
    path = root / MAIN / "cat_trainval.txt"
    text = path.read_text()
    for content, message in (
        (text + "000012 2\n", "the line '000012 2'"),
        (text + "000012\n", "the line '000012'"),
        ("", "no lines"),
        (text + "000012 1\n", "other images than aeroplane_trainval"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            load_voc2007(root)


@pytest.mark.parametrize("name", ["../000005", "/etc/passwd", "a/b", "C:\\a"])
def test_lists_that_point_elsewhere(name, root):
    path = root / MAIN / "aeroplane_trainval.txt"
    path.write_text(path.read_text().replace("000005", name))
    with pytest.raises(DataError, match=r"aeroplane_trainval\.txt' has the line"):
        load_voc2007(root)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"aeroplane_trainval\.txt' is no text in UTF-8"):
        load_voc2007(root)


def test_an_image_that_is_missing(root):
    (root / "VOCdevkit/VOC2007/JPEGImages/000007.jpg").unlink()
    with pytest.raises(DataError, match=r"000007\.jpg"):
        load_voc2007(root, size=9)[1]
    with pytest.warns(UnreadableImageWarning, match="1 of 3"):
        images = load_voc2007(root, size=9, on_error="skip")
    assert images.labels[:, 2].tolist() == [0, 1]
