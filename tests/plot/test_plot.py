"""Rollouts: what is in the axes, the lines of the surfaces, what errors say."""

from __future__ import annotations

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from hierforecast import plot
from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.plot.lines import THREE_POINT, court_lines, pitch_lines
from hierforecast.plot.scene import read_scene
from hierforecast.plot.style import group_colors
from tests.plot.plays import (
    TEAM,
    H,
    T,
    _close,  # noqa: F401 (a fixture)
    forecast_of,
    gids,
    legend,
    play,
    save,
)


def test_rollout_draws_every_part(frames, tmp_path):
    full, history, forecast, samples = frames
    ax = plot.plot_rollout(history, forecast, full, samples, title="A play")
    for role in ("past", "now", "truth", "forecast", "forecast-end", "samples", "region"):
        assert gids(ax, role) == set(TEAM), role
    assert gids(ax, "hidden") == set()
    words = ["home", "away", "ball", "past", "forecast", "truth", "samples", "90 % of samples"]
    assert legend(ax) == words
    assert ax.get_title(loc="left") == "A play"
    save(ax, tmp_path / "rollout.png")


def test_forecast_lines_have_the_team_colour_and_end_where_the_forecast_ends(frames):
    _, history, forecast, _ = frames
    ax = plot.plot_rollout(history, forecast)
    lines = {a.get_gid().split("/")[1]: a for a in ax.lines if a.get_gid()[:9] == "forecast/"}
    colors = group_colors(TEAM.values())
    for name, line in lines.items():
        rows = forecast[forecast.unique_id == name].sort_values("ds")
        assert line.get_color() == colors[TEAM[name]]
        assert len(line.get_xdata()) == H + 1  # it sets out from the cutoff
        assert line.get_xydata()[-1] == pytest.approx(rows[["M_x", "M_y"]].to_numpy()[-1])
    assert len({lines["home_0"].get_color(), lines["away_0"].get_color()}) == 2
    assert "truth" not in legend(ax) and "samples" not in legend(ax)
    assert "90 % per axis" in legend(ax)


def test_limits_hold_the_court_and_everyone(frames):
    _, history, forecast, _ = frames
    forecast.loc[forecast.unique_id == "home_0", "M_x"] = 105.0
    ax = plot.plot_rollout(history, forecast)
    assert ax.get_xlim()[0] <= 0 and ax.get_xlim()[1] > 105
    assert ax.get_ylim()[0] <= 0 and ax.get_ylim()[1] >= 50
    assert ax.get_aspect() == 1.0


def test_hidden_series_are_hollow_at_their_last_seen_position(frames):
    full, history, _, _ = frames
    gone = (history.unique_id == "home_1") & (history.ds >= T - 3)
    history.loc[gone, ["x", "y"]] = np.nan
    history = history[history.unique_id != "away_1"]
    ax = plot.plot_rollout(history, forecast_of(history), full)
    assert gids(ax, "hidden") == {"home_1", "away_1"}
    assert gids(ax, "now") == set(TEAM) - {"home_1", "away_1"}
    assert "hidden" in legend(ax)
    rings = {a.get_gid(): a for a in ax.lines if str(a.get_gid()).startswith("hidden/")}
    seen = full[(full.unique_id == "home_1") & (full.ds == T - 4)][["x", "y"]].to_numpy()
    assert rings["hidden/home_1"].get_xydata() == pytest.approx(seen)
    assert rings["hidden/home_1"].get_markerfacecolor() == "white"
    dashed = [a for a in ax.lines if a.get_gid() in ("truth/home_1", "truth/away_1")]
    assert len(dashed) == 2 and all(line.is_dashed() for line in dashed)
    # The truth of a hidden series begins where it was lost, not at the cutoff.
    lost = next(a for a in dashed if a.get_gid() == "truth/home_1")
    assert len(lost.get_xdata()) == H + 3
    assert gids(ax, "forecast") == set(TEAM) - {"away_1"}


def test_a_series_left_out_of_the_forecast_is_shown_as_hidden(frames):
    _, history, forecast, _ = frames
    ax = plot.plot_rollout(history, forecast[forecast.unique_id != "away_0"])
    assert gids(ax, "hidden") == {"away_0"}
    assert "hidden" not in legend(plot.plot_rollout(history, forecast))
    assert "hidden" not in legend(plot.plot_rollout(history))


def test_a_history_that_runs_on_serves_as_truth(frames):
    full, _, forecast, _ = frames
    ax = plot.plot_rollout(full, forecast)
    assert gids(ax, "truth") == set(TEAM)
    assert read_scene(full, forecast).cutoff == T - 1


def test_past_is_broken_at_gaps_and_cut_to_the_context(frames):
    _, history, forecast, _ = frames
    gap = (history.unique_id == "home_0") & history.ds.between(4, 6)
    ax = plot.plot_rollout(history[~gap], forecast, context=None)
    past = {a.get_gid(): a for a in ax.collections}
    assert len(past["past/home_0"].get_segments()) == 3 + 4
    assert len(past["past/home_1"].get_segments()) == T - 1
    ax = plot.plot_rollout(history, forecast, context=5)
    past = {a.get_gid(): a for a in ax.collections}
    assert len(past["past/home_0"].get_segments()) == 4
    shade = past["past/home_0"].get_colors()[:, 3]
    assert (np.diff(shade) > 0).all()


@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas])
def test_other_libraries_draw_the_same(frames, convert):
    full, history, forecast, samples = frames
    mine = plot.plot_rollout(history, forecast, full, samples)
    other = plot.plot_rollout(*(convert(frame) for frame in (history, forecast, full, samples)))
    assert legend(other) == legend(mine)
    for a, b in zip(mine.lines, other.lines, strict=True):
        assert a.get_xydata() == pytest.approx(b.get_xydata())
    axes = plot.plot_groups(convert(history), samples=convert(samples), by="team")
    assert [ax.get_title(loc="left") for ax in axes] == ["away", "ball", "home"]


def test_frames_and_global_state_stay_as_they_were(frames, tmp_path):
    full, history, forecast, samples = frames
    before = [frame.copy() for frame in frames]
    rc = dict(plt.rcParams)
    _, mine = plt.subplots()
    plot.plot_rollout(history, forecast, full, samples, ax=mine)
    assert len(plt.get_fignums()) == 1
    plot.plot_rollout(history.sample(frac=1, random_state=0), forecast)
    plot.plot_forecast(history, forecast, full)
    plot.plot_groups(history, forecast, full, samples)
    plot.plot_correlation(samples, history=history)
    opened = len(plt.get_fignums())
    plot.animate_rollout(history, forecast, full, context=2, path=tmp_path / "a.gif", dpi=30)
    assert len(plt.get_fignums()) == opened
    for frame, copy in zip(frames, before, strict=True):
        pd.testing.assert_frame_equal(frame, copy)
    assert dict(plt.rcParams) == rc


def test_columns_and_soccer_and_own_courts(frames, tmp_path):
    _, history, forecast, _ = frames
    names = {"unique_id": "who", "ds": "t", "x": "px", "y": "py", "team": "side", "scene": "match"}
    columns = Columns(id="who", time="t", target=["px", "py"], group="side", scene="match")
    future = forecast.rename(columns=names | {"M_x": "M_px", "M_y": "M_py"})
    future = future.drop(columns="match")  # a forecast of one scene may come without its name
    for court in ("soccer", None, lambda ax: ax.set_xlim(0, 90)):
        ax = plot.plot_rollout(
            history.rename(columns=names), future, columns=columns, court=court, level=None
        )
        assert gids(ax, "forecast") == set(TEAM)
        assert gids(ax, "region") == set()
    save(ax, tmp_path / "own.png")


def test_errors_name_the_column_and_the_remedy(frames, tmp_path):
    _, history, forecast, samples = frames
    two = play(2)
    cases = [
        (lambda: plot.plot_rollout(two), r"2 scenes in column 'scene'.*0, 1.*scene="),
        (lambda: plot.plot_rollout(two, scene=7), r"scene=7 is not in column 'scene'"),
        (lambda: plot.plot_rollout(history.drop(columns="ds")), r"no column 'ds'.*Columns\("),
        (lambda: plot.plot_rollout(history.drop(columns="y")), r"two targets"),
        (lambda: plot.plot_rollout(history, history), r"no forecast columns such as '<Model>_x'"),
        (lambda: plot.plot_rollout(history, forecast, model="Z"), r"no model 'Z'.*\['M'\]"),
        (lambda: plot.plot_rollout(history, forecast, level=80), r"'M_x-lo-80'.*level=90"),
        (
            lambda: plot.plot_rollout(history, forecast, court="curling"),
            r"court='curling'.*'ice', 'ice-iihf', 'grid'",
        ),
        (lambda: plot.plot_rollout([1, 2]), r"pandas, polars or pyarrow"),
        (lambda: plot.plot_rollout(history, samples=forecast), r"no column 'sample_id'"),
        (lambda: plot.animate_rollout(history, path=tmp_path / "a.avi"), r"\.gif, \.html or \.mp4"),
        (lambda: plot.plot_forecast(history, forecast, ids=["x9"]), r"ids \['x9'\]"),
        (lambda: plot.plot_forecast(history, forecast, groups=["q"]), r"groups \['q'\]"),
        (lambda: plot.plot_forecast(history, forecast, levels=[50]), r"level \[50\]"),
        (lambda: plot.plot_forecast(history, forecast, target="z"), r"no column 'z'"),
        (lambda: plot.plot_groups(history), r"give forecast=.*samples="),
        (lambda: plot.plot_groups(history, forecast, by="sector"), r"no column 'sector'"),
        (lambda: plot.plot_groups(history, forecast, aggregate="max"), r"'mean' or 'sum'"),
        (lambda: plot.plot_correlation(np.ones((2, 3))), r"square matrix"),
        (lambda: plot.plot_correlation(samples[1:]), r"samples are not joint"),
        (lambda: plot.plot_errors(forecast), r"no column 'cutoff'"),
    ]
    for draw, message in cases:
        with pytest.raises(DataError, match=re.compile(message, re.DOTALL)):
            draw()
    for draw in (plot.plot_rollout, plot.animate_rollout, plot.plot_forecast, plot.plot_groups):
        with pytest.raises(TypeError, match="'titel'"):
            draw(history, forecast, titel="A play")


def test_lines_of_the_surfaces():
    lines = np.concatenate(court_lines())
    assert lines.min(axis=0) == pytest.approx([0, 0]) and lines.max(axis=0) == pytest.approx(
        [94, 50]
    )
    mirrored = lines * [-1, 1] + [94, 0]
    assert set(map(tuple, mirrored.round(6))) == set(map(tuple, lines.round(6)))
    hoop = np.array([5.25, 25.0])
    three = next(line for line in court_lines() if np.isclose(line[0], [0, 3]).all())
    curved = three[(three[:, 1] > 3.01) & (three[:, 1] < 46.99)]
    assert np.linalg.norm(curved - hoop, axis=1) == pytest.approx(THREE_POINT)
    assert three[1] == pytest.approx(three[2])  # the straight part meets the arc
    pitch = np.concatenate(pitch_lines())
    assert np.abs(pitch).max(axis=0) == pytest.approx([54.5, 34])
    right = next(line for line in pitch_lines() if len(line) > 8 and line[:, 0].max() < 36.01)
    assert right[[0, -1], 0] == pytest.approx(36)  # the arc ends on the penalty area's edge
