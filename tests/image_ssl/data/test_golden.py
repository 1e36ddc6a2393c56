"""What was rendered, read, drawn and refused: `tests/golden/image_data.json`.

Whole numbers bit for bit, others but for what processors round differently. Run this file as a
program to record it anew, which changes what every user gets of a seed.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import ADE20K, ImageFolder, RenderedObjects, RenderedShapes
from hierforecast.image_ssl.data.named import open_masks, open_posed, open_set
from hierforecast.image_ssl.data.threedie import ThreeDIEBench

GOLDEN = Path(__file__).parents[2] / "golden" / "image_data.json"


# Sums that are compared, and by how much they may differ: as the roundings of a few numbers do. A
# pixel that lies between two of its 256 levels is rounded to one here and to the other there.
SUMS, APART, LEVEL = 3, 1e-3, 2e-4


def digest(*arrays: torch.Tensor) -> list[object]:
    """Types, shapes, and SHA-256 of whole numbers; of others and of pixels sums, weighted."""
    found: list[object] = []
    for array in arrays:
        found.append(f"{array.dtype} {tuple(array.shape)}")
        if array.is_floating_point() or array.dtype == torch.uint8:
            array = LEVEL * array.double() if array.dtype == torch.uint8 else array.double()
            weights = np.random.default_rng(0).normal(size=(SUMS, array.numel()))
            found.append((weights @ array.flatten().numpy()).round(5).tolist())
        else:
            found.append(hashlib.sha256(array.contiguous().numpy().tobytes()).hexdigest())
    return found


def agree(found: object, wanted: object) -> bool:
    """Whether two records are equal, numbers but for roundings."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return found.keys() == wanted.keys() and all(agree(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(agree, found, wanted))
    return found == (pytest.approx(wanted, abs=APART) if isinstance(wanted, float) else wanted)


def batch(images, count: int | None = None) -> list[object]:
    numbers = list(range(len(images) if count is None else count))
    return digest(*images.__getitems__(numbers))


def of_rendered(images) -> dict[str, object]:
    numbers = range(len(images))
    parameters = images.parameters(numbers)
    return {
        "labels": str(images.labels[:12].tolist()),
        "parameters": digest(*parameters.values()),
        "images": batch(images),
        "masks": digest(images.mask(numbers)),
    }


def shapes(root: Path) -> dict[str, object]:
    options = {"textures": ["dots", "plain"], "scales": (0.2, 0.3), "light": 0.1}
    return {
        "33": of_rendered(RenderedShapes(150)),
        "9": of_rendered(RenderedShapes(40, seed=7, size=9, **options)),
        "named": batch(open_set("shapes", 12, images=30)),
        "named test": batch(open_set("shapes", 12, test=True, images=30)),
        "named masks": batch(open_masks("shapes", 12, images=30)),
    }


def objects(root: Path) -> dict[str, object]:
    seen = RenderedObjects(12, 3, seed=5, size=16, within=60, frame="object")
    pairs = seen.pairs(range(36), torch.Generator().manual_seed(3))
    return {
        "33": of_rendered(RenderedObjects(20, 2)),
        "16": of_rendered(seen),
        "pairs": digest(pairs.numbers),
        "relative": digest(*(pairs.relative[name] for name in sorted(pairs.relative))),
        "named": batch(open_set("objects", 12, images=30)),
        "named posed": batch(open_posed("objects:45", 12, test=True, images=30)),
    }


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (20, 24 + number % 3, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def reading(*calls: Callable[[], object]) -> list[object]:
    """What comes of some calls: values, errors and warnings."""
    found: list[object] = []
    for call in calls:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found.append(call())
            except DataError as error:
                found.append(str(error))
            found.append([f"{one.category.__name__}: {one.message}" for one in caught])
    return found


def folder(root: Path) -> dict[str, object]:
    for number in range(18):
        split = "train" if number < 12 else "val"
        picture(root / split / f"n{number % 3}" / f"{number}.png", number)
    (root / "train/n1/1.png").write_bytes(b"<html>")
    short = root / "train/n2/5.png"
    short.write_bytes(short.read_bytes()[:700])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        some = ImageFolder(root, 8, "train", on_error="skip")
    return {
        "left out": [str(one.message) for one in caught],
        "skip": reading(lambda: batch(some), lambda: batch(some), lambda: some.check(True)),
        "raise": reading(lambda: batch(open_set(str(root), 8))),
        "val": batch(open_set(str(root), 8, test=True)),
        "drawn": str(open_set(str(root), 8, images=7).labels.tolist()),
    }


def threedie(root: Path) -> dict[str, object]:
    for number in range(15):
        place = root / f"0{number // 10}" / f"object{number // 5}"
        picture(place / f"image_{number % 5}.jpg", number)
        np.save(place / f"latent_{number % 5}.npy", np.random.default_rng(number).random(7))
    for number in (5, 6, 7, 8, 9, 11):
        (root / f"0{number // 10}" / f"object{number // 5}" / f"image_{number % 5}.jpg").unlink()
    draw = torch.Generator().manual_seed(1)
    some = ThreeDIEBench(root, 9, views=5, on_error="skip")
    return {
        "check": sorted(some.check()),
        "labels": str(some.labels.tolist()),
        "skip": reading(
            lambda: str(some.__getitems__(list(range(15)))[1].tolist()),
            lambda: str(some.parameters(range(15))["object"].tolist()),
            lambda: str(some.pairs(range(15), draw).numbers.tolist()),
        ),
        "raise": reading(lambda: ThreeDIEBench(root, 9, views=5)[5]),
    }


def ade20k(root: Path) -> dict[str, object]:
    for number in range(6):
        picture(root / "images/training" / f"{number}.png", number)
        Image.open(root / "images/training" / f"{number}.png").save(
            root / "images/training" / f"{number}.jpg"
        )
        mask = np.random.default_rng(number).integers(0, 151, (20, 24 + number % 3), np.uint8)
        path = root / "annotations/training" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    (root / "annotations/training/2.png").write_bytes(b"<html>")
    some = ADE20K(root, 10, on_error="skip")
    masks = lambda images: digest(images.__getitems__(list(range(len(images))))[1])  # noqa: E731
    return {
        "skip": reading(lambda: masks(some), lambda: masks(some), lambda: list(some.check())),
        "raise": reading(lambda: masks(ADE20K(root, 10))),
        "drawn": reading(
            lambda: masks(open_masks(f"ade20k:{root}", 10, images=3, on_error="skip"))
        ),
    }


MADE = {made.__name__: made for made in (shapes, objects, folder, threedie, ade20k)}


def made(name: str, root: Path) -> object:
    """The values of a set, with no path of this machine in them."""
    return json.loads(json.dumps(MADE[name](root)).replace(str(root), "ROOT"))


@pytest.mark.parametrize("name", MADE)
def test_the_same_seeds_and_files_give_the_same_images(name, tmp_path):
    assert agree(made(name, tmp_path), json.loads(GOLDEN.read_text())[name])


def test_pixels_and_numbers_that_differ_are_seen():
    pixels = RenderedShapes(20).__getitems__(list(range(20)))[0]
    record = json.loads(json.dumps(digest(pixels)))
    rounded, other = pixels.clone(), pixels.clone()
    rounded[7, 0, 11, 5] ^= 1
    other[7, :, 11, 5] ^= 64
    assert agree(digest(rounded), record) and not agree(digest(other), record)
    assert not agree(digest(pixels.flip(0)), record) and not agree(digest(pixels.int()), record)
    numbers = torch.randn(40, generator=torch.Generator().manual_seed(0))
    record = json.loads(json.dumps(digest(numbers)))
    assert agree(digest(numbers * (1 + 1e-6)), record)
    assert not agree(digest(numbers * 1.01), record)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as above:
        document = {name: made(name, Path(above) / name) for name in MADE}
    GOLDEN.write_text(json.dumps(document, indent=1) + "\n")
