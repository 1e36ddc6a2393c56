"""Sets of images by the names that the command line calls them by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import ImageSet
from hierforecast.image_ssl.data.cifar10 import load_cifar10
from hierforecast.image_ssl.data.folder import ImageFolder, INaturalist, existing_folder
from hierforecast.image_ssl.data.shapes import RenderedShapes
from hierforecast.image_ssl.data.voc2007 import load_voc2007

__all__ = ["NAMES", "open_set"]

# How many shapes are rendered where nobody says: to learn from, and to judge by.
SHAPES = (4096, 2048)
TEST_SPLITS = ("val", "test")
NAMES = "shapes, cifar10, cifar10:lossless, voc2007:ROOT, inaturalist:ROOT, or a folder"


def open_set(
    name: str,
    size: int,
    split: str | None = None,
    *,
    test: bool = False,
    images: int | None = None,
) -> ImageSet:
    """A set of images by its name, for learning or for judging.

    Args:
        name: ``"shapes"``; ``"cifar10"``, the official files, or ``"cifar10:lossless"``, the small
            one; ``"voc2007:ROOT"`` and ``"inaturalist:ROOT"`` with the folder that the files lie
            in; or a folder of class folders, or of splits such as train/ and val/.
        size: side of the images, pixels.
        split: of the set; by default what it has for learning, or with `test` for judging. In a
            folder that is train/ if there is one, or val/ or test/.
        test: whether the images are to judge by. Shapes are then those of another seed.
        images: so many at most, drawn at random (always the same ones).

    Raises:
        DataError: if there is no such set, or it has no such images.
        ValueError: for a split that the set does not have.
    """
    kind, _, rest = name.partition(":")
    if kind == "shapes":
        if split is not None or rest:
            raise DataError(f"shapes have no parts: {rest or split!r} is none of them")
        count = SHAPES[test] if images is None else images
        return RenderedShapes(count, seed=int(test), size=size).in_memory()
    opener = OPENERS.get(kind)
    found = _folder(name, size, split, test) if opener is None else opener(rest, size, split, test)
    if images is None or images >= len(found):
        return found
    drawn = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:images]
    return found.subset(drawn)


def _cifar10(version: str, size: int, split: str | None, test: bool) -> ImageSet:
    wanted = split or ("test" if test else "train")
    return load_cifar10(wanted, version or "official").resized(size)


def _voc2007(root: str, size: int, split: str | None, test: bool) -> ImageSet:
    return load_voc2007(_needed(root, "voc2007"), split or ("test" if test else "trainval"), size)


def _inaturalist(root: str, size: int, split: str | None, test: bool) -> ImageSet:
    return INaturalist(_needed(root, "inaturalist"), size, split or ("val" if test else "train"))


def _folder(root: str, size: int, split: str | None, test: bool) -> ImageSet:
    try:
        folder = existing_folder(Path(root).expanduser())
    except DataError as error:
        raise DataError(f"{error}; sets are {NAMES}") from error
    there = [name for name in (TEST_SPLITS if test else ("train",)) if (folder / name).is_dir()]
    if split is None and test and not there:
        raise DataError(
            f"'{folder}' has neither {' nor '.join(TEST_SPLITS)} to judge by: name the folder in "
            "it that has, with '.' for itself"
        )
    return ImageFolder(folder, size, split or (there[0] if there else None))


def _needed(root: str, kind: str) -> str:
    if not root:
        raise DataError(f"{kind} lies in a folder of its own: give {kind}:ROOT")
    return root


OPENERS: dict[str, Callable[[str, int, str | None, bool], ImageSet]] = {
    "cifar10": _cifar10,
    "voc2007": _voc2007,
    "inaturalist": _inaturalist,
}
