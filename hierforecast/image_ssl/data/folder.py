"""Images in folders, a folder a class: ImageNet, iNaturalist and sets of one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from hierforecast.errors import DataError
from hierforecast.image_ssl.data._files import (
    EXTENSIONS,
    FileImages,
    OnError,
    existing_folder,
    subfolders,
)
from hierforecast.image_ssl.data._registry import Request, in_folder, register
from hierforecast.image_ssl.data.arrays import ImageSet
from hierforecast.io.limits import MIB, is_inside, parse_json, read_file

LARGEST = 1024 * MIB  # of an annotation file; that of iNaturalist 2018 has some 120
INATURALIST_KEYS = ("images", "annotations", "categories")
TEST_SPLITS = ("val", "test")


class ImageFolder(FileImages):
    """Images at ``<root>/<class>/...``, of any depth below the class; classes in sorted order.

    So lie ImageNet (``train/n01440764/*.JPEG``), CIFAR as JPEG (``train/airplane/*.jpg``) and most
    sets that representations are transferred to. Images are decoded when asked for, the shorter
    side resized to `size` and the middle cut out; random crops are for the augmentation.

    Args:
        root: folder of the class folders, or, with `split`, of the splits.
        classes: names of the class folders to read, in the order of their numbers; all, sorted, by
            default. Give a training set's to its test set where some class may be missing.

    Raises:
        DataError: if the folder is missing, is a file or holds no class folders, or if a class
            folder holds no images.
    """

    def __init__(
        self,
        root: Path | str,
        size: int,
        split: str | None = None,
        *,
        classes: tuple[str, ...] | None = None,
        on_error: OnError = "raise",
    ) -> None:
        folder = existing_folder(root)
        if split is not None:
            folder = existing_folder(folder / split)
        names = classes if classes is not None else _class_names(folder)
        found = {name: _image_files(existing_folder(folder / name)) for name in names}
        if empty := [name for name in names if not found[name]]:
            raise DataError(
                f"{len(empty)} class folders of '{folder}' hold no images, e.g. '{empty[0]}': "
                f"delete them, or put files with {', '.join(EXTENSIONS)} in them"
            )
        files = [file for name in names for file in found[name]]
        counts = torch.tensor([len(found[name]) for name in names])
        labels = torch.arange(len(counts)).repeat_interleave(counts)
        super().__init__(files, labels, names, size, on_error=on_error)


class INaturalist(FileImages):
    """iNaturalist 2018: images listed in a JSON file, ``train2018.json`` or ``val2018.json``.

    Files lie at ``<root>/train_val2018/<supercategory>/<species number>/*.jpg``; the annotations
    give each its path below `root` and its category. Classes are all categories that the file
    lists, by the order of their ids, so that both splits number them alike; a name is the
    category's, which is the species number where names were withheld.

    Args:
        annotations: path of the annotation file, if it is not ``<root>/<split>2018.json``.

    Raises:
        DataError: if the folder or the annotation file is missing, or the file is not one.
    """

    def __init__(
        self,
        root: Path | str,
        size: int,
        split: str = "train",
        *,
        annotations: Path | str | None = None,
        on_error: OnError = "raise",
    ) -> None:
        folder = existing_folder(root)
        path = Path(annotations) if annotations is not None else folder / f"{split}2018.json"
        table = _annotation_table(path)
        try:
            ids = sorted({int(row["id"]) for row in table["categories"]})
            names = {int(row["id"]): str(row["name"]) for row in table["categories"]}
            category = {row["image_id"]: int(row["category_id"]) for row in table["annotations"]}
            number = {one: position for position, one in enumerate(ids)}
            labels = [number[category[row["id"]]] for row in table["images"]]
            below = [str(row["file_name"]) for row in table["images"]]
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise DataError(
                f"'{path}' is not an iNaturalist annotation file: an image lacks its category, or "
                f"a row its id, name or file_name ({error!r})"
            ) from error
        if not below:
            raise DataError(f"'{path}' lists no images")
        outside = next((name for name in below if not is_inside(name)), None)
        if outside is not None:
            raise DataError(
                f"'{path}' has the file_name {outside!r}, which lies outside '{folder}': names are "
                "relative, without '..'"
            )
        files = [str(folder / name) for name in below]
        classes = [names[one] for one in ids]
        super().__init__(files, torch.tensor(labels), classes, size, on_error=on_error)


def _class_names(folder: Path) -> tuple[str, ...]:
    """The class folders in a folder."""
    if names := subfolders(folder):
        return tuple(names)
    loose = sum(one.suffix.lower() in EXTENSIONS for one in folder.iterdir())
    found = f"holds {loose} images but no class folders" if loose else "holds no class folders"
    raise DataError(f"'{folder}' {found}: put images at <root>/<class>/<image>.jpg")


def _image_files(folder: Path) -> list[str]:
    """All image files below a folder, sorted; hidden ones (macOS's "._x.jpg") are none."""
    found, around = [], dict[str, set[str]]()
    for above, folders, names in os.walk(folder, followlinks=True):
        real, outer = os.path.realpath(above), around.get(os.path.dirname(above), set())
        if real in outer:  # a link back to where we came from would go on for ever
            folders.clear()
            continue
        around[above] = outer | {real}
        images = (n for n in names if n[0] != "." and n.lower().endswith(EXTENSIONS))
        found += [os.path.join(above, name) for name in images]
    return sorted(found)


def _annotation_table(path: Path) -> dict[str, Any]:
    """The JSON file's object, with its three lists."""
    if not path.is_file():
        raise DataError(
            f"there is no annotation file '{path}': put the data set's "
            "train2018.json and val2018.json there, or pass annotations=<file>"
        )
    table = parse_json(read_file(path, LARGEST), path)
    missing = [key for key in INATURALIST_KEYS if not isinstance(table, dict) or key not in table]
    if missing:
        raise DataError(f"'{path}' has no {missing}: it is not an iNaturalist annotation file")
    return dict(table)


def open_folder(request: Request, names: str) -> ImageFolder:
    """A folder of class folders, or of splits."""
    try:
        folder = existing_folder(request.name)
    except DataError as error:
        raise DataError(f"{error}; sets are {names}") from error
    wanted = TEST_SPLITS if request.test else ("train",)
    there = [name for name in wanted if (folder / name).is_dir()]
    if request.split is None and request.test and not there:
        raise DataError(
            f"'{folder}' has neither {' nor '.join(TEST_SPLITS)} to evaluate on: name the folder "
            "in it that has, with '.' for itself"
        )
    split = request.split or (there[0] if there else None)
    return ImageFolder(folder, request.size, split, on_error=request.on_error)


register("inaturalist:ROOT", openers={ImageSet: in_folder(INaturalist, "train", "val")})
