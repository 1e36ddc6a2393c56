"""The plots' one way in for data frames: any library's frames in, one scene as arrays out.

`Reader` knows which column plays which part. Whatever draws asks it for `Track`s, a `Forecast`,
`Draws` and groups, and never sees a column.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.plot.columns import (
    Frame,
    Key,
    labels_in,
    levels_of,
    models_of,
    names_of,
    need,
    numbers_in,
    say,
    scene_in,
    times_in,
)
from hierforecast.plot.labels import key_of

GLANCE = 100_000  # rows of which the extent of a history is read off
# Columns of the tables that `Reader.table` returns; no user's column has such a name.
SERIES, TIME, DRAW, GROUP = "*series", "*time", "*draw", "*group"


@dataclass(frozen=True)
class Track:
    """A series where it was observed or is forecast: `times` (T,) ascending, `values` (T, D)."""

    times: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, kept: Any) -> Track:
        """Some of the steps: a slice or a mask (T,)."""
        return Track(self.times[kept], self.values[kept])

    def pieces(self, step: Any) -> list[Track]:
        """Unbroken runs: a gap longer than a step and a half starts a new one."""
        cuts = np.flatnonzero(np.diff(self.times) > step * 1.5) + 1
        runs = zip(np.split(self.times, cuts), np.split(self.values, cuts), strict=True)
        return [Track(times, values) for times, values in runs]


Tracks = dict[Hashable, Track]
Interval = tuple[np.ndarray, np.ndarray]  # lower and upper bounds


def finite(tracks: Tracks) -> Tracks:
    """The steps at which every value is known, of the series that have one."""
    parts = {s: track[np.isfinite(track.values).all(axis=1)] for s, track in tracks.items()}
    return {series: track for series, track in parts.items() if len(track)}


def between(tracks: Tracks, first: Any, last: Any) -> Tracks:
    """The steps from a time to another, of the series that have one."""
    parts = {s: t[(t.times >= first) & (t.times <= last)] for s, t in tracks.items()}
    return {series: track for series, track in parts.items() if len(track)}


@dataclass(frozen=True)
class Forecast:
    """A point forecast with its intervals.

    Attributes:
        names: columns of the point forecast, one per target.
        tracks: of each series in order of appearance; cells without a number are NaN.
        bands: level in percent -> series -> (lower, upper), each (H, D).
    """

    names: list[str]
    tracks: Tracks
    bands: dict[float, dict[Hashable, Interval]]


@dataclass(frozen=True)
class Draws:
    """Joint draws: `values` (N, K, H, D) of sorted series, draws and `times` (H,); NaN for none.

    `joint` says whether there is a row for every series, draw and time. `shares` (K,) are those of
    representative futures, None for draws.
    """

    series: list[Hashable]
    times: np.ndarray
    values: np.ndarray
    joint: bool
    shares: np.ndarray | None = None

    def of(self, series: Hashable) -> np.ndarray:
        """The draws (K, H, D) of a series.

        Raises:
            DataError: if there are none.
        """
        if series not in self.series:
            raise DataError(f"the samples frame has no draws of {series!r}")
        return np.asarray(self.values[self.series.index(series)])

    def whole(self) -> dict[Hashable, tuple[np.ndarray, np.ndarray]]:
        """Series -> its own times (h,) and its draws without a hole (k, h, D), if there are any."""
        found = {}
        for series, values in zip(self.series, self.values, strict=True):
            known = np.isfinite(values).all(axis=-1)
            steps = known.any(axis=0)
            kept = known[:, steps].all(axis=1)
            if steps.any() and kept.any():
                found[series] = self.times[steps], values[kept][:, steps]
        return found


@dataclass(frozen=True)
class Reader:
    """Reads frames of one kind of picture.

    Attributes:
        columns: their roles.
        model: name of the model in a forecast's columns; None takes the first.
        where: columns and the values that rows of the scene have. Frames without these columns
            are taken whole: a frame cut to one scene may have dropped them.
    """

    columns: Columns
    model: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)

    def within(self, frame: Frame, scene: Any | None, what: str) -> Reader:
        """The same for one scene of a frame; see `scene_in`."""
        return replace(self, where=scene_in(frame, self.columns.scenes, scene, what))

    def table(
        self,
        frame: Frame,
        what: str,
        labels: Mapping[str, Key],
        values: Sequence[str] = (),
        *,
        timed: bool = True,
    ) -> pd.DataFrame:
        """A small table of the scene's rows that have every label; the frame is left as it is.

        Args:
            frame: pandas, polars or pyarrow.
            what: how errors call the frame, e.g. `"history"`.
            labels: name in the table -> the columns that hold it; of several columns one text.
            values: numeric columns, float64 in the table; NaN where there is none.
            timed: add TIME: int64, float64 or datetime64 as on the wall.

        Raises:
            DataError: naming a column that is missing or holds no numbers.
        """
        keyed = [name for key in labels.values() for name in key]
        need(frame, [*keyed, *([self.columns.time] if timed else []), *values], what)
        table = nw.from_native(frame, eager_only=True)
        if self.where and set(self.where) <= set(table.columns):
            table = table.filter(*(nw.col(name) == value for name, value in self.where.items()))
        found = {name: labels_in(table, key) for name, key in labels.items()}
        if timed:
            found[TIME] = times_in(table[self.columns.time], what)
        known = list(found)
        found |= {name: numbers_in(table[name], what) for name in values}
        return pd.DataFrame(found).dropna(subset=known)

    def _tracks(self, frame: Frame, what: str, values: Sequence[str]) -> Tracks:
        table = self.table(frame, what, {SERIES: self.columns.ids}, values)
        codes, names = pd.factorize(table[SERIES])
        times, cells = table[TIME].to_numpy(), table[list(values)].to_numpy()
        order = np.lexsort((times, codes))
        rows = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
        return {key_of(n): Track(times[r], cells[r]) for n, r in zip(names, rows, strict=False)}

    def observed(self, frame: Frame, what: str) -> Tracks:
        """Every series where all targets were observed."""
        return finite(self._tracks(frame, what, self.columns.targets))

    def imputed(self, frame: Frame) -> Tracks:
        """What `Forecaster.impute` returned; there need be nothing of the scene."""
        return finite(self._tracks(frame, "imputed", self.points(frame, "imputed")))

    def forecast(self, frame: Frame) -> Forecast:
        """What `Forecaster.predict` returned.

        Raises:
            DataError: if there is nothing of the scene.
        """
        points = self.points(frame, "forecast")
        levels = levels_of(frame, points)
        bounds = [name for pairs in levels.values() for pair in pairs for name in pair]
        found = self._tracks(frame, "forecast", [*points, *bounds])
        self._refuse_empty(found, "forecast")
        n = len(points)
        bands = {
            # Its columns are lower and upper bounds in turn, of one target after another.
            level: {
                s: (t.values[:, i : i + 2 * n : 2], t.values[:, i + 1 : i + 2 * n : 2])
                for s, t in found.items()
            }
            for i, level in zip(range(n, n + len(bounds), 2 * n), levels, strict=True)
        }
        return Forecast(
            points, {s: Track(t.times, t.values[:, :n]) for s, t in found.items()}, bands
        )

    def draws(self, frame: Frame, number: str = "sample_id") -> Draws:
        """What `Forecaster.sample` returned; with ``future_id`` what `Forecaster.futures` did.

        Raises:
            DataError: if a draw holds a series twice at one time, or nothing is of the scene.
        """
        points, time = self.points(frame, "samples"), self.columns.time
        labels = {SERIES: self.columns.ids, DRAW: (number,)}
        weight = ["share"] if number == "future_id" else []
        table = self.table(frame, "samples", labels, [*points, *weight])
        if table.duplicated([SERIES, TIME, DRAW]).any():
            raise DataError(
                f"the samples hold {say(self.columns.ids)}, {time!r} and {number!r} of one draw "
                "several times: give those of one scene, or say how scenes are told apart with "
                "columns=Columns(scene=...)"
            )
        self._refuse_empty(table, "samples")
        axes = [pd.factorize(table[name], sort=True) for name in (SERIES, DRAW, TIME)]
        values = np.full((*(len(labels) for _, labels in axes), len(points)), np.nan)
        values[tuple(codes for codes, _ in axes)] = table[points].to_numpy()
        joint = len(table) * len(points) == values.size
        shares = table.groupby(DRAW)["share"].first().to_numpy() if weight else None
        return Draws([key_of(s) for s in axes[0][1]], np.asarray(axes[2][1]), values, joint, shares)

    def _refuse_empty(self, found: Any, what: str) -> None:
        if not len(found):
            scene = tuple(self.where.values()) or ""
            raise DataError(f"the {what} frame has no rows of scene {scene!r}")

    def groups(self, frame: Frame, what: str, key: Key | None = None) -> dict[Hashable, Hashable]:
        """Series -> group, of those that have one.

        Args:
            frame: that holds the groups.
            what: how errors call the frame.
            key: columns of the group; None takes the coarsest level.

        Raises:
            DataError: if no group column is known or it is not there.
        """
        key = key or next(iter(self.columns.levels), None)
        if key is None:
            raise DataError(
                "no group column is known: name it with by=... or columns=Columns(group=...)"
            )
        labels = {SERIES: self.columns.ids, GROUP: key}
        table = self.table(frame, what, labels, timed=False).drop_duplicates()
        pairs = zip(table[SERIES], table[GROUP], strict=True)
        return {key_of(series): key_of(group) for series, group in pairs}

    def has_groups(self, frame: Frame) -> bool:
        """Whether the frame holds the coarsest level of groups."""
        return bool(self.columns.levels) and set(self.columns.levels[0]) <= set(names_of(frame))

    def extent(self, frame: Frame) -> Interval:
        """Between which values (D,) nearly all of the frame lies, other scenes included."""
        table = nw.from_native(frame, eager_only=True)
        few = table.gather_every(max(1, len(table) // GLANCE)).to_native()
        xy = replace(self, where={}).table(few, "history", {}, self.columns.targets, timed=False)
        low, high = np.quantile(xy[np.isfinite(xy).all(axis=1)], [0.005, 0.995], axis=0)
        return low, high

    def points(self, frame: Frame, what: str, model: str | None = None) -> list[str]:
        """The columns that hold the point forecast (or one joint draw) of each target.

        Raises:
            DataError: if the model named is not there.
        """
        found, model = models_of(frame, self.columns, what), model or self.model
        if model is not None and model not in found:
            raise DataError(f"the {what} frame has no model {model!r}: choose one of {found}")
        name = found[0] if model is None else model
        several = [f"{name}_{target}" for target in self.columns.targets]
        return several if set(several) <= set(names_of(frame)) else [name]
