"""ADE20K's scene parsing: photographs with the class of every pixel.

What ADE20K's files are: ``datasets/ade20k/README.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path

from hierforecast._options import one_of
from hierforecast.errors import DataError
from hierforecast.image_ssl.data._decoding import open_image, read_image, read_mask
from hierforecast.image_ssl.data._files import FileItems, OnError, folder_with
from hierforecast.image_ssl.data._registry import in_folder, register
from hierforecast.image_ssl.data.arrays import Indices, Item, whole_numbers
from hierforecast.image_ssl.data.views import MaskSet
from hierforecast.io.limits import read_text

ADDRESS = "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"
FOLDER = "ADEChallengeData2016"
SPLITS = ("training", "validation")
N_CLASSES = 150
N_TRAINING = 20_210
N_VALIDATION = 2_000
UNLABELLED = 0


class ADE20K(MaskSet, FileItems):
    """ADE20K as the scene parsing benchmark of 2016 has it (Zhou et al. 2017): 150 classes.

    Images lie at ``images/<split>/<name>.jpg``, masks at ``annotations/<split>/<name>.png``: 0
    where nothing is said, which is not evaluated, else the class from 1 to 150. The shorter side
    is resized to `size` and the middle cut out, in image and mask alike; a pixel of the mask is
    that nearest to its middle, never a mixture.

    Args:
        root: the folder ``ADEChallengeData2016``, or the one that it stands in.
        on_error: "raise" names a file that is missing or cannot be read; "skip" lets the next
            image, with its mask, stand in for it, and warns once.
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
        super().__init__(size, on_error)
        one_of("split", split, SPLITS)
        needed = f"images/{split}", f"annotations/{split}"
        folder = folder_with(root, needed, (FOLDER,), _REMEDY)
        self.images = sorted(
            path for path in (folder / needed[0]).glob("*.jpg") if path.name[0] != "."
        )
        if not self.images:
            raise DataError(f"'{folder / needed[0]}' holds no .jpg files. {_REMEDY}")
        self.masks = [folder / needed[1] / f"{path.stem}.png" for path in self.images]
        self.classes = ("unlabelled", *_class_names(folder / "objectInfo150.txt"))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        _, (item,) = self._readable(range(len(self))[index])
        return item

    def subset(self, indices: Indices) -> ADE20K:
        """The images with these numbers, in this order, with their masks."""
        numbers, found = whole_numbers(indices, len(self)), copy(self)
        found.images, found.masks = (
            [paths[k] for k in numbers] for paths in (self.images, self.masks)
        )
        found._broken = set()
        return found

    def _readers(self, number: int) -> Mapping[Path | str, Callable[[], Item]]:
        """An image and its mask, by the image's file: both or neither."""
        image, mask = self.images[number], self.masks[number]

        def read() -> Item:
            pixels = read_image(image, self.size)
            with open_image(image) as opened:
                shape = opened.size
            return pixels, read_mask(mask, self.size, N_CLASSES, shape)

        return {image: read}


_REMEDY = (
    f"Remedy: download {ADDRESS}, extract it and give the folder {FOLDER}, or the one that it then "
    "stands in."
)


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


register("ade20k:ROOT", openers={MaskSet: in_folder(ADE20K, "training", "validation")})
