"""Fan charts: a panel per series, or per group from joint samples."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from hierforecast.errors import DataError
from hierforecast.plot.columns import Frame, columns_for, key_columns, names_of, say
from hierforecast.plot.frames import Forecast, Interval, Reader, Track, Tracks
from hierforecast.plot.labels import choose, text_of
from hierforecast.plot.panels import Fan, draw_fans

if TYPE_CHECKING:
    from hierforecast.frame import Columns

DEFAULT_LEVELS = (50.0, 90.0)


class FanOptions(TypedDict, total=False):
    """What `plot_forecast` and `plot_groups` both know; see there."""

    scene: Hashable | None
    columns: Columns | None
    model: str | None
    target: str | None
    levels: Sequence[float] | None
    context: int | None
    share_y: bool
    unit: str | None
    title: str | None


def plot_forecast(
    history: Frame,
    forecast: Frame,
    truth: Frame | None = None,
    groups: Sequence[Hashable] | None = None,
    ids: Sequence[Hashable] | None = None,
    *,
    samples: Frame | None = None,
    given: Frame | None = None,
    max_series: int = 12,
    **options: Unpack[FanOptions],
) -> np.ndarray:
    """A fan chart for each series: history, forecast with its intervals, and truth if given.

    Args:
        history: long frame up to the cutoff; pandas, polars or pyarrow.
        forecast: what `Forecaster.predict` returned, with `level=[...]` for the bands.
        truth: what happened; only its times after the cutoff are drawn.
        groups: draw the series of these groups only, which may be of any level of `columns`.
        ids: draw these series, in this order; None takes the first ones of the forecast.
        samples: joint draws; bands are then their quantiles.
        given: what-if: the plan that the forecast was given; its steps have squares.
        max_series: at most this many panels.
        **options: more of them, by name.

            - scene: which scene; may be left out if there is only one.
            - columns: column roles; None guesses.
            - model: name of the model in the forecast's columns; None takes the first.
            - target: which target; None takes the first. Of several, the one drawn is named at
              the side.
            - levels: percent; None takes those of the forecast's columns (of samples: 50 and 90).
            - context: history steps shown, the same of every panel; None takes four horizons.
            - share_y: one y scale for all panels.
            - unit: of the target, written at the side.
            - title: of the figure.

    Returns:
        the axes drawn, one per series.

    Raises:
        DataError: naming the column, series, group or level that is missing.
    """
    chart = Chart(**options)
    chart.read(history, forecast, truth, samples, given)
    fans = [chart.of_series(series) for series in chart.choose(ids, groups)[:max_series]]
    return draw_fans(fans, chart.title, chart.share_y, _with_unit(chart.label, chart.unit))


def plot_groups(
    history: Frame,
    forecast: Frame | None = None,
    truth: Frame | None = None,
    samples: Frame | None = None,
    *,
    by: str | Sequence[str] | None = None,
    aggregate: str = "mean",
    **options: Unpack[FanOptions],
) -> np.ndarray:
    """A fan chart for each group, of the mean or sum over its series.

    Bands are quantiles of the *aggregated* joint samples, so they know how series move together.
    The intervals of single series cannot be added up: without samples no band is drawn. The
    history is aggregated over the series that are forecast, at each time over those observed.

    Args:
        history: long frame up to the cutoff, with the column `by`.
        forecast: point forecast; None takes the median of the aggregated samples.
        samples: what `Forecaster.sample` returned.
        truth: what happened after the cutoff.
        by: group column of the history, or several; None takes the coarsest level of `columns`.
        aggregate: `"mean"` or `"sum"`.
        **options: scene, columns, model, target, levels, context, share_y, unit and title, as for
            `plot_forecast`.

    Returns:
        the axes drawn, one per group, in order of their names.

    Raises:
        DataError: naming the column that is missing, or an unknown `aggregate`.
    """
    if aggregate not in ("mean", "sum"):
        raise DataError(f"aggregate={aggregate!r} is not known: choose 'mean' or 'sum'")
    if forecast is None and samples is None:
        raise DataError("nothing to draw: give forecast=... or samples=... (or both)")
    chart = Chart(**options)
    chart.read(history, forecast, truth, samples)
    group_of = chart.members(None if by is None else key_columns(by))
    members: dict[Hashable, list[Hashable]] = {}
    for series in sorted(set(chart.choose(None, None)) & group_of.keys(), key=str):
        members.setdefault(group_of[series], []).append(series)
    fans = [
        chart.of_group(text_of(name), members[name], aggregate) for name in sorted(members, key=str)
    ]
    label = _with_unit(f"{aggregate} of {chart.reader.columns.targets[0]}", chart.unit)
    return draw_fans(fans, chart.title, chart.share_y, label)


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
    ) -> None:
        """Read the frames; the history ends where the forecast begins."""
        columns = columns_for(self.columns, history, self.target)
        targets = columns.targets
        # Named where there are several or one was chosen.
        self.label = targets[0] if len(targets) > 1 or self.target is not None else None
        self.history, reader = history, Reader(replace(columns, target=targets[0]), self.model)
        self.reader = reader.within(history, self.scene, "history")
        seen = self.reader.observed(history, "history")
        known = seen if truth is None else self.reader.observed(truth, "truth")
        self.forecast = Forecast([], {}, {}) if forecast is None else self.reader.forecast(forecast)
        self.draws = None if samples is None else self.reader.draws(samples)
        ahead = [track.times for track in self.forecast.tracks.values()]
        ahead += [self.draws.times] if self.draws is not None and not ahead else []
        self.ahead = np.unique(np.concatenate(ahead))
        first, last = self.ahead[[0, -1]]
        has = given is not None and targets[0] in names_of(given)
        self.given = self.reader.observed(given, "given") if has else {}
        self.past = {s: t[t.times < first] for s, t in seen.items()}
        self.truth = {s: t[(t.times >= first) & (t.times <= last)] for s, t in known.items()}
        self.steps = np.unique(np.concatenate([self.ahead, *(t.times for t in self.past.values())]))

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
            where = f"column {say(self.reader.columns.ids)} of the forecast"
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
            _total(tracks, members, how) for tracks in (self.past, self.forecast.tracks, self.truth)
        )
        bands: dict[float, Interval] = {}
        if self.draws is not None:
            draws = _aggregate(np.stack([self.draws.of(series) for series in members]), how)
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


def _total(tracks: Tracks, members: Sequence[Hashable], how: str) -> Track:
    """The mean or sum of several series, at each time over those that have a value there."""
    own = [tracks[series] for series in members if series in tracks]
    times = np.unique(np.concatenate([track.times for track in own])) if own else np.empty(0)
    table = np.full((len(own), len(times), 1), np.nan)
    for row, track in zip(table, own, strict=True):
        row[np.searchsorted(times, track.times)] = track.values
    return Track(times, _aggregate(table, how))


def _aggregate(values: np.ndarray, how: str) -> np.ndarray:
    """The mean or sum over the first axis of the values that are there; NaN where none is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(count > 0, np.where(known, values, 0.0).sum(axis=0), np.nan)
    return total / np.maximum(count, 1) if how == "mean" else total


def _with_unit(label: str | None, unit: str | None) -> str | None:
    if unit is None:
        return label
    return unit if label is None else f"{label} ({unit})"
