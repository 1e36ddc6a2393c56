"""The series of a scene on its axes: fading pasts, forecasts with a head, rings for the hidden."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Ellipse

from hierforecast.plot.density import draw_density
from hierforecast.plot.labels import SHORT, legible
from hierforecast.plot.look import look, tone
from hierforecast.plot.regions import region_of
from hierforecast.plot.scene import SceneView
from hierforecast.plot.style import BALL, HOME, arrowhead, scale_of

GIVEN = "s"  # the marker of what was assumed
DASHED, DOTTED = (0, (3.5, 2.2)), (0, (1.0, 1.6))
WIDEST = 4.5  # of the most probable future; the area of a line's end is as its share
MAX_PATHS = 240  # 20 draws of 12 series; more are spaghetti


@dataclass
class Brush:
    """Axes, marker scale and color of one series, and the artists drawn so far."""

    ax: Axes
    scale: float
    color: str = field(default_factory=lambda: look().ink)
    name: Hashable = ""
    artists: list[Artist] = field(default_factory=list)

    def keep(self, artist: Artist, role: str) -> None:
        """Remember an artist under `role/series`, so that it can be found and removed again."""
        artist.set_gid(f"{role}/{self.name}")
        self.artists.append(artist)

    def line(self, xy: np.ndarray, role: str, **style: Any) -> None:
        """A polyline (T, 2)."""
        style = {"color": self.color, "solid_capstyle": "round", **style}
        style["linewidth"] = float(style.get("linewidth", 1.0)) * self.scale
        self.keep(self.ax.plot(xy[:, 0], xy[:, 1], **style)[0], role)

    def mark(self, xy: np.ndarray, role: str, *, marker: Any = "o", **style: Any) -> None:
        """A marker at one position (2,)."""
        for key in ("markersize", "markeredgewidth"):
            style[key] = float(style.get(key, 1.0)) * self.scale
        style = {"linestyle": "none", "color": self.color, **style}
        drawn = self.ax.plot([xy[0]], [xy[1]], marker=marker, **style)[0]
        self.keep(drawn, role)


def draw_view(
    ax: Axes,
    view: SceneView,
    colors: Mapping[Hashable, str],
    labels: Mapping[Hashable, str],
    *,
    max_paths: int = MAX_PATHS,
    moving: bool = False,
) -> list[Artist]:
    """Draw every series of the scene; with `moving`, the dots run ahead to the last time drawn.

    Args:
        ax: to draw on.
        view: the scene.
        colors: of the groups.
        labels: texts of the series that have one.
        max_paths: above this many sampled paths a density is drawn instead.
        moving: for a frame of an animation.

    Returns:
        the artists, so that an animation can remove them again.
    """
    brush = Brush(ax, scale_of(ax))
    paths = moving or view.n_paths <= max_paths
    if not paths:
        for group, image in draw_density(ax, view, colors):
            brush.name = group
            brush.keep(image, "density")
    for series in view.series:
        brush.name = series
        brush.color = tone(colors.get(view.group.get(series), look().muted) if colors else HOME)
        if series not in view.past:
            brush.color = look().muted
        _draw_past(brush, view)
        _draw_imputed(brush, view)
        if paths:
            _draw_samples(brush, view, moving)
        _draw_region(brush, view)
        _draw_truth(brush, view, moving)
        _draw_forecast(brush, view, moving)
        _draw_given(brush, view)
        _draw_now(brush, view, labels.get(series), moving)
    return brush.artists


def _draw_past(brush: Brush, view: SceneView) -> None:
    known = view.past if brush.name in view.past else view.unseen
    track = known.get(brush.name)
    if track is None or len(track) < 2:
        return
    hidden = brush.name in view.left_out or known is view.unseen
    if hidden:
        for piece in track.pieces(view.step):
            brush.line(piece.values, "past", linewidth=1.4, linestyle=DASHED, alpha=0.55, zorder=2)
        return
    since, span = view.since, max(float((view.cutoff - view.since) / view.step), 1.0)
    segments, shades = [], []
    for piece in track.pieces(view.step):
        segments += [piece.values[i : i + 2] for i in range(len(piece) - 1)]
        shades += [float((t - since) / view.step) / span for t in piece.times[1:]]
    rgba = [to_rgba(brush.color, 0.04 + 0.5 * shade**1.6) for shade in shades]
    widths = [(1.0 + 1.8 * shade) * brush.scale for shade in shades]
    drawn = LineCollection(segments, colors=rgba, linewidths=widths, capstyle="butt", zorder=2)
    brush.ax.add_collection(drawn, autolim=False)
    brush.keep(drawn, "past")


def _draw_imputed(brush: Brush, view: SceneView) -> None:
    """A ring at every step at which a series was not observed, from where it was to where it is."""
    track, past = view.imputed.get(brush.name), view.past.get(brush.name)
    if track is None:
        return
    for piece in track.pieces(view.step):
        xy = [piece.values]
        if past is not None:
            near = past.times - piece.times[0], past.times - piece.times[-1]
            before, after = (abs(apart) <= 1.5 * view.step for apart in near)
            xy = [past.values[before], piece.values, past.values[after]]
        brush.line(np.concatenate(xy), "imputed-path", linewidth=1.6, linestyle=DOTTED, zorder=2.1)
        brush.line(
            piece.values, "imputed", linestyle="none", marker="o", markersize=4.5 * brush.scale,
            markerfacecolor=look().paper, markeredgewidth=1.1 * brush.scale, zorder=2.2,
        )  # fmt: skip


def _draw_samples(brush: Brush, view: SceneView, moving: bool) -> None:
    if brush.name not in view.samples:
        return
    _, draws = view.samples[brush.name]
    alpha = float(np.clip(8.0 / len(draws), 0.05, 0.4))
    start = _start(view, brush.name)
    if moving:
        brush.line(
            draws[:, -1], "samples", linestyle="none", marker="o", markeredgewidth=0,
            markersize=4 * brush.scale, alpha=min(1.5 * alpha, 0.4), zorder=2.5,
        )  # fmt: skip
        return
    lines = [xy if start is None else np.vstack([start, xy]) for xy in draws]
    widths: Any = 0.9
    if view.shares is not None:
        widths, alpha = WIDEST * np.sqrt(view.shares / view.shares.max()), 0.5
    shade = to_rgba(brush.color, alpha)
    drawn = LineCollection(lines, colors=[shade], linewidths=widths * brush.scale, zorder=1.5)
    brush.ax.add_collection(drawn, autolim=False)
    brush.keep(drawn, "samples")


def _start(view: SceneView, series: Hashable) -> np.ndarray | None:
    """Where a future path begins: the position at the cutoff, None if it was not seen there."""
    track = view.past.get(series)
    return track.values[-1] if track is not None and track.times[-1] == view.cutoff else None


def _draw_region(brush: Brush, view: SceneView) -> None:
    shape = region_of(view, brush.name)
    if shape is None:
        return
    center, width, height, angle = shape
    drawn = Ellipse(
        (center[0], center[1]), width, height, angle=angle, zorder=1.8,
        facecolor=to_rgba(brush.color, 0.07), edgecolor=to_rgba(brush.color, 0.5),
        linewidth=0.9 * brush.scale,
    )  # fmt: skip
    brush.ax.add_patch(drawn)
    brush.keep(drawn, "region")


def _draw_truth(brush: Brush, view: SceneView, moving: bool) -> None:
    track = view.truth.get(brush.name)
    if track is None:
        return
    hidden = view.hidden(brush.name)
    color = brush.color if hidden else look().truth
    style = {"color": color, "linewidth": 1.4, "linestyle": DASHED if hidden else "-", "zorder": 3}
    seen = view.past.get(brush.name)
    if seen is not None:
        gap = (track.times[0] - seen.times[-1]) > 1.5 * view.step
        link = {**style, "linestyle": DOTTED} if gap else style
        brush.line(np.stack([seen.values[-1], track.values[0]]), "truth-link", **link)
    for piece in track.pieces(view.step):
        brush.line(piece.values, "truth", **style)
    brush.mark(
        track.values[-1], "truth-end", markersize=10 if moving else 5.5,
        markerfacecolor=look().paper, markeredgecolor=color, markeredgewidth=1.5, zorder=3.1,
    )  # fmt: skip


def _draw_forecast(brush: Brush, view: SceneView, moving: bool) -> None:
    track = view.forecast.get(brush.name)
    if track is None:
        return
    start = _start(view, brush.name)
    seen = view.last_seen(brush.name)
    if start is None and seen is not None:
        link = np.stack([seen, track.values[0]])
        brush.line(link, "link", linewidth=1.3, linestyle=DOTTED, alpha=0.8, zorder=3.5)
    xy = track.values if start is None else np.vstack([start, track.values])
    brush.line(xy, "forecast", linewidth=2.8, zorder=4)
    if not moving:
        brush.mark(
            xy[-1], "forecast-end", marker=arrowhead(_heading(xy)), markersize=13,
            markeredgecolor=look().paper, markeredgewidth=0.7, zorder=4.2,
        )  # fmt: skip


def _draw_given(brush: Brush, view: SceneView) -> None:
    """A square at every step that was assumed."""
    track = view.given.get(brush.name)
    if track is None:
        return
    size, edge = 5.0 * brush.scale, 1.3 * brush.scale
    brush.line(
        track.values, "given", linestyle="none", marker=GIVEN, markersize=size,
        markerfacecolor=look().paper, markeredgewidth=edge, zorder=4.4,
    )  # fmt: skip


def _heading(xy: np.ndarray) -> float:
    """Direction of the path's end, radians: over its last quarter, since one step is noisy."""
    back = max(1, len(xy) // 4)
    dx, dy = xy[-1] - xy[max(0, len(xy) - 1 - back)]
    return math.atan2(dy, dx)


def _draw_now(brush: Brush, view: SceneView, label: str | None, moving: bool) -> None:
    """The dot at the cutoff, or with `moving` at the forecast's end; hollow for hidden series."""
    here = view.last_seen(brush.name)
    if here is None:
        return
    ball = brush.color == BALL
    if view.hidden(brush.name):
        brush.mark(
            here, "hidden", markersize=9 if ball else 13, markerfacecolor=look().paper,
            markeredgecolor=brush.color, markeredgewidth=2.0, zorder=5,
        )  # fmt: skip
        _write(brush, here, label, brush.color)
        if moving and brush.name in view.forecast:
            end = view.forecast[brush.name].values[-1]
            brush.mark(end, "now", markersize=9, markeredgecolor=look().paper, zorder=5)
        return
    if moving and brush.name in view.forecast:
        here = view.forecast[brush.name].values[-1]
    brush.mark(
        here, "now", markersize=9 if ball else 14.5, zorder=5.5 if ball else 5,
        markeredgecolor=look().ink if ball else look().paper, markeredgewidth=1.2,
    )  # fmt: skip
    _write(brush, here, label, look().paper)


def _write(brush: Brush, xy: np.ndarray, label: str | None, color: str) -> None:
    """The label: a short one inside the dot, a longer one beside it."""
    if label is None:
        return
    inside = len(label) <= SHORT and brush.color != BALL
    size = (8.5 if len(label) < SHORT or not inside else 7.0) * brush.scale
    drawn = brush.ax.annotate(
        label, (xy[0], xy[1]), xytext=(0 if inside else 9 * brush.scale, 0),
        textcoords="offset points", color=color if inside else look().ink, fontsize=size,
        fontweight="bold", ha="center" if inside else "left", va="center_baseline", zorder=6,
        annotation_clip=True, clip_on=True,
    )  # fmt: skip
    legible(drawn)
    brush.keep(drawn, "label")
