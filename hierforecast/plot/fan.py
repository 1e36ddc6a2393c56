"""Fan charts: a panel per series, or per group from joint samples."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from hierforecast.errors import DataError
from hierforecast.plot.chart import Chart
from hierforecast.plot.columns import Frame, key_columns
from hierforecast.plot.labels import text_of
from hierforecast.plot.panels import draw_fans
from hierforecast.plot.totals import check_how

if TYPE_CHECKING:
    from hierforecast.frame import Columns


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
    by: str | Sequence[str] | None = None,
    how: str = "sum",
    max_series: int = 12,
    **options: Unpack[FanOptions],
) -> np.ndarray:
    """A fan chart for each series or total: history, forecast, intervals, and truth if given.

    Args:
        history: long frame up to the cutoff; pandas, polars or pyarrow.
        forecast: what `Forecaster.predict` returned, with `level=[...]` for the bands.
        truth: what happened; only its times after the cutoff are drawn.
        groups: draw the series of these groups only, which may be of any level of `columns`.
        ids: draw these series, in this order; None takes the first ones of the forecast.
        samples: joint draws; bands are then their quantiles.
        given: what-if: the plan that the forecast was given; its steps have squares.
        by, how: those of `Forecaster.predict`, if the forecast and the samples are of totals. A
            panel each, with the sum or mean of the history at each time over the series that are
            observed there; for weights multiply its target by them first.
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
    if by is not None and (given is not None or groups is not None):
        raise DataError("given= and groups= are of single series: leave them or by= out")
    chart.read(history, forecast, truth, samples, given, None if by is None else key_columns(by))
    if by is not None:
        chart.add_up(key_columns(by), how)
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
    check_how("aggregate", aggregate)
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


def _with_unit(label: str | None, unit: str | None) -> str | None:
    if unit is None:
        return label
    return unit if label is None else f"{label} ({unit})"
