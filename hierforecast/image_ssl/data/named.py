"""Sets of images by the names that the command line calls them by."""

from __future__ import annotations

from hierforecast.errors import DataError
from hierforecast.image_ssl.data._decoding import OnError
from hierforecast.image_ssl.data._openers import MASKS, POSED, SETS, Asked, open_folder
from hierforecast.image_ssl.data.arrays import ImageSet
from hierforecast.image_ssl.data.views import MaskSet, PosedSet

__all__ = [
    "MASK_NAMES",
    "NAMES",
    "POSED_NAMES",
    "is_posed",
    "open_masks",
    "open_posed",
    "open_set",
]

POSED_NAMES = "objects, objects:DEGREES, or threedie:ROOT"
MASK_NAMES = "shapes, or ade20k:ROOT"
NAMES = (
    "shapes, objects, objects:DEGREES, cifar10, cifar10:lossless, voc2007:ROOT, inaturalist:ROOT, "
    "threedie:ROOT, or a folder"
)


def open_set(
    name: str,
    size: int,
    split: str | None = None,
    *,
    test: bool = False,
    images: int | None = None,
    on_error: OnError = "raise",
) -> ImageSet:
    """A set of images by its name, for learning or for judging.

    Args:
        name: ``"shapes"``; ``"objects"``; ``"cifar10"``, the official files, or
            ``"cifar10:lossless"``, the small one; ``"voc2007:ROOT"``, ``"inaturalist:ROOT"`` and
            ``"threedie:ROOT"`` with the folder that the files lie in; or a folder of class folders,
            or of splits such as train/ and val/.
        size: side of the images, pixels.
        split: of the set; by default what it has for learning, or with `test` for judging. In a
            folder that is train/ if there is one, or val/ or test/.
        test: whether the images are to judge by. What is rendered is then of another seed.
        images: so many at most, drawn at random (always the same ones).
        on_error: what to do about a file that cannot be read: "raise" or "skip".

    Raises:
        DataError: if there is no such set, or it has no such images.
        ValueError: for a split that the set does not have.
    """
    kind, _, rest = name.partition(":")
    if kind in SETS:
        asked = Asked(rest, size, split, test, images, on_error)
        found = SETS[kind](asked)
    else:
        asked = Asked(name, size, split, test, images, on_error)
        found = open_folder(asked, NAMES)
    drawn = asked.drawn_among(len(found))
    return found if drawn is None else found.subset(drawn)


def open_posed(
    name: str,
    size: int,
    split: str | None = None,
    *,
    test: bool = False,
    images: int | None = None,
    on_error: OnError = "raise",
) -> PosedSet:
    """A set of views of objects in known poses by its name, for learning or for judging.

    Args:
        name: ``"objects"`` in any pose, ``"objects:45"`` within 45 degrees of the upright one, or
            ``"threedie:ROOT"`` with the folder that the files lie in.
        size, test, on_error: as for `open_set`.
        split: of 3DIEBench, train or val as its lists have them, or all.
        images: objects are drawn at random, all their views with them, so that there are so many at
            most.

    Raises:
        DataError: if there is no such set with poses, or it has no such images.
        ValueError: for a split that the set does not have.
    """
    kind, _, rest = name.partition(":")
    if kind not in POSED:
        raise DataError(f"{name!r} is no set of known poses: give {POSED_NAMES}")
    return POSED[kind](Asked(rest, size, split, test, images, on_error))


def open_masks(
    name: str,
    size: int,
    split: str | None = None,
    *,
    test: bool = False,
    images: int | None = None,
    on_error: OnError = "raise",
) -> MaskSet:
    """A set of images with the class of every pixel by its name, for learning or for judging.

    Args:
        name: ``"shapes"``, or ``"ade20k:ROOT"`` with the folder that the files lie in.
        size, test, images, on_error: as for `open_set`.
        split: of ADE20K, training or validation.

    Raises:
        DataError: if there is no such set with masks, or it has no such images.
        ValueError: for a split that the set does not have.
    """
    kind, _, rest = name.partition(":")
    if kind not in MASKS:
        raise DataError(f"{name!r} is no set of images with masks: give {MASK_NAMES}")
    return MASKS[kind](Asked(rest, size, split, test, images, on_error))


def is_posed(name: str) -> bool:
    """Whether `open_posed` knows the set."""
    return name.partition(":")[0] in POSED
