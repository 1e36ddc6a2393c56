"""Fan charts: a panel per series, or per group from joint samples."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hierforecast.errors import DataError
from hierforecast.plot.curves import Tables, curve_of
from hierforecast.plot.frames import DRAW, SERIES, TIME, Frame
from hierforecast.plot.labels import text_of
from hierforecast.plot.panels import Curve, Fan, draw_fans

if TYPE_CHECKING:
    from hierforecast.frame import Columns

DEFAULT_LEVELS = (50.0, 90.0)


def plot_forecast(
    history: Frame,
    forecast: Frame,
    truth: Frame | None = None,
    groups: Sequence[Hashable] | None = None,
    ids: Sequence[Hashable] | None = None,
    *,
    samples: Frame | None = None,
    scene: Hashable | None = None,
    columns: Columns | None = None,
    model: str | None = None,
    target: str | None = None,
    levels: Sequence[float] | None = None,
    max_series: int = 12,
    context: int | None = None,
    share_y: bool = False,
    unit: str | None = None,
    title: str | None = None,
) -> np.ndarray:
    """A fan chart for each series: history, forecast with its intervals, and truth if given.

    Args:
        history: long frame up to the cutoff; pandas, polars or pyarrow.
        forecast: what `Forecaster.predict` returned, with `level=[...]` for the bands.
        truth: what happened; only its times after the cutoff are drawn.
        groups: draw the series of these groups only, which may be of any level of `columns`.
        ids: draw these series, in this order; None takes the first ones of the forecast.
        samples: joint draws; bands are then their quantiles.
        scene: which scene; may be left out if there is only one.
        columns: column roles; None guesses.
        model: name of the model in the forecast's columns; None takes the first.
        target: which target; None takes the first. Of several, the one drawn is named at the side.
        levels: percent; None takes those of the forecast's columns (of samples: 50 and 90).
        max_series: at most this many panels.
        context: history steps shown; None takes four horizons.
        share_y: one y scale for all panels.
        unit: of the target, written at the side.
        title: of the figure.

    Returns:
        the axes drawn, one per series.

    Raises:
        DataError: naming the column, series, group or level that is missing.
    """
    tables = Tables(history, forecast, truth, samples, scene, columns, model, target)
    chosen = tables.choose(ids, groups)[:max_series]
    fans = [_series_fan(tables, series, levels, context) for series in chosen]
    return draw_fans(fans, title, share_y, _with_unit(tables.label, unit))


def plot_groups(
    history: Frame,
    forecast: Frame | None = None,
    truth: Frame | None = None,
    samples: Frame | None = None,
    *,
    by: str | Sequence[str] | None = None,
    aggregate: str = "mean",
    scene: Hashable | None = None,
    columns: Columns | None = None,
    model: str | None = None,
    target: str | None = None,
    levels: Sequence[float] | None = None,
    context: int | None = None,
    share_y: bool = False,
    unit: str | None = None,
    title: str | None = None,
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
        scene, columns, model, target, levels, context, share_y, unit, title: as for
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
    tables = Tables(history, forecast, truth, samples, scene, columns, model, target)
    member = tables.members(by if by is None or isinstance(by, str) else tuple(by))
    members: dict[Any, list[Hashable]] = {}
    for series in sorted(set(tables.choose(None, None)) & member.keys(), key=str):
        members.setdefault(member[series], []).append(series)
    fans = [
        _group_fan(tables, text_of(name), members[name], aggregate, levels, context)
        for name in sorted(members, key=str)
    ]
    label = f"{aggregate} of {tables.roles.targets[0]}"
    return draw_fans(fans, title, share_y, _with_unit(label, unit))


def _with_unit(label: str | None, unit: str | None) -> str | None:
    if unit is None:
        return label
    return unit if label is None else f"{label} ({unit})"


def _levels(available: Sequence[float], wanted: Sequence[float] | None) -> list[float]:
    if wanted is None:
        return list(available)
    missing = [level for level in wanted if float(level) not in available]
    if missing:
        raise DataError(
            f"the forecast frame has no intervals of level {missing}: it has {list(available)}; "
            f"forecast with level={list(wanted)}, or give samples=..."
        )
    return [float(level) for level in wanted]


def _quantiles(wide: np.ndarray, levels: Sequence[float] | None) -> dict:
    """Bands from draws (K, H): level -> (lo, hi)."""
    chosen = DEFAULT_LEVELS if levels is None else levels
    tails = {float(level): (1 - float(level) / 100) / 2 for level in chosen}
    return {
        level: (np.nanquantile(wide, tail, axis=0), np.nanquantile(wide, 1 - tail, axis=0))
        for level, tail in tails.items()
    }


def _series_fan(
    tables: Tables, series: Hashable, levels: Sequence[float] | None, context: int | None
) -> Fan:
    def own(table: pd.DataFrame) -> pd.DataFrame:
        return table[table[SERIES] == series].sort_values(TIME)

    assert tables.forecast is not None
    rows = own(tables.forecast)
    if tables.samples is not None:
        draws = own(tables.samples).pivot(index=DRAW, columns=TIME, values="value")
        bands = _quantiles(draws.to_numpy(), levels)
    else:
        bands = {
            level: (rows[low].to_numpy(), rows[high].to_numpy())
            for level in _levels(list(tables.names), levels)
            for low, high in [tables.names[level]]
        }
    past = curve_of(own(tables.past))
    return Fan(
        title=text_of(series),
        past=_tail(past, context, tables.horizon),
        point=curve_of(rows),
        truth=curve_of(own(tables.truth)),
        bands=bands,
        joined=len(past[0]) > 0 and past[0][-1] == tables.cutoff,
    )


def _tail(curve: Curve, context: int | None, horizon: int) -> Curve:
    shown = max(4 * horizon, 12) if context is None else context
    return curve[0][-shown:], curve[1][-shown:]


def _group_fan(
    tables: Tables,
    name: str,
    members: list[Hashable],
    aggregate: str,
    levels: Sequence[float] | None,
    context: int | None,
) -> Fan:
    def total(table: pd.DataFrame | None, *keys: str) -> pd.DataFrame:
        if table is None:
            return pd.DataFrame({key: [] for key in (*keys, "value")})
        rows = table[table[SERIES].isin(members)]
        return rows.groupby(list(keys), as_index=False)["value"].agg(aggregate)

    bands: dict[float, tuple[np.ndarray, np.ndarray]] = {}
    point = curve_of(total(tables.forecast, TIME))
    if tables.samples is not None:
        wide = total(tables.samples, DRAW, TIME).pivot(index=DRAW, columns=TIME, values="value")
        values = wide.to_numpy()
        bands = _quantiles(values, levels)
        if tables.forecast is None:
            point = wide.columns.to_numpy(), np.nanmedian(values, axis=0)
    past = curve_of(total(tables.past, TIME))
    return Fan(
        title=name,
        note=f"n = {len(members)}",
        past=_tail(past, context, tables.horizon),
        point=point,
        truth=curve_of(total(tables.truth, TIME)),
        bands=bands,
    )
