"""Reading files that may hold anything: regular files only, within limits, and no code is run.

`docs/security.md` lists every place where the package reads a file, with its limits.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import math
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, Literal

import numpy as np

from hierforecast.errors import DataError

MIB = 2**20
# What a damaged archive or a damaged compressed file raises, whichever it is.
BROKEN = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)
PACKED: dict[bytes, Callable[..., Any]] = {
    b"\xfd7zXZ\x00": lzma.open,
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
}


@contextmanager
def open_file(path: Path | str, limit: float = math.inf) -> Iterator[BinaryIO]:
    """Open a regular file to read; a pipe, which would wait for ever, is refused before that.

    Args:
        path: of the file; links are followed.
        limit: bytes that it may have.

    Raises:
        FileNotFoundError: if it is not there.
        DataError: if it is a folder, a pipe, a device or a loop of links, or too large.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        number = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        raise
    except OSError as error:  # a loop of links, a socket
        raise DataError(f"'{path}' cannot be opened ({error.strerror}): give a file") from error
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"'{path}' is a folder, a pipe or a device: give a file")
        if status.st_size > limit:
            raise DataError(too_large(path, f"has {status.st_size / MIB:,.1f} MiB", limit))
    except BaseException:
        os.close(number)
        raise
    with os.fdopen(number, "rb") as stream:
        yield stream


def read_file(path: Path | str, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; raises as `open_file`."""
    with open_file(path, limit) as stream:
        return stream.read(os.fstat(stream.fileno()).st_size)


def read_text(path: Path | str, limit: int = 64 * MIB) -> str:
    """The text of a regular file in UTF-8; raises as `open_file`, and DataError if it is none."""
    try:
        return read_file(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is no text in UTF-8 ({error}): get it again") from error


def parse_json(content: bytes | str, where: Path | str, remedy: str = "get it again") -> Any:
    """What a JSON text holds.

    Raises:
        DataError: if it is no JSON, no text, or nested beyond the recursion limit.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise DataError(f"'{where}' is damaged (nested too deeply): {remedy}") from error
    except ValueError as error:
        raise DataError(f"'{where}' is damaged (cut short, not JSON: {error}): {remedy}") from error


def read_array(path: Path | str) -> np.ndarray:
    """The array in a .npy file; its header is compared with the file's size before memory is used.

    Raises:
        FileNotFoundError: if it is not there.
        DataError: if it is damaged, is something else, or holds objects, which would run code.
    """
    with open_file(path) as stream:
        return parse_array(stream, os.fstat(stream.fileno()).st_size, path)


def parse_array(stream: BinaryIO, size: int, where: Path | str) -> np.ndarray:
    """The array in an open .npy file of `size` bytes; raises as `read_array`."""
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, by_columns, dtype = headers[np.lib.format.read_magic(stream)](stream)
    except Exception as error:  # a header that numpy did not write may fail in any way
        raise DataError(f"'{where}' cannot be read as an array ({error}): get it again") from error
    if dtype.hasobject or not dtype.itemsize:
        raise DataError(f"'{where}' cannot be read as an array (of {dtype}): get it again")
    wanted, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    content = stream.read(wanted) if wanted == held and min(shape, default=0) >= 0 else b""
    if len(content) != wanted:
        raise DataError(
            f"'{where}' cannot be read as an array: its header promises {dtype} of shape {shape}, "
            f"{wanted:,} bytes, and {held:,} follow. Get it again"
        )
    order: Literal["F", "C"] = "F" if by_columns else "C"
    try:
        return np.ndarray(shape, dtype, content, order=order).copy(order)
    except ValueError as error:  # nothing, but of a shape beyond all numbers
        raise DataError(f"'{where}' cannot be read as an array ({error}): get it again") from error


def read_arrays(path: Path | str, limit: int) -> dict[str, np.ndarray]:
    """The arrays in an .npz file, of which `limit` bytes may come out.

    Raises:
        DataError: if it is damaged, or unpacks to more.
        FileNotFoundError: if it is not there.
    """
    with open_file(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                if sum(one.file_size for one in archive.infolist()) > limit:
                    raise DataError(too_large(path, "unpacks to more", limit))
                found = {}
                for one in archive.infolist():
                    with archive.open(one) as packed:
                        content = io.BytesIO(Limited(packed, one.file_size, path).readall())
                    name = one.filename.removesuffix(".npy")
                    found[name] = parse_array(content, one.file_size, f"{path}:{one.filename}")
                return found
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, *BROKEN) as error:
            raise DataError(f"'{path}' is damaged ({error}): get it again") from error


class Limited(io.RawIOBase):
    """A stream that stops with an error where more comes out of it than there may be.

    Args:
        stream: to read from, such as one that unpacks.
        limit: bytes.
        where: name of the file, for the error.
    """

    def __init__(self, stream: Any, limit: int, where: Path | str) -> None:
        self._stream, self._left, self._limit, self._where = stream, limit, limit, where

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        content = self._stream.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise DataError(too_large(self._where, "unpacks to more", self._limit))
        buffer[: len(content)] = content
        return len(content)


def read_tar(path: Path | str, limit: int) -> Iterator[tuple[str, BinaryIO]]:
    """Names and contents of the regular files in a tar archive, packed by xz, gzip, bzip2 or not.

    It is read as a stream and nothing is written: links, devices and odd names can do no harm.

    Args:
        path: of the archive.
        limit: bytes that it may unpack to, declared or real.

    Raises:
        DataError: if there are more.
        BROKEN: whatever a damaged archive makes the reader raise.
    """
    left = limit
    with open_file(path) as packed:
        start = packed.read(6)
        packed.seek(0)
        unpack = next((how for magic, how in PACKED.items() if start.startswith(magic)), None)
        stream = packed if unpack is None else unpack(packed)
        whole = io.BufferedReader(Limited(stream, limit, path))
        with tarfile.open(fileobj=whole, mode="r|") as archive:
            for member in archive:
                left -= member.size  # a sparse file's holes are nowhere in the archive
                if left < 0:
                    raise DataError(too_large(path, "unpacks to more", limit))
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name, content  # type: ignore[misc]


def is_inside(name: str) -> bool:
    """Whether a name in a list stays within its folder: not absolute, no drive, no ``..``."""
    kinds = (PurePosixPath(name), PureWindowsPath(name))
    return (
        bool(name)
        and "\0" not in name
        and not any(p.is_absolute() or p.drive or p.root or ".." in p.parts for p in kinds)
    )


def too_large(path: Path | str, found: str, limit: float) -> str:
    """What is said of a file that has, holds or unpacks to more than is read."""
    return f"'{path}' {found}, and at most {limit / MIB:,.0f} MiB are read: is it the right file?"
