"""Soccer tracking seen through one broadcast camera: about half of the player-frames are missing.

Metres, origin at the pitch centre. What the files are, with counts: ``datasets/soccer/README.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hierforecast._options import number, whole
from hierforecast.datasets._loader import with_tracks
from hierforecast.datasets._tracks import resample, strings
from hierforecast.errors import DataError
from hierforecast.io.fetch import RemoteFile, locate
from hierforecast.io.limits import MIB, open_file

NATIVE_RATE = 25.0  # frames per second
N_FRAMES = 10_000  # a file: 400 s
N_SERIES = 23  # seen in each file: the ball, 11 and 11
N_ROWS = {7: 116_107, 8: 103_960, 9: 109_797, 10: 103_209}  # at 25 Hz
PITCH = (105.0, 68.0)  # metres; play reaches a little outside
COLUMNS = ["scene", "ds", "unique_id", "team", "kind", "x", "y"]

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
METRES = {"m": 1.0, "cm": 0.01, "y": 0.9144, "ft": 0.3048}
N_PAIRS = 31  # x,y pairs in a row: the ball, 12 away slots, 14 home slots, 4 camera corners


class Series(NamedTuple):
    """Who a track belongs to."""

    unique_id: str
    team: str
    kind: str


# In the file's order. The 12th away slot and the last home slot are the goalkeepers.
SERIES = [
    Series("ball", "ball", "ball"),
    *(Series(f"away_{i}", "away", "goalkeeper" if i == 11 else "player") for i in range(12)),
    *(Series(f"home_{i}", "home", "goalkeeper" if i == 13 else "player") for i in range(14)),
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
            rates interpolate linearly, and only where both neighbouring frames are present.
        clip_length: length in seconds of the scenes that a file is cut into (the last may be
            shorter); None keeps each file whole.
        root: folder with ``soccer/*.csv`` (or the files themselves), looked in first.

    Returns:
        Columns ``scene`` ("subset7", of a path its name, with "/000" if clipped), ``ds`` (int step
        from 0 in the scene), ``unique_id`` ("ball", "away_1", "home_3", ... by slot of the file),
        ``team`` ("ball", "away", "home"), ``kind`` ("ball", "player", "goalkeeper"), ``x``, ``y``
        (metres from the pitch centre, pitch 105 x 68), sorted by scene, ds and slot.

    Raises:
        ValueError: for no subset, or a rate or clip length out of range.
        FileNotFoundError: if a file is not found and cannot be downloaded.
        DataError: if a file is damaged.
    """
    _check_rate(rate, NATIVE_RATE)
    clip = _clip_steps(clip_length, rate)
    files = [_find(subset, root) for subset in subsets]
    if not files:
        raise ValueError(f"subsets is empty: choose from {sorted(FILES)}, or give paths")
    parts = []
    for scene, path in files:
        values = _at_rate(read_tracking(path), NATIVE_RATE, rate)
        parts.append(_to_frame(values, scene, SERIES, clip))
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
    """One file as an array (T, 27, 2) in metres at 25 Hz; NaN where not in view.

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


def _check_rate(rate: float, native: float) -> None:
    if not 0 < number("rate", rate) <= native:
        raise ValueError(f"rate={rate}: give steps per second, above 0 and at most {native:g}")


def _at_rate(values: np.ndarray, native: float, rate: float) -> np.ndarray:
    """(T, S, 2) at another rate; a step between two frames is NaN unless both are present."""
    return resample(values, np.array([len(values)]), native, rate)[0]


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


def _to_frame(
    values: np.ndarray, scene: str, series: Sequence[Series], clip: int | None = None
) -> pd.DataFrame:
    """(T, S, 2) to long rows of what is present; a series that is never seen vanishes with it."""
    step, who = np.nonzero(~np.isnan(values).any(-1))
    number, names = np.zeros_like(step), [scene]
    if clip is not None:
        number, step = np.divmod(step, clip)
        names = [f"{scene}/{i:03d}" for i in range(-(-len(values) // clip))]
    frame = {"scene": strings(names, number), "ds": step}
    for column in ("unique_id", "team", "kind"):
        label = [getattr(one, column) for one in series]
        distinct = sorted(set(label))
        codes = np.array([distinct.index(one) for one in label])
        frame[column] = strings(distinct, codes[who])
    source_step = step if clip is None else number * clip + step
    frame["x"], frame["y"] = values[source_step, who].T
    return pd.DataFrame(frame, columns=COLUMNS)


@with_tracks
def from_kloppy(dataset: Any, *, rate: float | None = None) -> pd.DataFrame:
    """The frames of a kloppy ``TrackingDataset`` in the columns of `load_soccer`.

    kloppy itself is not imported: anything with its attributes will do (``metadata``, ``frames``).
    Any of its coordinate systems is mapped to metres from the pitch centre, y pointing up;
    the direction of play is left as the data set has it. ``pip install 'hierforecast[sports]'``
    brings kloppy with its readers of the providers' formats.

    Args:
        dataset: as returned by kloppy's loaders.
        rate: steps per second; None keeps the data set's own.

    Returns:
        As `load_soccer`, with scenes "period1", "period2", ... (``ds`` from 0 in each) and kloppy's
        ``player_id`` as ``unique_id``. Who has no numbers for a place, or is below the pitch (some
        providers write 0, 0, -10 of a ball that they do not see), has no row.

    Raises:
        DataError: if the frame rate or the pitch's size is unknown, a player is in no team, or
            nothing is seen at all.
    """
    metadata = dataset.metadata
    native = getattr(metadata, "frame_rate", None)
    if not native:
        raise DataError("The data set states no frame rate: set dataset.metadata.frame_rate.")
    _check_rate(rate or native, native)
    scale, offset = _to_metres(metadata)
    frames = list(dataset.frames)
    series = _series_of(metadata.teams, frames)
    slots = {one.unique_id: i for i, one in enumerate(series)}
    parts = []
    for period, values in _period_arrays(frames, slots, float(native), _depth(metadata)).items():
        metres = _at_rate(values * scale + offset, float(native), rate or float(native))
        parts.append(_to_frame(metres, f"period{period}", series))
    if not parts or not sum(map(len, parts)):
        raise DataError("The data set holds no frame in which the ball or a player is seen.")
    return pd.concat(parts, ignore_index=True)


def _series_of(teams: Any, frames: Any) -> list[Series]:
    """The ball and everybody in a team, and whoever is seen without being listed in one."""
    series = [Series("ball", "ball", "ball")]
    known = set()
    for team in teams:
        for player in team.players:
            series.append(_player_series(player, team))
            known.add(series[-1].unique_id)
    for frame in frames:
        for player in frame.players_data:
            if str(player.player_id) not in known:
                team = getattr(player, "team", None)
                if team is None:
                    raise DataError(
                        f"player {player.player_id!r} is seen but in no team: add him to "
                        "dataset.metadata.teams[...].players, or set his team"
                    )
                series.append(_player_series(player, team))
                known.add(series[-1].unique_id)
    return series


def _player_series(player: Any, team: Any) -> Series:
    kind = "goalkeeper" if _is_goalkeeper(player) else "player"
    return Series(str(player.player_id), _word(team.ground), kind)


def _period_arrays(
    frames: Any, slots: dict[str, int], native: float, depth: float
) -> dict[Any, np.ndarray]:
    """Period -> (T, 1 + players, 2) in the data set's own units; missing frames are NaN."""
    found: dict[Any, list[tuple[int, int, float, float]]] = {}
    for frame in frames:
        time = frame.timestamp
        seconds = time.total_seconds() if hasattr(time, "total_seconds") else float(time)
        rows = found.setdefault(frame.period.id, [])
        step = round(seconds * native)
        seen = [(slots[str(p.player_id)], d.coordinates) for p, d in frame.players_data.items()]
        for slot, point in [(0, frame.ball_coordinates), *seen]:
            if _is_place(point, depth):
                rows.append((step, slot, float(point.x), float(point.y)))
    arrays = {}
    for period, rows in found.items():
        if rows:
            table = np.array(rows)
            when, who = table[:, 0].astype(int), table[:, 1].astype(int)
            values = np.full((when.max() - when.min() + 1, len(slots), 2), np.nan)
            values[when - when.min(), who] = table[:, 2:]
            arrays[period] = values
    return arrays


def _is_place(point: Any, depth: float) -> bool:
    """Whether somebody was seen there: numbers, and not further below the pitch than `depth`."""
    if point is None or point.x is None or point.y is None:
        return False
    height = getattr(point, "z", None)
    x, y, z = point.x, point.y, 0.0 if height is None else height
    below = z <= -depth or (z < 0 and x == y == 0)
    return isfinite(x) and isfinite(y) and isfinite(z) and not below


def _depth(metadata: Any) -> float:
    """A meter in the data set's units: a ball measured so far below the pitch was not seen."""
    system = getattr(metadata, "coordinate_system", None)
    pitch = getattr(metadata, "pitch_dimensions", None) or getattr(system, "pitch_dimensions", None)
    return 1 / METRES.get(_word(getattr(pitch, "unit", "")), 1.0)


def _to_metres(metadata: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset, each (2,), from the data set's coordinates to metres from the centre."""
    system = getattr(metadata, "coordinate_system", None)
    pitch = getattr(metadata, "pitch_dimensions", None) or system.pitch_dimensions  # type: ignore[union-attr]
    metres = METRES.get(_word(pitch.unit))
    scale, offset = [], []
    for axis, size in (("x_dim", "pitch_length"), ("y_dim", "pitch_width")):
        low, high = (getattr(getattr(pitch, axis), end) for end in ("min", "max"))
        length = getattr(pitch, size, None)
        if length is None and metres is not None and None not in (low, high):
            length = (high - low) * metres
        if None in (low, high, length):
            raise DataError(
                f"The data set does not say the pitch's {size} in metres: transform it first, e.g. "
                "dataset.transform(to_coordinate_system='secondspectrum')."
            )
        scale.append(length / (high - low))
        offset.append(-(low + high) / 2 * scale[-1])
    if _word(getattr(system, "vertical_orientation", "")) == "top-to-bottom":
        scale[1], offset[1] = -scale[1], -offset[1]
    return np.array(scale), np.array(offset)


def _is_goalkeeper(player: Any) -> bool:
    """Whether one of a player's positions is a goalkeeper's; a substitute begins in none."""
    attributes = getattr(player, "attributes", None) or {}
    over_time = getattr(getattr(player, "positions", None), "items", None) or {}
    found = [getattr(player, "starting_position", None), *over_time.values()]
    found += [attributes[key] for key in attributes if "position" in str(key).lower()]
    words = [str(word).lower() for one in found for word in (one, getattr(one, "code", ""))]
    return any(word == "gk" or "goalkeeper" in word for word in words)


def _word(value: Any) -> str:
    """The value of an enumeration's member (or a plain string) in lower case."""
    return str(getattr(value, "value", value)).lower()
