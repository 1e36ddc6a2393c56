"""What a rollout shows of one scene: every series' past, truth, forecast and samples."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


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
        past: observed up to the cutoff, the context shown; of a series lost before the context,
            the one position seen last.
        truth: observed after the cutoff; for a hidden series, after it was seen last.
        unseen: what truth knows up to the cutoff about series that history never shows.
        forecast: one point track per series.
        samples: series -> (times (H,), draws (K, H, 2)).
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


@dataclass(frozen=True)
class Window:
    """The times of the context that is shown, both ends included."""

    since: Any
    cutoff: Any

    def holds(self, times: np.ndarray) -> np.ndarray:
        """Which of the times lie in it."""
        return (times >= self.since) & (times <= self.cutoff)
