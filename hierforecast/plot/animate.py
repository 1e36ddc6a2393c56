"""Rollouts that move: the past plays, then forecast and truth run on together."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from matplotlib.animation import FuncAnimation
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from hierforecast.plot.agents import draw_view
from hierforecast.plot.clock import Clock
from hierforecast.plot.columns import Frame
from hierforecast.plot.labels import legible
from hierforecast.plot.look import look, looking
from hierforecast.plot.movie import render, writer_of
from hierforecast.plot.stage import Stage, StageOptions
from hierforecast.plot.style import FONT, opened, scale_of

if TYPE_CHECKING:
    from hierforecast.frame import Columns

Progress = bool | Callable[[int, int], object]
HOLD = 6  # frames for which the last picture stays before the loop starts again


class FilmOptions(StageOptions, total=False):
    """What `animate_rollout` knows besides."""

    figsize: tuple[float, float]
    dpi: int


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
    rate: float | None = None,
    progress: Progress = False,
    **options: Unpack[FilmOptions],
) -> FuncAnimation:
    """Animate one scene: the past, then forecast (solid dots) and truth (hollow dots) together.

    Args:
        history, forecast, truth, samples, scene, columns: as for `plot_rollout`.
        path: where to write: `.gif`, `.html` (one file with player and frames inside), or `.mp4`
            (with the ffmpeg of the system, or that of the extra `video`). With a path no window or
            notebook output appears.
        fps: frames (time steps) a second; None takes 8, a little faster than life at 0.16 s a step.
        rate: steps per second of the data: then the clock in the corner shows seconds instead of
            steps. Dates and times need none.
        progress: True for a progress bar while writing, or a function of (frame, frames).
        **options: more of them, by name.

            - figsize: inches.
            - dpi: pixels per inch of the file.
            - court, model, context, agents, given, imputed, labels, unit, title: as for
              `plot_rollout`.

    Returns:
        the animation; keep a reference to it for as long as it should play.

    Raises:
        DataError: as `plot_rollout`, or for a `path` of another kind.
        MissingExtraError: for `.mp4` without ffmpeg.
    """
    target = None if path is None else Path(path)
    write = None if target is None else writer_of(target)
    figsize, dpi = options.pop("figsize", (9.6, 5.4)), options.pop("dpi", 100)
    stage = Stage(**options)  # type: ignore[misc]
    stage.read(history, forecast, truth, samples, scene, columns, level=None)
    with opened(None, figsize, bare=target is not None) as ax:
        film = Film(ax, stage, rate)
        film.set_up()
    speed = 8.0 if fps is None else float(fps)
    if target is not None and write is not None:
        images = _rendered(film, target.name, dpi, progress)
        write(target, images, speed, HOLD)
    frames = len(film.times) + HOLD
    animation = FuncAnimation(
        film.figure, film.show, frames=frames, interval=1000 / speed, init_func=list
    )
    if target is not None:
        # Else matplotlib warns, when it is deleted, that nothing was rendered.
        animation._draw_was_started = True  # type: ignore[attr-defined]
    return animation


@dataclass
class Film:
    """A stage, and what shows each time on it."""

    ax: Axes
    stage: Stage
    rate: float | None = None
    drawn: list[Artist] = field(default_factory=list)

    def set_up(self) -> None:
        """Draw the surface, the legend and the title, and fix the layout."""
        self.view = self.stage.view
        self.times = self.view.times
        self.stage.prepare(self.ax)
        self.stage.finish(self.ax, moving=True)
        size = max(FONT["label"] * scale_of(self.ax), 10.0)
        style: dict[str, Any] = {
            "ha": "right",
            "va": "top",
            "color": look().muted,
            "fontsize": size,
        }
        corner = self.ax.transAxes
        self.clock = self.ax.text(0.985, 0.985, "", transform=corner, zorder=8, **style)
        figure = self.ax.get_figure(root=True)
        assert figure is not None  # `opened` made it
        legible(figure)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # once is enough: the layout costs more than a frame
        self.figure = figure

    def show(self, frame: int) -> list[Artist]:
        """Replace the moving artists by those of a frame; frames past the end show the last."""
        time = self.times[min(frame, len(self.times) - 1)]
        while self.drawn:
            self.drawn.pop().remove()
        now = self.view.until(time)
        known = self.stage.colors, self.stage.texts
        with looking(self.ax):
            self.drawn.extend(draw_view(self.ax, now, *known, moving=True))
        self.clock.set_text(Clock(self.view, self.rate).at(time, self.times[-1]))
        return [*self.drawn, self.clock]


def _rendered(film: Film, name: str, dpi: int, progress: Progress) -> list[Any]:
    """The picture of every frame."""
    frames = len(film.times)
    if progress is True:
        from rich.progress import Progress as Bar

        with Bar(transient=True) as bar:
            task = bar.add_task(f"writing {name}", total=frames)
            return _rendered(film, name, dpi, lambda i, n: bar.update(task, completed=i + 1))
    images = []
    for i, image in enumerate(render(film.ax, film.show, frames, dpi)):
        images.append(image)
        if callable(progress):
            progress(i, frames)
    return images
