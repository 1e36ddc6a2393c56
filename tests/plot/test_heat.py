"""Maps of surprise and influence: the numbers in the cells, the order of rows, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.axes import Axes

from hierforecast import DataError
from hierforecast.plot import plot_influence, plot_surprise


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def surprise(series: int = 4, steps: int = 5, held_out: bool = True) -> pd.DataFrame:
    rng, n = np.random.default_rng(0), 2 * series * steps
    frame = pd.DataFrame(
        {
            "scene": np.repeat(["a", "b"], series * steps),
            "unique_id": np.tile(np.repeat([f"s{i}" for i in range(series)], steps), 2),
            "ds": np.tile(np.arange(10, 10 + steps), 2 * series),
            "cutoff": 9,
            "log_prob": rng.normal(size=n),
            "score": -rng.uniform(0, 9, n),
        }
    )
    frame["p_value"] = rng.uniform(0.001, 1, n) if held_out else np.nan
    keys = frame.groupby(["scene", "unique_id"])
    frame["series_score"] = keys.score.transform("mean")
    frame["series_p_value"] = keys.p_value.transform("min")
    return frame.drop(index=7).reset_index(drop=True)  # a step of s1 that nobody saw


def cells(ax: Axes) -> np.ndarray:
    (image,) = ax.get_images()
    return np.ma.filled(image.get_array().astype(float), np.nan)


def names(ax: Axes, axis: str) -> list[str]:
    return [text.get_text() for text in getattr(ax, f"get_{axis}ticklabels")()]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_surprise_by_series_and_time_the_worst_at_the_top(library: str):
    frame = surprise()
    given: Any = frame if library == "pandas" else pl.from_pandas(frame)
    ax = plot_surprise(given, scene="a", title="Odd")
    one = frame[frame.scene == "a"]
    order = one.groupby("unique_id").series_score.first().sort_values().index
    expected = -np.log10(one.pivot(index="unique_id", columns="ds", values="p_value").loc[order])
    np.testing.assert_allclose(cells(ax), expected)
    assert np.isnan(cells(ax)).sum() == 1
    assert names(ax, "y") == list(order) and names(ax, "x") == [str(x) for x in range(10, 15)]
    worst = one[one.unique_id == order[0]].series_p_value.iloc[0]
    assert f"p = {worst:.2g}" in [text.get_text() for text in ax.texts]


def test_surprise_without_p_values_shows_scores_of_the_most_surprising():
    frame = surprise(9, held_out=False)
    ax = plot_surprise(frame, scene="b", top=3)
    one = frame[frame.scene == "b"]
    order = one.groupby("unique_id").series_score.first().sort_values().index[:3]
    expected = -one.pivot(index="unique_id", columns="ds", values="score").loc[order]
    np.testing.assert_allclose(cells(ax), expected)
    assert len(ax.texts) == 3


def test_windows_side_by_side_and_one_of_those_that_overlap():
    frame = surprise()
    later = frame.assign(ds=frame.ds + 5, cutoff=14)
    ax = plot_surprise(pd.concat([frame, later]), scene="a")
    assert cells(ax).shape == (4, 10)
    over = pd.concat([frame, frame.assign(ds=frame.ds + 1, cutoff=10)])
    with pytest.raises(DataError, match="windows overlap"):
        plot_surprise(over, scene="a")
    assert cells(plot_surprise(over, scene="a", cutoff=10)).shape == (4, 5)
    with pytest.raises(DataError, match="no window after cutoff=3"):
        plot_surprise(over, scene="a", cutoff=3)
    with pytest.raises(DataError, match="choose one of"):
        plot_surprise(frame)
    with pytest.raises(DataError, match="no column 'score'"):
        plot_surprise(frame.drop(columns="score"), scene="a")


@pytest.mark.parametrize(("steps", "apart"), [(9, 1), (10, 2), (40, 5)])
def test_times_are_written_evenly(steps, apart):
    ax = plot_surprise(surprise(steps=steps), scene="b")
    assert names(ax, "x") == [str(time) for time in range(10, 10 + steps, apart)]


def test_dates_are_written_short():
    frame = surprise()
    days = pd.Timestamp("2024-02-28") + pd.to_timedelta(frame.ds - 10, unit="D")
    ax = plot_surprise(frame.assign(ds=days, cutoff=pd.Timestamp("2024-02-27")), scene="a",
                       cutoff="2024-02-27")  # fmt: skip
    assert names(ax, "x")[:2] == ["2024-02-28", "2024-02-29"]


def influence(series: int = 4, steps: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    found = [
        {"unique_id": f"s{i}", "ds": t, "deleted": f"s{j}"}
        for j in range(series) for i in range(series) for t in range(steps) if i != j
    ]  # fmt: skip
    frame = pd.DataFrame(found)
    for name in ("Own_x", "Own_x-std", "Own_y", "Own_y-std"):
        frame[name] = rng.normal(size=len(frame))
    return frame


def test_influence_is_the_mean_distance_that_forecasts_move():
    frame = influence()
    ax = plot_influence(frame, unit="ft")
    moved = np.hypot(frame.Own_x, frame.Own_y).groupby([frame.deleted, frame.unique_id]).mean()
    np.testing.assert_allclose(cells(ax), moved.unstack())
    assert np.isnan(np.diag(cells(ax))).all()
    assert names(ax, "x") == names(ax, "y") == ["s0", "s1", "s2", "s3"]


def test_influence_in_the_order_of_groups_and_of_groups():
    frame = influence()
    team = {"s0": "b", "s1": "a", "s2": "b", "s3": "a"}
    history = pd.DataFrame(
        {"unique_id": list(team), "ds": 0, "team": list(team.values()), "y": 1.0}
    )
    ax = plot_influence(frame, history=history)
    assert names(ax, "x") == names(ax, "y") == ["s1", "s3", "s0", "s2"]
    by_team = frame.assign(deleted=frame.deleted.map(team))
    ax = plot_influence(by_team, history=history)
    assert names(ax, "y") == ["a", "b"] and cells(ax).shape == (2, 4)
    assert plot_influence(influence(50)).get_images()
    with pytest.raises(DataError, match=r"frame that Forecaster\.influence returned"):
        plot_influence(frame.drop(columns="deleted"))
    still = frame.assign(**dict.fromkeys(("Own_x", "Own_y"), 0.0))
    ax = plot_influence(still)
    assert np.nanmax(cells(ax)) == 0
    assert any("each series is forecast by itself" in text.get_text() for text in ax.texts)
