"""One target of one scene: what is read for a fan chart, and the panels that are made of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hierforecast.errors import DataError
from hierforecast.plot.columns import Frame, columns_for, key_columns, names_of, need, say
from hierforecast.plot.frames import Forecast, Interval, Reader, Track
from hierforecast.plot.labels import choose, text_of
from hierforecast.plot.panels import Fan
from hierforecast.plot.totals import (
    OTHERS,
    WHOLE,
    add_up,
    aggregate,
    check_how,
    check_totals,
    columns_of_totals,
    read_totals,
)

if TYPE_CHECKING:
    from hierforecast.frame import Columns

DEFAULT_LEVELS = (50.0, 90.0)


@dataclass
class Chart:
    """One target of one scene, and the panels made of it. For the options see `plot_forecast`."""

    scene: Hashable | None = None
    columns: Columns | None = None
    model: str | None = None
    target: str | None = None
    levels: Sequence[float] | None = None
    context: int | None = None
    share_y: bool = False
    unit: str | None = None
    title: str | None = None

    def read(
        self,
        history: Frame,
        forecast: Frame | None,
        truth: Frame | None,
        samples: Frame | None,
        given: Frame | None = None,
        by: tuple[str, ...] | None = None,
    ) -> None:
        """Read the frames; the history ends where the forecast begins.

        With `by` forecast and samples are of totals.
        """
        columns = columns_for(self.columns, history, self.target)
        targets = columns.targets
        # Named where there are several or one was chosen.
        self.label = targets[0] if len(targets) > 1 or self.target is not None else None
        self.history, reader = history, Reader(replace(columns, target=targets[0]), self.model)
        self.reader = reader.within(history, self.scene, "history")
        seen = self.reader.observed(history, "history")
        known = seen if truth is None else self.reader.observed(truth, "truth")
        self._read_answers(forecast, samples, by)
        ahead = [track.times for track in self.forecast.tracks.values()]
        ahead += [self.draws.times] if self.draws is not None and not ahead else []
        self.ahead = np.unique(np.concatenate(ahead))
        first, last = self.ahead[[0, -1]]
        has = given is not None and targets[0] in names_of(given)
        self.given = self.reader.observed(given, "given") if has else {}
        self.past = {s: t[t.times < first] for s, t in seen.items()}
        self.truth = {s: t[(t.times >= first) & (t.times <= last)] for s, t in known.items()}
        self.steps = np.unique(np.concatenate([self.ahead, *(t.times for t in self.past.values())]))

    def _read_answers(
        self, forecast: Frame | None, samples: Frame | None, by: tuple[str, ...] | None
    ) -> None:
        reader = self.reader
        if by is not None:
            reader = replace(reader, columns=columns_of_totals(reader.columns, by))
            forecast, samples = (
                frame if frame is None else read_totals(frame, by, what)
                for frame, what in ((forecast, "forecast"), (samples, "samples"))
            )
        for frame, what in ((forecast, "forecast"), (samples, "samples")):
            if frame is not None:
                need(frame, reader.columns.ids, what, OTHERS)
        self.forecast = Forecast([], {}, {}) if forecast is None else reader.forecast(forecast)
        if by is not None:
            check_totals(self.forecast.tracks, by)
        self.draws = None if samples is None else reader.draws(samples)
        self.ids = reader.columns.ids if by != () else ()

    def add_up(self, by: tuple[str, ...], how: str) -> None:
        """Make totals of history and truth, which were read series by series."""
        check_how("how", how)
        group_of = self.members(by) if by else dict.fromkeys(self.past | self.truth, WHOLE)
        members: dict[Hashable, list[Hashable]] = {}
        for series, label in group_of.items():
            members.setdefault(label, []).append(series)
        self.past, self.truth = (
            {label: add_up(tracks, own, how, self.ahead) for label, own in members.items()}
            for tracks in (self.past, self.truth)
        )
        self.label = f"{how} of {self.reader.columns.targets[0]}"

    def members(self, by: tuple[str, ...] | None = None) -> dict[Hashable, Hashable]:
        """Series -> group, from the history."""
        return self.reader.groups(self.history, "history", by)

    def choose(
        self, ids: Sequence[Hashable] | None, groups: Sequence[Hashable] | None
    ) -> list[Hashable]:
        """The series forecast, cut to `ids` (in that order) and to the members of `groups`.

        Raises:
            DataError: naming ids or groups that are not there.
        """
        found = [*self.forecast.tracks] or ([] if self.draws is None else self.draws.series)
        if ids is not None:
            where = f"column {say(self.ids)} of the forecast" if self.ids else "by=()"
            found = choose(key_columns(ids), found, "ids", where)
        if groups is None:
            return found
        keys = self.reader.columns.levels
        levels = [self.members(key) for key in keys] or [self.members()]
        known = {group for member in levels for group in member.values()}
        where = f"column {' or '.join(map(say, keys))} of the history"
        wanted = choose(key_columns(groups), known, "groups", where)
        chosen = {s for member in levels for s, group in member.items() if group in wanted}
        return [series for series in found if series in chosen]

    def of_series(self, series: Hashable) -> Fan:
        """The panel of a series of the forecast."""
        nothing = Track(self.ahead[:0], np.empty((0, 1)))
        past, point = self.past.get(series, nothing), self.forecast.tracks[series]
        if self.draws is None:
            found = {level: self.forecast.bands[level][series] for level in self._levels()}
            bands = {level: (low[:, 0], high[:, 0]) for level, (low, high) in found.items()}
        else:
            bands = self._quantiles(self.draws.of(series), point.times)
        truth = self.truth.get(series, nothing)
        given = self.given.get(series, nothing)
        curve = given.times, given.values[:, 0]
        return self._fan(text_of(series), past, point, truth, bands, given=curve)

    def of_group(self, name: str, members: list[Hashable], how: str) -> Fan:
        """The panel of the mean or sum of several series."""
        past, point, truth = (
            add_up(tracks, members, how, self.ahead)
            for tracks in (self.past, self.forecast.tracks, self.truth)
        )
        bands: dict[float, Interval] = {}
        if self.draws is not None:
            draws = aggregate(np.stack([self.draws.of(series) for series in members]), how)
            if not self.forecast.tracks:
                point = Track(self.draws.times, np.nanmedian(draws, axis=0))
            bands = self._quantiles(draws, point.times)
        return self._fan(name, past, point, truth, bands, note=f"n = {len(members)}")

    def _fan(
        self, title: str, past: Track, point: Track, truth: Track, bands: Any, **more: Any
    ) -> Fan:
        shown = max(4 * len(self.ahead), 12) if self.context is None else self.context
        before = self.steps[self.steps < self.ahead[0]][-shown:]  # the same of every panel
        past = past[np.isin(past.times, before)]
        tail, ahead, known = ((track.times, track.values[:, 0]) for track in (past, point, truth))
        return Fan(title, tail, ahead, known, bands, steps=self.steps, **more)

    def _levels(self) -> list[float]:
        """Those wanted, of the levels of the forecast."""
        available = list(self.forecast.bands)
        wanted = available if self.levels is None else self.levels
        missing = [level for level in wanted if float(level) not in available]
        if missing:
            raise DataError(
                f"the forecast frame has no intervals of level {missing}: it has {available}; "
                f"forecast with level={list(wanted)}, or give samples=..."
            )
        return [float(level) for level in wanted]

    def _quantiles(self, draws: np.ndarray, times: np.ndarray) -> dict[float, Interval]:
        """Bands from draws (K, H, 1), at the times forecast: level -> (lo, hi)."""
        assert self.draws is not None
        draws = draws[:, np.isin(self.draws.times, times), 0]
        chosen = DEFAULT_LEVELS if self.levels is None else self.levels
        tails = {float(level): (1 - float(level) / 100) / 2 for level in chosen}
        return {
            level: (np.nanquantile(draws, tail, axis=0), np.nanquantile(draws, 1 - tail, axis=0))
            for level, tail in tails.items()
        }
