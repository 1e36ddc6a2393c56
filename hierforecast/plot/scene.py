"""What a rollout shows of one scene: every series' past, truth, forecast and samples."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hierforecast.errors import DataError
from hierforecast.plot.columns import Frame, columns_for, names_of
from hierforecast.plot.frames import Forecast, Interval, Reader, Tracks, between, finite
from hierforecast.plot.labels import choose

if TYPE_CHECKING:
    from hierforecast.frame import Columns


@dataclass(frozen=True)
class SceneView:
    """What a rollout shows of one scene.

    Attributes:
        past: observed up to the cutoff, the context shown; of a series lost before the context,
            the one position seen last.
        truth: observed after the cutoff; for a hidden series, after it was seen last.
        unseen: what truth knows up to the cutoff about series that history never shows.
        forecast: one point track per series.
        samples: series -> (times (H,), draws (K, H, 2)).
        shares: (K,) of each draw, if they are representative futures; else None.
        given: what was assumed of the future, where all of a position was.
        imputed: of steps of the context at which a series was not observed.
        region: series -> (lo (2,), hi (2,)), the interval of each coordinate at the last step.
        level: of the interval, in percent; None draws none.
        group: series -> group.
        left_out: in the history, but not in the forecast that was given.
        since: first time of the context shown.
        cutoff: last time of the history.
        step: time between two rows.
        targets: names of the two coordinates.
        extent: low (2,) and high (2,) of nearly all positions of the whole history.
        crowd: series observed at a time, at most.
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
    since: Any
    cutoff: Any
    step: Any
    targets: tuple[str, ...]
    extent: tuple[np.ndarray, np.ndarray]
    crowd: int
    given: Tracks
    imputed: Tracks
    shares: np.ndarray | None

    @property
    def series(self) -> list[Hashable]:
        """Every series seen anywhere by name, the ball's group last so that it lies on top."""
        parts = (self.past, self.unseen, self.truth, self.forecast, self.samples)
        return sorted(
            {series for part in parts for series in part},
            key=lambda s: (str(self.group.get(s)).casefold() == "ball", str(s)),
        )

    def hidden(self, series: Hashable) -> bool:
        """Whether the forecaster did not see this series at the cutoff.

        True for a series that is not in the history, one not observed at the cutoff, and one
        that was left out of the forecast although there is a forecast.
        """
        track = self.past.get(series)
        return track is None or bool(track.times[-1] != self.cutoff) or series in self.left_out

    def last_seen(self, series: Hashable) -> np.ndarray | None:
        """Position (2,) at the last time at or before the cutoff; the first known one if none."""
        for tracks, at in ((self.past, -1), (self.unseen, -1), (self.truth, 0)):
            if len(tracks.get(series, ())):
                return tracks[series].values[at]
        return None

    @property
    def n_paths(self) -> int:
        """How many paths the samples of all series are together."""
        return sum(len(draws) for _, draws in self.samples.values())

    @property
    def groups(self) -> list[Hashable]:
        """The groups of the series in the picture."""
        return [self.group[series] for series in self.series if series in self.group]

    @property
    def times(self) -> np.ndarray:
        """Every time there is to show: the context's, then the forecast's and the truth's."""
        tracks = [*self.past.values(), *self.truth.values(), *self.forecast.values()]
        ahead = [track.times for track in self.forecast.values()]
        ahead += [times for times, _ in self.samples.values()]
        found = np.unique(np.concatenate([*(track.times for track in tracks), *ahead]))
        # A series lost before the context stands where it was seen last, from the first time on.
        found = found[found >= self.since]
        return found[found <= max(times[-1] for times in ahead)] if ahead else found

    def until(self, time: Any) -> SceneView:
        """The scene as it stood at `time`: before the cutoff nothing of the future is there."""

        def cut(tracks: Tracks) -> Tracks:
            parts = {series: track[track.times <= time] for series, track in tracks.items()}
            return {series: track for series, track in parts.items() if len(track)}

        samples = {s: (t[t <= time], xy[:, t <= time]) for s, (t, xy) in self.samples.items()}
        return replace(
            self,
            past=cut(self.past),
            truth=cut(self.truth),
            unseen=cut(self.unseen),
            forecast=cut(self.forecast),
            given=cut(self.given),
            imputed=cut(self.imputed),
            samples={s: (t, xy) for s, (t, xy) in samples.items() if len(t)},
            region={},
            cutoff=min(time, self.cutoff),
        )


def read_scene(
    history: Frame,
    forecast: Frame | None = None,
    truth: Frame | None = None,
    samples: Frame | None = None,
    scene: Hashable | None = None,
    columns: Columns | None = None,
    *,
    model: str | None = None,
    level: float | None = 90,
    context: int | None = None,
    agents: Sequence[Hashable] | None = None,
    given: Frame | None = None,
    imputed: Frame | None = None,
) -> SceneView:
    """Read one scene out of the frames that `plot_rollout` takes; see there.

    A history that runs into the forecast's times is cut where the forecast begins, and what lies
    beyond serves as truth.

    Raises:
        DataError: for a missing column, several scenes and none chosen, or not two targets.
    """
    columns = columns_for(columns, history)
    if len(columns.targets) != 2:
        raise DataError(
            f"a rollout needs two targets (positions), not {list(columns.targets)}: name them with "
            "columns=Columns(target=['x', 'y']), or use plot_forecast"
        )
    reader = Reader(columns, model).within(history, scene, "history")
    seen = reader.observed(history, "history")
    if not seen:
        raise DataError("the history of this scene has no row with finite positions")
    known = seen if truth is None else reader.observed(truth, "truth")
    future, region = ({}, {}) if forecast is None else _ahead(reader.forecast(forecast), level)
    draws = None if samples is None else reader.draws(samples, _number_of(samples))
    drawn = {} if draws is None else draws.whole()
    ahead = [*(track.times for track in future.values()), *(times for times, _ in drawn.values())]
    times, present = np.unique(_times_of(seen), return_counts=True)
    before = times[times < min(t[0] for t in ahead)] if ahead else times
    if len(before) == 0:
        raise DataError(f"no history lies before the forecast's first {columns.time!r}")
    since, cutoff = before[-context if context and len(before) >= context else 0], before[-1]
    ids = future.keys() | drawn.keys()
    past, late, unseen = _in_window(seen, known, ids, since, cutoff)
    chosen = past.keys() | unseen.keys() | ids
    if agents is not None:
        chosen = set(choose(agents, chosen, "agents", "this scene"))
    return SceneView(
        past=past,
        truth=late,
        unseen=unseen,
        forecast=future,
        samples={s: x for s, x in drawn.items() if s in chosen},
        region={s: x for s, x in region.items() if s in chosen},
        level=level,
        group=_groups(reader, history, truth),
        left_out=frozenset(past.keys() - ids if ids else ()),
        since=since,
        cutoff=cutoff,
        step=_step_of([times, _times_of(known), *ahead]),
        targets=columns.targets,
        extent=reader.extent(history),
        crowd=int(present.max()),
        given={} if given is None else _given(reader, given, chosen),
        imputed={} if imputed is None else between(reader.imputed(imputed), since, cutoff),
        shares=None if draws is None else draws.shares,
    )


def _number_of(samples: Frame) -> str:
    """The column that numbers them: draws, or representative futures."""
    return "future_id" if "future_id" in names_of(samples) else "sample_id"


def _given(reader: Reader, given: Frame, chosen: AbstractSet[Hashable]) -> Tracks:
    """What is given of the series in the picture; a plan need not have all of the targets."""
    if not set(reader.columns.targets) <= set(names_of(given)):
        return {}
    return {s: track for s, track in reader.observed(given, "given").items() if s in chosen}


def _ahead(forecast: Forecast, level: float | None) -> tuple[Tracks, dict[Hashable, Interval]]:
    """Where the forecast has positions, and the intervals (2,), (2,) at its last step."""
    tracks, bands = finite(forecast.tracks), forecast.bands
    if not tracks:
        raise DataError(
            f"column {forecast.names[0]!r} of the forecast frame holds no finite position"
        )
    if level is None or not bands:
        return tracks, {}
    if float(level) not in bands:
        have = ", ".join(f"{name:g}" for name in bands)
        raise DataError(
            f"the forecast frame has no column '{forecast.names[0]}-lo-{level:g}': choose "
            f"level={have} or forecast again with level=[{level:g}]"
        )
    last = max(track.times[-1] for track in forecast.tracks.values())
    ends = {
        s: (low[-1], high[-1])
        for s, (low, high) in bands[float(level)].items()
        if forecast.tracks[s].times[-1] == last
    }
    return tracks, {s: end for s, end in ends.items() if np.isfinite(end).all()}


def _in_window(
    seen: Tracks, known: Tracks, ids: AbstractSet[Hashable], since: Any, cutoff: Any
) -> tuple[Tracks, Tracks, Tracks]:
    """Past, truth and unseen of the series to draw; who left before the context is not drawn.

    With a forecast these are the series forecast and those that it leaves out though they were seen
    at the cutoff; without one, those seen in the window. And the hidden: in no history up to the
    cutoff, but in the truth, around the cutoff or where the truth begins.

    Args:
        seen, known: what history and truth know, at any time.
        ids: series forecast.
        since, cutoff: first and last time of the context shown.
    """
    shown, about = (between(tracks, since, cutoff) for tracks in (seen, known))
    visible = {s: early for s, t in seen.items() if len(early := t[t.times <= cutoff])}
    past = {
        s: shown.get(s) or t[-1:]  # or where it was seen last
        for s, t in visible.items()
        if s in ids or (t.times[-1] == cutoff if ids else s in shown)
    }
    begin = min((t.times[0] for t in known.values()), default=cutoff)
    hidden = {
        s: about.get(s, t[:0])
        for s, t in known.items()
        if s not in visible
        and (s in ids or t.times[0] == begin > cutoff or s in about)
        and t.times[-1] >= cutoff
    }
    truth = {}
    for s in known.keys() & (past.keys() | hidden.keys()):
        # Of a series that was lost before the cutoff, the truth begins there.
        lost = visible[s].times[-1] if s in past else cutoff
        later = known[s][(known[s].times > lost) & (known[s].times >= since)]
        if len(later) and later.times[-1] > cutoff:
            truth[s] = later
    return past, truth, {s: t for s, t in hidden.items() if len(t)}


def _groups(reader: Reader, history: Frame, truth: Frame | None) -> dict[Hashable, Hashable]:
    """Group of each series; the history's word counts, a series without one is not listed."""
    found: dict[Hashable, Hashable] = {}
    for frame, what in ((truth, "truth"), (history, "history")):
        if frame is not None and reader.has_groups(frame):
            found |= reader.groups(frame, what)
    return found


def _times_of(tracks: Tracks) -> np.ndarray:
    """The times of all rows."""
    return np.concatenate([track.times for track in tracks.values()] or [np.empty(0, np.int64)])


def _step_of(times: list[np.ndarray]) -> Any:
    """The time between two rows: the least there is; of a single time, any positive one."""
    apart = np.diff(np.unique(np.concatenate([t for t in times if len(t)])))
    if len(apart):
        return apart.min()
    return np.timedelta64(1, "s") if apart.dtype.kind == "m" else 1
