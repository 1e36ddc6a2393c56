"""Image files and masks to squares of one size."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hierforecast.errors import DataError
from hierforecast.io.limits import open_file

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
LARGEST = 2**27  # pixels of a resized image before its middle is cut out

# Pillow's words for a damaged file; a decompression bomb is one as well.
UNREADABLE = (
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

    Returns:
        (3, size, size), uint8.

    Raises:
        DataError: if the file is missing, truncated or no image.
    """
    try:
        with open_image(path) as image:
            image.draft("RGB", (size, size))  # JPEG alone: decode at half size where that is enough
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                # What is transparent becomes white, not whatever color lies beneath.
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            rgb = image.convert("RGB")
    except UNREADABLE as error:
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


def read_mask(
    path: Path | str, size: int, largest: int, shape: tuple[int, int] | None = None
) -> Tensor:
    """A mask as a square, cut out as `read_image` cuts its image; nearest pixels.

    Args:
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
    except UNREADABLE as error:
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
