"""Raw SportVU games: JSON of overlapping events, as published or packed in .7z.

A moment is ``[quarter, unix_ms, game_clock, shot_clock | null, null, rows]`` and a row is
``[team, player, x, y, z]``; the ball is player -1 of team -1. What such files do wrong, and what is
done here: events overlap (moments are taken once, by unix_ms, and sorted); the game clock stalls
(it is never used); a player or the ball may be missing from a moment, or have no numbers for a
place (there is no row then); rows may stand in any order (they are told by player id); some files
hold nothing (an error says so).
"""

from __future__ import annotations

import lzma
import struct
import zlib
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hierforecast.datasets._loader import with_tracks
from hierforecast.datasets._tracks import (
    BALL,
    TEAM_SIZE,
    Agent,
    Floats,
    resample,
    strings,
    tracks_to_frame,
)
from hierforecast.errors import DataError, import_extra
from hierforecast.io.fetch import LFS_PREFIX
from hierforecast.io.limits import MIB, open_file, parse_json, read_file, too_large

RATE = 25.0
BALL_ID = -1
GAP_MS = 60  # two moments further apart than this are not neighbors at 25 Hz
NEAR_MS = 20  # closer than this they are one moment, recorded twice
ANOTHER = "Get the file again, or use another game: some published files are like this."
SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
LARGEST = 512 * MIB  # of a game's JSON, and of all that an archive unpacks to; a game has some 100


@dataclass(frozen=True)
class _Moment:
    quarter: int
    unix_ms: int
    place: dict[int, tuple[float, float]]  # player -> x, y
    team: dict[int, int]  # player -> team


@with_tracks
def load_sportvu(path: Path | str, *, rate: float = 6.25) -> pd.DataFrame:
    """One raw game, cut into scenes wherever time, the quarter or the line-up breaks.

    Args:
        path: ``.json`` (teams in every event or once at the top) or ``.7z`` with one JSON in it
            (needs the extra ``sports``).
        rate: steps per second wanted, from 25 Hz: every n-th moment where 25 / rate is whole,
            linear interpolation elsewhere.

    Returns:
        Columns ``scene, ds, unique_id, team, kind, x, y, game``, sorted by scene, ds and
        unique_id. Ids are player ids as text and ``ball``; teams are team ids as text and
        ``ball``; x, y in feet (float32), a little outside the court where they were recorded so.
        A scene is ``GAME_quarter_number``. Who is missing at a step has no row there.

    Raises:
        FileNotFoundError: if there is no such file.
        DataError: empty, a git-lfs pointer, cut short, another format, without any moment, or
            larger than `LARGEST`.
        MissingExtraError: a .7z without py7zr.
    """
    path = Path(path)
    game, moments = _moments(_read_json(path), path)
    frames = [
        _scene_frame(scene, f"{game}_{scene[0].quarter}_{number:03d}", rate)
        for number, scene in enumerate(_scenes(moments))
    ]
    frame = pd.concat(frames, ignore_index=True)
    frame["game"] = strings([game], np.zeros(len(frame), int))
    return frame.sort_values(["scene", "ds", "unique_id"], ignore_index=True)


# --- file -> JSON ---------------------------------------------------------------------------


def _read_json(path: Path) -> dict[str, Any]:
    content = read_file(path, LARGEST)
    _refuse_nothing(path, content)
    if content.startswith(SEVEN_ZIP[:2]) or path.suffix.lower() == ".7z":
        content = _unpack(path)
        _refuse_nothing(path, content)
    game = parse_json(content, path, ANOTHER)
    if not isinstance(game, dict) or not isinstance(game.get("events"), list):
        raise DataError(f"'{path}' is JSON without a list 'events': not a SportVU game. {ANOTHER}")
    return game


def _refuse_nothing(path: Path, content: bytes) -> None:
    if not content.strip():
        raise DataError(f"'{path}' is empty. {ANOTHER}")
    if content.startswith(LFS_PREFIX):
        raise DataError(
            f"'{path}' is a git-lfs pointer, not the data. Run `git lfs pull` where it came from."
        )


def _unpack(path: Path) -> bytes:
    """Content of the one JSON file in a .7z archive."""
    py7zr = import_extra("py7zr", "sports", "to read .7z archives")
    from py7zr.io import BytesIOFactory

    errors = (lzma.LZMAError, zlib.error, struct.error, EOFError, OSError)
    broken = (py7zr.exceptions.ArchiveError, *errors)
    try:
        with open_file(path) as stream, py7zr.SevenZipFile(stream) as archive:
            sizes = {f.filename: f.uncompressed for f in archive.list() if not f.is_directory}
            if sum(sizes.values()) > LARGEST:  # all are unpacked on the way to one
                raise DataError(
                    too_large(path, f"unpacks to {sum(sizes.values()) / MIB:,.0f} MiB", LARGEST)
                )
            names = [name for name in sizes if name.lower().endswith(".json")]
            if not names:
                raise DataError(f"'{path}' is an archive with no .json file in it. {ANOTHER}")
            if len(names) > 1:
                raise DataError(
                    f"'{path}' holds {len(names)} .json files: unpack it and load them one by one"
                )
            # The factory cuts silently at its limit, so the limit is beyond the file's size.
            factory = BytesIOFactory(sizes[names[0]] + 1)
            archive.extract(targets=names, factory=factory)
            product = factory.products[names[0]]
            product.seek(0)
            content: bytes = product.read()
    except (*broken, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"'{path}' is not a whole .7z archive ({error.__class__.__name__}: {error}). {ANOTHER}"
        ) from error
    return content


# --- JSON -> moments -> scenes --------------------------------------------------------------


def _moments(game: dict[str, Any], path: Path) -> tuple[str, list[_Moment]]:
    """The game id and its moments, each once, in the order of time."""
    found: dict[int, _Moment] = {}
    for event in game["events"]:
        for raw in (event.get("moments") if isinstance(event, dict) else None) or ():
            try:
                time = int(raw[1])
                # Two events may hold one moment; of the two, the fuller one.
                if time not in found or len(raw[5]) > len(found[time].place):
                    moment = _moment(raw)
                    if time not in found or len(moment.place) > len(found[time].place):
                        found[time] = moment
            except (IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
                shown = f"{str(raw)[:60]!r} ({error})"
                raise DataError(
                    f"'{path}' has a broken moment, or a broken row in it, {shown}. {ANOTHER}"
                ) from error
    moments = [found[time] for time in sorted(found) if found[time].place]
    if not moments:
        raise DataError(
            f"'{path}': every list 'moments' of its {len(game['events'])} events is empty or "
            f"without places, there is no tracking in it. {ANOTHER}"
        )
    return str(game.get("gameid", path.stem)), moments


def _moment(raw: list[Any]) -> _Moment:
    """A moment; who has no numbers for a place (null, NaN) is not in it."""
    place, team = {}, {}
    for row in raw[5]:
        if row[2] is None or row[3] is None:
            continue
        x, y = float(row[2]), float(row[3])
        if isfinite(x) and isfinite(y):
            player = int(row[1])
            place[player], team[player] = (x, y), int(row[0])
    return _Moment(int(raw[0]), int(raw[1]), place, team)


def _scenes(moments: list[_Moment]) -> list[list[_Moment]]:
    """Cut where a moment does not follow the one before, or brings in somebody too many."""
    scenes: list[list[_Moment]] = []
    lineup: dict[int, int] = {}
    for moment in moments:
        last = scenes[-1][-1] if scenes else None
        if last is not None and moment.unix_ms - last.unix_ms < NEAR_MS:
            continue
        together = {**lineup, **moment.team}
        follows = (
            last is not None
            and moment.quarter == last.quarter
            and moment.unix_ms - last.unix_ms <= GAP_MS
            and _is_lineup(together)
        )
        if not follows:
            scenes.append([])
            together = moment.team
        lineup = together
        scenes[-1].append(moment)
    return scenes


def _is_lineup(team_of: dict[int, int]) -> bool:
    """Whether these may all be on the court at once: two teams of five."""
    teams = [team for player, team in team_of.items() if player != BALL_ID]
    return len(set(teams)) <= 2 and all(teams.count(team) <= TEAM_SIZE for team in set(teams))


def _scene_frame(scene: list[_Moment], label: str, rate: float) -> pd.DataFrame:
    """One scene at the rate wanted, as `tracks_to_frame` has it."""
    team = {player: team for moment in scene for player, team in moment.team.items()}
    slot = {player: i for i, player in enumerate(team)}
    tracks: Floats = np.full((len(scene), len(slot), 2), np.nan, np.float32)
    for step, moment in enumerate(scene):
        for player, place in moment.place.items():
            tracks[step, slot[player]] = place
    agents = [BALL if p == BALL_ID else Agent(str(p), str(team[p]), "player") for p in slot]
    return tracks_to_frame(*resample(tracks, np.array([len(scene)]), RATE, rate), agents, [label])
