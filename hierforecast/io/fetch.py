"""Find a data file on this machine, fetch it once if it is not there, and check its SHA-256."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pooch  # type: ignore[import-untyped]

from hierforecast.errors import DataError

ENVIRONMENT_VARIABLE = "HIERFORECAST_DATA"
LFS_PREFIX = b"version https://git-lfs"


class DataFileNotFoundError(FileNotFoundError):
    """A data file is nowhere to be found; the message says where it was sought and what to do."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set, as its loader knows it.

    Attributes:
        name: path relative to the data root, with forward slashes, e.g. ``"nba/games.tar.xz"``.
        sha256: hexadecimal SHA-256 of the whole file.
        url: public address of exactly these bytes, or None where there is none.
        size: length in bytes; makes the error about a truncated file more precise.
    """

    name: str
    sha256: str
    url: str | None = None
    size: int | None = None


def cache_folder() -> Path:
    """The folder that downloads are kept in, different per operating system (pooch's choice)."""
    return Path(pooch.os_cache("hierforecast"))


def locate(
    file: RemoteFile,
    *,
    root: Path | str | None = None,
    check: bool = True,
    download: bool = True,
) -> Path:
    """Path of a data file that is there and has the right content.

    Looked for in this order: ``root``, the folder named by ``$HIERFORECAST_DATA``, the cache of
    earlier downloads; only then is the public address asked. In the first two, the file may lie
    at ``<folder>/<name>`` or directly in the folder. A damaged file is an error where it is found:
    going on to the next place would hide it.

    Args:
        file: what is wanted.
        root: a folder to look in first.
        check: compare SHA-256. False is for files changed on purpose; empty files and git-lfs
            pointers are refused all the same.
        download: False never touches the network.

    Raises:
        DataFileNotFoundError: if the file is in none of the places and cannot be downloaded.
        DataError: if the file is empty, truncated, a git-lfs pointer or has another SHA-256.
    """
    cache = cache_folder()
    for candidate in _candidates(file.name, root, cache):
        if candidate.is_file():
            _refuse_damaged(candidate, file, check=check)
            return candidate
    if not download or file.url is None:
        reason = "it has no public address" if file.url is None else "downloading was not allowed"
        raise DataFileNotFoundError(_not_found_message(file, root, cache, reason))
    return _download(file, root, cache)


def _candidates(name: str, root: Path | str | None, cache: Path) -> list[Path]:
    """Every path the file may have, in the order of preference."""
    folders = [Path(root).expanduser()] if root is not None else []
    if os.environ.get(ENVIRONMENT_VARIABLE):
        folders.append(Path(os.environ[ENVIRONMENT_VARIABLE]).expanduser())
    paths = [folder / part for folder in folders for part in (name, Path(name).name)]
    return [*paths, cache / name]


def _download(file: RemoteFile, root: Path | str | None, cache: Path) -> Path:
    """Fetch into the cache; pooch writes to a temporary name: a broken download leaves nothing."""
    target = cache / file.name
    try:
        pooch.retrieve(
            file.url,
            known_hash=f"sha256:{file.sha256}",
            fname=target.name,
            path=target.parent,
            progressbar=True,
        )
    except ValueError as error:  # pooch's word for a wrong hash
        raise DataError(
            f"'{file.name}' downloaded from {file.url} does not have the SHA-256 {file.sha256}: "
            f"the address serves something else now. Get the file by another way and put it at "
            f"<folder>/{file.name} with {ENVIRONMENT_VARIABLE}=<folder>. ({error})"
        ) from error
    except OSError as error:  # requests' errors are OSErrors: no network, 404, no disk space
        reason = f"downloading {file.url} failed ({error.__class__.__name__}: {error})"
        raise DataFileNotFoundError(_not_found_message(file, root, cache, reason)) from error
    return target


def _not_found_message(file: RemoteFile, root: Path | str | None, cache: Path, reason: str) -> str:
    """The three places, why there was no download, and the remedy."""
    variable = os.environ.get(ENVIRONMENT_VARIABLE)
    source = f"download {file.url}" if file.url else "make the file as its card in datasets/ says"
    return (
        f"'{file.name}' was not found and {reason}. Looked in root={root}, "
        f"{ENVIRONMENT_VARIABLE}={variable or '(not set)'} and the cache {cache}. "
        f"Remedy: {source}, put it at <folder>/{file.name} and pass root=<folder> "
        f"or set {ENVIRONMENT_VARIABLE}=<folder>."
    )


def _refuse_damaged(path: Path, file: RemoteFile, *, check: bool) -> None:
    """Raise DataError, most telling cause first, unless the file is the one that is meant."""
    size = path.stat().st_size
    remedy = f"Delete it and get it again{f' from {file.url}' if file.url else ''}."
    if size == 0:
        raise DataError(
            f"'{path}' is empty (0 bytes, expected {file.size or 'SHA-256 ' + file.sha256}). "
            f"{remedy}"
        )
    with path.open("rb") as stream:
        if stream.read(len(LFS_PREFIX)) == LFS_PREFIX:
            raise DataError(
                f"'{path}' is a git-lfs pointer of {size} bytes, not the data. "
                f"Run `git lfs pull` where it came from, or: {remedy}"
            )
    if not check:
        return
    if file.size is not None and size != file.size:
        verb = "truncated" if size < file.size else "too long"
        raise DataError(f"'{path}' is {verb}: {size} bytes, expected {file.size}. {remedy}")
    found = sha256_of(path)
    if found != file.sha256:
        raise DataError(f"'{path}' has SHA-256 {found}, expected {file.sha256}. {remedy}")


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, remembered until its size or its time of change differs."""
    status = path.stat()
    return _sha256(str(path.resolve()), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _sha256(path: str, mtime_ns: int, size: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
