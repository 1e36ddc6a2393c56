"""How errors grow with the horizon, or differ between groups, from a backtest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from hierforecast.errors import DataError
from hierforecast.plot.columns import Frame, columns_for, models_of, names_of, need
from hierforecast.plot.frames import SERIES, TIME, Reader
from hierforecast.plot.labels import legend_text, legible, text_of
from hierforecast.plot.look import look, tone
from hierforecast.plot.style import CYCLE, FONT, calm, move_apart, opened, scale_of, write_title

if TYPE_CHECKING:
    from hierforecast.frame import Columns


def plot_errors(
    backtest: Frame,
    by: str = "step",
    *,
    history: Frame | None = None,
    columns: Columns | None = None,
    models: Sequence[str] | None = None,
    unit: str = "",
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Mean error of each model: a line over the forecast steps, or dots for each group.

    The error of a cell is the distance between forecast and truth (over all targets), and cells
    without truth do not count: by step with two targets the mean over the lines is the ADE.

    Args:
        backtest: what `Forecaster.backtest` returned; truth and models side by side.
        by: `"step"`, or a column of the backtest or of `history` (`"team"`).
        history: frame that knows the group of each series, if the backtest does not.
        columns: column roles; None guesses.
        models: names of models; None takes all.
        unit: of the targets, written on the axis (`"ft"`).
        ax: axes to draw on; None makes a new figure.
        title: set in bold at the top left.

    Raises:
        DataError: naming the column that is missing.
    """
    table = error_table(backtest, by, history=history, columns=columns, models=models)
    with opened(ax) as ax:
        _draw(ax, table, by, unit, title)
        legible(ax)
    return ax


def _draw(ax: Axes, table: pd.DataFrame, by: str, unit: str, title: str | None) -> None:
    (_draw_lines if by == "step" else _draw_dots)(ax, table)
    scale = scale_of(ax)
    text = f"mean error ({unit})" if unit else "mean error"
    style = {"color": look().muted, "fontsize": FONT["label"] * scale}
    if by == "step":
        ax.set_xlabel("forecast step", **style)  # type: ignore[arg-type]
        ax.set_ylabel(text, **style)  # type: ignore[arg-type]
    else:
        ax.set_xlabel(text, **style)  # type: ignore[arg-type]
    write_title(ax, title)


def error_table(
    backtest: Frame,
    by: str = "step",
    *,
    history: Frame | None = None,
    columns: Columns | None = None,
    models: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The numbers behind `plot_errors`: mean error, rows are steps (from 1) or groups."""
    columns = columns_for(columns, backtest if history is None else history)
    reader = Reader(columns)
    need(backtest, ["cutoff", *columns.targets], "backtest")
    chosen = list(models) if models is not None else models_of(backtest, columns, "backtest")
    points = {name: reader.points(backtest, "backtest", name) for name in chosen}
    scene = {"*scene": columns.scenes} if columns.scenes else {}
    labels = {SERIES: columns.ids, "*cutoff": ("cutoff",), **scene}
    own = by != "step" and by in names_of(backtest)
    labels |= {by: (by,)} if own else {}
    values = [*columns.targets, *(name for names in points.values() for name in names)]
    table = reader.table(backtest, "backtest", labels, values)
    if by == "step":
        table[by] = table.groupby(["*cutoff", *scene])[TIME].rank("dense").astype(int)
    elif not own:
        known = reader.table(
            backtest if history is None else history,
            "backtest" if history is None else "history",
            {SERIES: columns.ids, **scene, by: (by,)},
            timed=False,
        ).drop_duplicates([SERIES, *scene])
        table = table.merge(known, on=[SERIES, *scene], how="left")
    truth = table[list(columns.targets)].to_numpy(dtype=float)
    for name, names in points.items():
        gap = table[names].to_numpy(dtype=float) - truth
        table[f"error of {name}"] = np.sqrt((gap**2).sum(axis=1))
    errors = table.groupby(by)[[f"error of {name}" for name in chosen]].mean()
    errors.columns = pd.Index(chosen)
    errors = errors.dropna(how="all")
    if errors.empty:
        raise DataError("no row of the backtest has both a truth and a forecast: nothing to draw")
    return errors


def _draw_lines(ax: Axes, errors: pd.DataFrame) -> None:
    calm(ax)
    scale = scale_of(ax)
    for i, name in enumerate(errors.columns):
        ax.plot(
            errors.index, errors[name], color=_color(i), linewidth=2.8 if i == 0 else 2,
            marker="o", markersize=5 * scale, markeredgecolor=look().paper, zorder=4 - 0.1 * i,
        )  # fmt: skip
    ax.set_ylim(0, float(errors.max().max()) * 1.06)
    ax.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    ends = [float(value) for value in errors.iloc[-1]]
    places = move_apart(ends, 0.045 * ax.get_ylim()[1])
    for i, name in enumerate(errors.columns):
        ax.annotate(
            f"{text_of(name)}  {ends[i]:.3g}", (errors.index[-1], places[i]), xytext=(10, 0),
            textcoords="offset points", color=_color(i), va="center",
            fontsize=FONT["label"] * scale, fontweight="bold" if i == 0 else "normal",
            annotation_clip=False,
        )  # fmt: skip


def _draw_dots(ax: Axes, errors: pd.DataFrame) -> None:
    calm(ax, grid="x")
    scale = scale_of(ax)
    rows = np.arange(len(errors))[::-1]
    values = errors.to_numpy()
    ax.hlines(
        rows, values.min(axis=1), values.max(axis=1), color=look().between, linewidth=2, zorder=2
    )
    for i, name in enumerate(errors.columns):
        size = (12 if i == 0 else 9) * scale
        ax.plot(
            errors[name], rows, linestyle="none", marker="o", color=_color(i), markersize=size,
            markeredgecolor=look().paper, label=legend_text(name), zorder=4 + 0.1 * i,
        )  # fmt: skip
    ax.set_yticks(rows, [text_of(name) for name in errors.index])
    ax.tick_params(axis="y", labelsize=FONT["label"] * scale, labelcolor=look().ink)
    ax.set_xlim(0, float(np.nanmax(values)) * 1.06)
    ax.set_ylim(-0.6, len(errors) - 0.4)
    ax.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(errors.columns), frameon=False,
        fontsize=FONT["legend"] * scale, labelcolor=look().ink,
    )  # fmt: skip


def _color(i: int) -> str:
    """Of a model."""
    return tone(CYCLE[i % len(CYCLE)])
