"""Soccer tracking seen through one broadcast camera: about half of the player-frames are missing.

Meters, origin at the pitch center. What the files are, with counts: ``datasets/soccer/README.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from hierforecast._options import whole
from hierforecast.datasets._loader import with_tracks
from hierforecast.datasets._tracks import BALL, Agent, check_rate, resample, tracks_to_frame
from hierforecast.errors import DataError
from hierforecast.io.fetch import RemoteFile, locate
from hierforecast.io.limits import MIB, open_file

NATIVE_RATE = 25.0  # frames per second
N_FRAMES = 10_000  # a file: 400 s
N_SERIES = 23  # seen in each file: the ball, 11 and 11
N_ROWS = {7: 116_107, 8: 103_960, 9: 109_797, 10: 103_209}  # at 25 Hz
PITCH = (105.0, 68.0)  # meters; play reaches a little outside

_ADDRESS = (
    "https://raw.githubusercontent.com/NeoViews/BeyondSight/"
    "7f0a8bb8dc5f9a95ac461b464c127880438d411f/data/"
)


def _remote(subset: int, sha256: str, size: int) -> RemoteFile:
    name = f"tracking_data_partially_observed_subset{subset}.csv"
    return RemoteFile(f"soccer/{name}", sha256, _ADDRESS + name, size)


FILES = {
    7: _remote(7, "24bed50a308f137e591c99289823387bf0c5632c049d0780ae76420109f00101", 4_189_617),
    8: _remote(8, "bf7b00b4e7c2209dabf3ab4754b6b248846eac10ccaaf191bee30fe3b44552c8", 4_080_615),
    9: _remote(9, "2e28a63660db4f16a806e2d4c72054f625879f0139b3eaff9a3773f7cb7515a9", 4_134_189),
    10: _remote(10, "104f7fc62bcee075bfee7c52737daff335104dd0a0f2287be7990a801600e68d", 4_046_270),
}

LARGEST = 256 * MIB  # of a file of tracks; a whole match has some 60
N_PAIRS = 31  # x,y pairs in a row: the ball, 12 away slots, 14 home slots, 4 camera corners


# In the file's order. The 12th away slot and the last home slot are the goalkeepers.
SERIES = [
    BALL,
    *(Agent(f"away_{i}", "away", "goalkeeper" if i == 11 else "player") for i in range(12)),
    *(Agent(f"home_{i}", "home", "goalkeeper" if i == 13 else "player") for i in range(14)),
]


@with_tracks
def load_soccer(
    subsets: Iterable[int | str | PathLike[str]] = (7, 8, 9, 10),
    *,
    rate: float = 5.0,
    clip_length: float | None = None,
    root: Path | str | None = None,
) -> pd.DataFrame:
    """Partially observed tracking of one match, one row per series *seen* at a step.

    What the camera did not see is not there: no gap is filled. Identities are the source's, jumps
    included: a few tracks are re-identified within a gap-free run, with steps of up to 37.6 m in
    one frame (subset 8, frame 6940, seven players at once). Teams change ends between subsets
    (subset 7 runs the other way).

    For a model: ``load_soccer.columns``; a team holds players and a goalkeeper, whose type differs.

    Args:
        subsets: numbers of the source's files (400 s each): 7, 8, 9 and 10 are known and checked,
            others are taken as they are; or paths of files of this format.
        rate: steps per second, at most 25. An exact divisor of 25 keeps every n-th frame; other
            rates interpolate linearly, and only where both neighboring frames are present.
        clip_length: length in seconds of the scenes that a file is cut into (the last may be
            shorter); None keeps each file whole.
        root: folder with ``soccer/*.csv`` (or the files themselves), looked in first.

    Returns:
        Columns ``scene`` ("subset7", of a path its name, with "/000" if clipped), ``ds`` (int step
        from 0 in the scene), ``unique_id`` ("ball", "away_1", "home_3", ... by slot of the file),
        ``team`` ("ball", "away", "home"), ``kind`` ("ball", "player", "goalkeeper"), ``x``, ``y``
        (meters from the pitch center, pitch 105 x 68), sorted by scene, ds and slot.

    Raises:
        ValueError: for no subset, or a rate or clip length out of range.
        FileNotFoundError: if a file is not found and cannot be downloaded.
        DataError: if a file is damaged.
    """
    check_rate(rate, NATIVE_RATE)
    clip = _clip_steps(clip_length, rate)
    files = [_find(subset, root) for subset in subsets]
    if not files:
        raise ValueError(f"subsets is empty: choose from {sorted(FILES)}, or give paths")
    parts = []
    for scene, path in files:
        tracks = read_tracking(path)
        tracks, (steps,) = resample(tracks, np.array([len(tracks)]), NATIVE_RATE, rate)
        lengths, names = np.array([steps]), [scene]
        if clip is not None:
            lengths = np.diff(np.append(np.arange(0, steps, clip), steps))
            names = [f"{scene}/{i:03d}" for i in range(len(lengths))]
        parts.append(tracks_to_frame(tracks, lengths, SERIES, names))
    return pd.concat(parts, ignore_index=True)


def _find(subset: int | str | PathLike[str], root: Path | str | None) -> tuple[str, Path]:
    """The scene's name and the file of a number or a path."""
    if isinstance(subset, str | PathLike):
        return Path(subset).stem, Path(subset)
    if subset in FILES:
        return f"subset{subset}", locate(FILES[subset], root=root)
    # Others of the source: what they hold is not known here, so they are not fetched.
    other = _remote(whole("subset", subset, 0), "", 0)
    return f"subset{subset}", locate(other, root=root, check=False, download=False)


def read_tracking(path: Path | str) -> np.ndarray:
    """One file as an array (T, 27, 2) in meters at 25 Hz; NaN where not in view.

    Args:
        path: a csv of 31 x,y pairs a row. The four camera corners are checked and left out.

    Raises:
        DataError: if the header, the number of cells or a number is wrong, or one of x and y of
            a pair is missing without the other.
    """
    path = Path(path)
    with open_file(path, LARGEST) as stream:
        header = stream.readline(10_000).decode("utf-8", "replace").rstrip("\r\n").split(",")
    if len(header) != 2 * N_PAIRS or header[0] != "Ball":
        raise DataError(
            f"'{path}' does not begin with the header of {2 * N_PAIRS} cells 'Ball,Ball,PA1,,...' "
            f"(found {len(header)} cells, first '{header[0][:20]}'). Is it another file?"
        )
    try:
        # No header is given to pandas: half its cells are blank and would be renamed.
        table = pd.read_csv(path, header=None, skiprows=1, dtype=float)
    except ValueError as error:  # pandas' parser and "no rows" errors are ValueErrors
        raise DataError(f"'{path}' cannot be read as numbers: {error}. Get it again.") from error
    if table.shape[1] != 2 * N_PAIRS:
        raise DataError(f"'{path}' has {table.shape[1]} cells a row, expected {2 * N_PAIRS}.")
    values = table.to_numpy().reshape(len(table), N_PAIRS, 2)[:, : len(SERIES)]
    if (np.isnan(values[..., 0]) != np.isnan(values[..., 1])).any():
        raise DataError(f"'{path}' has an x without its y, or a y without its x. Get it again.")
    return values


def _clip_steps(clip_length: float | None, rate: float) -> int | None:
    """Steps in a clip; None for no clips."""
    if clip_length is None:
        return None
    steps = round(clip_length * rate)
    if steps < 2:
        raise ValueError(
            f"clip_length={clip_length} s holds {steps} steps at {rate:g} Hz: make it longer"
        )
    return steps
