"""Pictures: what is in the axes, what is written to files, what errors say."""

from __future__ import annotations

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from hierforecast import plot
from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.plot.horizon import error_table
from hierforecast.plot.lines import THREE_POINT, court_lines, pitch_lines
from hierforecast.plot.matrix import correlation_of
from hierforecast.plot.regions import sample_ellipse
from hierforecast.plot.scene import read_scene
from hierforecast.plot.style import group_colors

T, H, K = 12, 4, 8
TEAM = {"ball": "ball", "home_0": "home", "home_1": "home", "away_0": "away", "away_1": "away"}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def play(scenes: int = 1) -> pd.DataFrame:
    """Five agents walking straight on a court for T + H steps."""
    rng = np.random.default_rng(0)
    rows = []
    for scene in range(scenes):
        for name, team in TEAM.items():
            steps = np.arange(T + H)
            xy = rng.uniform([20, 10], [70, 40]) + np.outer(steps, rng.normal(0, 0.6, 2))
            x, y = xy.T
            rows.append(
                pd.DataFrame(
                    {"scene": scene, "ds": steps, "unique_id": name, "team": team, "x": x, "y": y}
                )
            )
    return pd.concat(rows, ignore_index=True)


def forecast_of(history: pd.DataFrame, draws: int = 0) -> pd.DataFrame:
    """The last position, repeated; with noise once per draw."""
    rng = np.random.default_rng(1)
    last = history.dropna().sort_values("ds").groupby(["scene", "unique_id"], as_index=False).last()
    rows = []
    for draw in range(max(draws, 1)):
        for step in range(T, T + H):
            noise = rng.normal(0, 1, (len(last), 2)) if draws else np.zeros((len(last), 2))
            rows.append(
                pd.DataFrame(
                    {
                        "scene": last.scene,
                        "unique_id": last.unique_id,
                        "ds": step,
                        "M_x": last.x + noise[:, 0],
                        "M_y": last.y + noise[:, 1],
                    }
                ).assign(**({"sample_id": draw} if draws else {}))
            )
    out = pd.concat(rows, ignore_index=True)
    if not draws:
        for name in ("M_x", "M_y"):
            out[f"{name}-lo-90"], out[f"{name}-hi-90"] = out[name] - 2, out[name] + 2
    return out


@pytest.fixture
def frames():
    full = play()
    history = full[full.ds < T].reset_index(drop=True)
    return full, history, forecast_of(history), forecast_of(history, draws=K)


def gids(ax, role: str) -> set[str]:
    return {
        str(artist.get_gid()).split("/", 1)[1]
        for artist in ax.get_children()
        if str(artist.get_gid()).startswith(f"{role}/")
    }


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def save(ax, path):
    ax.get_figure().savefig(path, dpi=40)
    assert path.stat().st_size > 2000


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


def test_ellipse_holds_its_share_of_the_samples():
    rng = np.random.default_rng(0)
    heavy = rng.standard_t(2, size=(500, 2))  # a Gaussian radius would miss the share
    points = heavy @ np.array([[3.0, 1.0], [0.0, 0.5]]) + [40, 20]
    shape = sample_ellipse(points, 90)
    assert shape is not None
    centre, width, height, angle = shape
    turn = np.radians(-angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    inside = (((points - centre) @ rotation.T / [width / 2, height / 2]) ** 2).sum(axis=1) <= 1
    assert inside.mean() == pytest.approx(0.9, abs=0.005)
    assert sample_ellipse(points[:3], 90) is None
    assert sample_ellipse(np.ones((9, 2)), 90) is None


def test_animations_are_written(frames, tmp_path):
    full, history, forecast, samples = frames
    seen: list[tuple[int, int]] = []
    small = {"context": 3, "dpi": 30, "progress": lambda i, n: seen.append((i, n))}
    gif, page = tmp_path / "a.gif", tmp_path / "a.html"
    plot.animate_rollout(history, forecast, full, samples, path=gif, fps=10, **small)
    assert seen == [(i, 3 + H) for i in range(3 + H)]
    with Image.open(gif) as image:
        assert image.n_frames == 3 + H and image.info["duration"] == 100
        image.seek(4)
        assert image.convert("RGB").getpixel((1, 80)) == (255, 255, 255)  # no tint
    plot.animate_rollout(history, forecast, full, path=page, **small)
    text = page.read_text(encoding="utf-8")
    found = re.findall(r'"([A-Za-z0-9+/=]{200,})"', text)
    assert len(found) == 3 + H and "http" not in text
    with Image.open(io.BytesIO(base64.b64decode(found[-1]))) as image:
        assert image.size == (288, 162)
    assert len(set(found)) == len(found)  # it moves


def test_animation_shows_nothing_of_the_future_before_the_cutoff(frames):
    full, history, forecast, samples = frames
    view = read_scene(history, forecast, full, samples)
    early = view.until(T - 3)
    assert not early.truth and not early.forecast and not early.samples
    assert all(track.times.max() == T - 3 for track in early.past.values())
    later = view.until(T)
    assert all(len(track) == 1 for track in later.truth.values())
    assert all(len(track) == 1 for track in later.forecast.values())
    animation = plot.animate_rollout(history, forecast, full, context=2)
    animation._func(0)
    assert len(plt.get_fignums()) == 1
    animation._draw_was_started = True


def stocks() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Three sectors of two tickers whose noises cancel in the first sector."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-01", periods=30)
    names = ["a0", "a1", "b0", "b1", "c0", "c1"]
    history = pd.DataFrame(
        [(n, d, n[0], float(i)) for n in names for i, d in enumerate(days[:26])],
        columns=["unique_id", "ds", "sector", "y"],
    )
    rows = []
    for draw in range(200):
        noise = {name: rng.normal(0, 1) for name in names}
        noise["a1"], noise["b1"] = -noise["a0"], noise["b0"]
        rows += [(n, d, draw, 25.0 + noise[n]) for n in names for d in days[26:]]
    samples = pd.DataFrame(rows, columns=["unique_id", "ds", "sample_id", "M"])
    forecast = samples.groupby(["unique_id", "ds"], as_index=False)["M"].mean()
    forecast["M-lo-80"], forecast["M-hi-80"] = forecast.M - 1, forecast.M + 2
    return history, forecast, samples


def band_width(ax) -> float:
    heights = [np.ptp(path.vertices[:, 1]) for c in ax.collections for path in c.get_paths()]
    return float(max(heights, default=0.0))


def test_group_fans_use_the_joint_samples(tmp_path):
    history, forecast, samples = stocks()
    axes = plot.plot_groups(history, forecast, samples=samples, title="Sectors")
    widths = [band_width(ax) for ax in axes]
    assert widths[0] < 1e-6  # two series that cancel: their mean is certain
    assert widths[1] > 1.25 * widths[2] > 1  # two that move as one against two that do not
    assert [band_width(ax) for ax in plot.plot_groups(history, forecast)] == [0, 0, 0]
    total = plot.plot_groups(history, samples=samples, aggregate="sum")
    assert band_width(total[2]) == pytest.approx(2 * widths[2], rel=0.01)
    line = next(a for a in total[0].lines if a.get_gid() == "past")
    assert line.get_ydata()[-1] == 50
    save(axes[0], tmp_path / "groups.png")


def test_fan_charts_choose_series_and_levels(tmp_path):
    history, forecast, samples = stocks()
    axes = plot.plot_forecast(history, forecast, groups=["b", "c"], max_series=3)
    assert [ax.get_title(loc="left") for ax in axes] == ["b0", "b1", "c0"]
    axes = plot.plot_forecast(history, forecast, ids=["c1", "a0"], context=5, levels=[80])
    assert [ax.get_title(loc="left") for ax in axes] == ["c1", "a0"]
    lines = {a.get_gid(): a for a in axes[0].lines}
    assert len(lines["past"].get_xdata()) == 5
    assert len(lines["forecast"].get_xdata()) == 4 + 1
    assert band_width(axes[0]) == pytest.approx(3)
    words = [text.get_text() for text in axes[0].get_figure().legends[0].get_texts()]
    assert words == ["history", "forecast", "80 %"]
    axes = plot.plot_forecast(history, forecast, samples=samples, levels=[50, 90])
    assert len(axes) == 6 and len(axes[0].collections) == 2
    save(axes[0], tmp_path / "fan.png")


def test_correlation_of_known_samples(tmp_path):
    history, _, samples = stocks()
    ax = plot.plot_correlation(samples, history=history)
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert np.isnan(np.diag(drawn)).all()
    assert drawn[0, 1] == pytest.approx(-1) and drawn[2, 3] == pytest.approx(1)
    assert abs(drawn[4, 5]) < 0.2
    assert ax.images[0].get_clim() == (-1, 1)
    assert {"a", "b", "c"} <= {text.get_text() for text in ax.texts}
    mixed = plot.plot_correlation(samples, ["c0", "a0", "b0", "a1"], list("caba"))
    assert [t.get_text() for t in mixed.get_yticklabels()] == ["a0", "a1", "b0", "c0"]
    matrix = np.corrcoef(np.random.default_rng(0).normal(size=(60, 90)))
    wide = plot.plot_correlation(matrix, groups=["g"] * 60, title="Sixty")
    assert not wide.get_yticklabels()
    save(ax, tmp_path / "correlation.png")


def test_correlation_does_not_depend_on_the_direction_of_the_axes():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(3, 50, 4, 2)) + rng.normal(size=(1, 50, 4, 2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert correlation_of(draws @ turn) == pytest.approx(correlation_of(draws))
    assert np.diag(correlation_of(draws)) == pytest.approx(1)
    single = draws[:, :, :1, :1]
    assert correlation_of(single) == pytest.approx(np.corrcoef(single[:, :, 0, 0]))


def test_attention_averages_heads():
    weights = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 3))
    ax = plot.plot_attention(weights, ["a", "b", "c"], {"a": "u", "b": "v", "c": "u"})
    order = [0, 2, 1]
    assert np.asarray(ax.images[0].get_array()) == pytest.approx(
        weights.mean(axis=0)[np.ix_(order, order)]
    )


def test_errors_by_step_and_by_group(tmp_path):
    full = play(2)
    history = full[full.ds < T]
    table = forecast_of(history).drop(columns=["M_x-lo-90", "M_x-hi-90"])
    table = table.merge(full.drop(columns="team")).assign(cutoff=T - 1)
    table["Far_x"], table["Far_y"] = table.x + 3, table.y + 4
    table.loc[table.index[0], ["x", "y"]] = np.nan  # a cell without truth does not count
    errors = error_table(table)
    assert list(errors.columns) == ["M", "Far"] and list(errors.index) == [1, 2, 3, 4]
    assert errors["M"].is_monotonic_increasing
    assert errors["Far"].to_numpy() == pytest.approx(5)
    ax = plot.plot_errors(table, unit="ft")
    assert [text.get_text().split()[0] for text in ax.texts] == ["M", "Far"]
    assert "ft" in ax.get_ylabel()
    ax = plot.plot_errors(table, by="team", history=full)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["away", "ball", "home"]
    save(ax, tmp_path / "errors.png")
