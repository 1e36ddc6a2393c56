"""`Task`: the shapes a model is built for, known once a frame has been read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hierforecast.frame import Panel
from hierforecast.frame.step import season_of, seasons_of


@dataclass(frozen=True)
class Task:
    """What a model needs to know of the data before it can be built.

    Args:
        context_length: observed steps given to the model (L).
        prediction_length: steps forecast (H).
        n_targets: columns forecast (D).
        n_levels: levels of nested groups.
        n_types: kinds of groups that are not interchangeable.
        past, known, static: for each covariate its number of categories, or None if numeric.
        season: steps of a season that the step of time suggests, or None.
        n_series: of the largest scene; None if that is not known.
        calendar: names of the features of the calendar that a model may ask for.
        calendar_stated: whether the user asks for them.
        smooth: whether it is demand: targets that are never negative, and a season.
        crossed: levels of each further way of grouping.
        one_hot: whether the linear start of demand takes categories known ahead too; False in what
            was saved by earlier versions.
    """

    context_length: int
    prediction_length: int
    n_targets: int = 1
    n_levels: int = 1
    n_types: int = 1
    past: tuple[int | None, ...] = ()
    known: tuple[int | None, ...] = ()
    static: tuple[int | None, ...] = ()
    season: int | None = None
    n_series: int | None = None
    calendar: tuple[str, ...] = ()
    calendar_stated: bool = False
    smooth: bool = False
    crossed: tuple[int, ...] = ()
    one_hot: bool = False

    @classmethod
    def of(cls, panel: Panel, context_length: int, prediction_length: int) -> Task:
        """The shapes that a panel asks for."""
        return cls(
            context_length,
            prediction_length,
            n_targets=panel.values.shape[1],
            n_levels=panel.groups.shape[1],
            **panel.vocabulary.sizes(),
            season=_season(panel),
            smooth=_is_demand(panel),
            n_series=int(np.bincount(panel.row_scene).max(initial=0)),
            calendar=panel.vocabulary.calendar,
            calendar_stated=panel.columns.states_calendar,
            crossed=tuple(codes.shape[1] for codes in panel.crossed),
            one_hot=True,
        )

    @property
    def n_all_levels(self) -> int:
        """Levels of groups, those of every way of grouping."""
        return self.n_levels + sum(self.crossed)

    def with_calendar(self) -> Task:
        """The task as a model that uses the calendar sees it: its features are known covariates."""
        return replace(self, known=self.known + (None,) * len(self.calendar))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Task:
        """The inverse of `to_dict`."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**plain)


def _season(panel: Panel) -> int | None:
    """Steps of the shortest season."""
    given = panel.columns.season
    if given is None:
        return season_of(panel.clock.step)
    return min(seasons_of(panel.clock.step, given), default=None)


def _is_demand(panel: Panel) -> bool:
    """Whether no target is ever negative, there is a season, and several are no coordinates.

    Those with dates are lat and lon, say, which are neither whole numbers nor zero.
    """
    if not seasons_of(panel.clock.step, panel.columns.season) or not (panel.values >= 0).all():
        return False
    values = panel.values[panel.present]
    return values.shape[1] == 1 or all(
        bool((x == np.floor(x)).all()) or bool((x == 0).any()) for x in values.T
    )
