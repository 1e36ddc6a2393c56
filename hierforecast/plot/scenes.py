"""Frames to one scene that is ready to draw."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.plot.frames import (
    DRAW,
    GROUP,
    SERIES,
    TIME,
    Frame,
    Roles,
    Where,
    choose_scene,
    levels_of,
    model_columns,
    names_of,
    pick,
    pick_samples,
    roles_of,
    where_in,
)
from hierforecast.plot.labels import key_of
from hierforecast.plot.view import SceneView, Track, Tracks, Window

if TYPE_CHECKING:
    from hierforecast.frame import Columns

GLANCE = 100_000  # rows of which the extent of a history is read off


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
    agents: Sequence[Hashable] | None = None,
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
    truth_table = past_table if truth is None else _observed(truth, roles, where, "truth")
    starts = [t.times[0] for t in future.values()] + [t[0] for t, _ in drawn.values()]
    times = np.unique(past_table[TIME].to_numpy())
    before = times[times < min(starts)] if starts else times
    if len(before) == 0:
        raise DataError(f"no history lies before the forecast's first {roles.time!r}")
    window = Window(
        before[-context] if context and len(before) >= context else before[0], before[-1]
    )
    seen, known = _tracks(past_table, roles.targets), _tracks(truth_table, roles.targets)
    ids = future.keys() | drawn.keys()
    view = _in_window(seen, known, ids, window)
    chosen = _agents(agents, view["past"].keys() | view["unseen"].keys() | ids)
    steps = [
        times,
        truth_table[TIME],
        *(t.times for t in future.values()),
        *(t for t, _ in drawn.values()),
    ]
    return SceneView(
        **view,
        forecast=future,
        samples={s: x for s, x in drawn.items() if s in chosen},
        region={s: x for s, x in regions.items() if s in chosen},
        level=level,
        group=_groups(roles, where, (truth, "truth"), (history, "history")),
        left_out=frozenset(view["past"].keys() - ids if ids else ()),
        since=window.since,
        cutoff=window.cutoff,
        step=_step_of(steps),
        targets=roles.targets,
        extent=_extent(history, roles),
        crowd=int(past_table.groupby(TIME).size().max()),
    )


def _in_window(
    seen: Tracks, known: Tracks, ids: AbstractSet[Hashable], window: Window
) -> dict[str, Tracks]:
    """Past, truth and unseen of the series to draw; who left before the context is not drawn.

    With a forecast these are the series forecast and those that it leaves out though they were seen
    at the cutoff; without one, those seen in the window. And the hidden: in no history up to the
    cutoff, but in the truth, around the cutoff or where the truth begins.

    Args:
        seen, known: what history and truth know, at any time.
        ids: series forecast.
        window: the context shown.
    """
    cutoff = window.cutoff
    visible = {s: early for s, t in seen.items() if len(early := t.where(lambda x: x <= cutoff))}
    shown = {
        s
        for s, t in visible.items()
        if s in ids or (t.times[-1] == cutoff if ids else window.holds(t.times).any())
    }
    begin = min((t.times[0] for t in known.values()), default=cutoff)
    hidden = {
        s
        for s, t in known.items()
        if s not in visible
        and (s in ids or t.times[0] == begin > cutoff or window.holds(t.times).any())
        and t.times[-1] >= cutoff
    }
    past = {s: _or_last(visible[s].where(window.holds), visible[s]) for s in shown}
    unseen = {s: t for s in hidden if len(t := known[s].where(window.holds))}
    truth = {}
    for s in (shown | hidden) & known.keys():
        # Of a series that was lost before the cutoff, the truth begins there.
        lost = visible[s].times[-1] if s in shown else cutoff
        later = known[s].times > lost
        track = known[s].where(lambda x, later=later: later & (x >= window.since))  # type: ignore[misc]
        if len(track) and track.times[-1] > cutoff:
            truth[s] = track
    return {"past": past, "truth": truth, "unseen": unseen}


def _or_last(shown: Track, track: Track) -> Track:
    """What is in the window, or the one position seen last before it."""
    return shown if len(shown) else Track(track.times[-1:], track.xy[-1:])


def _agents(
    agents: Sequence[Hashable] | None, known: AbstractSet[Hashable]
) -> AbstractSet[Hashable]:
    if agents is None:
        return known
    wanted = [key_of(name) for name in ([agents] if isinstance(agents, str) else agents)]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        few = sorted(known, key=str)[:5]
        raise DataError(f"agents {unknown[:5]!r} are not in this scene, which has {few!r}, ...")
    return set(wanted)


def _extent(history: Frame, roles: Roles) -> tuple[np.ndarray, np.ndarray]:
    """Between which positions (2,) nearly all of the history lies, other scenes included."""
    table = nw.from_native(history, eager_only=True)
    few = table.gather_every(max(1, len(table) // GLANCE))
    xy = pick(few.to_native(), "history", values=roles.targets).to_numpy()
    low, high = np.quantile(xy[np.isfinite(xy).all(axis=1)], [0.005, 0.995], axis=0)
    return low, high


def _step_of(times: list[Any]) -> Any:
    """The time between two rows: the least there is; of a single time, any positive one."""
    apart = np.diff(np.unique(np.concatenate([np.asarray(t) for t in times])))
    if len(apart):
        return apart.min()
    return np.timedelta64(1, "s") if apart.dtype.kind == "m" else 1


def _two_targets(roles: Roles) -> Roles:
    if len(roles.targets) != 2:
        raise DataError(
            f"a rollout needs two targets (positions), not {list(roles.targets)}: name them with "
            "columns=Columns(target=['x', 'y']), or use plot_forecast"
        )
    return roles


def _tracks(table: pd.DataFrame, values: Sequence[str]) -> Tracks:
    xy = table[list(values)].to_numpy()
    table = table[np.isfinite(xy).all(axis=1)]
    return {
        series: Track(rows[TIME].to_numpy(), rows[list(values)].to_numpy())
        for series, rows in table.sort_values(TIME, kind="stable").groupby(SERIES, sort=True)
    }


def _observed(frame: Frame, roles: Roles, where: Where, what: str) -> pd.DataFrame:
    where = where_in(frame, where) if what == "truth" else where
    table = pick(
        frame, what, where, labels={SERIES: roles.id}, time=roles.time, values=roles.targets
    )
    return table[np.isfinite(table[list(roles.targets)].to_numpy()).all(axis=1)]


def _groups(
    roles: Roles, where: Where, *frames: tuple[Frame | None, str]
) -> dict[Hashable, Hashable]:
    """Group of each series; later frames win, a series without one is not listed."""
    found: dict[Hashable, Hashable] = {}
    for frame, what in frames:
        if frame is None or roles.group is None or not set(roles.group) <= set(names_of(frame)):
            continue
        labels = {SERIES: roles.id, GROUP: roles.group}
        table = pick(frame, what, where_in(frame, where), labels=labels).dropna().drop_duplicates()
        found |= dict(zip(table[SERIES], table[GROUP], strict=True))
    return found


def _forecast(
    frame: Frame | None, roles: Roles, where: Where, model: str | None, level: float | None
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
        frame, "forecast", where_in(frame, where), labels={SERIES: roles.id}, time=roles.time,
        values=[*points, *bounds],
    )  # fmt: skip
    if table.empty:
        raise DataError(f"the forecast frame has no rows of scene {where[1] if where else ''!r}")
    tracks = _tracks(table, points)
    if not tracks:
        raise DataError(f"column {points[0]!r} of the forecast frame holds no finite position")
    regions = {}
    if bounds:
        last = table[table[TIME] == table[TIME].max()]
        ends = last[bounds].to_numpy()
        pairs_of = zip(last[SERIES], ends, strict=True)
        regions = {s: (row[0::2], row[1::2]) for s, row in pairs_of if np.isfinite(row).all()}
    return tracks, regions, level


def _samples(
    frame: Frame | None, roles: Roles, where: Where, model: str | None
) -> dict[Hashable, tuple[np.ndarray, np.ndarray]]:
    if frame is None:
        return {}
    points = model_columns(frame, roles, model, "samples")
    table = pick_samples(frame, roles, where, points)
    draws = {}
    for series, rows in table.groupby(SERIES, sort=True):
        wide = rows.pivot(index=DRAW, columns=TIME, values=points)
        xy = np.stack([wide[point].to_numpy() for point in points], axis=-1)
        whole = np.isfinite(xy).all(axis=(1, 2))
        if whole.any():
            draws[series] = (wide[points[0]].columns.to_numpy(), xy[whole])
    return draws
