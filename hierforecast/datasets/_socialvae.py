"""Scenes as text: ``VISITOR_HOME_game_quarter_start_end.txt`` in an archive or an unpacked tree.

A line is ``frame agent x y group``. Every frame has eleven lines in one constant order: the ball
(agent -1), the five players of the home team, the five of the visitors. Frames are numbered in
1/100 s: 0, 12, 24, ...
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hierforecast.datasets._tracks import AGENTS, Floats, Integers
from hierforecast.errors import DataError
from hierforecast.io.atomic import write_atomically
from hierforecast.io.fetch import LFS_PREFIX, cache_folder, sha256_of
from hierforecast.io.limits import BROKEN, MIB, read_arrays, read_file, read_tar

KINDS = ("score", "rebound")
FRAME = 12  # hundredths of a second between frames
RATE = 100 / FRAME
VERSION = 1  # of what is kept in the cache: count up when its meaning changes
BALL = -1
LARGEST, LARGEST_TEXT = 2048 * MIB, 16 * MIB  # of an archive unpacked, and of one scene
BLOCK = 256  # scenes parsed at once
LONG = 2000  # files from which a progress bar is worth its line
BAD_FILE = "Delete it and take it again from where the archive or folder came from."


@dataclass(frozen=True)
class Scenes:
    """Parsed scenes, sorted by label.

    Attributes:
        label, kind, game: ``(scenes,)`` text; a label is ``GAME_quarter_start_end``.
        lengths: ``(scenes,)`` frames.
        tracks: ``(sum(lengths), 11, 2)`` float32 feet, scenes end to end, agents as in `AGENTS`.
    """

    label: NDArray[np.str_]
    kind: NDArray[np.str_]
    game: NDArray[np.str_]
    lengths: Integers
    tracks: Floats

    def take(self, chosen: Integers) -> Scenes:
        """Only the scenes with these numbers, in this order."""
        end = np.cumsum(self.lengths)
        rows = [np.arange(end[i] - self.lengths[i], end[i]) for i in chosen]
        return Scenes(
            self.label[chosen],
            self.kind[chosen],
            self.game[chosen],
            self.lengths[chosen],
            self.tracks[np.concatenate(rows)],
        )


@dataclass(frozen=True)
class _File:
    path: str
    kind: str
    game: str
    label: str
    text: bytes


def read(place: Path, *, progress: bool = False) -> Scenes:
    """All scenes in an archive or an unpacked folder, without exact repeats.

    An archive takes some seconds to unpack and parse; the result is kept in the cache folder,
    under the archive's SHA-256, and read from there the next time.

    Raises:
        DataError: no scene inside, a name or a content that is not as this module's docstring
            says, an archive cut short; the message names the file.
    """
    if place.is_dir():
        return _parse(_files(place), progress)
    kept = cache_folder() / "nba" / f"socialvae-{sha256_of(place)[:16]}-{VERSION}.npz"
    if kept.is_file():
        try:
            return Scenes(**read_arrays(kept, LARGEST))
        except (OSError, ValueError, TypeError):
            pass  # damaged by whatever means: make it again
    scenes = _parse(_files(place), progress)
    arrays = {field.name: getattr(scenes, field.name) for field in fields(scenes)}
    with contextlib.suppress(OSError):  # a read-only or full disk costs time only
        write_atomically(kept, lambda stream: np.savez(stream, **arrays))
    return scenes


def _files(place: Path) -> list[_File]:
    """One entry a scene, sorted by label: exact repeats dropped, equal labels told apart."""
    files: dict[str, _File] = {}
    seen: set[bytes] = set()
    for path, text in _texts(place):
        file = _named(place, path, text)
        if text and text in seen:
            continue
        seen.add(text)
        label, number = file.label, 1
        while label in files:
            number += 1
            label = f"{file.label}_{number}"
        files[label] = replace(file, label=label)
    if not files:
        raise DataError(
            f"'{place}' holds no scene: .txt files are expected in 'score' and 'rebound' folders"
        )
    return [files[label] for label in sorted(files)]


def _texts(place: Path) -> Iterator[tuple[str, bytes]]:
    """Path (relative, with forward slashes) and content of every .txt file, sorted by path."""
    if place.is_dir():
        for file in sorted(place.rglob("*.txt")):
            yield file.relative_to(place).as_posix(), read_file(file, LARGEST_TEXT).strip()
        return
    try:
        found = [
            (name, stream.read().strip())
            for name, stream in read_tar(place, LARGEST)
            if name.endswith(".txt")
        ]
    except BROKEN as error:
        raise DataError(
            f"'{place}' is not a whole .tar.xz archive ({error}): it may be cut short. {BAD_FILE}"
        ) from error
    yield from sorted(found)


def _named(place: Path, path: str, text: bytes) -> _File:
    parts = PurePosixPath(path).stem.split("_")
    kind = next((part for part in PurePosixPath(path).parts if part in KINDS), None)
    if len(parts) != 6 or kind is None:
        raise DataError(
            f"'{path}' in '{place}' should be <score|rebound>/.../"
            f"VISITOR_HOME_game_quarter_start_end.txt. Rename or remove it."
        )
    return _File(path, kind, parts[2], "_".join(parts[2:]), text)


def _parse(files: list[_File], progress: bool) -> Scenes:
    blocks = [files[i : i + BLOCK] for i in range(0, len(files), BLOCK)]
    parsed = [_parse_block(block) for block in _bar(blocks, progress and len(files) >= LONG)]
    return Scenes(
        label=np.array([file.label for file in files]),
        kind=np.array([file.kind for file in files]),
        game=np.array([file.game for file in files]),
        lengths=np.concatenate([lengths for _, lengths in parsed]),
        tracks=np.concatenate([tracks for tracks, _ in parsed]),
    )


def _bar(blocks: list[list[_File]], show: bool) -> Iterator[list[_File]]:
    if not show:
        yield from blocks
        return
    from rich.progress import track

    yield from track(blocks, description="Reading scenes", transient=True)


def _parse_block(files: list[_File]) -> tuple[Floats, Integers]:
    for file in files:
        if not file.text or file.text.startswith(LFS_PREFIX):
            what = "a git-lfs pointer (run `git lfs pull`)" if file.text else "empty"
            raise DataError(f"'{file.path}' is {what}. {BAD_FILE}")
    try:
        tracks, lengths = _parse_texts([file.text for file in files])
    except (ValueError, OverflowError) as error:  # pandas' parser errors are ValueErrors
        if len(files) == 1:
            raise DataError(f"'{files[0].path}' is not a scene: {error}. {BAD_FILE}") from error
        for file in files:  # find the one that is to blame
            _parse_block([file])
        raise
    return tracks, lengths


def _parse_texts(texts: list[bytes]) -> tuple[Floats, Integers]:
    rows = np.array([text.count(b"\n") + 1 for text in texts])
    agents = len(AGENTS)
    if (rows % agents).any():
        raise ValueError(f"{rows[rows % agents > 0][0]} lines are not {agents} to a frame")
    table = pd.read_csv(
        io.BytesIO(b"\n".join(texts)),
        sep=" ",
        header=None,
        names=["frame", "agent", "x", "y", "group"],
        dtype={"frame": np.int64, "agent": np.int64, "x": np.float32, "y": np.float32},
    )
    if len(table) != rows.sum():
        raise ValueError("there are blank lines")
    lengths = rows // agents
    start = np.repeat(np.cumsum(lengths) - lengths, lengths)
    frame = table["frame"].to_numpy().reshape(-1, agents)
    agent = table["agent"].to_numpy().reshape(-1, agents)
    tracks = table[["x", "y"]].to_numpy().reshape(-1, agents, 2)
    if (frame != FRAME * (np.arange(len(frame)) - start)[:, None]).any():
        raise ValueError(f"frames are not numbered 0, {FRAME}, {2 * FRAME}, ... with {agents} rows")
    if (agent != agent[start]).any() or (agent[:, 0] != BALL).any() or (agent[:, 1:] == BALL).any():
        raise ValueError(
            "the order of agents is not ball, then the same ten players, in each frame"
        )
    if not np.isfinite(tracks).all():
        raise ValueError("a coordinate is missing or infinite")
    return tracks, lengths
