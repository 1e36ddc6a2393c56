"""One scene, ready to draw: every series' past, truth, forecast and samples as small arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.plot.frames import (
    Frame,
    Roles,
    choose_scene,
    levels_of,
    model_columns,
    names_of,
    pick,
    roles_of,
    where_in,
)

if TYPE_CHECKING:
    from hierforecast.frame import Columns


@dataclass(frozen=True)
class Track:
    """Where a series was (or is forecast to be): `times` (T,) ascending, `xy` (T, 2), finite."""

    times: np.ndarray
    xy: np.ndarray

    def __len__(self) -> int:
        return len(self.times)

    def where(self, keep: Callable[[np.ndarray], np.ndarray]) -> Track:
        """The part whose times `keep` accepts."""
        kept = keep(self.times)
        return Track(self.times[kept], self.xy[kept])

    def pieces(self, step: Any) -> list[Track]:
        """Unbroken runs: a gap longer than a step and a half starts a new one."""
        cuts = np.flatnonzero(np.diff(self.times) > step * 1.5) + 1
        runs = zip(np.split(self.times, cuts), np.split(self.xy, cuts), strict=True)
        return [Track(times, xy) for times, xy in runs]


Tracks = dict[Hashable, Track]


@dataclass(frozen=True)
class SceneView:
    """What a rollout shows of one scene.

    Attributes:
        past: observed up to the cutoff, the context shown.
        truth: observed after the cutoff; for a hidden series, after it was seen last.
        unseen: what truth knows up to the cutoff about series that history never shows.
        forecast: one point track per series.
        samples: series -> (times (H,), draws (K, H, 2)).
        region: series -> (lo (2,), hi (2,)), the interval of each coordinate at the last step.
        level: of the interval, in percent; None draws none.
        group: series -> group.
        left_out: in the history, but not in the forecast that was given.
        cutoff: last time of the history.
        step: time between two rows.
    """

    past: Tracks
    truth: Tracks
    unseen: Tracks
    forecast: Tracks
    samples: dict[Hashable, tuple[np.ndarray, np.ndarray]]
    region: dict[Hashable, tuple[np.ndarray, np.ndarray]]
    level: float | None
    group: dict[Hashable, Hashable]
    left_out: frozenset[Hashable]
    cutoff: Any
    step: Any

    @property
    def series(self) -> list[Hashable]:
        """Every series seen anywhere, the ball's group last so that it lies on top."""
        found = dict.fromkeys([*self.past, *self.unseen, *self.truth, *self.forecast])
        found |= dict.fromkeys(self.samples)
        return sorted(found, key=lambda s: str(self.group.get(s)).casefold() == "ball")

    def hidden(self, series: Hashable) -> bool:
        """Whether the forecaster did not see this series at the cutoff.

        True for a series that is not in the history, one not observed at the cutoff, and one
        that was left out of the forecast although there is a forecast.
        """
        track = self.past.get(series)
        return track is None or track.times[-1] != self.cutoff or series in self.left_out

    def last_seen(self, series: Hashable) -> np.ndarray | None:
        """Position (2,) at the last time at or before the cutoff; the first known one if none."""
        for tracks, at in ((self.past, -1), (self.unseen, -1), (self.truth, 0)):
            if len(tracks.get(series, ())):
                return tracks[series].xy[at]
        return None

    def until(self, time: Any) -> SceneView:
        """The scene as it stood at `time`: before the cutoff nothing of the future is there."""

        def early(times: np.ndarray) -> np.ndarray:
            return times <= time

        def cut(tracks: Tracks) -> Tracks:
            parts = {series: track.where(early) for series, track in tracks.items()}
            return {series: track for series, track in parts.items() if len(track)}

        samples = {s: (t[early(t)], xy[:, early(t)]) for s, (t, xy) in self.samples.items()}
        return replace(
            self,
            past=cut(self.past),
            truth=cut(self.truth),
            unseen=cut(self.unseen),
            forecast=cut(self.forecast),
            samples={s: (t, xy) for s, (t, xy) in samples.items() if len(t)},
            region={},
            cutoff=min(time, self.cutoff),
        )


def read_scene(
    history: Frame,
    forecast: Frame | None = None,
    truth: Frame | None = None,
    samples: Frame | None = None,
    *,
    scene: Hashable | None = None,
    columns: Columns | None = None,
    model: str | None = None,
    level: float | None = 90,
    context: int | None = None,
) -> SceneView:
    """Read one scene out of the frames that `plot_rollout` takes; see there.

    A history that runs into the forecast's times is cut where the forecast begins, and what lies
    beyond serves as truth.

    Raises:
        DataError: for a missing column, several scenes and none chosen, or not two targets.
    """
    roles = _two_targets(roles_of(columns, history))
    where = choose_scene(history, roles, scene, "history")
    past_table = _observed(history, roles, where, "history")
    if past_table.empty:
        raise DataError("the history of this scene has no row with finite positions")
    future, regions, level = _forecast(forecast, roles, where, model, level)
    drawn = _samples(samples, roles, where, model)
    starts = [t.times[0] for t in future.values()] + [t[0] for t, _ in drawn.values()]
    times = np.unique(past_table[roles.time].to_numpy())
    before = times[times < min(starts)] if starts else times
    if len(before) == 0:
        raise DataError(f"no history lies before the forecast's first {roles.time!r}")
    cutoff, step = before[-1], np.diff(times).min() if len(times) > 1 else 1
    seen = _tracks(past_table, roles, roles.targets)
    truth_table = past_table if truth is None else _observed(truth, roles, where, "truth")
    known = _tracks(truth_table, roles, roles.targets)
    since = before[-context] if context and len(before) >= context else before[0]
    past = _between(seen, since, cutoff)
    visible = {s for s, track in seen.items() if (track.times <= cutoff).any()}
    known_ids = future.keys() | drawn.keys()
    group = _groups(roles, where, (truth, "truth"), (history, "history"))
    return SceneView(
        past=past | {s: _last(seen[s], cutoff) for s in visible - past.keys()},
        truth=_after(known, {s: _last(seen[s], cutoff).times[0] for s in visible}, cutoff),
        unseen={s: t for s, t in _between(known, since, cutoff).items() if s not in visible},
        forecast=future,
        samples=drawn,
        region=regions,
        level=level,
        group=group,
        left_out=frozenset(visible - known_ids if known_ids else ()),
        cutoff=cutoff,
        step=step,
    )


def _two_targets(roles: Roles) -> Roles:
    if len(roles.targets) != 2:
        raise DataError(
            f"a rollout needs two targets (positions), not {list(roles.targets)}: name them with "
            "columns=Columns(target=['x', 'y']), or use plot_forecast"
        )
    return roles


def _between(tracks: Tracks, since: Any, until: Any) -> Tracks:
    parts = {s: t.where(lambda x: (x >= since) & (x <= until)) for s, t in tracks.items()}
    return {s: t for s, t in parts.items() if len(t)}


def _after(tracks: Tracks, last_seen: dict[Hashable, Any], cutoff: Any) -> Tracks:
    """What came after each series was seen last: for a hidden one that begins before the cutoff."""
    since = {s: last_seen.get(s, cutoff) for s in tracks}
    parts = {s: t.where(lambda x, s=s: x > since[s]) for s, t in tracks.items()}  # type: ignore[misc]
    return {s: t for s, t in parts.items() if len(t) and t.times[-1] > cutoff}


def _last(track: Track, cutoff: Any) -> Track:
    """The one position seen last: kept although it lies before the context that is shown."""
    seen = track.where(lambda x: x <= cutoff)
    return Track(seen.times[-1:], seen.xy[-1:])


def _tracks(table: pd.DataFrame, roles: Roles, values: Any) -> Tracks:
    ordered = table.sort_values(roles.time, kind="stable")
    return {
        series: Track(rows[roles.time].to_numpy(), rows[list(values)].to_numpy(dtype=float))
        for series, rows in ordered.groupby(roles.id, sort=True, observed=True)
    }


def _observed(frame: Frame, roles: Roles, where: Any, what: str) -> pd.DataFrame:
    where = where_in(frame, where) if what == "truth" else where
    table = pick(frame, [roles.id, roles.time, *roles.targets], what, where)
    return table[np.isfinite(table[list(roles.targets)].to_numpy(dtype=float)).all(axis=1)]


def _groups(
    roles: Roles, where: Any, *frames: tuple[Frame | None, str]
) -> dict[Hashable, Hashable]:
    """Group of each series; later frames win, a series without one is not listed."""
    found: dict[Hashable, Hashable] = {}
    for frame, what in frames:
        if frame is None or roles.group is None or roles.group not in names_of(frame):
            continue
        table = pick(frame, [roles.id, roles.group], what, where_in(frame, where)).dropna()
        found |= dict(zip(table[roles.id], table[roles.group], strict=True))
    return found


def _forecast(
    frame: Frame | None, roles: Roles, where: Any, model: str | None, level: float | None
) -> tuple[Tracks, dict, float | None]:
    if frame is None:
        return {}, {}, level
    points = model_columns(frame, roles, model, "forecast")
    levels = levels_of(frame, points)
    if level is not None and levels and float(level) not in levels:
        have = ", ".join(f"{name:g}" for name in levels)
        raise DataError(
            f"the forecast frame has no column '{points[0]}-lo-{level:g}': choose level={have} "
            f"or forecast again with level=[{level:g}]"
        )
    pairs = levels.get(float(level), []) if level is not None else []
    bounds = [name for pair in pairs for name in pair]
    table = pick(
        frame, [roles.id, roles.time, *points, *bounds], "forecast", where_in(frame, where)
    )
    if table.empty:
        raise DataError(f"the forecast frame has no rows of scene {where[1] if where else ''!r}")
    regions = {}
    if bounds:
        last = table[table[roles.time] == table[roles.time].max()]
        ends = last[bounds].to_numpy(dtype=float)
        regions = {s: (row[0::2], row[1::2]) for s, row in zip(last[roles.id], ends, strict=True)}
    return _tracks(table, roles, points), regions, level


def _samples(
    frame: Frame | None, roles: Roles, where: Any, model: str | None
) -> dict[Hashable, tuple[np.ndarray, np.ndarray]]:
    if frame is None:
        return {}
    points = model_columns(frame, roles, model, "samples")
    wanted = [roles.id, roles.time, "sample_id", *points]
    table = pick(frame, wanted, "samples", where_in(frame, where))
    draws = {}
    for series, rows in table.groupby(roles.id, sort=True, observed=True):
        wide = rows.pivot(index="sample_id", columns=roles.time, values=points)
        values = [wide[point].to_numpy(dtype=float) for point in points]
        draws[series] = (wide[points[0]].columns.to_numpy(), np.stack(values, axis=-1))
    return draws
