"""Rollouts: where everyone came from, where the forecast sends them, where they really went."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hierforecast.plot.agents import DASHED, draw_view
from hierforecast.plot.courts import Surface, draw_surface
from hierforecast.plot.frames import Frame
from hierforecast.plot.scenes import SceneView, read_scene
from hierforecast.plot.style import (
    BALL,
    FONT,
    INK,
    MUTED,
    PAPER,
    TRUTH,
    arrowhead,
    calm,
    group_colors,
    new_axes,
    scale_of,
    tint,
    width_of,
)

if TYPE_CHECKING:
    from hierforecast.frame import Columns


def plot_rollout(
    history: Frame,
    forecast: Frame | None = None,
    truth: Frame | None = None,
    samples: Frame | None = None,
    scene: Hashable | None = None,
    columns: Columns | None = None,
    ax: Axes | None = None,
    *,
    court: Surface = "basketball",
    level: float | None = 90,
    model: str | None = None,
    context: int | None = 20,
    title: str | None = None,
) -> Axes:
    """Draw one scene: past, forecast and, where given, truth, joint samples and uncertainty.

    Paths of the past fade in towards the dot at the cutoff. A series the forecaster did not see
    there (missing at the cutoff, left out of the forecast, or only in `truth`) has a hollow marker
    where it was seen last and dashed paths. The 90 % region is the ellipse around 90 % of the
    samples at the last step; without samples it spans the interval of each coordinate.

    Args:
        history: long frame (pandas, polars or pyarrow) with positions up to the cutoff. Rows at
            times of the forecast are not context: they serve as truth.
        forecast: what `Forecaster.predict` returned.
        truth: what happened; rows up to the cutoff may be in it and show hidden series' past.
        samples: what `Forecaster.sample` returned: joint draws told apart by `sample_id`.
        scene: which scene to draw; may be left out if there is only one.
        columns: column roles; None guesses `unique_id`, `ds`, `x`, `y`, `team`, `scene`.
        ax: axes to draw on; None makes a new figure at slide size.
        court: `"basketball"` (feet), `"soccer"` (metres), None, or a function of the axes.
        level: percent of the region drawn at the last step; None draws none.
        model: name of the model in the forecast's columns; None takes the first.
        context: number of past steps shown; None shows all.
        title: set in bold at the top left.

    Raises:
        DataError: naming the column or scene that is missing, and the remedy.
    """
    view = read_scene(
        history,
        forecast,
        truth,
        samples,
        scene=scene,
        columns=columns,
        model=model,
        level=level,
        context=context,
    )
    ax = new_axes() if ax is None else ax
    prepare_axes(ax, view, court)
    colors = group_colors(view.group.values())
    draw_view(ax, view, colors)
    draw_legend(ax, view, colors, court)
    draw_title(ax, title, court)
    return ax


def prepare_axes(ax: Axes, view: SceneView, court: Surface) -> None:
    """Draw the surface and choose limits that hold the whole scene."""
    known = [view.past, view.truth, view.unseen, view.forecast]
    points = np.concatenate([track.xy for tracks in known for track in tracks.values()])
    low, high = points.min(axis=0), points.max(axis=0)
    pad = 0.03 * float((high - low).max()) or 1.0
    draw_surface(ax, court)
    if court is None:
        calm(ax, grid=None)
        ax.set_aspect("equal")
        ax.set_xlim(low[0] - 2 * pad, high[0] + 2 * pad)
        ax.set_ylim(low[1] - 2 * pad, high[1] + 2 * pad)
        return
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    ax.set_xlim(min(x0, low[0] - pad), max(x1, high[0] + pad))
    ax.set_ylim(min(y0, low[1] - pad), max(y1, high[1] + pad))


def legend_handles(
    view: SceneView, colors: dict[Hashable, str], scale: float, *, moving: bool = False
) -> list[Artist]:
    """One entry per group, then one per kind of mark that is in the picture."""

    def line(label: str, color: Any = MUTED, **style: Any) -> Line2D:
        return Line2D([], [], color=color, label=label, **style)

    hollow = {"marker": "o", "markerfacecolor": "white", "markersize": 9 * scale}
    handles: list[Artist] = []
    for name, color in colors.items():
        size, edge = (7, INK) if color == BALL else (10, "white")
        dot = {"marker": "o", "markersize": size * scale, "markeredgecolor": edge}
        handles.append(line(str(name), color, linestyle="none", **dot))
    handles.append(line("past", to_rgba(MUTED, 0.5), linewidth=2.2))
    if view.forecast:
        head: Any = "o" if moving else arrowhead(0.0)
        handles.append(line("forecast", INK, linewidth=2.8, marker=head, markersize=9 * scale))
    if view.truth:
        end = hollow | {"markeredgewidth": 1.4} if moving else {}
        handles.append(line("truth", TRUTH, linewidth=1.4, **end))
    if any(view.hidden(series) for series in view.series):
        ring = hollow | {"markeredgewidth": 2.0, "linestyle": DASHED}
        handles.append(line("hidden", linewidth=1.4, **ring))
    if view.samples:
        cloud = {"marker": "o", "markersize": 4, "linestyle": "none"} if moving else {}
        handles.append(line("samples", tint(MUTED, 0.4), linewidth=1.0, **cloud))
    if view.level is not None and (view.samples or view.region):
        text = f"{view.level:g} % of samples" if view.samples else f"{view.level:g} % per axis"
        shade, border = to_rgba(MUTED, 0.15), to_rgba(MUTED, 0.6)
        handles.append(Patch(facecolor=shade, edgecolor=border, label=text))
    return handles


def draw_legend(
    ax: Axes,
    view: SceneView,
    colors: dict[Hashable, str],
    court: Surface,
    *,
    moving: bool = False,
) -> None:
    """A legend in one or two lines: in a strip below a drawn surface, else above the axes."""
    scale = scale_of(ax)
    handles = legend_handles(view, colors, scale, moving=moving)
    size = max(FONT["legend"] * scale, 8.5)
    rows = 1 if width_of(ax) > len(handles) * size * 0.088 else 2
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}
    if isinstance(court, str):
        make_room(ax, below=rows * size * 1.9)
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.0)}
    legend = ax.legend(
        handles=handles, ncols=-(-len(handles) // rows), fontsize=size,
        facecolor=PAPER, edgecolor="none", framealpha=0.85,
        labelcolor=INK, handlelength=1.9, handletextpad=0.45, columnspacing=1.3, borderpad=0.1,
        **place,
    )  # fmt: skip
    legend.set_zorder(7)


def make_room(ax: Axes, below: float = 0.0, above: float = 0.0) -> None:
    """Lengthen the y axis by strips given in points; what lies inside the axes is never cut off."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    point = (x1 - x0) / (72.0 * width_of(ax))
    ax.set_ylim(y0 - below * point, y1 + above * point)


def draw_title(ax: Axes, title: str | None, court: Surface) -> None:
    """A title in bold at the top left: in a strip above a drawn surface, else above the legend."""
    if title is None:
        return
    size = max(FONT["title"] * scale_of(ax), 11.0)
    pad = 2.2 * max(FONT["legend"] * scale_of(ax), 8.5)
    if isinstance(court, str):
        make_room(ax, above=1.6 * size)
        pad = -1.0 * size
    style = {"fontsize": size, "fontweight": "bold", "color": INK, "pad": pad}
    ax.set_title(title, loc="left", y=1.0, **style)  # type: ignore[arg-type]
