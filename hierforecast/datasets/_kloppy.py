"""Soccer tracking of any provider that kloppy reads, in the columns of `load_soccer`."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from hierforecast.datasets._loader import with_tracks
from hierforecast.datasets._tracks import BALL, Agent, check_rate, resample, tracks_to_frame
from hierforecast.errors import DataError

METERS = {"m": 1.0, "cm": 0.01, "y": 0.9144, "ft": 0.3048}
FARTHEST = (60.0, 45.0)  # meters from the center: half of the largest pitch (law 1)


@with_tracks
def from_kloppy(dataset: Any, *, rate: float | None = None) -> pd.DataFrame:
    """The frames of a kloppy ``TrackingDataset`` in the columns of `load_soccer`.

    kloppy itself is not imported: anything with its attributes will do (``metadata``, ``frames``).
    Any of its coordinate systems is mapped to meters from the pitch center, y pointing up;
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
        DataError: if the frame rate or the pitch's size is unknown, a player is in no team, a
            period is played beside the pitch, or nothing is seen at all.
    """
    metadata = dataset.metadata
    native = getattr(metadata, "frame_rate", None)
    if not native:
        raise DataError("The data set states no frame rate: set dataset.metadata.frame_rate.")
    check_rate(rate or native, native)
    scale, offset = _to_metres(metadata)
    frames = list(dataset.frames)
    series = _series_of(metadata.teams, frames)
    slots = {one.unique_id: i for i, one in enumerate(series)}
    parts = []
    for period, values in _period_arrays(frames, slots, float(native), _depth(metadata)).items():
        steps = np.array([len(values)])
        meters, steps = resample(values * scale + offset, steps, float(native), rate or native)
        _check_on_pitch(meters, period)
        parts.append(tracks_to_frame(meters, steps, series, [f"period{period}"]))
    if not parts or not sum(map(len, parts)):
        raise DataError(
            "The data set holds no frame in which the ball or a player is seen. Some of kloppy's "
            "loaders leave out what they take for pauses: load it with only_alive=False."
        )
    return pd.concat(parts, ignore_index=True)


def _series_of(teams: Any, frames: Any) -> list[Agent]:
    """The ball and everybody in a team, once each, and who is seen without being listed in one."""
    series = {BALL.unique_id: BALL}
    for team in teams:
        for player in team.players:
            one = _player_series(player, team)
            series.setdefault(one.unique_id, one)
    for frame in frames:
        for player in frame.players_data:
            if str(player.player_id) not in series:
                team = getattr(player, "team", None)
                if team is None:
                    raise DataError(
                        f"player {player.player_id!r} is seen but in no team: add him to "
                        "dataset.metadata.teams[...].players, or set his team"
                    )
                series[str(player.player_id)] = _player_series(player, team)
    return list(series.values())


def _player_series(player: Any, team: Any) -> Agent:
    kind = "goalkeeper" if _is_goalkeeper(player) else "player"
    return Agent(str(player.player_id), _word(team.ground), kind)


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


def _check_on_pitch(meters: np.ndarray, period: Any) -> None:
    """Refuse a period played beside the pitch, whose coordinates were turned around wrongly."""
    seen = meters[np.isfinite(meters).all(-1)]
    middle = np.median(seen, axis=0) if len(seen) else np.zeros(2)
    if (np.abs(middle) > FARTHEST).any():
        raise DataError(
            f"period {period} is played beside the pitch, around {middle[0]:.0f}, {middle[1]:.0f} "
            "meters from its center: load the data set in the provider's own coordinates, e.g. "
            "pff.load_tracking(..., coordinates='pff')"
        )


def _is_place(point: Any, depth: float) -> bool:
    """Whether somebody was seen there: numbers, and not further below the pitch than `depth`."""
    if point is None or point.x is None or point.y is None:
        return False
    height = getattr(point, "z", None)
    x, y, z = point.x, point.y, 0.0 if height is None else height
    below = z <= -depth or (z < 0 and x == y == 0)
    return isfinite(x) and isfinite(y) and isfinite(z) and not below


def _system_and_pitch(metadata: Any) -> tuple[Any, Any]:
    system = getattr(metadata, "coordinate_system", None)
    own = getattr(metadata, "pitch_dimensions", None)
    return system, own or getattr(system, "pitch_dimensions", None)


def _depth(metadata: Any) -> float:
    """A meter in the data set's units: a ball measured so far below the pitch was not seen."""
    _, pitch = _system_and_pitch(metadata)
    return 1 / METERS.get(_word(getattr(pitch, "unit", "")), 1.0)


def _to_metres(metadata: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset, each (2,), from the data set's coordinates to meters from the center."""
    system, pitch = _system_and_pitch(metadata)
    meters = METERS.get(_word(pitch.unit))
    scale, offset = [], []
    for axis, size in (("x_dim", "pitch_length"), ("y_dim", "pitch_width")):
        low, high = (getattr(getattr(pitch, axis), end) for end in ("min", "max"))
        length = getattr(pitch, size, None)
        if length is None and meters is not None and None not in (low, high):
            length = (high - low) * meters
        if None in (low, high, length):
            raise DataError(
                f"The data set does not say the pitch's {size} in meters: transform it first, e.g. "
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
