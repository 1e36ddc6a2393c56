from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import (
    ADE20K,
    MaskSet,
    RenderedShapes,
    ShapeMasks,
    UnreadableImageWarning,
    collate,
)
from hierforecast.image_ssl.data._decoding import read_mask
from tests.damage import truncate

NAMES = [f"ADE_train_{number:08d}" for number in range(1, 5)]
WIDTH, HEIGHT = 36, 24


def numbers(row: int) -> np.ndarray:
    """Classes in blocks of four pixels, of which some are unlabelled."""
    blocks = np.random.default_rng(row).integers(0, 151, (HEIGHT // 4, WIDTH // 4))
    return np.kron(blocks, np.ones((4, 4))).astype(np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images whose grey is that of their masks, so that one can be told from the other."""
    base = tmp_path / "ADEChallengeData2016"
    for split in ("training", "validation"):
        for what in ("images", "annotations"):
            (base / what / split).mkdir(parents=True)
    for row, name in enumerate(NAMES):
        mask = Image.fromarray(numbers(row))
        mask.convert("RGB").save(base / "images/training" / f"{name}.jpg", quality=98)
        mask.save(base / "annotations/training" / f"{name}.png")
    lines = ["Idx\tRatio\tTrain\tVal\tName"]
    lines += [f"{k}{' ' * (k % 2)}\t0.1\t10\t1\tthing {k}, object {k}" for k in range(1, 151)]
    (base / "objectInfo150.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("below", ["", "ADEChallengeData2016"])
def test_images_and_masks(root, below):
    scenes = ADE20K(root / below, 12)
    assert isinstance(scenes, MaskSet) and len(scenes) == 4 and scenes.ignored == 0
    assert len(scenes.classes) == 151 and scenes.classes[:2] == ("unlabelled", "thing 1")
    image, mask = scenes[2]
    assert image.shape == (3, 12, 12) and image.dtype == torch.uint8
    assert mask.shape == (12, 12) and mask.dtype == torch.uint8
    # The middle 24 x 24, every other pixel: blocks of four have an inside.
    expected = numbers(2)[1::2, 6 + 1 : 30 : 2]
    np.testing.assert_array_equal(mask, expected)
    loader = DataLoader(scenes, batch_size=4, collate_fn=collate)
    images, masks = next(iter(loader))
    assert images.shape == (4, 3, 12, 12) and torch.equal(masks[2], mask)
    assert torch.equal(next(iter(DataLoader(Subset(scenes, [2]), collate_fn=collate)))[1][0], mask)
    assert torch.equal(scenes[-2][1], mask)
    (root / "ADEChallengeData2016/objectInfo150.txt").unlink()
    assert ADE20K(root, 12).classes[150] == "class 150"


@pytest.mark.parametrize("size", [5, 12, 24, 33, 60])
def test_masks_lie_on_their_images(root, size):
    """Away from the edges of blocks, the image's grey is the mask's number."""
    for row in range(4):
        image, mask = ADE20K(root, size)[row]
        flat = (image[0].float() - mask.float()).abs()
        assert set(mask.unique().tolist()) <= set(np.unique(numbers(row)).tolist())
        if size >= 24:
            same = torch.nn.functional.unfold(mask[None, None].float(), 3, padding=1)
            inner = (same == same[:, 4:5]).all(1).reshape(size, size)
            assert inner.sum() > 20 and flat[inner].median() < 3
            assert (flat[inner] < 12).float().mean() > 0.9
        else:
            assert flat.median() < 40


@pytest.mark.parametrize(("width", "height"), [(7, 7), (31, 20), (20, 31), (683, 511), (3, 9)])
@pytest.mark.parametrize("size", [1, 7, 16])
def test_nearest_pixels(tmp_path, width, height, size):
    """Against Pillow's own nearest resize of a picture of coordinates."""
    picture = (np.arange(height)[:, None] * 7 + np.arange(width)) % 151
    file = tmp_path / "mask.png"
    Image.fromarray(picture.astype(np.uint8)).save(file)
    scale = size / min(width, height)
    new = (max(size, round(width * scale)), max(size, round(height * scale)))
    with Image.open(file) as opened:
        resized = np.array(opened.resize(new, Image.Resampling.NEAREST))
    left, top = (new[0] - size) // 2, (new[1] - size) // 2
    expected = resized[top : top + size, left : left + size]
    np.testing.assert_array_equal(read_mask(file, size, 150), expected)


def test_an_indexed_mask_keeps_its_numbers(tmp_path):
    mask = Image.fromarray(numbers(0))
    mask.putpalette([value for k in range(256) for value in (255 - k, k, 0)])
    mask.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as opened:
        assert opened.mode == "P"
    np.testing.assert_array_equal(
        read_mask(tmp_path / "mask.png", 24, 150), numbers(0)[:, 6 : 6 + 24]
    )


DAMAGE = {
    "a truncated image": ("jpg", truncate),
    "no image": ("jpg", lambda file: file.write_text("<html>")),
    "a truncated mask": ("png", truncate),
    "a missing mask": ("png", lambda file: file.unlink()),
    "a mask in colour": ("png", lambda file: Image.new("RGB", (WIDTH, HEIGHT)).save(file)),
    "a mask of 16 bits": ("png", lambda file: Image.new("I;16", (WIDTH, HEIGHT)).save(file)),
    "another shape": ("png", lambda file: Image.new("L", (HEIGHT, WIDTH)).save(file)),
    "a class too many": ("png", lambda file: Image.new("L", (WIDTH, HEIGHT), 151).save(file)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_cannot_be_read_is_named_or_stood_in_for(root, damage):
    ending, do = DAMAGE[damage]
    folder = root / "ADEChallengeData2016" / ("images" if ending == "jpg" else "annotations")
    file = folder / "training" / f"{NAMES[1]}.{ending}"
    do(file)
    scenes = ADE20K(root, 12)
    with pytest.raises(DataError, match=file.name):
        scenes[1]
    assert [Path(name).stem for name in scenes.check()] == [NAMES[1]]
    scenes = ADE20K(root, 12, on_error="skip")
    with pytest.warns(UnreadableImageWarning, match=file.name):
        image, mask = scenes[1]
    assert torch.equal(image, scenes[2][0]) and torch.equal(mask, scenes[2][1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(scenes[1][1], mask) and len(scenes) == 4


@pytest.mark.filterwarnings("ignore::hierforecast.image_ssl.data.UnreadableImageWarning")
def test_what_is_missing_is_named_with_its_address(root, tmp_path_factory):
    with pytest.raises(DataError, match=r"images/training.*ADEChallengeData2016\.zip"):
        ADE20K(tmp_path_factory.mktemp("empty"), 12)
    with pytest.raises(DataError, match="there is no folder"):
        ADE20K(root / "nowhere", 12)
    with pytest.raises(DataError, match=r"no \.jpg"):
        ADE20K(root, 12, "validation")
    for options in ({"size": 0}, {"split": "test"}, {"on_error": "ignore"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            ADE20K(root, **({"size": 12} | options))
    table = root / "ADEChallengeData2016/objectInfo150.txt"
    table.write_text("Idx\tName\n1\twall\n")
    with pytest.raises(DataError, match="classes 1 to 150"):
        ADE20K(root, 12)
    table.unlink()
    for name in NAMES:
        (root / "ADEChallengeData2016/annotations/training" / f"{name}.png").unlink()
    with pytest.raises(DataError, match="none of the 4 images"):
        ADE20K(root, 12, on_error="skip")[0]


def test_masks_of_shapes():
    shapes = RenderedShapes(60, seed=2)
    scenes = ShapeMasks(shapes)
    assert len(scenes) == 60 and scenes.ignored is None
    assert scenes.classes == ("background", *shapes.classes)
    images, masks = next(iter(DataLoader(scenes, batch_size=60, collate_fn=collate)))
    pictures, labels = shapes.__getitems__(list(range(60)))
    assert torch.equal(images, pictures) and masks.dtype == torch.uint8
    for number in range(60):
        own = masks[number][shapes.mask([number])[0]].unique().tolist()
        assert own == [int(labels[number]) + 1]
        assert (masks[number][~shapes.mask([number])[0]] == 0).all()
    assert torch.equal(scenes[7][1], masks[7]) and torch.equal(scenes[7][0], images[7])
