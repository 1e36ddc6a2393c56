"""Pictures of what-if and of representative futures: what was given is seen as such."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from hierforecast import plot
from hierforecast.errors import DataError
from tests.plot.plays import TEAM, H, K, T, forecast_of, gids, legend, play

MAKE: dict[str, Any] = {
    "pandas": lambda f: f,
    "polars": pl.from_pandas,
    "pyarrow": pa.Table.from_pandas,
}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def history() -> pd.DataFrame:
    full = play()
    return full[full.ds < T].reset_index(drop=True)


@pytest.fixture
def plan(history: pd.DataFrame) -> pd.DataFrame:
    """Two steps of home_0, and half a position of the ball."""
    future = forecast_of(history)
    future = future.rename(columns={"M_x": "x", "M_y": "y"})[["scene", "unique_id", "ds", "x", "y"]]
    two = future[(future.unique_id == "home_0") & (future.ds < T + 2)].assign(x=[50.0, 51.0])
    ball = future[future.unique_id == "ball"].assign(y=np.nan)
    return pd.concat([two, ball]).reset_index(drop=True)


def answer(history: pd.DataFrame, plan: pd.DataFrame) -> pd.DataFrame:
    """A forecast in which what is given has come back, with no width."""
    found = forecast_of(history).merge(plan, on=["scene", "unique_id", "ds"], how="left")
    for target in "xy":
        for column in (f"M_{target}", f"M_{target}-lo-90", f"M_{target}-hi-90"):
            found[column] = found[target].fillna(found[column])
    return found.drop(columns=["x", "y"])


def futures_of(history: pd.DataFrame) -> pd.DataFrame:
    shares = np.array([0.5, 0.2, 0.2, 0.04, 0.02, 0.02, 0.01, 0.01])
    drawn = forecast_of(history, draws=K).rename(columns={"sample_id": "future_id"})
    return drawn.assign(share=shares[drawn.future_id])


@pytest.mark.parametrize("library", MAKE)
def test_a_rollout_marks_the_steps_that_were_given(history, plan, library):
    make = MAKE[library]
    forecast = answer(history, plan)
    ax = plot.plot_rollout(make(history), make(forecast), given=make(plan))
    assert gids(ax, "given") == {"home_0"}, "of the ball only half is known"
    (marks,) = (line for line in ax.lines if line.get_gid() == "given/home_0")
    expected = plan[plan.unique_id == "home_0"][["x", "y"]]
    np.testing.assert_allclose(marks.get_xydata(), expected)
    assert legend(ax).count("given") == 1
    assert gids(ax, "region") == set(TEAM)


def test_without_a_plan_there_is_no_such_entry(history, plan):
    ax = plot.plot_rollout(history, forecast_of(history))
    assert "given" not in legend(ax) and not gids(ax, "given")
    ax = plot.plot_rollout(history, forecast_of(history), given=plan[plan.unique_id == "ball"])
    assert "given" not in legend(ax), "nothing is known whole"
    ax = plot.plot_rollout(history, forecast_of(history), given=plan.drop(columns="y"))
    assert "given" not in legend(ax)


def test_what_is_given_to_the_end_has_no_region(history):
    whole = forecast_of(history).rename(columns={"M_x": "x", "M_y": "y"})
    whole = whole[whole.unique_id == "home_0"][["scene", "unique_id", "ds", "x", "y"]]
    ax = plot.plot_rollout(history, answer(history, whole), given=whole)
    assert gids(ax, "region") == set(TEAM) - {"home_0"}


def test_a_plan_far_off_is_within_the_picture(history, plan):
    far = plan.assign(x=plan.x + 300)
    ax = plot.plot_rollout(history, forecast_of(history), given=far, court=None)
    assert ax.get_xlim()[1] > 350


def test_agents_choose_among_the_given_too(history, plan):
    forecast = answer(history, plan)
    ax = plot.plot_rollout(history, forecast, given=plan, agents=["home_1"])
    assert not gids(ax, "given")


def test_a_film_shows_squares_when_their_time_has_come(history, plan):
    film = plot.animate_rollout(history, answer(history, plan), given=plan, context=5)
    ax = film._fig.axes[0]
    counts = {}
    for frame in (4, 5, 6, 8):
        film._func(frame)
        marks = [line for line in ax.lines if line.get_gid() == "given/home_0"]
        counts[frame] = len(marks[0].get_xydata()) if marks else 0
    film._draw_was_started = True
    assert counts == {4: 0, 5: 1, 6: 2, 8: 2}
    assert "given" in legend(ax)


@pytest.mark.parametrize("library", MAKE)
def test_a_fan_marks_the_steps_that_were_given(history, plan, library):
    make = MAKE[library]
    forecast = answer(history, plan)
    axes = plot.plot_forecast(
        make(history),
        make(forecast),
        given=make(plan),
        target="x",
        ids=["home_0", "ball", "home_1"],
    )
    found = {
        ax.get_title(loc="left"): line.get_xydata()
        for ax in axes
        for line in ax.lines
        if line.get_gid() == "given"
    }
    assert set(found) == {"home_0", "ball"}
    np.testing.assert_allclose(found["home_0"], [[T, 50], [T + 1, 51]])
    assert len(found["ball"]) == H
    texts = [text.get_text() for text in axes[0].figure.legends[0].get_texts()]
    assert texts.count("given") == 1
    axes = plot.plot_forecast(history, forecast, given=plan.drop(columns="y"), target="y")
    texts = [text.get_text() for text in axes[0].figure.legends[0].get_texts()]
    assert "given" not in texts


@pytest.mark.parametrize("library", MAKE)
def test_futures_are_wider_the_likelier(history, library):
    make = MAKE[library]
    ax = plot.plot_rollout(
        make(history), make(forecast_of(history)), samples=make(futures_of(history))
    )
    (lines,) = (c for c in ax.collections if c.get_gid() == "samples/home_0")
    widths = np.asarray(lines.get_linewidth())
    np.testing.assert_allclose(
        (widths / widths[0]) ** 2, np.array([1, 0.4, 0.4, 0.08, 0.04, 0.04, 0.02, 0.02])
    )
    assert "futures, the wider the likelier" in legend(ax)
    assert "90 % per axis" in legend(ax), "the interval of the forecast, not of the futures"
    bare = plot.plot_rollout(history, samples=futures_of(history))
    assert not gids(bare, "region") and not [t for t in legend(bare) if "90 %" in t]


def test_a_film_of_futures(history):
    film = plot.animate_rollout(history, forecast_of(history), samples=futures_of(history))
    film._func(T + 1)
    film._draw_was_started = True
    assert "futures" in legend(film._fig.axes[0])


def test_futures_are_no_samples_where_these_are_measured(history):
    """Bands and correlations of centroids would be too narrow."""
    with pytest.raises(DataError, match="'sample_id'"):
        plot.plot_forecast(history, forecast_of(history), samples=futures_of(history))
    with pytest.raises(DataError, match="'sample_id'"):
        plot.plot_correlation(futures_of(history), history=history)


@pytest.mark.parametrize("library", MAKE)
def test_a_rollout_marks_the_steps_that_were_imputed(history, library):
    make = MAKE[library]
    gone = (history.unique_id == "home_0") & history.ds.isin([T - 5, T - 4, T - 3])
    filled = history[gone][["scene", "unique_id", "ds", "x", "y"]]
    imputed = filled.rename(columns={"x": "M_x", "y": "M_y"}).reset_index(drop=True)
    seen = make(history[~gone].reset_index(drop=True))
    ax = plot.plot_rollout(seen, imputed=make(imputed))
    assert gids(ax, "imputed") == {"home_0"} and "imputed" in legend(ax)
    lines = {line.get_gid(): line.get_xydata() for line in ax.lines}
    np.testing.assert_allclose(lines["imputed/home_0"], filled[["x", "y"]])
    # From where it was seen to where it is seen again.
    own = history[(history.unique_id == "home_0") & history.ds.between(T - 6, T - 2)]
    np.testing.assert_allclose(lines["imputed-path/home_0"], own[["x", "y"]])
    other = plot.plot_rollout(seen, imputed=make(imputed.assign(scene=-1)), ax=plt.figure().gca())
    assert not gids(other, "imputed") and "imputed" not in legend(other)
