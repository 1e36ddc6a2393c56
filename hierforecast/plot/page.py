"""Rollouts in a browser: one page with the scene inside, which needs nothing from outside."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass, replace
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from hierforecast.errors import DataError
from hierforecast.io.atomic import write_atomically
from hierforecast.plot.animate import HOLD
from hierforecast.plot.clock import Clock
from hierforecast.plot.columns import Frame, columns_for
from hierforecast.plot.courts import Ground
from hierforecast.plot.frames import Interval, Reader
from hierforecast.plot.look import DARK, LIGHT
from hierforecast.plot.stage import Stage, StageOptions
from hierforecast.plot.style import BALL, HOME

if TYPE_CHECKING:
    from hierforecast.frame import Columns

TAIL = 20  # steps of the past that trail behind a dot
MOST_DRAWS = 40  # of each series; more are a cloud, and the page grows with them
DIGITS = 5  # of a position, counted from the size of the picture


@dataclass(frozen=True)
class Page:
    """A page of HTML; a notebook shows it in a frame.

    Attributes:
        html: the whole page.
    """

    html: str

    def save(self, path: str | Path) -> None:
        """Write it."""
        write_atomically(path, lambda stream: stream.write(self.html.encode()))

    def _repr_html_(self) -> str:
        style = "width: 100%; aspect-ratio: 16 / 11; border: 0"
        return f'<iframe srcdoc="{escape(self.html)}" style="{style}"></iframe>'


def rollout_page(
    history: Frame,
    forecast: Frame | None = None,
    truth: Frame | None = None,
    samples: Frame | None = None,
    scene: Hashable | None = None,
    path: str | Path | None = None,
    fps: float = 8.0,
    *,
    columns: Columns | None = None,
    rate: float | None = None,
    level: float | None = 90,
    **options: Unpack[StageOptions],
) -> Page:
    """One scene to play, stop and point at, in a browser or a notebook.

    A slider goes through the time; pointing at a dot names the series, its position, speed and
    interval; samples, truth and numbers can be switched off. Hidden series are hollow. The page
    holds all it needs and loads nothing.

    Args:
        history, forecast, truth, samples, scene, columns: as for `plot_rollout`; of more than 40
            samples of a series the first 40 are shown.
        path: where to write it, ending in `.html`.
        fps: steps a second at which it plays.
        rate: steps per second of the data, for the clock and for speeds; dates and times need none.
        level: of the intervals, in percent; they are shown at a dot.
        **options: court, model, context, agents, given, imputed, labels, unit, title: as for
            `plot_rollout`; `context` is 20, None takes all of the past.

    Raises:
        DataError: as `plot_rollout`; for a `path` of another kind, or a `court` that is a function.
    """
    if path is not None and Path(path).suffix.lower() not in (".html", ".htm"):
        raise DataError(f"cannot write '{path}': let the path end in .html")
    stage = Stage(**options)
    stage.read(history, forecast, truth, samples, scene, columns, level=level)
    bands: dict[Hashable, Interval] = {}
    if forecast is not None and level is not None:
        reader = Reader(columns_for(columns, history), stage.model)
        read = reader.within(history, scene, "history").forecast(forecast)
        bands = read.bands.get(float(level), {})
    found = json.dumps(
        _Tracks(stage, bands, Clock(stage.view, rate)).document(level, fps), allow_nan=False
    )
    template = files("hierforecast.plot").joinpath("page.html").read_text("utf-8")
    # Names of the user's may hold anything, the end of a script too.
    page = Page(template.replace("@SCENE@", found.replace("<", "\\u003c")))
    if path is not None:
        page.save(path)
    return page


class _Tracks:
    """A scene as plain numbers on its grid of times."""

    def __init__(self, stage: Stage, bands: dict[Hashable, Interval], clock: Clock) -> None:
        self.stage, self.view, self.bands, self.clock = stage, stage.view, bands, clock
        self.times = self.view.times
        if callable(stage.ground) and not isinstance(stage.ground, Ground):
            raise DataError(
                "court= is a function that draws on matplotlib's axes, which a page does not have: "
                "name a surface, or None"
            )
        low, high = stage.corners()
        pad = 0.03 * float((high - low).max()) or 1.0
        low, high = low - pad, high + pad
        if isinstance(stage.ground, Ground):
            corner, size = np.array(stage.ground.corner), np.array(stage.ground.size)
            low = np.minimum(low, corner - stage.ground.margin)
            high = np.maximum(high, corner + size + stage.ground.margin)
        self.box = low, high
        self.decimals = max(0, DIGITS - 1 - int(np.floor(np.log10((high - low).max()))))

    def document(self, level: float | None, fps: float) -> dict[str, Any]:
        """All that the page shows."""
        view, stage, ground = self.view, self.stage, self.stage.ground
        unit = stage.unit or (ground.unit if isinstance(ground, Ground) else None)
        seconds, named = self.clock.seconds, unit or "units"
        return {
            "title": stage.title or "Rollout",
            "box": self.numbers(np.concatenate(self.box)),
            "ground": self.ground(ground) if isinstance(ground, Ground) else None,
            "targets": list(view.targets),
            "unit": unit,
            "decimals": min(self.decimals, 2),
            "speed": [1.0, f"{named}/step"] if seconds is None else [1 / seconds, f"{named}/s"],
            "level": level,
            "clock": [self.clock.at(time, self.times[-1]) for time in self.times],
            "cutoff": int(np.searchsorted(self.times, view.cutoff)),
            "tail": TAIL,
            "fps": float(fps),
            "hold": HOLD,
            "groups": [[str(name), _tones(color)] for name, color in stage.colors.items()],
            "series": [self.series(series) for series in view.series],
        }

    def series(self, series: Hashable) -> dict[str, Any]:
        """One of them."""
        view, colors = self.view, self.stage.colors
        color = colors.get(view.group.get(series)) if colors else HOME
        tracks: dict[str, Any] = {
            name: self.track(known[series].times, known[series].values)
            for name in ("past", "unseen", "truth", "forecast", "given", "imputed")
            if series in (known := getattr(view, name))
        }
        if series in view.samples:
            times, draws = view.samples[series]
            tracks["samples"] = [self.track(times, draw) for draw in draws[:MOST_DRAWS]]
        if series in self.bands and series in view.forecast:
            low, high = self.bands[series]
            times = view.forecast[series].times
            if len(low) == len(times):
                tracks |= {"low": self.track(times, low), "high": self.track(times, high)}
        group = view.group.get(series)
        return {
            "name": str(series),
            "group": None if group is None else str(group),
            "color": _tones(color) if series in view.past and color else None,
            "ball": color == BALL,
            "hidden": view.hidden(series),
            "text": self.stage.texts.get(series, ""),
            **tracks,
        }

    def track(self, times: np.ndarray, values: np.ndarray) -> list[float | None]:
        """The first step, then x and y of it and all that follow; None where nothing is known."""
        steps = np.clip(np.searchsorted(self.times, times), 0, len(self.times) - 1)
        cells = np.full((int(steps[-1] - steps[0]) + 1, 2), np.nan)
        cells[steps - steps[0]] = values
        return [int(steps[0]), *self.numbers(cells.reshape(-1))]

    def numbers(self, values: np.ndarray) -> list[float | None]:
        """Rounded, as far as one can see."""
        rounded = np.round(np.asarray(values, float), self.decimals)
        return [x if np.isfinite(x) else None for x in rounded.tolist()]

    def ground(self, ground: Ground) -> dict[str, Any]:
        """A playing surface; colors are pairs, on light and on dark."""
        (x, y), (length, width) = ground.corner, ground.size
        looks = (LIGHT, DARK)
        lines = {name: [self.points(line) for line in ground.lines[name]] for name in ground.lines}
        colors = {name: [look.pens[ground.pen(name)] for look in looks] for name in lines}
        around = [[x, y], [x + length, y], [x + length, y + width], [x, y + width]]
        return {
            "box": [x, y, x + length, y + width],
            "floor": [look.floors[ground.material] for look in looks],
            "border": lines["border"][0] if "border" in lines else around,
            "lines": [[colors[name], lines[name]] for name in lines],
            "measure": replace(ground, unit=self.stage.unit or ground.unit).measure(),
        }

    def points(self, line: np.ndarray) -> list[list[float]]:
        """A line on the surface."""
        return np.round(line, self.decimals).tolist()


def _tones(color: str) -> list[str]:
    """A group's color on light and on dark."""
    return [look.tones.get(color, color) for look in (LIGHT, DARK)]
