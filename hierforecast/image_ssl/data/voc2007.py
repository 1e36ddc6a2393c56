"""Pascal VOC 2007: photographs in which any of twenty kinds of things may be seen.

What the files are: ``datasets/voc2007/README.md``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from hierforecast._options import one_of
from hierforecast.errors import DataError
from hierforecast.image_ssl.data._files import FileImages, OnError, folder_with
from hierforecast.image_ssl.data._registry import in_folder, register
from hierforecast.image_ssl.data.arrays import ImageSet
from hierforecast.io.limits import is_inside, read_text

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
N_CLASSES = len(CLASSES)
N_TRAINVAL = 5_011
N_TEST = 4_952

ADDRESS = "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/"
ARCHIVES = {
    "train": "VOCtrainval_06-Nov-2007.tar",
    "val": "VOCtrainval_06-Nov-2007.tar",
    "trainval": "VOCtrainval_06-Nov-2007.tar",
    "test": "VOCtest_06-Nov-2007.tar",
}
# The lists' words: seen, not seen, and seen only in what is marked as hard to tell.
_PRESENCE = {"1": 1.0, "-1": 0.0, "0": float("nan")}


def load_voc2007(
    root: Path | str, split: str = "trainval", size: int = 225, *, on_error: OnError = "raise"
) -> FileImages:
    """Photographs (3, size, size) and which classes they show.

    Args:
        root: folder that the archives were extracted in: ``VOCdevkit``, the one above it, or
            ``VOC2007`` within it.

    Returns:
        A multi-label set: labels are float32 (20,), 1 for a class that is seen, 0 for one that is
        not, NaN where all its objects are marked as difficult and the challenge does not judge.
    """
    one_of("split", split, ARCHIVES)
    needed = "JPEGImages", "ImageSets/Main"
    folder = folder_with(root, needed, ("VOC2007", "VOCdevkit/VOC2007"), _remedy(split))
    names: list[str] | None = None
    columns = []
    for kind in CLASSES:
        path = folder / "ImageSets" / "Main" / f"{kind}_{split}.txt"
        own, column = _presence(path, split)
        if names is not None and own != names:
            raise DataError(f"'{path}' lists other images than {CLASSES[0]}_{split}.txt")
        names = own
        columns.append(column)
    files = [str(folder / "JPEGImages" / f"{name}.jpg") for name in names or []]
    labels = torch.stack(columns, dim=1)
    return FileImages(files, labels, CLASSES, size, multi_label=True, on_error=on_error)


def _remedy(split: str) -> str:
    return (
        f"Remedy: download {ADDRESS}{ARCHIVES[split]}, extract it (`tar xf {ARCHIVES[split]}`) and "
        "give the folder that VOCdevkit then stands in."
    )


def _presence(path: Path, split: str) -> tuple[list[str], Tensor]:
    """Names of images and 1, 0 or NaN for each, float32 (n,), from a class's list."""
    if not path.is_file():
        raise DataError(f"there is no '{path}'. {_remedy(split)}")
    rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
    odd = [
        row
        for row in rows
        if len(row) != 2 or row[1] not in _PRESENCE or "/" in row[0] or not is_inside(row[0])
    ]
    if odd or not rows:
        found = f"the line {' '.join(odd[0])!r}" if odd else "no lines"
        raise DataError(
            f"'{path}' has {found}: lines are an image and -1, 0 or 1. {_remedy(split)}"
        )
    return [name for name, _ in rows], torch.tensor([_PRESENCE[word] for _, word in rows])


register("voc2007:ROOT", openers={ImageSet: in_folder(load_voc2007, "trainval", "test")})
