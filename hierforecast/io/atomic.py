"""Files that are written whole or not at all: a reader sees the old file or the new one."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from hierforecast.errors import DataError

if sys.platform != "win32":
    import fcntl

LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}\.part")  # of a process that was killed


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside its place and put it there in one step, on the disk before and after.

    Until the step the old file stays as it was, and if anything fails it stays for good. A link is
    followed. What is no file (a pipe, a terminal) holds nothing to lose and is written straight.

    Args:
        path: where the file belongs; its folder is made if need be.
        write: called with an open binary file.

    Raises:
        OSError: if the disk is full, or the place may not be written to.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        with open(path, "wb") as stream:
            write(stream)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileNotFoundError):  # a new file gets the user's usual rights
            os.chmod(part, path.stat().st_mode & 0o7777)
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # "No space left on device" says where
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to fill beside its place; it is put there in one step at the end, or removed.

    What processes that were killed have left of the same place is removed first.

    Args:
        folder: where it belongs, if need be in folders that are made.

    Raises:
        DataError: if anything is there already.
    """
    folder = Path(os.path.realpath(folder))
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"'{folder}' holds something already: give a new folder, or empty it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    own = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{16}}\.part")
    for name in filter(own.fullmatch, os.listdir(folder.parent)):
        _remove_if_left(folder.with_name(name))
    part, lock = _locked_part(folder)
    try:
        yield part
        sync_folder(part)
        os.replace(part, folder)  # over an empty folder, if there is one
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)
    sync_folder(folder.parent)


def _locked_part(folder: Path) -> tuple[Path, int | None]:
    """A new folder beside a place, and the lock that says that a process is at it.

    Another may have found it before it was locked, and removed it.
    """
    while True:
        part = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.part")
        part.mkdir()
        try:
            lock = _locked(part)
        except FileNotFoundError:
            continue
        if part.exists():
            return part, lock
        assert lock is not None
        os.close(lock)


def _remove_if_left(part: Path) -> None:
    """Remove a folder that no process holds; where none can tell, it stays."""
    with contextlib.suppress(OSError):
        lock = _locked(part, wait=False)
        if lock is not None:
            shutil.rmtree(part, ignore_errors=True)
            os.close(lock)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[bool]:
    """Wait until no other process or thread writes into a folder.

    Yields:
        Whether it is certain that there is no other; some systems cannot tell.
    """
    number = _locked(folder)
    try:
        yield number is not None
    finally:
        if number is not None:
            if sys.platform != "win32":
                fcntl.flock(number, fcntl.LOCK_UN)  # a forked child may hold it open too
            os.close(number)


def _locked(folder: Path, wait: bool = True) -> int | None:
    """A locked folder's descriptor, or None where the system locks no folders.

    Without waiting also None where another holds it.
    """
    if sys.platform == "win32":
        return None
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(number)
        return None
    return number
