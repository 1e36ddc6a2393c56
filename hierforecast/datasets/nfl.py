"""American football: all 22 players and the ball of single plays, at 10 Hz.

Yards, origin at a corner of the field. What the files are: ``datasets/nfl/README.md``.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import pandas as pd

from hierforecast.datasets._loader import with_tracks
from hierforecast.datasets._tracks import BALL, Agent, check_rate, resample, tracks_to_frame
from hierforecast.errors import DataError
from hierforecast.io.fetch import RemoteFile, locate
from hierforecast.io.files import Paths, find_tables
from hierforecast.io.limits import BROKEN, MIB, read_file, read_tar

NATIVE_RATE = 10.0  # frames per second
N_PLAYS = 28
N_SERIES = 23  # in each play: the ball, 11 and 11
N_ROWS = 124_010  # at 10 Hz
FIELD = (120.0, 160 / 3)  # yards with both end zones; people run a little outside
FILES = RemoteFile(
    "nfl/ngs_highlights_28_plays.tar.xz",
    "6b856c779ec69b3d6802aa7f2147755ff6f818eee7e707df1e8d18fdf629aa59",
    size=1_371_396,
)

LARGEST = 256 * MIB  # that the archive may unpack to; it has 14
LARGEST_PLAY = 16 * MIB
LONGEST = 36_000  # frames of a play: an hour
ROLES = {0.0: "defense", 1.0: "offense"}  # by possessionFlag
NEEDED = ("possessionFlag", "teamAbbr", "frame", "x", "y")
NAMES = ("player", "jerseyNumber")  # one of them tells a team's players apart


@with_tracks
def load_nfl(
    plays: Paths | None = None, *, rate: float = NATIVE_RATE, root: Path | str | None = None
) -> pd.DataFrame:
    """Tracking of American football plays, one row per series and step.

    For a model: ``load_nfl.columns``; the team with the ball and the other are of different types.

    Args:
        plays: tables of the source's layout, one play a file: a file, a folder, a pattern or a
            list of these. None takes the 28 plays that are known and checked.
        rate: steps per second, at most 10. An exact divisor of 10 keeps every n-th frame; other
            rates interpolate linearly, and only where both neighboring frames are present.
        root: folder with ``nfl/`` (or the archive itself), looked in first.

    Returns:
        Columns ``scene`` (name of the play's file: season, team, game, play), ``ds`` (int step
        from 0 in the scene), ``unique_id`` ("ball", "BUF_83": team and jersey number), ``team``
        ("ball", "BUF", ...), ``kind`` ("ball", "offense", "defense"), ``x``, ``y`` (yards; field
        120 x 53.3 with its end zones, origin at a corner), sorted by scene and step. Who has no
        place at a frame has no row; of a frame that a file holds twice the first is taken.

    Raises:
        ValueError: for a rate out of range.
        FileNotFoundError: if the archive or a file is not found.
        DataError: if a file is damaged, or no play.
    """
    check_rate(rate, NATIVE_RATE)
    parts = []
    for name, content in _archive(root) if plays is None else _tables(plays):
        tracks, agents = read_play(content, name)
        tracks, lengths = resample(tracks, np.array([len(tracks)]), NATIVE_RATE, rate)
        parts.append(tracks_to_frame(tracks, lengths, agents, [PurePosixPath(name).stem]))
    return pd.concat(parts, ignore_index=True)


def _archive(root: Path | str | None) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of the known plays, in the order of their names."""
    path = locate(FILES, root=root)
    try:
        found = {name: stream.read() for name, stream in read_tar(path, LARGEST)}
    except BROKEN as error:
        raise DataError(f"'{path}' is damaged ({error}): get it again") from error
    for name in sorted(found):
        yield name, io.BytesIO(found[name])


def _tables(paths: Paths) -> Iterator[tuple[str, IO[bytes]]]:
    for path in find_tables(paths):
        yield path.as_posix(), io.BytesIO(read_file(path, LARGEST_PLAY))


def read_play(content: IO[bytes], where: str) -> tuple[np.ndarray, list[Agent]]:
    """One play as an array (T, series, 2) in yards at 10 Hz, NaN where nobody is, and its series.

    Args:
        content: tab-separated, a row per player and frame. The ball has no team.
        where: the file's name, for errors.

    Raises:
        DataError: if columns are missing, a number is wrong, or a player is in two teams.
    """
    try:
        table = pd.read_csv(content, sep="\t", dtype={"teamAbbr": str, "player": str})
    except ValueError as error:  # pandas' parser errors are ValueErrors, and so is no text at all
        raise DataError(f"'{where}' cannot be read ({error}): get it again") from error
    gone = [name for name in NEEDED if name not in table]
    name = next((name for name in NAMES if name in table), None)
    if gone or name is None or table.empty:
        what = f"columns {gone or list(NAMES)}" if gone or name is None else "rows"
        raise DataError(
            f"'{where}' has no {what}: give tab-separated tables of ngs_highlights, one play a "
            "file; other tables are read by hierforecast.read_table"
        )
    frames = _numbers(table, "frame", where)
    if not ((frames >= 0) & (frames < LONGEST) & (frames % 1 == 0)).all():
        raise DataError(
            f"column 'frame' of '{where}' is not a number of frames below {LONGEST:,}: get it again"
        )
    agents, who = _agents(table, name, where)
    step = (frames - frames.min()).astype(int)
    tracks = np.full((step.max() + 1, len(agents), 2), np.nan)
    places = np.stack([_numbers(table, axis, where) for axis in "xy"], axis=1)
    # From the last row to the first, so that of a frame that is there twice the first one stays.
    tracks[step[::-1], who[::-1]] = places[::-1]
    return tracks, agents


def _agents(table: pd.DataFrame, name: str, where: str) -> tuple[list[Agent], np.ndarray]:
    """The series of a play, the ball first, and the number of that of each row."""
    flags = pd.Series(_numbers(table, "possessionFlag", where))
    team = table["teamAbbr"].astype(object)
    if name == "player":
        own = table[name].astype(object)
    else:
        numbers = pd.Series(_numbers(table, name, where))
        own = team.astype(str) + numbers.map("_{:g}".format)
    each = pd.DataFrame({"unique_id": own, "team": team, "kind": flags.map(ROLES)})
    for column, label in BALL._asdict().items():
        each[column] = each[column].astype(object).where(team.notna(), label)
    odd = each[each.isna().any(axis=1)]
    if len(odd):
        raise DataError(
            f"'{where}' has a player without a name, or neither with nor without the ball (line "
            f"{odd.index[0] + 2}): get it again"
        )
    agents = [Agent(*map(str, one)) for one in each.drop_duplicates().to_numpy().tolist()]
    agents.sort(key=lambda agent: (agent != BALL, agent))
    slots = {agent.unique_id: slot for slot, agent in enumerate(agents)}
    if len(slots) < len(agents):
        twice = Counter(agent.unique_id for agent in agents).most_common(1)[0][0]
        raise DataError(f"'{where}' has {twice!r} in two teams: get it again")
    return agents, each["unique_id"].map(slots).to_numpy()


def _numbers(table: pd.DataFrame, column: str, where: str) -> np.ndarray:
    """A column as float64; an empty cell is NaN."""
    try:
        return table[column].to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(f"column {column!r} of '{where}' is not numbers: get it again") from error
