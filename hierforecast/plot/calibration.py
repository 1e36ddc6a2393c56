"""Whether intervals hold what they promise: nominal coverage against what was measured."""

from __future__ import annotations

import narwhals as nw
import numpy as np
from matplotlib.axes import Axes

from hierforecast.errors import DataError
from hierforecast.plot.columns import Frame, need
from hierforecast.plot.labels import legible, text_of
from hierforecast.plot.look import look, tone
from hierforecast.plot.style import CYCLE, FONT, calm, move_apart, opened, scale_of, write_title

SIZE = (8.0, 7.0)  # inches of a figure of its own


def plot_calibration(coverage: Frame, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """How often intervals cover the truth against how often they should: a line for each part.

    On the diagonal both agree; above it intervals are too wide, below it too narrow.

    Args:
        coverage: a row for each part and level, ``part``, ``nominal`` and ``covered`` in 0..1:
            ``forecaster.report_.coverage``.
        ax: axes to draw on; None makes a new figure.
        title: set in bold at the top left.

    Raises:
        DataError: naming the column that is missing, or that there is nothing to draw.
    """
    remedy = "give what a fit measured, plot_calibration(forecaster.report_.coverage)"
    need(coverage, ("part", "nominal", "covered"), "coverage", remedy)
    table = nw.from_native(coverage, eager_only=True).select("part", "nominal", "covered")
    if not len(table):
        raise DataError(
            "the coverage frame has no rows: fit with enough scenes that some are held out, or "
            "with val=, and nothing saved by an earlier version has one"
        )
    lines: dict[str, list[tuple[float, float]]] = {}
    for part, nominal, covered in sorted(table.rows(), key=lambda row: row[1]):
        lines.setdefault(part, []).append((100 * nominal, 100 * covered))
    order = {part: np.array(lines[part]) for part in dict.fromkeys(table["part"].to_list())}
    with opened(ax, SIZE) as ax:
        _draw(ax, order)
        write_title(ax, title)
        legible(ax)
    return ax


def _draw(ax: Axes, lines: dict[str, np.ndarray]) -> None:
    calm(ax)
    scale = scale_of(ax, SIZE[0])
    every = np.concatenate([*lines.values()])
    low = max(0.0, 10 * np.floor(every.min() / 10) - 5)
    ax.plot([low, 100], [low, 100], color=look().faint, linewidth=2, zorder=1)
    ends = move_apart([float(line[-1, 1]) for line in lines.values()], 0.045 * (103 - low))
    for i, (part, line) in enumerate(lines.items()):
        color = tone(CYCLE[i % len(CYCLE)])
        ax.plot(
            *line.T, color=color, linewidth=2.8 if i == 0 else 2, marker="o",
            markersize=6 * scale, markeredgecolor=look().paper, zorder=4 - 0.1 * i,
        )  # fmt: skip
        ax.annotate(
            text_of(part), (line[-1, 0], ends[i]), xytext=(10, 0), textcoords="offset points",
            color=color, va="center", fontsize=FONT["label"] * scale, annotation_clip=False,
            fontweight="bold" if i == 0 else "normal",
        )  # fmt: skip
    ax.set_xticks(np.unique(every[:, 0]))
    ax.set_xlim(low, 101)
    ax.set_ylim(low, 103)
    ax.set_aspect("equal")
    style = {"color": look().muted, "fontsize": FONT["label"] * scale}
    ax.set_xlabel("nominal coverage (%)", **style)  # type: ignore[arg-type]
    ax.set_ylabel("covered (%)", **style)  # type: ignore[arg-type]
