"""Rollouts that move: the past plays, then forecast and truth run on together."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from hierforecast.errors import DataError
from hierforecast.plot.agents import draw_view
from hierforecast.plot.courts import Surface
from hierforecast.plot.frames import Frame
from hierforecast.plot.movie import render, write_gif, write_html
from hierforecast.plot.rollout import draw_legend, draw_title, prepare_axes
from hierforecast.plot.scenes import SceneView, read_scene
from hierforecast.plot.style import FONT, MUTED, group_colors, new_axes, scale_of

if TYPE_CHECKING:
    from hierforecast.frame import Columns

Progress = bool | Callable[[int, int], object]
HOLD = 6  # frames for which the last picture stays before the loop starts again


def animate_rollout(
    history: Frame,
    forecast: Frame | None = None,
    truth: Frame | None = None,
    samples: Frame | None = None,
    scene: Hashable | None = None,
    path: str | Path | None = None,
    fps: float | None = None,
    *,
    columns: Columns | None = None,
    court: Surface = "basketball",
    model: str | None = None,
    context: int | None = 20,
    title: str | None = None,
    figsize: tuple[float, float] = (9.6, 5.4),
    dpi: int = 100,
    progress: Progress = False,
) -> FuncAnimation:
    """Animate one scene: the past, then forecast (solid dots) and truth (hollow dots) together.

    Args:
        history: as for `plot_rollout`, and so are `forecast`, `truth`, `samples`, `scene`,
            `columns`, `court`, `model`, `context` and `title`.
        path: where to write: `.gif`, or `.html` (one file with player and frames inside). With a
            path no window or notebook output appears.
        fps: frames (time steps) a second; None takes 8, a little faster than life at 0.16 s a step.
        figsize: inches.
        dpi: pixels per inch of the file.
        progress: True for a progress bar while writing, or a function of (frame, frames).

    Returns:
        the animation; keep a reference to it for as long as it should play.

    Raises:
        DataError: as `plot_rollout`, or if `path` ends in neither `.gif` nor `.html`.
    """
    target = None if path is None else Path(path)
    if target is not None and target.suffix.lower() not in (".gif", ".html"):
        raise DataError(f"cannot write '{target}': let the path end in .gif or .html")
    view = read_scene(
        history,
        forecast,
        truth,
        samples,
        scene=scene,
        columns=columns,
        model=model,
        level=None,
        context=context,
    )
    stage = Stage(new_axes(figsize, bare=target is not None), view, court, title)
    rate = 8.0 if fps is None else float(fps)
    if target is not None:
        _write(stage, target, rate, dpi, progress)
    frames = len(stage.times) + HOLD
    animation = FuncAnimation(
        stage.figure, stage.show, frames=frames, interval=1000 / rate, init_func=list
    )
    if target is not None:
        # Else matplotlib warns, when it is deleted, that nothing was rendered.
        animation._draw_was_started = True  # type: ignore[attr-defined]
    return animation


def timeline(view: SceneView) -> np.ndarray:
    """Every time to be shown: the context's, then the forecast's and the truth's."""
    tracks = [view.past, view.truth, view.forecast]
    times = [track.times for group in tracks for track in group.values()]
    times += [steps for steps, _ in view.samples.values()]
    shown = np.unique(np.concatenate(times))
    if view.forecast or view.samples:
        ends = [t.times[-1] for t in view.forecast.values()]
        ends += [t[-1] for t, _ in view.samples.values()]
        shown = shown[shown <= max(ends)]
    return shown


@dataclass
class Stage:
    """The still part of the picture, and what shows each time on it."""

    ax: Axes
    view: SceneView
    court: Surface
    title: str | None

    def __post_init__(self) -> None:
        """Draw the surface, the legend and the title, and fix the layout."""
        self.colors = group_colors(self.view.group.values())
        self.times = timeline(self.view)
        self.drawn: list[Artist] = []
        prepare_axes(self.ax, self.view, self.court)
        draw_legend(self.ax, self.view, self.colors, self.court, moving=True)
        draw_title(self.ax, self.title, self.court)
        size = max(FONT["label"] * scale_of(self.ax), 10.0)
        style: dict[str, Any] = {"ha": "right", "va": "top", "color": MUTED, "fontsize": size}
        corner = self.ax.transAxes
        self.clock = self.ax.text(0.985, 0.985, "", transform=corner, zorder=8, **style)
        figure = self.ax.get_figure(root=True)
        assert figure is not None  # `new_axes` made it
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # once is enough: the layout costs more than a frame
        self.figure = figure

    def show(self, frame: int) -> list[Artist]:
        """Replace the moving artists by those of a frame; frames past the end show the last."""
        frame = min(frame, len(self.times) - 1)
        while self.drawn:
            self.drawn.pop().remove()
        now = self.view.until(self.times[frame])
        self.drawn.extend(draw_view(self.ax, now, self.colors, moving=True))
        ahead = int((self.times > self.view.cutoff).sum())
        step = frame - (len(self.times) - 1 - ahead)
        text = f"forecast +{step} of {ahead}" if step > 0 else f"history \N{MINUS SIGN}{-step}"
        self.clock.set_text(text if step else "cutoff")
        return [*self.drawn, self.clock]


def _write(stage: Stage, path: Path, fps: float, dpi: int, progress: Progress) -> None:
    if progress is True:
        from rich.progress import Progress as Bar

        with Bar(transient=True) as bar:
            task = bar.add_task(f"writing {path.name}", total=len(stage.times))
            _write(stage, path, fps, dpi, lambda i, n: bar.update(task, completed=i + 1))
        return
    images = []
    for i, image in enumerate(render(stage.ax, stage.show, len(stage.times), dpi)):
        images.append(image)
        if callable(progress):
            progress(i, len(stage.times))
    write = write_gif if path.suffix.lower() == ".gif" else write_html
    write(path, images, fps, HOLD)
