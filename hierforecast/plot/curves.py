"""The frames of a fan chart as tables of one scene with one value column each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from hierforecast.errors import DataError
from hierforecast.plot.frames import (
    SERIES,
    TIME,
    Frame,
    Key,
    choose_scene,
    key,
    levels_of,
    model_columns,
    pick,
    pick_samples,
    roles_of,
    say,
    where_in,
)
from hierforecast.plot.labels import key_of
from hierforecast.plot.panels import Curve

if TYPE_CHECKING:
    from hierforecast.frame import Columns


class Tables:
    """What the fan charts read: pandas tables with the columns SERIES, TIME and `value`.

    Attributes:
        roles: of the columns, with the one target that is drawn.
        label: of the values: the target, where there are several or one was asked for.
        past: observed before the forecast begins.
        truth: observed at the forecast's times.
        forecast, samples: as given, or None.
        names: level in percent -> the (lo, hi) columns of `forecast`.
        horizon: forecast steps.
        cutoff: last time of `past`.
    """

    def __init__(
        self,
        history: Frame,
        forecast: Frame | None,
        truth: Frame | None,
        samples: Frame | None,
        scene: Hashable | None,
        columns: Columns | None,
        model: str | None,
        target: str | None,
    ) -> None:
        """Read the frames; see `plot_forecast` for the arguments."""
        roles = roles_of(columns, history, target)
        self.given, self.model = history, model
        self.label = roles.targets[0] if len(roles.targets) > 1 or target is not None else None
        self.roles = replace(roles, targets=roles.targets[:1])
        self.where = choose_scene(history, roles, scene, "history")
        self.names: dict[float, tuple[str, str]] = {}
        self.forecast = None if forecast is None else self._ahead(forecast, "forecast")
        self.samples = None if samples is None else self._ahead(samples, "samples")
        past = self._observed(history, "history")
        after = past if truth is None else self._observed(truth, "truth")
        times = past[TIME].drop_duplicates().nlargest(1)
        if (ahead := self.ahead) is not None:
            times = ahead[TIME].drop_duplicates()
            past = past[past[TIME] < times.min()]
        self.horizon = len(times)
        self.past = past
        self.truth = after[(after[TIME] >= times.min()) & (after[TIME] <= times.max())]
        self.cutoff = past[TIME].max()

    @property
    def ahead(self) -> pd.DataFrame | None:
        """The forecast, or else the samples: either knows the series and times forecast."""
        return self.samples if self.forecast is None else self.forecast

    def _observed(self, frame: Frame, what: str) -> pd.DataFrame:
        (target,) = self.roles.targets
        where, labels = where_in(frame, self.where), {SERIES: self.roles.id}
        table = pick(frame, what, where, labels=labels, time=self.roles.time, values=[target])
        return table.rename(columns={target: "value"}).dropna()

    def _ahead(self, frame: Frame, what: str) -> pd.DataFrame:
        (point,) = model_columns(frame, self.roles, self.model, what)
        where = where_in(frame, self.where)
        if what == "samples":
            table = pick_samples(frame, self.roles, where, [point])
        else:
            self.names = {level: pair[0] for level, pair in levels_of(frame, [point]).items()}
            values = [point, *(name for pair in self.names.values() for name in pair)]
            labels = {SERIES: self.roles.id}
            table = pick(frame, what, where, labels=labels, time=self.roles.time, values=values)
        if table.empty:
            raise DataError(f"the {what} frame has no rows of scene {where[1] if where else ''!r}")
        return table.rename(columns={point: "value"})

    def members(self, by: Key | str | None = None) -> dict[Any, Any]:
        """Series -> group, from the history.

        Raises:
            DataError: if no group column is known or it is not there.
        """
        by = self.roles.group if by is None else by
        if by is None:
            raise DataError(
                "no group column is known: name it with by=... or columns=Columns(group=...)"
            )
        labels = {SERIES: self.roles.id, "group": key(by)}
        table = pick(self.given, "history", self.where, labels=labels).dropna().drop_duplicates()
        return dict(zip(table[SERIES], table["group"], strict=True))

    def choose(
        self, ids: Sequence[Hashable] | None, groups: Sequence[Hashable] | None
    ) -> list[Hashable]:
        """The series forecast, cut to `ids` (in that order) and to the members of `groups`.

        Raises:
            DataError: naming ids or groups that are not there.
        """
        found: list[Any] = [] if self.ahead is None else [*dict.fromkeys(self.ahead[SERIES])]
        if ids is not None:
            wanted = _several(ids)
            unknown = [name for name in wanted if name not in set(found)]
            if unknown:
                raise DataError(
                    f"ids {unknown[:5]!r} are not in column {say(self.roles.id)} of the forecast, "
                    f"which has {found[:5]!r}{', ...' if len(found) > 5 else ''}"
                )
            found = wanted
        if groups is not None:
            chosen = self._within(_several(groups))
            found = [series for series in found if series in chosen]
        return found

    def _within(self, groups: list[Hashable]) -> set[Hashable]:
        """The series of these groups, each of which may be of any level.

        Raises:
            DataError: naming a group that no level has.
        """
        levels = [self.members(level) for level in self.roles.groups] or [self.members()]
        unknown = [group for group in groups if not any(group in m.values() for m in levels)]
        if unknown:
            where = " or ".join(map(say, self.roles.groups))
            raise DataError(f"groups {unknown!r} are not in column {where} of the history")
        return {series for member in levels for series, group in member.items() if group in groups}


def _several(names: Sequence[Hashable] | str) -> list[Hashable]:
    """Names as the tables have them; one text alone is one name."""
    return [key_of(name) for name in ([names] if isinstance(names, str) else names)]


def curve_of(table: pd.DataFrame) -> Curve:
    """Times (T,) ascending and values (T,) of a table."""
    table = table.sort_values(TIME)
    return table[TIME].to_numpy(), table["value"].to_numpy(dtype=float)
