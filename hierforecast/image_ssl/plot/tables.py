"""Tables of scores as curves and bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, PercentFormatter

from hierforecast.errors import DataError
from hierforecast.image_ssl.plot.style import (
    FONT,
    INK,
    MARKERS,
    MUTED,
    PALETTE,
    calm,
    new_axes,
    set_title,
    spread_apart,
)


def plot_learning_curves(
    table: pd.DataFrame,
    by: str | Sequence[str] = "classifier",
    ax: Axes | None = None,
    *,
    chance: float | None = None,
    title: str | None = None,
) -> Axes:
    """Accuracy against the number of labels: a line for each method, a band for its seeds.

    The line is the mean over the seeds, the band reaches from the worst to the best of them.

    Args:
        table: with the columns labels, seed, accuracy and those of `by`: what `learning_curve`
            gives, or several such tables one below the other.
        by: the column or columns that tell the lines apart.
        ax: axes to draw on; None makes a new figure.
        chance: the accuracy of guessing, drawn as a dotted line.
        title: set in bold at the top left.

    Raises:
        DataError: if a column is missing or there are no rows.
    """
    columns = [by] if isinstance(by, str) else list(by)
    _need(table, [*columns, "labels", "seed", "accuracy"])
    ax = new_axes() if ax is None else ax
    ends, names = [], []
    for number, (key, rows) in enumerate(table.groupby(columns, sort=False)):
        seeds = rows.groupby("labels").accuracy
        mean, low, high = seeds.mean(), seeds.min(), seeds.max()
        color, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        ax.fill_between(mean.index, low, high, color=color, alpha=0.16, linewidth=0)
        style: dict[str, Any] = {"marker": marker, "markersize": 7, "markeredgecolor": "white"}
        name = ", ".join(map(str, key if isinstance(key, tuple) else (key,)))
        ax.plot(mean.index, mean, color=color, linewidth=2.4, label=name, **style)
        ends.append(float(mean.iloc[-1]))
        names.append((name, color))
    sizes = sorted(table["labels"].unique())
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    _percent(ax)
    if chance is not None:
        ax.plot(sizes, [chance] * len(sizes), color=MUTED, linewidth=1.2, linestyle=":")
        ends.append(chance)
        names.append(("chance", MUTED))
    low, high = ax.get_ylim()
    for (name, color), end in zip(names, spread_apart(ends, (high - low) * 0.055), strict=True):
        ax.annotate(
            name, (sizes[-1], end), (12, 0), textcoords="offset points", va="center",
            color=color, fontsize=FONT["legend"], fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    ax.set_xlabel("labelled images", color=MUTED, fontsize=FONT["label"])
    ax.set_ylabel("accuracy", color=MUTED, fontsize=FONT["label"])
    set_title(ax, title)
    return ax


def plot_comparison(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    group: str = "method",
    bar: str = "arm",
    value: str = "score",
    label: str | None = None,
    title: str | None = None,
) -> Axes:
    """Bars of each arm side by side for each method: the mean, its spread, and every single run.

    The whisker is one standard deviation (n - 1) to either side, drawn where there are two runs or
    more; a dot is one run.

    Args:
        table: a row for each run, with the columns `group`, `bar` and `value`.
        ax: axes to draw on; None makes a new figure.
        group: the column whose values stand along the axis.
        bar: the column whose values stand side by side, each in its colour.
        value: the column of what is compared, a share between 0 and 1.
        label: of the vertical axis; None is `value`.
        title: set in bold at the top left.

    Raises:
        DataError: if a column is missing or there are no rows.
    """
    _need(table, [group, bar, value])
    groups, bars = list(table[group].unique()), list(table[bar].unique())
    ax = new_axes(max(7.0, 1.6 + 0.55 * len(groups) * (len(bars) + 1)), 5.5) if ax is None else ax
    width = 0.8 / len(bars)
    for number, name in enumerate(bars):
        color = PALETTE[number % len(PALETTE)]
        shown = False
        for place, of in enumerate(groups):
            runs = table.loc[(table[group] == of) & (table[bar] == name), value].dropna()
            if runs.empty:
                continue
            x = place + (number - (len(bars) - 1) / 2) * width
            _bar(ax, x, runs.to_numpy(dtype=float), width, color, None if shown else str(name))
            shown = True
    calm(ax)
    ax.set_xticks(range(len(groups)), [str(name) for name in groups])
    ax.tick_params(axis="x", labelsize=FONT["label"], labelcolor=INK)
    _percent(ax)
    ax.set_ylim(0, None)  # bars are compared by their length
    ax.set_ylabel(value if label is None else label, color=MUTED, fontsize=FONT["label"])
    ax.legend(
        loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=len(bars), frameon=False,
        fontsize=FONT["legend"], labelcolor=INK, handlelength=1.0, handleheight=1.0,
    )  # fmt: skip
    set_title(ax, title, pad=42)  # above the legend
    return ax


def _bar(ax: Axes, x: float, runs: np.ndarray, width: float, color: str, label: str | None) -> None:
    mean = float(runs.mean())
    deviation = float(runs.std(ddof=1)) if len(runs) > 1 else 0.0
    ax.bar(x, mean, width * 0.9, color=color, alpha=0.9, label=label)
    if len(runs) > 1:
        ax.errorbar(x, mean, deviation, color=INK, elinewidth=1.4, capsize=3, capthick=1.4)
        jitter = np.linspace(-0.18, 0.18, len(runs)) * width
        ax.scatter(x + jitter, runs, s=12, color="white", edgecolors=INK, linewidths=0.7, zorder=3)
    top = max(mean + deviation, float(runs.max()))
    ax.annotate(
        f"{100 * mean:.1f}", (x, top), (0, 5), textcoords="offset points", ha="center",
        color=INK, fontsize=FONT["small"],
    )  # fmt: skip


def _percent(ax: Axes) -> None:
    calm(ax)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _need(table: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"the table has no column {missing[0]!r}; it has {list(table.columns)}")
    if len(table) == 0:
        raise DataError("the table has no rows: nothing can be drawn")
