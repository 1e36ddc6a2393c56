"""Image files to squares of one size, and what happens to a file that cannot be read."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.image_ssl.data.arrays import ImageSet, Item
from hierforecast.io.limits import open_file

OnError: TypeAlias = Literal["raise", "skip"]
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
LARGEST = 2**27  # pixels of a resized image before its middle is cut out
EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class UnreadableImageWarning(UserWarning):
    """An image file could not be read and was left out, or another stands in for it."""


class FileImages(ImageSet):
    """Images in files, decoded when asked for; the base of the readers of folders.

    With ``on_error="skip"`` the headers of all files are read at once, and those that have none are
    left out, with one warning. A file whose header is sound but whose rest is cut short shows only
    when it is decoded; the next readable image of the set, with its own label, then stands in for
    it, so that a length once told stays true, and each such file is warned of once.

    Args:
        files: path of each image.
        labels: int64 (n,), or float32 (n, classes) for `multi_label`.
        classes: the name of each class.
        size: side of the square in pixels.
        multi_label: whether an image may belong to several classes.
        on_error: what to do about a file that cannot be read: "raise", when it is asked for, or
            "skip".

    Raises:
        ValueError: for an option out of its range.
        DataError: if no image is left.
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
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error={on_error!r} is neither "raise" nor "skip"')
        if size < 1:
            raise ValueError(f"size={size}: give the side of the images in pixels")
        self.files, self._labels = list(files), labels
        self.classes, self.size = tuple(classes), size
        self.multi_label, self.on_error = multi_label, on_error
        self._broken: set[int] = set()
        if on_error == "skip":
            self._leave_out(self.check())

    def __len__(self) -> int:
        return len(self.files)

    @property
    def labels(self) -> Tensor:
        """All labels, (n,) or (n, classes), without a look at the images."""
        return self._labels

    def __getitem__(self, index: int) -> Item:
        index = range(len(self))[index]  # IndexError beyond the end, and numbers from the end
        if self.on_error == "raise":
            return read_image(self.files[index], self.size), self._labels[index]
        for step in range(len(self)):
            number = (index + step) % len(self)
            if number in self._broken:
                continue
            try:
                return read_image(self.files[number], self.size), self._labels[number]
            except DataError as error:
                self._broken.add(number)
                warnings.warn(
                    f"{error} The next readable image stands in for it.",
                    UnreadableImageWarning,
                    stacklevel=2,
                )
        raise DataError(f"none of the {len(self)} images can be read, e.g. '{self.files[index]}'")

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
            except _UNREADABLE as error:
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


# Pillow's words for a damaged file; a decompression bomb is one as well.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    Image.DecompressionBombError,
    struct.error,
    zlib.error,
    LookupError,
    OverflowError,
)


def open_image(path: str | Path) -> Image.Image:
    """Open an image file by Pillow: a regular file of a format that needs no other program.

    Pillow knows more, by their content and not their names; for EPS it runs Ghostscript.

    Raises:
        DataError: for a pipe, a folder or a device.
        OSError: if the file is missing, or of no such format.
    """
    with open_file(path):
        return Image.open(path, formats=FORMATS)


def read_image(path: str | Path, size: int) -> Tensor:
    """A file as a square: the shorter side is resized to `size`, and the middle is cut out.

    Args:
        path: a file that Pillow reads; grey, indexed and transparent images become RGB.
        size: side of the square in pixels.

    Returns:
        (3, size, size), uint8.

    Raises:
        DataError: if the file is missing, truncated or no image.
    """
    try:
        with open_image(path) as image:
            image.draft("RGB", (size, size))  # JPEG alone: decode at half size where that is enough
            rgb = _without_transparency(image)
    except _UNREADABLE as error:
        raise DataError(
            f"'{path}' cannot be read as an image ({error}). Get it again or delete it, or leave "
            'out what cannot be read with on_error="skip".'
        ) from error
    width, height = rgb.size
    if min(width, height) != size:
        scale = size / min(width, height)
        new = (max(size, round(width * scale)), max(size, round(height * scale)))
        if new[0] * new[1] > LARGEST:
            raise DataError(f"'{path}' is a strip of {width} x {height} pixels: delete it")
        rgb = rgb.resize(new, Image.Resampling.BILINEAR)
    left, top = (rgb.width - size) // 2, (rgb.height - size) // 2
    rgb = rgb.crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


def _without_transparency(image: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white, not whatever colour lies beneath."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
