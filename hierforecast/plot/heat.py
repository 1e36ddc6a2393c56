"""Which series were surprising, and who moves whom: maps of series by time, or by series."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hierforecast.errors import DataError
from hierforecast.plot.columns import Frame, columns_for, need, say
from hierforecast.plot.columns import names_of as columns_of
from hierforecast.plot.frames import SERIES, TIME, Reader
from hierforecast.plot.labels import key_of, legible, text_of
from hierforecast.plot.look import look
from hierforecast.plot.maps import MAX_LABELS, SQUARE, color_bar, short
from hierforecast.plot.style import FONT, opened, scale_of, write_title

if TYPE_CHECKING:
    from hierforecast.frame import Columns

TICKS = 9  # times that are written below a map
DELETED = "*deleted"


def plot_surprise(
    surprise: Frame,
    ax: Axes | None = None,
    *,
    scene: Hashable | None = None,
    cutoff: Any = None,
    top: int = 20,
    columns: Columns | None = None,
    title: str | None = None,
) -> Axes:
    """Which series of a scene were unexpected, and when: the most surprising one at the top.

    A step is as dark as -log10 of its p-value, so that 3 is one in a thousand, or, where nothing
    was held out, as minus its score. Beside each series stands the p-value, or the score, of its
    window; the lowest of several windows.

    Args:
        surprise: what `Forecaster.surprise` returned.
        ax: axes to draw on; None makes a new figure.
        scene: which one, if there are several.
        cutoff: the window that begins after this time; None takes all.
        top: most series that are shown.
        columns: column roles; None guesses.
        title: set in bold at the top left.

    Raises:
        DataError: for a missing column, or for windows that overlap.
    """
    columns = columns_for(columns, surprise)
    values = ["score", "series_score", "p_value", "series_p_value"]
    need(surprise, [*columns.ids, columns.time, "cutoff", *values], "surprise")
    reader = Reader(columns).within(surprise, scene, "surprise")
    labels = {SERIES: columns.ids, "cutoff": ("cutoff",)}
    table = reader.table(surprise, "surprise", labels, values)
    if cutoff is not None:
        table = table[table["cutoff"] == type(table["cutoff"].iloc[0])(cutoff)]
    if table.empty:
        raise DataError(f"the surprise frame has no window after cutoff={cutoff!r} of that scene")
    if table.duplicated([SERIES, TIME]).any():
        raise DataError("windows overlap in the surprise frame: choose one with cutoff=...")
    ranked = bool(table["p_value"].notna().any())
    worst = table.groupby(SERIES, sort=False)[["series_score", "series_p_value"]].min()
    worst = worst.sort_values("series_score", kind="stable").head(top)
    dark = -np.log10(table["p_value"]) if ranked else -table["score"]
    cells = table.assign(dark=dark).pivot(index=SERIES, columns=TIME, values="dark")
    cells = cells.loc[worst.index]
    with opened(ax) as ax:
        label = r"surprise, $-\log_{10}$ p" if ranked else "surprise, minus the score"
        _draw(ax, cells, label, 0.0 if ranked else None)
        own = worst["series_p_value"] if ranked else worst["series_score"]
        _beside(ax, [f"p = {x:.2g}" if ranked else f"{x:.2f}" for x in own])
        _time_ticks(ax, list(cells.columns))
        write_title(ax, title)
        legible(ax)
    return ax


def plot_influence(
    influence: Frame,
    ax: Axes | None = None,
    *,
    scene: Hashable | None = None,
    history: Frame | None = None,
    unit: str = "",
    columns: Columns | None = None,
    title: str | None = None,
) -> Axes:
    """Who moves whom: how far forecasts of a column's series move when a row's is deleted.

    The mean over all steps of the distance, over all targets, between the point forecasts without
    and with it.

    Args:
        influence: what `Forecaster.influence` returned.
        ax: axes to draw on; None makes a new figure.
        scene: which one, if there are several.
        history: frame with the group column, which orders the series.
        unit: of the targets, written at the colors (`"ft"`).
        columns: column roles; None guesses.
        title: set in bold at the top left.

    Raises:
        DataError: for a missing column.
    """
    names = columns_of(influence)
    points = [name for name in names if f"{name}-std" in names]
    gone = tuple(name for name in names if name == "deleted" or name.startswith("deleted_"))
    if not points or not gone:
        raise DataError(
            f"the influence frame has no columns 'deleted' and '<Model>-std': it has {names}; give "
            "the frame that Forecaster.influence returned"
        )
    columns = columns_for(columns, influence if history is None else history)
    reader = Reader(columns).within(influence, scene, "influence")
    labels = {SERIES: columns.ids, DELETED: gone}
    table = reader.table(influence, "influence", labels, points)
    table["moved"] = np.sqrt((table[points] ** 2).sum(axis=1, skipna=False))
    cells = table.pivot_table(index=DELETED, columns=SERIES, values="moved", observed=True)
    if history is not None:
        group = reader.groups(history, "history")
        order = sorted(cells.columns, key=lambda name: (str(group.get(key_of(name))), str(name)))
        rows = [name for name in order if name in cells.index]
        cells = cells[order].loc[rows if len(rows) == len(cells) else cells.index]
    with opened(ax, SQUARE) as ax:
        _draw(ax, cells, f"forecasts move by ({unit})" if unit else "forecasts move by", 0.0)
        scale = scale_of(ax)
        if not np.nansum(cells.to_numpy(dtype=float)):
            text = "no forecast moves:\neach series is forecast by itself, see report_"
            ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center",
                    color=look().muted, fontsize=FONT["label"] * scale)  # fmt: skip
        if len(cells.columns) <= MAX_LABELS:
            texts = [short(name) for name in cells.columns]
            size = FONT["tick"] * scale * min(1.0, 0.55 + 8 / len(texts))
            ax.set_xticks(range(len(texts)), texts, rotation=90, fontsize=size)
        ax.set_ylabel(f"without {say(gone)[1:-1]}" if len(gone) > 1 else "without",
                      color=look().muted, fontsize=FONT["label"] * scale)  # fmt: skip
        write_title(ax, title)
        legible(ax)
    return ax


def _draw(ax: Axes, cells: pd.DataFrame, label: str, low: float | None) -> None:
    """A map with a row for each label of the table, named if they are few; gray where NaN."""
    scale, matrix = scale_of(ax), cells.to_numpy(dtype=float)
    known = matrix[np.isfinite(matrix)]
    low = float(known.min(initial=0.0)) if low is None else low
    high = float(known.max(initial=low))
    high = high if high > low else low + 1
    shades = look().sequential.with_extremes(bad=look().missing)
    image = ax.imshow(
        matrix, cmap=shades, vmin=low, vmax=high, interpolation="nearest", aspect="auto"
    )
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0, labelcolor=look().muted)
    ax.set_xticks([])
    ax.set_yticks([])
    if len(cells) <= MAX_LABELS:
        size = FONT["tick"] * scale * min(1.0, 0.55 + 8 / len(cells))
        texts = [short(name) for name in cells.index]
        ax.set_yticks(range(len(cells)), texts, fontsize=size, color=look().ink)
        ax.set_yticks(np.arange(len(cells) + 1) - 0.5, minor=True)
        ax.grid(which="minor", axis="y", color=look().paper, linewidth=1.2)
        ax.tick_params(which="minor", length=0)
    color_bar(ax, image, label, scale)


def _beside(ax: Axes, texts: Sequence[str]) -> None:
    """A text at the right of each row, if they are few."""
    if len(texts) > MAX_LABELS:
        return
    size = FONT["small"] * scale_of(ax) * min(1.0, 0.55 + 8 / len(texts))
    for row, text in enumerate(texts):
        ax.annotate(
            text, (1.0, row), xytext=(6, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontsize=size, color=look().muted,
            annotation_clip=False,
        )  # fmt: skip


def _time_ticks(ax: Axes, times: Sequence[Any]) -> None:
    """Some of the times, as people write them."""
    places = range(0, len(times), -(-len(times) // TICKS))
    size = FONT["tick"] * scale_of(ax)
    ax.set_xticks(places, [text_of(_moment(times[at])) for at in places], fontsize=size)


def _moment(time: Any) -> Any:
    if not isinstance(time, pd.Timestamp):
        return time
    return time.strftime("%Y-%m-%d" if time == time.normalize() else "%m-%d %H:%M")
