"""Images with the class of every pixel: ADE20K's scene parsing, and the rendered shapes.

What ADE20K's files are: ``datasets/ade20k/README.md``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data import shapes
from hierforecast.image_ssl.data._decoding import _UNREADABLE, OnError, open_image, read_image
from hierforecast.image_ssl.data._standing_in import check_options, first_readable
from hierforecast.image_ssl.data.arrays import Item
from hierforecast.image_ssl.data.folder import existing_folder
from hierforecast.image_ssl.data.shapes import RenderedShapes
from hierforecast.image_ssl.data.views import MaskSet
from hierforecast.io.limits import read_text

ADDRESS = "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"
FOLDER = "ADEChallengeData2016"
SPLITS = ("training", "validation")
N_CLASSES = 150
N_TRAINING = 20_210
N_VALIDATION = 2_000
UNLABELLED = 0


class ADE20K(MaskSet):
    """ADE20K as the scene parsing benchmark of 2016 has it (Zhou et al. 2017): 150 classes.

    Images lie at ``images/<split>/<name>.jpg``, masks at ``annotations/<split>/<name>.png``: 0
    where nothing is said, which is not to be judged, else the class from 1 to 150. The shorter side
    is resized to `size` and the middle cut out, in image and mask alike; a pixel of the mask is
    that nearest to its middle, never a mixture.

    Args:
        root: the folder ``ADEChallengeData2016``, or the one that it stands in.
        size: side of the square in pixels.
        split: ``"training"`` or ``"validation"``.
        on_error: "raise" names a file that is missing or cannot be read; "skip" lets the next
            image, with its mask, stand in for it, and warns once.

    Raises:
        ValueError: for an option out of its range.
        DataError: if folders are missing or hold no images.
    """

    ignored = UNLABELLED

    def __init__(
        self,
        root: Path | str,
        size: int,
        split: str = "training",
        *,
        on_error: OnError = "raise",
    ) -> None:
        check_options(size, on_error)
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is not one of {list(SPLITS)}")
        folder = _benchmark(existing_folder(Path(root).expanduser()), split)
        self.images = sorted(
            path for path in (folder / "images" / split).glob("*.jpg") if path.name[0] != "."
        )
        if not self.images:
            raise DataError(f"'{folder / 'images' / split}' holds no .jpg files. {_REMEDY}")
        above = folder / "annotations" / split
        self.masks = [above / f"{path.stem}.png" for path in self.images]
        self.classes = ("unlabelled", *_class_names(folder / "objectInfo150.txt"))
        self.size, self.on_error = size, on_error
        self._broken: set[int] = set()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        number = range(len(self))[index]
        if self.on_error == "raise":
            return self._read(number)
        around = ((number + step) % len(self) for step in range(len(self)))
        found = first_readable(around, self._read, self._broken)
        if found is None:
            raise DataError(f"none of the {len(self)} images can be read, e.g. '{self.images[0]}'")
        return found[1]

    def check(self) -> dict[str, str]:
        """The images that cannot be read, or whose masks cannot, and why; decodes everything."""
        reasons: dict[str, str] = {}
        for number in range(len(self)):
            try:
                self._read(number)
            except DataError as error:
                reasons[str(self.images[number])] = str(error)
        return reasons

    def _read(self, number: int) -> Item:
        image, mask = self.images[number], self.masks[number]
        pixels = read_image(image, self.size)
        with open_image(image) as opened:
            shape = opened.size
        return pixels, read_mask(mask, self.size, N_CLASSES, shape)


class ShapeMasks(MaskSet):
    """Rendered shapes with the class of every pixel: 0 where the background is, else 1 + class.

    Args:
        images: the pictures.
    """

    classes = ("background", *shapes.CLASSES)

    def __init__(self, images: RenderedShapes) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        images, masks = self.__getitems__([index])
        return images[0], masks[0]

    def __getitems__(self, indices: list[int]) -> Item:
        images, labels = self.images.__getitems__(indices)
        masks = self.images.mask(indices) * (labels + 1)[:, None, None]
        return images, masks.to(torch.uint8)


def read_mask(
    path: Path | str, size: int, largest: int, shape: tuple[int, int] | None = None
) -> Tensor:
    """A mask as a square, cut out as `read_image` cuts its image; nearest pixels.

    Args:
        path: a file whose pixels are numbers: grey or indexed.
        size: side of the square in pixels.
        largest: number of the last class.
        shape: width and height that it must have: its image's.

    Returns:
        (size, size), uint8.

    Raises:
        DataError: if the file is missing, truncated, no mask, of another shape, or has a number
            above `largest`.
    """
    try:
        with open_image(path) as opened:
            mode, numbers = opened.mode, np.array(opened)
    except _UNREADABLE as error:
        raise DataError(f"'{path}' cannot be read as a mask ({error}): get it again") from error
    if numbers.ndim != 2 or numbers.dtype != np.uint8:
        raise DataError(f"'{path}' is a picture of mode {mode}, not a mask: one number a pixel")
    height, width = numbers.shape
    if shape is not None and shape != (width, height):
        raise DataError(
            f"'{path}' has {width} x {height} pixels, its image {shape[0]} x {shape[1]}"
        )
    if numbers.max(initial=0) > largest:
        raise DataError(f"'{path}' has the class {numbers.max()}, above {largest}")
    scale = size / min(width, height)
    rows, columns = (
        _nearest(length, max(size, round(length * scale)), size) for length in (height, width)
    )
    return torch.from_numpy(numbers[rows[:, None], columns])


def _nearest(length: int, resized: int, size: int) -> np.ndarray:
    """Numbers of the pixels nearest to those of the middle `size` of `length` made `resized`."""
    middles = np.arange(size) + (resized - size) // 2 + 0.5
    return np.minimum((middles * length / resized).astype(np.int64), length - 1)


_REMEDY = (
    f"Remedy: download {ADDRESS}, extract it and give the folder {FOLDER}, or the one that it then "
    "stands in."
)


def _benchmark(root: Path, split: str) -> Path:
    """The benchmark's folder in or at `root`, with both halves of the split."""
    for folder in (root, root / FOLDER):
        if all((folder / what / split).is_dir() for what in ("images", "annotations")):
            return folder
    raise DataError(f"'{root}' has no images/{split} and annotations/{split} in it. {_REMEDY}")


def _class_names(path: Path) -> tuple[str, ...]:
    """Names of the classes 1 to 150 from the table that comes with the files; else their numbers.

    The last of the table's tabbed columns is a class's names, parted by commas; the first counts.
    """
    if not path.is_file():
        return tuple(f"class {number}" for number in range(1, N_CLASSES + 1))
    rows = [line.split("\t") for line in read_text(path).splitlines()[1:] if line]
    names = tuple(row[-1].split(",")[0].strip() for row in rows)
    counted = [row[0].strip() for row in rows] == [str(k) for k in range(1, N_CLASSES + 1)]
    if not counted or not all(names):
        raise DataError(f"'{path}' does not list the classes 1 to {N_CLASSES}: get it again")
    return names
