"""What each plot draws of fixed frames, artist by artist, as it was recorded.

``python -m tests.plot.test_golden`` records it anew: only where a picture is meant to change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.text import Annotation, Text

from hierforecast import plot
from hierforecast.frame import Columns
from tests.plot.plays import K, T, forecast_of, play, stocks

GETTERS = (
    "get_xydata", "get_paths", "get_array", "get_extent", "get_center", "get_width", "get_height",
    "get_angle", "get_position", "get_color", "get_facecolor", "get_edgecolor",
    "get_markerfacecolor", "get_linewidth", "get_markersize", "get_fontsize", "get_alpha",
)  # fmt: skip
FILE = Path(__file__).parents[1] / "golden" / "plots.json"


def rollouts() -> dict[str, Any]:
    full = play()
    history = full[full.ds < T].reset_index(drop=True)
    forecast, samples = forecast_of(history), forecast_of(history, draws=K)
    gone = history[(history.unique_id != "away_1") | (history.ds < 3)]
    gone = gone[gone.unique_id != "home_1"]
    gone = gone.assign(x=gone.x.mask((gone.unique_id == "home_0") & (gone.ds > 8)))
    hours = [
        f.assign(ds=pd.Timestamp("2024-01-01") + f.ds * pd.Timedelta("6h"), side=f.unique_id.str[0])
        for f in (history, forecast, full, samples)
    ]
    columns = Columns(target=["x", "y"], group=["side", "unique_id"], scene="scene")
    return {
        "all": lambda: plot.plot_rollout(history, forecast, full, samples, title="All"),
        "hidden": lambda: plot.plot_rollout(
            gone, forecast_of(gone), full, context=5, labels=str, court="soccer"
        ),
        "runs on": lambda: plot.plot_rollout(full, forecast[forecast.unique_id != "ball"]),
        "hours": lambda: plot.plot_rollout(
            *hours, columns=columns, court=None, unit="m", max_paths=3, agents=["home_0"]
        ),
        "history alone": lambda: plot.plot_rollout(play(2), scene=1, level=None),
        "film": lambda: film(history, forecast, full, samples, frame=T + 1, rate=6.25),
        "film of hidden": lambda: film(gone, forecast_of(gone), full, frame=2, context=7),
    }


def film(*frames: pd.DataFrame, frame: int, **options: Any) -> Any:
    animation = plot.animate_rollout(*frames, **options)
    animation._func(frame)
    animation._draw_was_started = True
    return animation._fig


def others() -> dict[str, Any]:
    history, forecast, samples = stocks()
    truth = history.assign(ds=history.ds + pd.Timedelta("4D"), y=history.y + 0.5)
    steps = [
        f.assign(ds=(f.ds - pd.Timestamp("2020-01-01")).dt.days) for f in (history, forecast, truth)
    ]
    full = play(2)
    early = full[full.ds < T]
    backtest = forecast_of(early).merge(full.drop(columns="team")).assign(cutoff=T - 1)
    backtest = backtest.assign(Far_x=backtest.x + 3, Far_y=backtest.y + 4)
    matrix = np.corrcoef(np.random.default_rng(0).normal(size=(9, 30)))
    weights = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 3))
    return {
        "fans": lambda: plot.plot_forecast(history, forecast, truth, title="Fans", unit="€"),
        "fans of samples": lambda: plot.plot_forecast(
            history, forecast, groups=["b"], samples=samples, levels=[80, 50], context=7
        ),
        "fans by steps": lambda: plot.plot_forecast(*steps, ids=["c0", "a1"], share_y=True),
        "fans of y": lambda: plot.plot_forecast(
            early, forecast_of(early), full, scene=1, target="y", max_series=3
        ),
        "groups": lambda: plot.plot_groups(history, forecast, truth, samples),
        "groups of samples": lambda: plot.plot_groups(
            history, samples=samples, by="sector", aggregate="sum", levels=[60], unit="m"
        ),
        "groups of points": lambda: plot.plot_groups(history, forecast, context=5, title="Points"),
        "errors": lambda: plot.plot_errors(backtest, unit="ft", title="Errors"),
        "errors by team": lambda: plot.plot_errors(backtest, "team", history=full, models=["Far"]),
        "correlation": lambda: plot.plot_correlation(samples, history=history, title="Together"),
        "correlation of a step": lambda: plot.plot_correlation(
            samples, ["c0", "a0", "b0", "a1"], list("caba"), step=-1
        ),
        "correlation of positions": lambda: plot.plot_correlation(
            forecast_of(early, draws=6), history=early, scene=1
        ),
        "matrix": lambda: plot.plot_correlation(matrix, groups=list("aabbbcccc"), members=False),
        "attention": lambda: plot.plot_attention(weights, ["a", "b", "c"], {"a": "u", "c": "u"}),
        "surfaces": surfaces,
    }


def surfaces() -> Axes:
    _, axes = plt.subplots(1, 3)
    plot.draw_court(axes[0], floor=None)
    plot.draw_field(axes[1], color="red")
    return plot.draw_pitch(axes[2], length=90, linewidth=2)


def figure_of(answer: Any) -> Any:
    answer = answer[0] if isinstance(answer, np.ndarray) else answer
    return answer.figure if isinstance(answer, Axes) else answer


def numbers(values: Any) -> list[float]:
    """An array in few numbers: its length, its sum, and its sum in this order; dates are days."""
    flat = np.ma.filled(np.ma.masked_invalid(np.ma.asarray(values, dtype=float)), -7.0).ravel()
    moments = [len(flat), flat.sum(), flat @ np.cos(np.arange(len(flat)))]
    return [float(f"{value:.7g}") + 0.0 for value in moments]


def described(artist: Artist) -> list[Any]:
    """Class, name, order, and every number that is there: place, size and colors."""
    found = [type(artist).__name__, artist.get_gid(), artist.get_zorder()]
    found += [artist.get_text()] if isinstance(artist, Text) else []
    found += [numbers(artist.xy)] if isinstance(artist, Annotation) else []
    for name in GETTERS:
        if not hasattr(artist, name) or (value := getattr(artist, name)()) is None:
            continue
        if "color" in name:
            value = to_rgba_array(value)
        elif name == "get_paths":
            value = np.concatenate([*(path.vertices for path in value), np.empty((0, 2))])
        found.append(numbers(value))
    return found


def picture(figure: Any) -> list[Any]:
    """Everything that was drawn on a figure, and the limits."""
    found: list[Any] = [[t.get_text() for legend in figure.legends for t in legend.get_texts()]]
    if figure._supylabel is not None:
        found.append(figure._supylabel.get_text())
    for ax in figure.axes:
        legend = ax.get_legend()
        found.append([] if legend is None else [t.get_text() for t in legend.get_texts()])
        found.append([numbers(ax.get_xlim()), numbers(ax.get_ylim())])
        found.append([ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")])
        drawn = [*ax.lines, *ax.collections, *ax.patches, *ax.images, *ax.texts]
        found += [described(a) for a in sorted(drawn, key=lambda a: str(a.get_gid()))]
    return found


DRAWN = rollouts() | others()


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_draws_what_it_drew(name):
    found = json.loads(json.dumps(picture(figure_of(DRAWN[name]()))))
    plt.close("all")
    wanted = json.loads(FILE.read_text())[name]
    assert texts(found) == texts(wanted)
    assert values(found) == pytest.approx(values(wanted), rel=1e-5, abs=1e-5)


def leaves(value: Any) -> list[Any]:
    return [one for part in value for one in leaves(part)] if isinstance(value, list) else [value]


def texts(found: Any) -> list[Any]:
    return ["number" if isinstance(one, float) else one for one in leaves(found)]


def values(found: Any) -> list[float]:
    return [one for one in leaves(found) if isinstance(one, float)]


if __name__ == "__main__":
    pictures = {}
    for name, draw in DRAWN.items():
        pictures[name] = picture(figure_of(draw()))
        plt.close("all")
    lines = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in pictures.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
