"""Rollouts: where everyone came from, where the forecast sends them, where they really went."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Unpack

from matplotlib.axes import Axes

from hierforecast.plot.agents import MAX_PATHS, draw_view
from hierforecast.plot.columns import Frame
from hierforecast.plot.labels import legible
from hierforecast.plot.stage import Stage, StageOptions
from hierforecast.plot.style import opened, scale_of

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
    level: float | None = 90,
    max_paths: int = MAX_PATHS,
    **options: Unpack[StageOptions],
) -> Axes:
    """Draw one scene: past, forecast and, where given, truth, joint samples and uncertainty.

    Paths of the past fade in towards the dot at the cutoff. Drawn are the series that are forecast,
    those seen at the cutoff that the forecast leaves out, and hidden ones: only in `truth`, around
    the cutoff. (Without forecast and samples: those seen in the last `context` steps.) A series
    that the forecaster did not see at the cutoff has a hollow marker where it was seen last and
    dashed paths. The 90 % region is the ellipse around 90 % of the samples at the last step;
    without samples it spans the interval of each coordinate. Steps that were given have squares.

    Args:
        history: long frame (pandas, polars or pyarrow) with positions up to the cutoff. Rows at
            times of the forecast are not context: they serve as truth.
        forecast: what `Forecaster.predict` returned.
        truth: what happened; rows up to the cutoff may be in it and show hidden series' past.
        samples: what `Forecaster.sample` returned: joint draws told apart by `sample_id`; or what
            `Forecaster.futures` did: the more probable of them are drawn wider, without a region.
        scene: which scene to draw; may be left out if there is only one.
        columns: column roles; None guesses `unique_id`, `ds`, `x`, `y`, `team`, `scene`.
        ax: axes to draw on; None makes a new figure at slide size.
        level: percent of the region drawn at the last step; None draws none.
        max_paths: of more sampled paths than that, over all series, a density is drawn.
        **options: more of them, by name.

            - court: `"auto"` for a basketball court (feet), an NFL field (yards), a soccer pitch
              (meters, origin at the center spot or a corner) or an NHL rink (feet, origin at center
              ice) where the history's positions fit one and nothing where they do not;
              `"basketball"`, `"nfl"`, `"soccer"`, `"ice"`, `"ice-iihf"` (60 x 30 m); `"grid"` for
              neutral ground; None; or a function of the axes.
            - model: name of the model in the forecast's columns; None takes the first.
            - context: number of past steps shown; None shows all. [20]
            - imputed: what `Forecaster.impute` returned for the history: a ring at each step at
              which a series was not observed.
            - given: what-if: the plan that the forecast was given.
            - agents: series whose samples and regions are drawn; None draws those of all.
            - labels: `"auto"` writes the ends of ids, such as the 3 of `away_3`, if those of all
              fit into the dots; None writes none; a mapping or a function of the id writes what it
              gives.
            - unit: of the coordinates, on the axes; None takes that of the court.
            - title: set in bold at the top left.

    Raises:
        DataError: naming the column, scene or series that is missing, and the remedy.
    """
    stage = Stage(**options)
    stage.read(history, forecast, truth, samples, scene, columns, level=level)
    with opened(ax) as ax:
        stage.prepare(ax)
        numbers = stage.labels != "auto" or scale_of(ax) >= SMALL
        texts = stage.texts if numbers else {}
        draw_view(ax, stage.view, stage.colors, texts, max_paths=max_paths)
        stage.finish(ax, max_paths=max_paths)
        legible(ax)
    return ax
