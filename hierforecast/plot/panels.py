"""Panels of a fan chart, and the grid they stand in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hierforecast.errors import DataError
from hierforecast.plot.frames import Interval
from hierforecast.plot.labels import legible, text_of
from hierforecast.plot.look import look, looking, tone
from hierforecast.plot.style import FONT, HOME, SLIDE, calm, size_of, tint, write_title

Curve = tuple[np.ndarray, np.ndarray]  # times (T,), values (T,)


@dataclass(frozen=True)
class Fan:
    """One panel: what was, what is forecast, how sure it is.

    Attributes:
        title: in bold above the panel; `note` stands inside it, in gray.
        past, truth, point: curves; empty ones are not drawn.
        bands: level in percent -> (lo, hi), each as long as `point`.
        steps: times of the scene, ascending; curves are broken where they lack one.
        given: curve of the steps that were assumed.
    """

    title: str
    past: Curve
    point: Curve
    truth: Curve
    bands: Mapping[float, Interval] = field(default_factory=dict)
    note: str = ""
    steps: np.ndarray = field(default_factory=lambda: np.empty(0))
    given: Curve = (np.empty(0), np.empty(0))

    def gaps(self, times: np.ndarray) -> np.ndarray:
        """Positions (g,) in ascending times (T,) after which steps are missing.

        Such as other series have, or, where all lack them, that make a stretch longer than is
        usual: weekends are usual where a tenth of all steps are.
        """
        if len(times) < 2:
            return np.empty(0, dtype=np.int64)
        steps = np.union1d(self.steps, times)
        apart = np.sort(np.diff(steps))
        usual = apart[int(0.9 * (len(apart) - 1))]
        skipped = np.diff(np.searchsorted(steps, times)) > 1
        return np.flatnonzero(skipped | (np.diff(times) > 1.5 * usual))


def draw_fans(
    fans: Sequence[Fan], title: str | None, share_y: bool, label: str | None = None
) -> np.ndarray:
    """A grid of fans in a new figure, with one legend at the top right."""
    if not fans:
        raise DataError("nothing to draw: no series of the forecast is left by ids and groups")
    # Three would leave a hole in two columns, and lines are read better where they are wide.
    columns = {2: 2, 3: 1}.get(len(fans), math.ceil(math.sqrt(len(fans))))
    rows = math.ceil(len(fans) / columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=SLIDE, layout="constrained", sharex=True, sharey=share_y,
        squeeze=False,
    )  # fmt: skip
    with looking(grid[0, 0]):
        return _draw_grid(figure, grid, fans, title, label)


def _draw_grid(
    figure: Figure, grid: np.ndarray, fans: Sequence[Fan], title: str | None, label: str | None
) -> np.ndarray:
    rows, columns = grid.shape
    axes = grid.ravel()[: len(fans)]
    for ax in grid.ravel()[len(fans) :]:
        ax.remove()
    for i, (ax, fan) in enumerate(zip(axes, fans, strict=True)):
        draw_fan(ax, fan)
        # Dates stand below the last panel of each column, also where the grid has a hole.
        ax.tick_params(labelbottom=i + columns >= len(fans))
        if i // columns < rows - 1:
            ax.xaxis.set_in_layout(False)
    if label is not None:
        figure.supylabel(text_of(label), fontsize=FONT["tick"], color=look().muted)
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.08, h_pad=0.06, wspace=0.02, hspace=0.04, rect=(0, 0, 0.985, 1))
    handles = fan_handles(fans)
    figure.legend(
        handles=handles, loc="outside upper right", ncols=len(handles), frameon=False,
        fontsize=FONT["legend"], labelcolor=look().ink, handlelength=1.6, columnspacing=1.4,
    )  # fmt: skip
    if title is not None:
        figure.text(
            0.012,
            0.985,
            title,
            fontsize=FONT["title"],
            fontweight="bold",
            color=look().ink,
            va="top",
        ).set_in_layout(False)
    legible(figure)
    return axes


def draw_fan(ax: Axes, fan: Fan, color: str = HOME) -> Axes:
    """One fan on the axes given."""
    calm(ax)
    color, times = tone(color), fan.point[0]
    for level, shade in _shades(fan.bands, color):
        low, high = fan.bands[level]
        edges = [_from(fan, (times, edge)) for edge in (low, high)]
        ax.fill_between(edges[0][0], edges[0][1], edges[1][1], color=shade, linewidth=0, zorder=1.5)
    _draw_known(ax, fan, fan.past, "past", color=look().ink, zorder=3)
    truth = {"color": look().truth, "dashes": (2, 1.3), "zorder": 3.2}
    _draw_known(ax, fan, _from(fan, fan.truth), "truth", **truth)
    ax.plot(*_from(fan, fan.point), color=color, linewidth=2.2, zorder=4, gid="forecast")
    if len(fan.given[0]):
        ax.plot(*fan.given, color=color, zorder=4.2, gid="given", **squares())
    if len(fan.past[0]):
        ax.axvline(fan.past[0][-1], color=look().muted, linewidth=0.7, alpha=0.6, zorder=1)
    _panel_title(ax, fan)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    if np.issubdtype(np.asarray(times).dtype, np.datetime64):
        locator = AutoDateLocator(minticks=3, maxticks=6)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        ax.xaxis.get_offset_text().set(color=look().muted, fontsize=FONT["small"])
    else:
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.margins(x=0.01)
    return ax


def _panel_title(ax: Axes, fan: Fan) -> None:
    """The title, smaller or cut where the panel has no room for it; the note in an empty corner."""
    width = 72 * size_of(ax)[0] - 30
    size = float(np.clip(width / (0.64 * max(len(fan.title), 1)), 9.5, FONT["label"]))
    room = int(width / (0.64 * size))
    text = fan.title if len(fan.title) <= room else fan.title[: room - 1].rstrip() + "…"
    write_title(ax, text, fontsize=size, pad=4)
    values = fan.past[1]
    if not fan.note or len(values) == 0:
        return
    early = values[: max(1, len(values) // 3)].mean()
    low, high = ax.get_ylim()
    place, side = (0.97, "top") if early < (low + high) / 2 else (0.03, "bottom")
    ax.text(
        0.015, place, fan.note, transform=ax.transAxes, va=side, fontsize=FONT["small"],
        color=look().muted, zorder=5,
    )  # fmt: skip


def _draw_known(ax: Axes, fan: Fan, curve: Curve, name: str, **style: Any) -> None:
    """What was observed, and faint dots through the steps at which it was not."""
    times, values = curve
    gaps = fan.gaps(times)
    broken = np.insert(times, gaps + 1, times[gaps]), np.insert(values, gaps + 1, np.nan)
    ax.plot(*broken, linewidth=1.2, gid=name, **style)
    if len(gaps):
        ends = np.stack([gaps, gaps + 1, gaps + 1], axis=1).ravel()
        level = np.where(np.arange(len(ends)) % 3 == 2, np.nan, values[ends])
        style |= {"dashes": (1, 2.5), "alpha": 0.6}
        ax.plot(times[ends], level, linewidth=0.9, gid=f"{name}-gap", **style)


def _from(fan: Fan, curve: Curve) -> Curve:
    """A future curve that sets out from the last observation, if that is of the step before."""
    past, times = fan.past[0], curve[0]
    if len(past) == 0 or len(times) == 0:
        return curve
    joined = np.concatenate([past[-1:].astype(times.dtype), times])
    if 0 in fan.gaps(joined):
        return curve
    return joined, np.concatenate([fan.past[1][-1:], curve[1]])


def squares() -> dict[str, Any]:
    """The marks of what was assumed, in rollouts too."""
    edge = {"markerfacecolor": look().paper, "markeredgewidth": 1.2}
    return {"marker": "s", "markersize": 4.5, "linestyle": "none", **edge}


def fan_handles(fans: Sequence[Fan]) -> list[Artist]:
    """Legend entries of what is in the panels."""
    color = tone(HOME)
    handles: list[Artist] = [Line2D([], [], color=look().ink, linewidth=1.2, label="history")]
    if any(len(fan.truth[0]) for fan in fans):
        handles.append(
            Line2D([], [], color=look().truth, linewidth=1.2, dashes=(2, 1.3), label="truth")
        )
    handles.append(Line2D([], [], color=color, linewidth=2.2, label="forecast"))
    if any(len(fan.given[0]) for fan in fans):
        handles.append(Line2D([], [], color=color, label="given", **squares()))
    bands = _shades({level for fan in fans for level in fan.bands}, color)
    return handles + [Patch(facecolor=shade, label=f"{level:g} %") for level, shade in bands[::-1]]


def _shades(levels: Iterable[float], color: str) -> list[tuple[float, Any]]:
    """Each level with its shade, the widest and lightest first."""
    ordered = sorted(levels, reverse=True)
    steps = max(len(ordered) - 1, 1)
    return [(level, tint(color, 0.82 - 0.3 * i / steps)) for i, level in enumerate(ordered)]
