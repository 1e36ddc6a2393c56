"""Tables of scores as curves and bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator, PercentFormatter

from hierforecast.errors import DataError
from hierforecast.image_ssl.plot.style import (
    FAINT,
    FONT,
    INK,
    LABEL,
    LEGEND,
    MARKERS,
    MUTED,
    PALETTE,
    calm,
    new_axes,
    new_figure,
    set_title,
    spread_apart,
)

FLOOR = -0.25  # where bars of R² end
WHISKER: dict[str, Any] = {"elinewidth": 1.4, "capsize": 3, "capthick": 1.4}
DOT: dict[str, Any] = {"s": 12, "color": "white", "edgecolors": INK, "linewidths": 0.7, "zorder": 3}
SQUARE: dict[str, Any] = {**LEGEND, "handlelength": 1.0, "handleheight": 1.0}  # of a legend


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
        chance: the accuracy of guessing, drawn as a dotted line.
    """
    columns = [by] if isinstance(by, str) else list(by)
    need(table, [*columns, "labels", "seed", "accuracy"])
    ax = new_axes() if ax is None else ax
    ends, names = [], []
    for number, (key, rows) in enumerate(table.groupby(columns, sort=False)):
        seeds = rows.groupby("labels").accuracy
        mean, low, high = seeds.mean(), seeds.min(), seeds.max()
        color, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        ax.fill_between(mean.index, low, high, color=color, alpha=0.16, linewidth=0)
        style: dict[str, Any] = {"marker": marker, "markersize": 7, "markeredgecolor": "white"}
        name = ", ".join(map(str, key))
        ax.plot(mean.index, mean, color=color, linewidth=2.4, label=name, **style)
        ends.append(float(mean.iloc[-1]))
        names.append((name, color))
    sizes = sorted(table["labels"].unique())
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    calm(ax)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if chance is not None:
        ax.plot(sizes, [chance] * len(sizes), color=MUTED, linewidth=1.2, linestyle=":")
        ends.append(chance)
        names.append(("chance", MUTED))
    _name_ends(ax, sizes[-1], ends, names)
    ax.set_xlabel("labelled images", **LABEL)
    ax.set_ylabel("accuracy", **LABEL)
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
        group: the column whose values stand along the axis.
        bar: the column whose values stand side by side, each in its color.
        value: the column of what is compared, a share between 0 and 1.
        label: of the vertical axis; None is `value`.
    """
    need(table, [group, bar, value])
    groups, bars = list(table[group].unique()), list(table[bar].unique())
    ax = new_axes(max(7.0, 1.6 + 0.55 * len(groups) * (len(bars) + 1)), 5.5) if ax is None else ax
    colors = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(bars)}
    runs = _runs(table.dropna(subset=[value]), group, bar, value)
    _draw_bars(ax, groups, colors, runs, 0.8, lambda mean: f"{100 * mean:.1f}")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_ylim(0, None)  # bars are compared by their length
    ax.set_ylabel(value if label is None else label, **LABEL)
    shown = [name for name in bars if name in runs.index.get_level_values(1)]
    place: dict[str, Any] = {
        "loc": "lower left",
        "bbox_to_anchor": (-0.01, 1.0),
        "ncols": len(bars),
    }
    ax.legend(handles=_patches({name: colors[name] for name in shown}), **place, **SQUARE)
    set_title(ax, title, pad=42)  # above the legend
    return ax


def plot_r2(
    table: pd.DataFrame,
    *,
    by: str = "method",
    title: str | None = None,
) -> Figure:
    """Bars of R² by target and method: the mean over runs, its spread, and every single run.

    A panel for each probe. R² has no lower bound: bars end at the floor, which is written on the
    axis, and the number below such a bar says where it would have gone. The whisker is one standard
    deviation (n - 1) to either side, where there are two runs or more; a dot is one run.

    Args:
        table: a row for each run, with the columns target, score and `by`, and, if there are any,
            probe and metric: what `probe_transformations` gives, of several methods and seeds.
            Rows of another metric than R2 (a flip's accuracy) are left out.
        by: the column whose values stand side by side, each in its color.

    Raises:
        DataError: if a column is missing, no row is of R2, or a score is NaN.
    """
    metric = table.metric == "R2" if "metric" in table.columns else slice(None)
    table = need(table[metric], ["target", "score", by], "of the metric R2")
    if table.score.isna().any():
        raise DataError("a score is NaN: leave out runs that failed")
    probes: list[Any] = list(table.probe.unique()) if "probe" in table.columns else [None]
    targets, names = list(table.target.unique()), list(table[by].unique())
    looks = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(names)}
    width = max(7.0, 1.6 + 0.36 * len(targets) * (len(names) + 1))
    figure = new_figure(width, 0.9 + 3.4 * len(probes), title)
    panels: list[Axes] = list(figure.subplots(len(probes), 1, squeeze=False)[:, 0])
    for ax, probe in zip(panels, probes, strict=True):
        rows = table if probe is None else table[table.probe == probe]
        _draw_bars(ax, targets, looks, _runs(rows, "target", by, "score"), 0.84, _short, FLOOR)
        _r2_axis(ax, len(targets))
        if probe is not None:
            ax.set_title(f"{probe} probe", loc="left", fontsize=FONT["legend"], color=MUTED)
    place: dict[str, Any] = {"loc": "outside lower left", "ncols": min(len(names), 5)}
    figure.legend(handles=_patches(looks), **place, **SQUARE)
    return figure


def need(table: pd.DataFrame, columns: Sequence[str], what: str = "") -> pd.DataFrame:
    """The table itself, if it has these columns and any rows."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"the table has no column {missing[0]!r}; it has {list(table.columns)}")
    if len(table) == 0:
        raise DataError(f"the table has no rows {what}".rstrip() + ": nothing can be drawn")
    return table


def _name_ends(ax: Axes, x: float, ends: list[float], names: Sequence[tuple[str, str]]) -> None:
    """Name lines in their colors behind their ends, the names apart from each other."""
    low, high = ax.get_ylim()
    for (name, color), end in zip(names, spread_apart(ends, (high - low) * 0.055), strict=True):
        ax.annotate(
            name, (x, end), (12, 0), textcoords="offset points", va="center",
            color=color, fontsize=FONT["legend"], fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def _runs(table: pd.DataFrame, along: str, by: str, value: str) -> pd.Series:
    """The scores of every pair of values of two columns, an array each."""
    return table.groupby([along, by], sort=False, observed=True)[value].apply(np.asarray)


def _patches(colors: Mapping[Any, str]) -> list[Patch]:
    return [Patch(color=color, alpha=0.9, label=str(name)) for name, color in colors.items()]


def _draw_bars(
    ax: Axes,
    places: Sequence[Any],
    colors: Mapping[Any, str],
    runs: pd.Series,
    room: float,
    text: Callable[[float], str],
    floor: float = -np.inf,
) -> None:
    """Bars of `runs` (scores by place and name) at each place; `text` is a mean in digits.

    A bar has a color for each name; the bars of a place take `room` of 1, and end at the floor.
    """
    width = room / len(colors)
    middle = (len(colors) - 1) / 2
    for (number, name), (place, of) in product(enumerate(colors), enumerate(places)):
        if (of, name) not in runs.index:
            continue
        x, own = place + (number - middle) * width, np.asarray(runs[of, name], float)
        mean, deviation = own.mean(), own.std(ddof=1) if len(own) > 1 else 0.0
        low, end, high = np.clip([mean - deviation, mean, mean + deviation], floor, None)
        shown = np.clip(own, floor, None)
        ax.bar(x, end, width * 0.9, color=colors[name], alpha=0.9)
        if len(own) > 1:
            ax.errorbar(x, end, [[end - low], [high - end]], color=INK, **WHISKER)
            jitter = np.linspace(-0.18, 0.18, len(own)) * width
            ax.scatter(x + jitter, shown, **DOT)
        edge, up = (min(low, *shown), -1) if mean < 0 else (max(high, *shown), 1)
        ax.annotate(
            text(mean), (x, edge), (0, 5 * up), textcoords="offset points", ha="center",
            va="bottom" if up > 0 else "top", color=INK, fontsize=FONT["small"],
            fontweight="bold" if mean < floor else "normal",
        )  # fmt: skip
    calm(ax)
    ax.set_xticks(range(len(places)), [str(place) for place in places])
    ax.tick_params(axis="x", labelsize=FONT["label"], labelcolor=INK)


def _r2_axis(ax: Axes, targets: int) -> None:
    """From the floor, which is marked, to 1."""
    ax.axhline(0, color=INK, linewidth=1.0)
    ax.spines["bottom"].set_visible(False)
    ax.set_ylim(FLOOR - 0.12, 1.1)
    ax.set_xlim(-0.5, targets - 0.5)
    ax.set_yticks([FLOOR, 0, 0.25, 0.5, 0.75, 1.0])
    ax.set_yticklabels([f"≤ {_short(FLOOR)}", "0", ".25", ".5", ".75", "1"])
    ax.axhline(FLOOR, color=FAINT, linewidth=1.0, linestyle=(0, (4, 3)))
    ax.set_ylabel("R²", **LABEL, rotation=0, ha="right")


def _short(value: float) -> str:
    """Two digits, without the zero before the point: .74, −.05, −1.3."""
    if abs(value) >= 0.995:
        return f"{value:.1f}".replace("-", "−") if value < 0 else "1"
    text = f"{value:.2f}".replace("0.", ".", 1).replace("-", "−")
    return "0" if text in (".00", "−.00") else text
