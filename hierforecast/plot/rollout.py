"""Rollouts: where everyone came from, where the forecast sends them, where they really went."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hierforecast.plot.agents import DASHED, MAX_PATHS, box_of, draw_view, region_of
from hierforecast.plot.columns import Frame
from hierforecast.plot.courts import Ground, Surface, find_ground
from hierforecast.plot.labels import Labels, legend_text, legible, series_labels, text_of
from hierforecast.plot.scene import SceneView, read_scene
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
    height_of,
    opened,
    scale_of,
    tint,
    width_of,
)

if TYPE_CHECKING:
    from hierforecast.frame import Columns


SMALL = 0.6  # scale of axes in which numbers cannot be read


def plot_rollout(
    history: Frame,
    forecast: Frame | None = None,
    truth: Frame | None = None,
    samples: Frame | None = None,
    scene: Hashable | None = None,
    columns: Columns | None = None,
    ax: Axes | None = None,
    *,
    court: Surface = "auto",
    level: float | None = 90,
    model: str | None = None,
    context: int | None = 20,
    agents: Sequence[Hashable] | None = None,
    labels: Labels = "auto",
    max_paths: int = MAX_PATHS,
    unit: str | None = None,
    title: str | None = None,
) -> Axes:
    """Draw one scene: past, forecast and, where given, truth, joint samples and uncertainty.

    Paths of the past fade in towards the dot at the cutoff. Drawn are the series that are forecast,
    those seen at the cutoff that the forecast leaves out, and hidden ones: only in `truth`, around
    the cutoff. (Without forecast and samples: those seen in the last `context` steps.) A series
    that the forecaster did not see at the cutoff has a hollow marker where it was seen last and
    dashed paths. The 90 % region is the ellipse around 90 % of the samples at the last step;
    without samples it spans the interval of each coordinate.

    Args:
        history: long frame (pandas, polars or pyarrow) with positions up to the cutoff. Rows at
            times of the forecast are not context: they serve as truth.
        forecast: what `Forecaster.predict` returned.
        truth: what happened; rows up to the cutoff may be in it and show hidden series' past.
        samples: what `Forecaster.sample` returned: joint draws told apart by `sample_id`.
        scene: which scene to draw; may be left out if there is only one.
        columns: column roles; None guesses `unique_id`, `ds`, `x`, `y`, `team`, `scene`.
        ax: axes to draw on; None makes a new figure at slide size.
        court: `"auto"` for a basketball court (feet), an NFL field (yards) or a soccer pitch
            (metres, origin at the centre spot or a corner) where the history's positions fit one
            and nothing where they do not; `"basketball"`, `"nfl"`, `"soccer"`; None; or a function
            of the axes.
        level: percent of the region drawn at the last step; None draws none.
        model: name of the model in the forecast's columns; None takes the first.
        context: number of past steps shown; None shows all.
        agents: series whose samples and regions are drawn; None draws those of all.
        labels: `"auto"` writes the ends of ids, such as the 3 of `away_3`, if those of all fit into
            the dots; None writes none; a mapping or a function of the id writes what it gives.
        max_paths: of more sampled paths than that, over all series, a density is drawn.
        unit: of the coordinates, on the axes; None takes that of the court.
        title: set in bold at the top left.

    Raises:
        DataError: naming the column, scene or series that is missing, and the remedy.
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
        agents=agents,
    )
    texts = series_labels(view.series, view.group, labels)
    colors = group_colors(view.groups)
    ground = find_ground(court, *view.extent, view.crowd)
    with opened(ax) as ax:
        prepare_axes(ax, view, ground, unit)
        if labels == "auto" and scale_of(ax) < SMALL:
            texts = {}
        draw_view(ax, view, colors, texts, max_paths=max_paths)
        above = draw_legend(ax, view, colors, ground, max_paths=max_paths)
        draw_title(ax, title, ground, above)
        legible(ax)
    return ax


def prepare_axes(ax: Axes, view: SceneView, ground: Any, unit: str | None) -> None:
    """Draw the surface and choose limits that hold the whole scene with its regions."""
    known = [view.past, view.truth, view.unseen, view.forecast]
    points = [track.values for tracks in known for track in tracks.values()]
    points += [box_of(shape) for s in view.series if (shape := region_of(view, s)) is not None]
    draws = [xy.reshape(-1, 2) for _, xy in view.samples.values()]
    points += [np.quantile(xy, [0.025, 0.975], axis=0) for xy in draws]
    low, high = np.concatenate(points).min(axis=0), np.concatenate(points).max(axis=0)
    pad = 0.03 * float((high - low).max()) or 1.0
    if ground is None:
        calm(ax, grid=None)
        ax.set_aspect("equal")
        # The shorter side shows more, so that the axes and the legend keep their room.
        room = np.maximum([width_of(ax) - 0.8, height_of(ax) - 1.4], 1.0)
        half = room * (((high - low) / 2 + 2 * pad) / room).max()
        middle = (low + high) / 2
        ax.set_xlim(middle[0] - half[0], middle[0] + half[0])
        ax.set_ylim(middle[1] - half[1], middle[1] + half[1])
        for name, axis in zip(view.targets, (ax.xaxis, ax.yaxis), strict=True):
            text = text_of(f"{name} ({unit})" if unit else name)
            axis.set_label_text(text, color=MUTED, fontsize=FONT["label"] * scale_of(ax))
        return
    if isinstance(ground, Ground):
        ground.draw(ax)
        replace(ground, unit=unit or ground.unit).write_size(ax, scale_of(ax))
    else:
        ground(ax)
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    ax.set_xlim(min(x0, low[0] - pad), max(x1, high[0] + pad))
    ax.set_ylim(min(y0, low[1] - pad), max(y1, high[1] + pad))


def legend_handles(
    view: SceneView, colors: dict[Hashable, str], scale: float, max_paths: int, *, moving: bool
) -> list[Artist]:
    """One entry per group, then one per kind of mark that is in the picture."""

    def line(label: str, color: Any = MUTED, **style: Any) -> Line2D:
        return Line2D([], [], color=color, label=label, **style)

    hollow = {"marker": "o", "markerfacecolor": "white", "markersize": 9 * scale}
    handles: list[Artist] = []
    for name, color in colors.items():
        size, edge = (7, INK) if color == BALL else (10, "white")
        dot = {"marker": "o", "markersize": size * scale, "markeredgecolor": edge}
        handles.append(line(legend_text(name), color, linestyle="none", **dot))
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
    if view.samples and not moving and view.n_paths > max_paths:
        handles.append(Patch(facecolor=to_rgba(MUTED, 0.4), label="samples, density"))
    elif view.samples:
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
    ground: Any,
    *,
    max_paths: int = MAX_PATHS,
    moving: bool = False,
) -> float:
    """A legend in one or two lines: in a strip below a drawn surface, else above the axes.

    Returns:
        points above the axes that it takes.
    """
    scale = scale_of(ax)
    handles = legend_handles(view, colors, scale, max_paths, moving=moving)
    size = max(FONT["legend"] * scale, 8.5)
    letters = sum(len(str(handle.get_label())) for handle in handles)
    rows = 1 if 72 * width_of(ax) > size * (0.6 * letters + 3.7 * len(handles)) else 2
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}
    if isinstance(ground, Ground):
        make_room(ax, below=rows * size * 1.9)
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.0)}
    legend = ax.legend(
        handles=handles, ncols=-(-len(handles) // rows), fontsize=size,
        facecolor=PAPER, edgecolor="none", framealpha=0.85,
        labelcolor=INK, handlelength=1.9, handletextpad=0.45, columnspacing=1.3, borderpad=0.1,
        **place,
    )  # fmt: skip
    legend.set_zorder(7)
    return 0.0 if isinstance(ground, Ground) else rows * size * 1.55


def make_room(ax: Axes, below: float = 0.0, above: float = 0.0) -> None:
    """Lengthen the y axis by strips given in points; what lies inside the axes is never cut off."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    point = (x1 - x0) / (72.0 * width_of(ax))
    ax.set_ylim(y0 - below * point, y1 + above * point)


def draw_title(ax: Axes, title: str | None, ground: Any, above: float) -> None:
    """A title in bold at the top left: in a strip above a drawn surface, else `above` points up."""
    if title is None:
        return
    size = max(FONT["title"] * scale_of(ax), 11.0)
    pad = above + 8.0
    if isinstance(ground, Ground):
        make_room(ax, above=1.6 * size)
        pad = -1.0 * size
    style = {"fontsize": size, "fontweight": "bold", "color": INK, "pad": pad}
    ax.set_title(title, loc="left", y=1.0, **style)  # type: ignore[arg-type]
