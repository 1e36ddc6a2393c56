"""The frames of a fan chart as tables of one scene with one value column each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from hierforecast.errors import DataError
from hierforecast.plot.frames import (
    Frame,
    Roles,
    choose_scene,
    levels_of,
    model_columns,
    names_of,
    need,
    pick,
    roles_of,
    where_in,
)
from hierforecast.plot.panels import Curve

if TYPE_CHECKING:
    from hierforecast.frame import Columns


class Tables:
    """What the fan charts read: pandas tables with the columns id, time and `value`.

    Attributes:
        roles: of the columns, with the one target that is drawn.
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
        self.roles = Roles(roles.id, roles.time, roles.targets[:1], roles.groups, roles.scene)
        self.where = choose_scene(history, roles, scene, "history")
        self.names: dict[float, tuple[str, str]] = {}
        self.forecast = None if forecast is None else self._ahead(forecast, "forecast")
        self.samples = None if samples is None else self._ahead(samples, "samples", "sample_id")
        past = self._observed(history, "history")
        after = past if truth is None else self._observed(truth, "truth")
        times = past[roles.time].drop_duplicates().nlargest(1)
        if (ahead := self.ahead) is not None:
            times = ahead[roles.time].drop_duplicates()
            past = past[past[roles.time] < times.min()]
        self.horizon = len(times)
        self.past = past
        self.truth = after[(after[roles.time] >= times.min()) & (after[roles.time] <= times.max())]
        self.cutoff = past[roles.time].max()

    @property
    def ahead(self) -> pd.DataFrame | None:
        """The forecast, or else the samples: either knows the series and times forecast."""
        return self.samples if self.forecast is None else self.forecast

    def _observed(self, frame: Frame, what: str) -> pd.DataFrame:
        target = self.roles.targets[0]
        wanted = [self.roles.id, self.roles.time, target]
        table = pick(frame, wanted, what, where_in(frame, self.where))
        return table.rename(columns={target: "value"}).dropna()

    def _ahead(self, frame: Frame, what: str, *extra: str) -> pd.DataFrame:
        point = model_columns(frame, self.roles, self.model, what)[0]
        if what == "forecast":
            self.names = {level: pair[0] for level, pair in levels_of(frame, [point]).items()}
        bounds = [name for pair in self.names.values() for name in pair] if not extra else []
        wanted = [self.roles.id, self.roles.time, *extra, point, *bounds]
        table = pick(frame, wanted, what, where_in(frame, self.where))
        return table.rename(columns={point: "value"})

    def members(self, by: str | None = None) -> dict[Hashable, Hashable]:
        """Series -> group, from the history.

        Raises:
            DataError: if no group column is known or it is not there.
        """
        by = self.roles.group if by is None else by
        if by is None:
            raise DataError(
                "no group column is known: name it with by=... or columns=Columns(group=...)"
            )
        need(names_of(self.given), [by], "history")
        table = pick(self.given, [self.roles.id, by], "history", self.where).dropna()
        table = table.drop_duplicates()
        return dict(zip(table[self.roles.id], table[by], strict=True))

    def choose(
        self, ids: Sequence[Hashable] | None, groups: Sequence[Hashable] | None
    ) -> list[Hashable]:
        """The series forecast, cut to `ids` (in that order) and to the members of `groups`.

        Raises:
            DataError: naming ids or groups that are not there.
        """
        found: list[Any] = [] if self.ahead is None else [*dict.fromkeys(self.ahead[self.roles.id])]
        if ids is not None:
            unknown = [name for name in ids if name not in set(found)]
            if unknown:
                raise DataError(
                    f"ids {unknown[:5]!r} are not in column {self.roles.id!r} of the forecast, "
                    f"which has {found[:5]!r}{', ...' if len(found) > 5 else ''}"
                )
            found = list(ids)
        if groups is not None:
            member = self.members()
            unknown = [group for group in groups if group not in set(member.values())]
            if unknown:
                raise DataError(
                    f"groups {unknown!r} are not in column {self.roles.group!r} of the history"
                )
            found = [series for series in found if member.get(series) in set(groups)]
        return found


def curve_of(table: pd.DataFrame, time: str) -> Curve:
    """Times (T,) ascending and values (T,) of a table."""
    table = table.sort_values(time)
    return table[time].to_numpy(), table["value"].to_numpy(dtype=float)
