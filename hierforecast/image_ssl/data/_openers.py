"""What opens the sets that `named` knows by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data._decoding import OnError
from hierforecast.image_ssl.data.ade20k import ADE20K, ShapeMasks
from hierforecast.image_ssl.data.arrays import ImageSet, Indices, Item, whole_numbers
from hierforecast.image_ssl.data.cifar10 import load_cifar10
from hierforecast.image_ssl.data.folder import ImageFolder, INaturalist, existing_folder
from hierforecast.image_ssl.data.objects import WITHIN, RenderedObjects
from hierforecast.image_ssl.data.shapes import RenderedShapes
from hierforecast.image_ssl.data.threedie import LISTS, SPLITS, ThreeDIEBench
from hierforecast.image_ssl.data.views import MaskSet, PosedSet
from hierforecast.image_ssl.data.voc2007 import load_voc2007

# How many are rendered where nobody says: to learn from, and to judge by.
SHAPES, OBJECTS = (4096, 2048), (1024, 512)
VIEWS = 4  # of each rendered object
TEST_SPLITS = ("val", "test")
EVERY = "all"  # the split of 3DIEBench that needs no lists


@dataclass(frozen=True)
class Asked:
    """What is asked of a set.

    Attributes:
        rest: of its name, behind the colon.
        size: side of the images, pixels.
        split: of the set, or None.
        test: whether to judge by.
        images: so many at most, or None.
        on_error: what to do about a file that cannot be read.
    """

    rest: str
    size: int
    split: str | None
    test: bool
    images: int | None
    on_error: OnError

    def count(self, views: int = 1) -> int | None:
        """How many things of so many views are taken, or None for all.

        Raises:
            DataError: if the images wanted are not even one.
        """
        if self.images is not None and self.images < views:
            raise DataError(f"{self.images} images are not one object: it has {views} views")
        return None if self.images is None else self.images // views

    def drawn_among(self, n: int, views: int = 1) -> Tensor | None:
        """Which of `n` things of so many views are taken, always the same; None for all."""
        count = self.count(views)
        if count is None or count >= n:
            return None
        return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:count]


class _SomeObjects(PosedSet):
    """Some objects of another set, by their numbers there, with all their views."""

    def __init__(self, parent: PosedSet, objects: Tensor) -> None:
        self.parent, self.classes, self.frame = parent, parent.classes, parent.frame
        self.n_objects, self.views = len(objects), parent.views
        self.numbers = (objects[:, None] * self.views + torch.arange(self.views)).flatten()

    def __getitem__(self, index: int) -> Item:
        return self.parent[int(self.numbers[index])]

    @property
    def labels(self) -> Tensor:
        return self.parent.labels[self.numbers]

    def parameters(self, indices: Indices) -> dict[str, Tensor]:
        numbers = whole_numbers(indices, len(self))
        return self.parent.parameters(self.numbers[numbers]) | {"object": numbers // self.views}


def _shapes(asked: Asked) -> ImageSet:
    return _rendered_shapes(asked).in_memory()


def _rendered_shapes(asked: Asked) -> RenderedShapes:
    if asked.split is not None or asked.rest:
        raise DataError(f"shapes have no parts: {asked.rest or asked.split!r} is none of them")
    count = SHAPES[asked.test] if asked.images is None else asked.images
    return RenderedShapes(count, seed=int(asked.test), size=asked.size)


def _rendered_objects(asked: Asked) -> RenderedObjects:
    if asked.split is not None:
        raise DataError(f"objects have no parts: {asked.split!r} is none of them")
    try:
        within = float(asked.rest or WITHIN)
    except ValueError as error:
        raise DataError(
            f"objects:{asked.rest}: give degrees from the upright pose, as objects:45"
        ) from error
    count = OBJECTS[asked.test] if asked.images is None else -(-asked.images // VIEWS)
    return RenderedObjects(count, VIEWS, int(asked.test), asked.size, within=within)


def _objects(asked: Asked) -> ImageSet:
    found = _rendered_objects(asked)
    count = len(found) if asked.images is None else asked.images
    return found.subset(range(count)).in_memory()


def _posed_objects(asked: Asked) -> PosedSet:
    count = asked.count(VIEWS)
    whole = replace(asked, images=None if count is None else count * VIEWS)
    return _rendered_objects(whole).in_memory()


def _threedie(asked: Asked) -> ThreeDIEBench:
    root = existing_folder(Path(_needed(asked.rest, "threedie")).expanduser())
    split = asked.split or ("val" if asked.test else "train")
    if split in SPLITS and not (root / f"{split}_images.npy").is_file():
        raise DataError(
            f"'{root}' has no {split}_images.npy: put the lists of {LISTS} there, or give the "
            f"split {EVERY!r}, which is every object"
        )
    chosen = None if split == EVERY else split
    return ThreeDIEBench(root, asked.size, chosen, on_error=asked.on_error)


def _posed_threedie(asked: Asked) -> PosedSet:
    found = _threedie(asked)
    drawn = asked.drawn_among(found.n_objects, found.views)
    return found if drawn is None else _SomeObjects(found, drawn)


def _shape_masks(asked: Asked) -> MaskSet:
    return ShapeMasks(_rendered_shapes(asked))


def _ade20k(asked: Asked) -> MaskSet:
    split = asked.split or ("validation" if asked.test else "training")
    root = _needed(asked.rest, "ade20k")
    found = ADE20K(root, asked.size, split, on_error=asked.on_error)
    drawn = asked.drawn_among(len(found))
    if drawn is not None:
        found.images, found.masks = (
            [paths[k] for k in drawn] for paths in (found.images, found.masks)
        )
    return found


def _cifar10(asked: Asked) -> ImageSet:
    wanted = asked.split or ("test" if asked.test else "train")
    return load_cifar10(wanted, asked.rest or "official").resized(asked.size)


def _voc2007(asked: Asked) -> ImageSet:
    split = asked.split or ("test" if asked.test else "trainval")
    root = _needed(asked.rest, "voc2007")
    return load_voc2007(root, split, asked.size, on_error=asked.on_error)


def _inaturalist(asked: Asked) -> ImageSet:
    split = asked.split or ("val" if asked.test else "train")
    root = _needed(asked.rest, "inaturalist")
    return INaturalist(root, asked.size, split, on_error=asked.on_error)


def open_folder(asked: Asked, names: str) -> ImageSet:
    """A folder of class folders, or of splits.

    Args:
        asked: `rest` is the folder.
        names: of what there is beside folders, for the error where there is no such folder.
    """
    try:
        folder = existing_folder(Path(asked.rest).expanduser())
    except DataError as error:
        raise DataError(f"{error}; sets are {names}") from error
    wanted = TEST_SPLITS if asked.test else ("train",)
    there = [name for name in wanted if (folder / name).is_dir()]
    if asked.split is None and asked.test and not there:
        raise DataError(
            f"'{folder}' has neither {' nor '.join(TEST_SPLITS)} to judge by: name the folder in "
            "it that has, with '.' for itself"
        )
    split = asked.split or (there[0] if there else None)
    return ImageFolder(folder, asked.size, split, on_error=asked.on_error)


def _needed(root: str, kind: str) -> str:
    if not root:
        raise DataError(f"{kind} lies in a folder of its own: give {kind}:ROOT")
    return root


# By the word that stands in front of the colon.
SETS: Mapping[str, Callable[[Asked], ImageSet]] = {
    "shapes": _shapes,
    "objects": _objects,
    "cifar10": _cifar10,
    "voc2007": _voc2007,
    "inaturalist": _inaturalist,
    "threedie": _threedie,
}
POSED: Mapping[str, Callable[[Asked], PosedSet]] = {
    "objects": _posed_objects,
    "threedie": _posed_threedie,
}
MASKS: Mapping[str, Callable[[Asked], MaskSet]] = {"shapes": _shape_masks, "ade20k": _ade20k}
