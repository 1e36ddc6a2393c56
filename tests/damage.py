"""Damage to saved folders, at random from a seed: what disks, networks and editors do to files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np


def damages(
    folder: Path, other: Path, room: Path, count: int, seed: int = 0
) -> Iterator[tuple[str, Path]]:
    """Damaged copies of a folder, one after the other in `room`.

    Args:
        folder: what is copied.
        other: another folder of the same kind, for files that are swapped.
        room: where copies stand; each is removed when the next is asked for.
        count: of copies.
        seed: of the choice of file, damage and place.

    Yields:
        What was done, and the copy.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        copy = room / f"damaged-{number}"
        shutil.copytree(folder, copy)
        files = sorted(path for path in copy.rglob("*") if path.is_file())
        file = files[rng.integers(len(files))]
        kinds: list[Callable[..., None]] = [_flip, _flip, _flip, _cut, _zero, _append, _swap]
        kinds += [_edit, _edit] if file.suffix == ".json" else []
        kind = kinds[rng.integers(len(kinds))]
        kind(file, rng, *([other] if kind is _swap else []))
        yield f"{number}: {kind.__name__} {file.name}", copy
        shutil.rmtree(copy)


def _flip(file: Path, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    file.write_bytes(content)


def _cut(file: Path, rng: np.random.Generator) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: rng.integers(len(content))])


def _zero(file: Path, rng: np.random.Generator) -> None:
    """A page that never reached the disk."""
    content = bytearray(file.read_bytes())
    start = int(rng.integers(len(content)))
    content[start : start + 512] = bytes(len(content[start : start + 512]))
    file.write_bytes(content)


def _append(file: Path, rng: np.random.Generator) -> None:
    file.write_bytes(file.read_bytes() + rng.bytes(int(rng.integers(1, 600))))


def _swap(file: Path, rng: np.random.Generator, other: Path) -> None:
    """The file of the same kind from another folder, under this one's name."""
    theirs = sorted(path for path in other.rglob(f"*{file.suffix}") if path.is_file())
    shutil.copyfile(theirs[rng.integers(len(theirs))], file)


def _edit(file: Path, rng: np.random.Generator) -> None:
    """One value of a JSON file, as somebody in an editor would."""
    document = json.loads(file.read_text())
    places: list[tuple[Any, Any]] = list(_places(document))
    container, key = places[rng.integers(len(places))]
    value = container[key]
    changes = [None, "red", 10**9, -1, 0.5, [], {}, True]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        changes = [value + 1, 2 * value + 1, *changes]
    elif isinstance(value, str):
        changes = [f"{value}x", value.upper() + "-", *changes]
    others = [one for one in changes if one != value or type(one) is not type(value)]
    container[key] = others[rng.integers(len(others))]
    file.write_text(json.dumps(document, indent=2))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every entry of nested lists and dictionaries, as its container and its key."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


def truncate(file: Path) -> None:
    """Leave the first half of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


class RunsCode:
    """Unpickled by pickle.load, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)
