"""R² by target and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hierforecast.errors import DataError
from hierforecast.image_ssl.plot.style import (
    FAINT,
    FONT,
    INK,
    MUTED,
    PALETTE,
    calm,
    new_figure,
)

FLOOR = -0.25


def plot_r2(
    table: pd.DataFrame,
    *,
    by: str = "method",
    floor: float = FLOOR,
    colors: Mapping[str, str] | None = None,
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
        by: the column whose values stand side by side, each in its colour.
        floor: below 0; where bars end.
        colors: value of `by` -> colour; others take the next of the palette.
        title: set in bold at the top left.

    Raises:
        DataError: if a column is missing, no row is of R2, a score is NaN, or the floor is not
            below 0.
    """
    _check(table, ["target", "score", by], floor)
    if "metric" in table.columns:
        table = table[table.metric == "R2"]
    if len(table) == 0:
        raise DataError("the table has no rows of the metric R2: nothing can be drawn")
    if table.score.isna().any():
        raise DataError("a score is NaN: leave out runs that failed")
    probes: list[Any] = list(table.probe.unique()) if "probe" in table.columns else [None]
    targets, names = list(table.target.unique()), list(table[by].unique())
    looks = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(names)}
    looks |= {name: color for name, color in (colors or {}).items() if name in looks}
    width = max(7.0, 1.6 + 0.36 * len(targets) * (len(names) + 1))
    figure = new_figure(width, 0.9 + 3.4 * len(probes))
    panels: list[Axes] = list(figure.subplots(len(probes), 1, squeeze=False)[:, 0])
    for ax, probe in zip(panels, probes, strict=True):
        rows = table if probe is None else table[table.probe == probe]
        _panel(ax, rows, targets, by, looks, floor)
        if probe is not None:
            ax.set_title(f"{probe} probe", loc="left", fontsize=FONT["legend"], color=MUTED)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower left", ncols=min(len(names), 5), frameon=False,
        fontsize=FONT["legend"], labelcolor=INK, handlelength=1.0, handleheight=1.0,
    )  # fmt: skip
    if title is not None:
        figure.suptitle(
            title, x=0.01, ha="left", fontsize=FONT["title"], fontweight="bold", color=INK
        )
    return figure


def _panel(
    ax: Axes,
    rows: pd.DataFrame,
    targets: Sequence[Any],
    by: str,
    looks: Mapping[Any, str],
    floor: float,
) -> None:
    width = 0.84 / len(looks)
    for number, (name, color) in enumerate(looks.items()):
        ax.bar([0], [0], color=color, label=str(name))  # the legend's, whatever this panel lacks
        for place, target in enumerate(targets):
            runs = rows.loc[(rows.target == target) & (rows[by] == name), "score"]
            if len(runs):
                x = place + (number - (len(looks) - 1) / 2) * width
                _bar(ax, x, runs.to_numpy(dtype=float), width, color, floor)
    calm(ax)
    ax.axhline(0, color=INK, linewidth=1.0)
    ax.spines["bottom"].set_visible(False)
    ax.set_ylim(floor - 0.12, 1.1)
    ax.set_xlim(-0.5, len(targets) - 0.5)
    ax.set_yticks([floor, 0, 0.25, 0.5, 0.75, 1.0])
    ax.set_yticklabels([f"≤ {_short(floor)}", "0", ".25", ".5", ".75", "1"])
    ax.axhline(floor, color=FAINT, linewidth=1.0, linestyle=(0, (4, 3)))
    ax.set_xticks(range(len(targets)), [str(target) for target in targets])
    ax.tick_params(axis="x", labelsize=FONT["label"], labelcolor=INK)
    ax.set_ylabel("R²", color=MUTED, fontsize=FONT["label"], rotation=0, ha="right")


def _bar(ax: Axes, x: float, runs: np.ndarray, width: float, color: str, floor: float) -> None:
    mean = float(runs.mean())
    deviation = float(runs.std(ddof=1)) if len(runs) > 1 else 0.0
    shown = np.clip(runs, floor, None)
    ax.bar(x, max(mean, floor), width * 0.9, color=color, alpha=0.9)
    low, high = (max(mean + side * deviation, floor) for side in (-1, 1))
    if len(runs) > 1:
        ax.plot([x, x], [low, high], color=INK, linewidth=1.4)
        jitter = np.linspace(-0.18, 0.18, len(runs)) * width
        ax.scatter(x + jitter, shown, s=11, color="white", edgecolors=INK, linewidths=0.7, zorder=3)
    below = mean < 0
    edge = min(low, float(shown.min())) if below else max(high, float(shown.max()))
    ax.annotate(
        _short(mean), (x, edge), (0, -5 if below else 5), textcoords="offset points",
        ha="center", va="top" if below else "bottom", color=INK, fontsize=FONT["small"] - 1,
        fontweight="bold" if mean < floor else "normal",
    )  # fmt: skip


def _short(value: float) -> str:
    """Two digits, without the zero before the point: .74, −.05, −1.3."""
    if abs(value) >= 0.995:
        return f"{value:.1f}".replace("-", "−") if value < 0 else "1"
    text = f"{value:.2f}".replace("0.", ".", 1).replace("-", "−")
    return "0" if text in (".00", "−.00") else text


def _check(table: pd.DataFrame, columns: Sequence[str], floor: float) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"the table has no column {missing[0]!r}; it has {list(table.columns)}")
    if not floor < 0:
        raise DataError(f"floor is {floor}: give a number below 0, where bars are to end")
