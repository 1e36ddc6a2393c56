"""Sets in files: where the files lie, and what happens to one that cannot be read.

`FileItems` is how every set in files reads: give it `_readers`, and it raises or skips, warns and
checks. `FileImages` is the set of labelled image files; most sets are made by it.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from torch import Tensor

from hierforecast._options import one_of, whole
from hierforecast.errors import DataError
from hierforecast.image_ssl.data._decoding import UNREADABLE, open_image, read_image
from hierforecast.image_ssl.data.arrays import ImageSet, Item

OnError: TypeAlias = Literal["raise", "skip"]
EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class UnreadableImageWarning(UserWarning):
    """An image file could not be read and was left out, or another stands in for it."""


class FileItems(ABC):
    """Items that are read from files when asked for; the base of every set in files.

    With ``on_error="skip"`` the next item that can be read stands in for one that cannot, so that
    the length stays true, and each such item is warned of once.

    Args:
        on_error: what to do about a file that cannot be read: "raise", when it is asked for, or
            "skip".
    """

    _items = "images"  # what errors call them

    def __init__(self, size: int, on_error: OnError) -> None:
        one_of("on_error", on_error, get_args(OnError))
        self.size, self.on_error = whole("size", size), on_error
        self._broken: set[int] = set()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _readers(self, number: int) -> Mapping[Path | str, Callable[[], Any]]:
        """What reads each part of an item, by the file that it reads; raises `DataError`."""

    def _read(self, number: int) -> tuple[Any, ...]:
        return tuple(read() for read in self._readers(number).values())

    def _substitutes(self, number: int) -> Iterable[int]:
        """An item and those that may stand in for it, in the order of preference."""
        return ((number + step) % len(self) for step in range(len(self)))

    def _readable(self, number: int) -> tuple[int, tuple[Any, ...]]:
        """The number and the parts of this item, or of the one that stands in for it."""
        if self.on_error == "raise":
            return number, self._read(number)
        found = self._first_readable(self._substitutes(number))
        if found is None:
            example = next(iter(self._readers(number)))
            raise DataError(f"none of the {len(self)} {self._items} can be read, e.g. '{example}'")
        return found

    def _first_readable(self, numbers: Iterable[int]) -> tuple[int, tuple[Any, ...]] | None:
        """The first of some items that can be read, with its number; None if none can."""
        for number in numbers:
            if number in self._broken:
                continue
            try:
                return number, self._read(number)
            except DataError as error:
                self._broken.add(number)
                warnings.warn(
                    f"{error} The next readable image stands in for it.",
                    UnreadableImageWarning,
                    stacklevel=4,
                )
        return None

    def check(self) -> dict[str, str]:
        """The files that cannot be read, and why; decodes everything."""
        reasons: dict[str, str] = {}
        for number in range(len(self)):
            for path, read in self._readers(number).items():
                try:
                    read()
                except DataError as error:
                    reasons[str(path)] = str(error)
        return reasons


class FileImages(ImageSet, FileItems):
    """Labelled image files; the base of the readers of folders.

    With ``on_error="skip"`` the headers of all files are read at once, and those that have none are
    left out, with one warning. A file whose header is sound but whose rest is cut short shows only
    when it is decoded; the next readable image, with its own label, then stands in for it.

    Args:
        labels: int64 (n,), or float32 (n, classes) for `multi_label`.
    """

    def __init__(
        self,
        files: Sequence[str],
        labels: Tensor,
        classes: Sequence[str],
        size: int,
        *,
        multi_label: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        super().__init__(size, on_error)
        self.files, self._labels = list(files), labels
        self.classes, self.multi_label = tuple(classes), multi_label
        if on_error == "skip":
            self._leave_out(self.check())

    def __len__(self) -> int:
        return len(self.files)

    @property
    def labels(self) -> Tensor:
        """All labels, (n,) or (n, classes), without a look at the images."""
        return self._labels

    def __getitem__(self, index: int) -> Item:
        number, (image,) = self._readable(range(len(self))[index])  # IndexError beyond the end
        return image, self._labels[number]

    def _readers(self, number: int) -> Mapping[Path | str, Callable[[], Tensor]]:
        path = self.files[number]
        return {path: lambda: read_image(path, self.size)}

    def check(self, whole: bool = False) -> dict[str, str]:
        """The files that cannot be read, and why.

        Args:
            whole: decode every image, which finds truncated ones too but takes as long as an epoch;
                else read the headers only.
        """
        reasons: dict[str, str] = {}
        for path in dict.fromkeys(self.files):
            try:
                with open_image(path) as image:
                    if whole:
                        image.load()
            except UNREADABLE as error:
                reasons[path] = str(error)
        return reasons

    def _leave_out(self, reasons: dict[str, str]) -> None:
        """Drop the files that cannot be read, and say so once."""
        if not reasons:
            return
        kept = [number for number, path in enumerate(self.files) if path not in reasons]
        example, reason = next(iter(reasons.items()))
        message = f"{len(reasons)} of {len(self.files)} image files cannot be read"
        if not kept:
            raise DataError(f"{message}, e.g. '{example}' ({reason}): get them again")
        warnings.warn(
            f"{message} and are left out, e.g. '{example}' ({reason})",
            UnreadableImageWarning,
            stacklevel=4,
        )
        self.files = [self.files[number] for number in kept]
        self._labels = self._labels[kept]


def existing_folder(path: Path | str) -> Path:
    """A folder's path, with the user's home for ``~``."""
    path = Path(path).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        packed = ".tar" in path.name or ".zip" in path.name
        unpack = " (extract the archive first)" if packed else ""
        raise DataError(f"'{path}' is a file: give the folder that holds the images{unpack}")
    parent = path.parent
    beside = sorted(one.name for one in parent.iterdir() if one.is_dir()) if parent.is_dir() else []
    hint = f": '{parent}' has {', '.join(beside[:8])}" if beside else ""
    raise DataError(f"there is no folder '{path}'{hint}")


def folder_with(root: Path | str, needed: Sequence[str], below: Sequence[str], remedy: str) -> Path:
    """The folder that holds what is needed: `root`, or one of those below it.

    Args:
        needed: folders that must lie in it.
    """
    root = existing_folder(root)
    for folder in (root, *(root / one for one in below)):
        if all((folder / one).is_dir() for one in needed):
            return folder
    raise DataError(f"'{root}' has no {below[-1]} with {' and '.join(needed)} in it. {remedy}")


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones are left out."""
    return sorted(one.name for one in folder.iterdir() if one.is_dir() and one.name[0] != ".")
