"""What a rollout stands on: the surface, the limits, the legend and the title."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hierforecast.plot.agents import DASHED, DOTTED, GIVEN, MAX_PATHS, WIDEST
from hierforecast.plot.columns import Frame
from hierforecast.plot.courts import Ground, Surface, find_ground
from hierforecast.plot.labels import Labels, legend_text, series_labels, text_of
from hierforecast.plot.look import look, tone
from hierforecast.plot.regions import box_of, region_of
from hierforecast.plot.scene import read_scene
from hierforecast.plot.style import (
    BALL,
    FONT,
    arrowhead,
    calm,
    group_colors,
    scale_of,
    size_of,
    tint,
    write_title,
)


class StageOptions(TypedDict, total=False):
    """What `plot_rollout` and `animate_rollout` both know; see `plot_rollout`."""

    model: str | None
    context: int | None
    agents: Sequence[Hashable] | None
    given: Frame | None
    imputed: Frame | None
    court: Surface
    labels: Labels
    unit: str | None
    title: str | None


@dataclass
class Stage:
    """One scene and the still part of its picture. For the options see `plot_rollout`."""

    model: str | None = None
    context: int | None = 20
    agents: Sequence[Hashable] | None = None
    given: Frame | None = None
    imputed: Frame | None = None
    court: Surface = "auto"
    labels: Labels = "auto"
    unit: str | None = None
    title: str | None = None

    def read(self, *frames: Any, level: float | None) -> None:
        """Read the frames, and choose colors, texts and the surface; see `read_scene`."""
        self.view = view = read_scene(
            *frames, level=level, model=self.model, context=self.context, agents=self.agents,
            given=self.given, imputed=self.imputed,
        )  # fmt: skip
        self.colors = group_colors(view.groups)
        self.texts = series_labels(view.series, view.group, self.labels)
        self.ground = find_ground(self.court, *view.extent, view.crowd, self.corners())

    def prepare(self, ax: Axes) -> None:
        """Draw the surface and choose limits that hold the whole scene with its regions."""
        low, high = self.corners()
        pad = 0.03 * float((high - low).max()) or 1.0
        if self.ground is None:
            self._prepare_plain(ax, (low + high) / 2, (high - low) / 2 + 2 * pad)
            return
        if isinstance(self.ground, Ground):
            self.ground.draw(ax)
            named = replace(self.ground, unit=self.unit or self.ground.unit)
            named.write_size(ax, scale_of(ax))
        else:
            self.ground(ax)
        (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
        ax.set_xlim(min(x0, low[0] - pad), max(x1, high[0] + pad))
        ax.set_ylim(min(y0, low[1] - pad), max(y1, high[1] + pad))

    def corners(self) -> np.ndarray:
        """The corners (2, 2) of the box that holds everything."""
        view = self.view
        known = [view.past, view.truth, view.unseen, view.forecast, view.given, view.imputed]
        points = [track.values for tracks in known for track in tracks.values()]
        points += [box_of(shape) for s in view.series if (shape := region_of(view, s)) is not None]
        draws = [xy.reshape(-1, 2) for _, xy in view.samples.values()]
        points += [np.quantile(xy, [0.025, 0.975], axis=0) for xy in draws]
        every = np.concatenate(points)
        return np.stack([every.min(axis=0), every.max(axis=0)])

    def _prepare_plain(self, ax: Axes, middle: np.ndarray, half: np.ndarray) -> None:
        """Axes with ticks and names that hold a box."""
        calm(ax, grid=None)
        ax.set_aspect("equal")
        # The shorter side shows more, so that the axes and the legend keep their room.
        room = np.maximum(size_of(ax) - [0.8, 1.4], 1.0)
        half = room * (half / room).max()
        ax.set_xlim(middle[0] - half[0], middle[0] + half[0])
        ax.set_ylim(middle[1] - half[1], middle[1] + half[1])
        for name, axis in zip(self.view.targets, (ax.xaxis, ax.yaxis), strict=True):
            text = text_of(f"{name} ({self.unit})" if self.unit else name)
            axis.set_label_text(text, color=look().muted, fontsize=FONT["label"] * scale_of(ax))

    def finish(self, ax: Axes, *, max_paths: int = MAX_PATHS, moving: bool = False) -> None:
        """Add the legend and the title: in strips of a drawn surface, else above the axes.

        The legend has one or two lines; for `max_paths` and `moving` see `draw_view`.
        """
        scale = scale_of(ax)
        on_surface = isinstance(self.ground, Ground)
        handles = self._handles(scale, max_paths, moving)
        size = max(FONT["legend"] * scale, 8.5)
        letters = sum(len(str(handle.get_label())) for handle in handles)
        rows = 1 if 72 * size_of(ax)[0] > size * (0.6 * letters + 3.7 * len(handles)) else 2
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}
        if on_surface:
            make_room(ax, below=rows * size * 1.9)
            place = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.0)}
        legend = ax.legend(
            handles=handles, ncols=-(-len(handles) // rows), fontsize=size,
            facecolor=look().paper, edgecolor="none", framealpha=0.85,
            labelcolor=look().ink, handlelength=1.9, handletextpad=0.45, columnspacing=1.3,
            borderpad=0.1, **place,
        )  # fmt: skip
        legend.set_zorder(7)
        title_size = max(FONT["title"] * scale, 11.0)
        pad = -title_size if on_surface else rows * size * 1.55 + 8.0
        if on_surface and self.title is not None:
            make_room(ax, above=1.6 * title_size)
        write_title(ax, self.title, fontsize=title_size, pad=pad, y=1.0)

    def _handles(self, scale: float, max_paths: int, moving: bool) -> list[Artist]:
        """One entry per group, then one per kind of mark that is in the picture."""
        view = self.view

        def line(label: str, color: Any = None, **style: Any) -> Line2D:
            return Line2D([], [], color=color or look().muted, label=label, **style)

        hollow = {"marker": "o", "markerfacecolor": look().paper, "markersize": 9 * scale}
        handles: list[Artist] = []
        for name, color in self.colors.items():
            size, edge = (7, look().ink) if color == BALL else (10, look().paper)
            dot = {"marker": "o", "markersize": size * scale, "markeredgecolor": edge}
            handles.append(line(legend_text(name), tone(color), linestyle="none", **dot))
        handles.append(line("past", to_rgba(look().muted, 0.5), linewidth=2.2))
        if view.imputed:
            dots = {"marker": "o", "markersize": 4.5 * scale, "linestyle": DOTTED}
            handles.append(
                line("imputed", look().ink, linewidth=1.6, markerfacecolor=look().paper, **dots)
            )
        if view.forecast:
            head: Any = "o" if moving else arrowhead(0.0)
            handles.append(
                line("forecast", look().ink, linewidth=2.8, marker=head, markersize=9 * scale)
            )
        if view.given:
            square = {"marker": GIVEN, "markerfacecolor": look().paper, "markersize": 5 * scale}
            handles.append(
                line("given", look().ink, linewidth=2.8, markeredgewidth=1.3 * scale, **square)
            )
        if view.truth:
            end = hollow | {"markeredgewidth": 1.4} if moving else {}
            handles.append(line("truth", look().truth, linewidth=1.4, **end))
        if any(view.hidden(series) for series in view.series):
            ring = hollow | {"markeredgewidth": 2.0, "linestyle": DASHED}
            handles.append(line("hidden", linewidth=1.4, **ring))
        if view.samples and not moving and view.n_paths > max_paths:
            handles.append(Patch(facecolor=to_rgba(look().muted, 0.4), label="samples, density"))
        elif view.shares is not None and not moving:
            label = "futures, the wider the likelier"
            handles.append(line(label, tint(look().muted, 0.4), linewidth=0.7 * WIDEST * scale))
        elif view.samples:
            cloud = {"marker": "o", "markersize": 4, "linestyle": "none"} if moving else {}
            what = "samples" if view.shares is None else "futures"
            handles.append(line(what, tint(look().muted, 0.4), linewidth=1.0, **cloud))
        drawn = view.samples and view.shares is None
        if view.level is not None and (drawn or view.region):
            text = f"{view.level:g} % of samples" if drawn else f"{view.level:g} % per axis"
            shade, border = to_rgba(look().muted, 0.15), to_rgba(look().muted, 0.6)
            handles.append(Patch(facecolor=shade, edgecolor=border, label=text))
        return handles


def make_room(ax: Axes, below: float = 0.0, above: float = 0.0) -> None:
    """Lengthen the y axis by strips given in points; what lies inside the axes is never cut off."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    point = (x1 - x0) / (72.0 * size_of(ax)[0])
    ax.set_ylim(y0 - below * point, y1 + above * point)
