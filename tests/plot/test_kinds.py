"""Pictures of data that is not a basketball game of ten: who is drawn, where, and called what."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import stat
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from matplotlib.text import Text

from hierforecast import plot
from hierforecast.errors import DataError, MissingExtraError
from hierforecast.frame import Columns
from hierforecast.plot.animate import HOLD
from hierforecast.plot.courts import GROUNDS
from hierforecast.plot.labels import legible
from hierforecast.plot.lines import FIELD, field_lines
from tests.helpers import newest
from tests.plot.test_plot import TEAM, H, T, forecast_of, gids, legend, play, stocks

LIBRARIES = {"pandas": lambda frame: frame, "polars": pl.from_pandas, "arrow": pa.Table.from_pandas}
in_all_libraries = pytest.mark.parametrize("convert", LIBRARIES.values(), ids=LIBRARIES)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def crowd(low=(0.0, 0.0), high=(15.0, 14.0), leavers: int = 30, n: int = 4) -> pd.DataFrame:
    """`n` walkers seen at 60 steps between two corners, and others who left one after another."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n + leavers):
        end = 60 if i < n else 1 + i
        xy = rng.uniform(low, high, (end, 2))
        rows.append(
            pd.DataFrame({"unique_id": float(i), "ds": range(end), "x": xy[:, 0], "y": xy[:, 1]})
        )
    return pd.concat(rows, ignore_index=True)


def ahead(frame: pd.DataFrame, cutoff: int, horizon: int = 3, context: int = 8) -> pd.DataFrame:
    """The last position of all who were seen within the context, repeated."""
    seen = frame[(frame.ds <= cutoff) & (frame.ds > cutoff - context)]
    last = seen.sort_values("ds").groupby("unique_id", as_index=False).last()
    steps = [last.assign(ds=cutoff + 1 + step) for step in range(horizon)]
    return pd.concat(steps, ignore_index=True).rename(columns={"x": "M_x", "y": "M_y"})


def draws_of(forecast: pd.DataFrame, draws: int, spread: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    parts = []
    for draw in range(draws):
        noise = rng.normal(0, spread, (len(forecast), 2))
        parts.append(
            forecast[["unique_id", "ds"]].assign(
                sample_id=draw, M_x=forecast.M_x + noise[:, 0], M_y=forecast.M_y + noise[:, 1]
            )
        )
    return pd.concat(parts, ignore_index=True)


def story() -> list[pd.DataFrame]:
    """A history, its forecast and the truth."""
    full = play()
    history = full[full.ds < T].reset_index(drop=True)
    return [history, forecast_of(history), full]


def drawn(ax) -> set[str]:
    return gids(ax, "now") | gids(ax, "hidden")


def written(ax) -> dict[str, str]:
    found = [text for text in ax.texts if str(text.get_gid()).startswith("label/")]
    return {text.get_gid().split("/", 1)[1]: text.get_text() for text in found}


def surface(ax) -> np.ndarray | None:
    """The two corners of the surface drawn, if there is one."""
    lines = [c for c in ax.collections if c.get_gid() == "surface"]
    return None if not lines else np.concatenate(lines[0].get_segments())


def clock(animation, frame: int) -> str:
    animation._draw_was_started = True
    return animation._func(frame)[-1].get_text()


# P1, P2: who left before the context


@in_all_libraries
def test_who_left_before_the_context_is_neither_drawn_nor_given_a_frame(convert):
    full = crowd()
    history, forecast = full[full.ds <= 50], ahead(full, 50)
    ids = {str(name) for name in forecast.unique_id}
    assert ids == {"0.0", "1.0", "2.0", "3.0"}
    frames = [convert(frame) for frame in (history, forecast, full)]
    for context in (20, 5, None):
        assert drawn(plot.plot_rollout(*frames, context=context)) == ids
    assert drawn(plot.plot_rollout(frames[0], context=20)) == ids | {"31.0", "32.0", "33.0"}
    for context, steps in ((20, 20), (5, 5), (None, 51)):
        animation = plot.animate_rollout(*frames, context=context)
        assert animation._save_count == steps + 3 + HOLD
        assert clock(animation, 0) == f"history \N{MINUS SIGN}{steps - 1}"
        assert len([a for a in animation._fig.axes[0].lines if a.get_gid()]) == 4


def test_who_is_forecast_from_before_the_window_stands_where_he_was_seen_last():
    full = crowd()
    history, forecast = full[full.ds <= 50], ahead(full, 50, context=25)
    assert "30.0" in {str(name) for name in forecast.unique_id}  # seen last 20 steps ago
    ax = plot.plot_rollout(history, forecast, full, context=10)
    assert {"32.0", "31.0", "30.0"} <= gids(ax, "hidden")
    ring = next(a for a in ax.lines if a.get_gid() == "hidden/30.0")
    last = history[history.unique_id == 30].iloc[-1]
    assert ring.get_xydata()[0] == pytest.approx([last.x, last.y])
    animation = plot.animate_rollout(history, forecast, full, context=10)
    assert animation._save_count == 10 + 3 + HOLD
    assert clock(animation, 0) == "history \N{MINUS SIGN}9"


def test_who_enters_after_the_cutoff_is_not_hidden_and_who_is_hidden_is():
    full = crowd()
    late = full[full.unique_id == 0].assign(unique_id=99.0)
    truth = pd.concat([full, late[late.ds > 51]])
    history = full[(full.ds <= 50) & (full.unique_id != 3)]
    ax = plot.plot_rollout(history, ahead(history, 50), truth)
    assert gids(ax, "hidden") == {"3.0"} and "99.0" not in drawn(ax)
    only_after = plot.plot_rollout(history, ahead(history, 50), truth[truth.ds > 50])
    assert gids(only_after, "hidden") == {"3.0"} and "99.0" not in drawn(only_after)


# P3: courts


@pytest.mark.parametrize(
    ("low", "high", "n", "name"),
    [
        ((2, 2), (92, 48), 11, "basketball"),
        ((50, 3), (93, 47), 11, "basketball"),  # one half
        ((-50, -33), (50, 33), 23, "soccer"),
        ((2, 1), (103, 67), 23, "soccer"),
        ((20, 4), (115, 50), 23, "nfl"),
        ((0, 0), (15, 14), 11, None),  # pedestrians, metres
        ((-8, -4), (15, 13), 11, None),
        ((0, 0), (28, 15), 11, None),  # a court in metres
        ((0, 0), (1, 1), 11, None),
        ((0, 0), (1920, 1080), 11, None),
        ((-122.5, 37.7), (-122.4, 37.8), 11, None),
        ((5.3e6, 4.5e5), (5.3e6 + 90, 4.5e5 + 45), 11, None),
        ((2, 2), (92, 48), 40, "nfl"),  # too many for basketball
        ((2, 2), (92, 48), 60, None),
    ],
)
def test_a_court_is_drawn_where_positions_fit_one(low, high, n, name):
    frame = crowd(low, high, leavers=0, n=n)
    ax = plot.plot_rollout(frame, labels=None)
    lines, ground = surface(ax), next((g for g in GROUNDS if g.name == name), None)
    assert (lines is None) == (ground is None)
    sizes = [text.get_text() for text in ax.texts if text.get_gid() == "size"]
    if ground is None or lines is None:
        assert ax.axison and (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y") and not sizes
        return
    goals = [2 * 2.0, 0] if name == "soccer" else [0, 0]  # the nets stand behind the lines
    assert np.ptp(lines, axis=0) == pytest.approx(np.array(ground.size) + goals)
    xy = frame[["x", "y"]].to_numpy()
    assert (lines.min(axis=0) <= xy.min(axis=0)).all() and (
        lines.max(axis=0) >= xy.max(axis=0)
    ).all()
    assert sizes == [f"{ground.size[0]:.0f} × {ground.size[1]:.3g} {ground.unit}"]
    assert surface(plot.plot_rollout(frame, court=None)) is None


def test_lines_of_a_field():
    lines = np.concatenate(field_lines())
    assert lines.min(axis=0) == pytest.approx([0, 0]) and lines.max(axis=0) == pytest.approx(FIELD)
    across = {line[0, 0] for line in field_lines() if np.ptp(line[:, 1]) > 50 and len(line) == 2}
    assert across == set(range(10, 111, 5))
    ax = plot.draw_field(plt.subplots()[1])
    assert ax.get_xlim() == (-3, 123)


# P4: maps of many series


def cut_off(figure) -> list[str]:
    """Texts that reach beyond the figure, as it is saved first."""
    figure.savefig(io.BytesIO(), dpi=figure.dpi)
    renderer, (right, top) = figure.canvas.get_renderer(), figure.bbox.max
    found = []
    for text in figure.findobj(Text):
        box = text.get_window_extent(renderer)
        inside = min(box.x0, box.y0) >= -1 and box.x1 <= right + 1 and box.y1 <= top + 1
        found += [text.get_text()] if text.get_visible() and text.get_text() and not inside else []
    return found


@pytest.mark.parametrize(
    ("n", "n_groups", "title"),
    [(6, 1, "A title"), (12, 4, None), (30, 3, "A title"), (304, 11, None)],
)
def test_no_name_of_a_map_is_cut_on_the_first_drawing(n, n_groups, title):
    names = [f"A rather long name of {i}" for i in range(n)]
    groups = [f"Consumer Discretionary {i % n_groups}" for i in range(n)]
    matrix = np.corrcoef(np.random.default_rng(0).normal(size=(n, 20)))
    ax = plot.plot_correlation(matrix, names, groups, title=title)
    assert cut_off(ax.figure) == []
    _, own = plt.subplots(figsize=(9, 6.75), layout="constrained")
    assert cut_off(plot.plot_correlation(matrix, names, groups, own, title=title).figure) == []


def test_of_many_series_the_groups_are_shown():
    rng = np.random.default_rng(0)
    n, group = 304, np.sort(rng.choice([*"abcdefghij", "a tiny one"], 304))
    group[group == "a tiny one"] = "a"
    group[100] = "a tiny one"
    matrix = np.corrcoef(
        rng.normal(size=(n, 50))
        + rng.normal(size=(11, 50))[group.astype("S").view("u1").reshape(n, -1)[:, 0] % 11]
    )
    ax = plot.plot_correlation(matrix, [f"series {i}" for i in range(n)], list(group))
    assert {t.get_text() for t in ax.texts} == set(group) and len(set(group)) == 11
    assert not ax.get_xticklabels() and not ax.get_yticklabels()
    assert ax.get_xlabel() == "304 series in 11 groups"
    assert len(ax.lines) == 2 * 10  # separators
    shown = np.ma.filled(ax.images[0].get_array().astype(float), np.nan)
    places = np.sort(group)
    a, b = np.flatnonzero(places == "b"), np.flatnonzero(places == "c")
    order = np.argsort(group, kind="stable")
    pairs = matrix[np.ix_(order[a], order[b])]
    assert shown[np.ix_(a, b)] == pytest.approx(pairs.mean())
    inner = matrix[np.ix_(order[a], order[a])]
    mean = (inner.sum() - np.trace(inner)) / (inner.size - len(inner))
    assert shown[np.ix_(a, a)] == pytest.approx(mean)
    single = plot.plot_correlation(matrix, groups=list(group), members=True).images[0].get_array()
    assert len(np.unique(np.asarray(single))) > 1000
    few = plot.plot_correlation(matrix[:6, :6], groups=list("aabbcc"), members=False)
    assert len(np.unique(np.asarray(few.images[0].get_array()).round(9))) == 6


# P5: numbers and names


@pytest.mark.parametrize(
    ("rename", "wanted"),
    [
        ({}, {"home_0": "0", "home_1": "1", "away_0": "0", "away_1": "1"}),
        ({"home_0": "home_123"}, {"home_123": "123", "home_1": "1", "away_0": "0", "away_1": "1"}),
        ({"home_0": "home_2544"}, {}),  # one does not fit: none
        ({"home_0": "LeBron"}, {}),
        ({"home_0": "a_1", "home_1": "b_1"}, {}),  # two 1s in one team
        (
            {"home_0": "7", "home_1": "8", "away_0": "9", "away_1": "10"},
            {n: n for n in ["7", "8", "9", "10"]},
        ),
    ],
)
def test_all_have_numbers_or_none_has(rename, wanted):
    history = play().replace({"unique_id": rename})
    assert written(plot.plot_rollout(history, context=None)) == wanted


def test_numbers_of_floats_and_names_by_choice():
    full = crowd(leavers=8)
    history = full.assign(unique_id=full.unique_id + 98)
    ax = plot.plot_rollout(history[history.ds < 10], context=3)
    assert written(ax)["98.0"] == "98" and written(ax)["101.0"] == "101"
    history = play()
    shown = written(plot.plot_rollout(history, labels={"home_0": "LeBron James", "ball": "US$ $"}))
    assert shown == {"home_0": "LeBron James", "ball": r"US\$ \$"}
    assert written(plot.plot_rollout(history, labels=str)) == {name: name for name in TEAM}
    assert written(
        plot.plot_rollout(history, labels=lambda name: name[0] if name != "ball" else None)
    ) == {name: name[0] for name in TEAM if name != "ball"}
    assert written(plot.plot_rollout(history, labels=None)) == {}
    animation = plot.animate_rollout(history, labels={"home_0": "LeBron James"})
    assert "LeBron James" in [getattr(a, "get_text", str)() for a in animation._func(0)]
    animation._draw_was_started = True
    with pytest.raises(DataError, match=r"labels='all' is not known.*function of the id"):
        plot.plot_rollout(history, labels="all")


# P6, P7: samples, limits and units


def test_many_samples_are_a_density_and_few_are_paths():
    frame = crowd((-50, -33), (50, 33), leavers=0, n=22).assign(
        team=lambda t: np.where(t.unique_id < 11, "home", "away")
    )
    forecast = ahead(frame, 59)
    samples = draws_of(forecast, 20)
    ax = plot.plot_rollout(frame, forecast, samples=samples)
    assert gids(ax, "samples") == set() and gids(ax, "density") == {"home", "away"}
    assert "samples, density" in legend(ax) and len(gids(ax, "region")) == 22
    clouds = {image.get_gid(): np.asarray(image.get_array())[..., 3] for image in ax.images}
    assert all(cloud.max() == pytest.approx(0.6) for cloud in clouds.values())
    # Where an agent of a team ends there is its cloud.
    x, y = forecast[forecast.unique_id == 0].iloc[-1][["M_x", "M_y"]]
    (x0, x1, y0, y1) = ax.images[0].get_extent()
    rows, columns = clouds["density/home"].shape
    at = int((y - y0) / (y1 - y0) * rows), int((x - x0) / (x1 - x0) * columns)
    assert clouds["density/home"][at] > 0.3
    few = plot.plot_rollout(frame, forecast, samples=samples, agents=[0, 5.0])
    assert gids(few, "samples") == gids(few, "region") == {"0.0", "5.0"}
    assert len(gids(few, "forecast")) == 22 and not few.images
    paths = [c for c in few.collections if str(c.get_gid()).startswith("samples/")]
    assert [len(c.get_segments()) for c in paths] == [20, 20]
    assert not plot.plot_rollout(frame, forecast, samples=samples, max_paths=440).images
    assert plot.plot_rollout(
        frame, forecast, samples=samples[samples.sample_id < 2], max_paths=0
    ).images
    with pytest.raises(DataError, match=r"agents \['x'\]"):
        plot.plot_rollout(frame, forecast, samples=samples, agents=["x"])


@pytest.mark.parametrize("court", ["basketball", None])
def test_regions_lie_within_the_limits_and_above_the_legend(court):
    frame = crowd((2, 2), (92, 48), leavers=0, n=8)
    forecast = ahead(frame, 59)
    for more in ({"samples": draws_of(forecast, 20, spread=9.0)}, {}):
        wide = forecast.assign(
            **{
                f"M_{c}-{s}-90": forecast[f"M_{c}"] + (30 if s == "hi" else -30)
                for c in "xy"
                for s in ("lo", "hi")
            }
        )
        ax = plot.plot_rollout(frame, wide, court=court, **more)
        ax.figure.draw_without_rendering()
        legend_box = ax.get_legend().get_window_extent()
        assert len(gids(ax, "region")) == 8
        for patch in ax.patches:
            if str(patch.get_gid()).startswith("region/"):
                box = patch.get_window_extent()
                assert ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1
                assert ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1
                assert not box.overlaps(legend_box)


def test_coordinates_have_names_and_units():
    frame = crowd().rename(columns={"x": "east", "y": "north"})
    columns = Columns(target=["east", "north"], group=None)
    ax = plot.plot_rollout(frame, columns=columns, unit="m")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("east (m)", "north (m)")
    ax = plot.plot_rollout(play(), court="basketball")
    assert [t.get_text() for t in ax.texts if t.get_gid() == "size"] == ["94 × 50 ft"]


# P8: groups of any level, and what is drawn


@in_all_libraries
def test_groups_of_every_level_choose_series(convert):
    history, forecast, _ = stocks()
    history["industry"] = history.unique_id.map(
        {"a0": "R", "a1": "S", "b0": "R", "b1": "T", "c0": "T", "c1": "c"}
    )
    columns = Columns(group=["sector", "industry"])
    given = {"history": convert(history), "forecast": convert(forecast), "columns": columns}
    for groups, wanted in (
        (["R"], ["a0", "b0"]),
        (["a", "T"], ["a0", "a1", "b1", "c0"]),
        ("c", ["c0", "c1"]),
    ):
        axes = plot.plot_forecast(**given, groups=groups)
        assert [ax.get_title(loc="left") for ax in axes] == wanted
        assert axes[0].figure._supylabel is None
    with pytest.raises(DataError, match=r"groups \['Q'\] are not in column 'sector' or 'industry'"):
        plot.plot_forecast(**given, groups=["R", "Q"])


def test_a_fan_chart_names_the_target_that_it_shows():
    history, forecast, _ = story()
    side = lambda axes: axes[0].figure._supylabel.get_text()  # noqa: E731
    assert side(plot.plot_forecast(history, forecast)) == "x"
    axes = plot.plot_forecast(history, forecast, target="y", unit="ft", ids=["home_0"])
    assert side(axes) == "y (ft)"
    line = next(a for a in axes[0].lines if a.get_gid() == "past")
    assert line.get_ydata() == pytest.approx(history[history.unique_id == "home_0"].y.to_numpy())
    assert side(plot.plot_groups(history, forecast, target="y")) == "mean of y"


# P9: films


def fake_ffmpeg(folder, codecs: str) -> None:
    """An ffmpeg that knows some codecs, and writes down how it was called and what it was given."""
    script = folder / "ffmpeg"
    script.write_text(
        f"#!{sys.executable}\nimport json, sys\nraw = sys.stdin.buffer.read()\n"
        f"codec = sys.argv[sys.argv.index('-c:v') + 1]\n"
        f"if codec not in {codecs!r}: sys.exit('Unknown encoder ' + codec)\n"
        "json.dump([sys.argv, len(raw)], open(sys.argv[-1], 'w'))\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IEXEC)


def film(path, **options) -> None:
    plot.animate_rollout(*story(), path=path, context=3, dpi=25, **options)


def test_a_film_is_written_by_the_ffmpeg_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    fake_ffmpeg(tmp_path, "mpeg4")
    film(tmp_path / "a.MP4", fps=5, figsize=(5.0, 3.0))
    (*_, (arguments, size)) = [json.loads((tmp_path / "a.MP4").read_text())]
    assert arguments[arguments.index("-s") + 1] == "126x76"  # even
    assert arguments[arguments.index("-r") + 1] == "5"
    assert size == (3 + H + HOLD) * 126 * 76 * 3
    fake_ffmpeg(tmp_path, "none")
    with pytest.raises(
        DataError, match=r"ffmpeg could not write '.*b\.mp4': Unknown encoder mpeg4"
    ):
        film(tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


def test_without_ffmpeg_the_error_names_the_extra_before_anything_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingExtraError, match=r"hierforecast\[video\]"):
        film(tmp_path / "a.mp4", progress=lambda i, n: pytest.fail("drawn"))


def test_a_real_film(tmp_path):
    extra = pytest.importorskip("imageio_ffmpeg")
    film(tmp_path / "a.mp4", fps=10)
    frames, seconds = extra.count_frames_and_secs(str(tmp_path / "a.mp4"))
    assert frames == 3 + H + HOLD and seconds == pytest.approx(frames / 10, abs=0.05)


# P10: seconds


@pytest.mark.parametrize(
    ("step", "rate", "first", "last"),
    [
        (None, None, "history −11", "forecast +4 of 4"),
        (None, 6.25, "history −1.8 s", "forecast +0.6 of 0.6 s"),
        (None, 1.0, "history −11 s", "forecast +4 of 4 s"),
        ("40ms", None, "history −0.44 s", "forecast +0.16 of 0.16 s"),
        ("1h", None, "history −11 h", "forecast +4 of 4 h"),
        ("1D", None, "history −11 d", "forecast +4 of 4 d"),
    ],
)
@in_all_libraries
def test_the_clock_shows_seconds_where_they_are_known(convert, step, rate, first, last):
    frames = story()
    if step is not None:
        frames = [
            f.assign(ds=pd.Timestamp("2024-01-01") + f.ds * pd.Timedelta(step)) for f in frames
        ]
    animation = plot.animate_rollout(*map(convert, frames), rate=rate)
    shown = [clock(animation, frame) for frame in (0, T - 1, T + H - 1)]
    assert shown == [first.replace("−", "\N{MINUS SIGN}"), "cutoff", last]


# Frames of every kind


def composite(frame: pd.DataFrame) -> pd.DataFrame:
    parts = frame.unique_id.str.split("_", expand=True)
    changed = frame.assign(side=parts[0], number=parts[1].fillna("0").astype(int), league="L")
    return changed.drop(columns=["unique_id", "team"], errors="ignore")


@in_all_libraries
def test_labels_of_several_columns(convert):
    history, forecast, full = story()
    samples = forecast_of(history, draws=5)
    given = [convert(composite(frame)) for frame in (history, forecast, full, samples)]
    columns = Columns(
        id=["side", "number"], target=["x", "y"], group="side", scene=["league", "scene"]
    )
    ax = plot.plot_rollout(*given, ("L", 0), columns, agents=[("home", 1)])
    names = {f"{name.split('_')[0]} / {name[-1] if '_' in name else 0}" for name in TEAM}
    assert drawn(ax) == names and gids(ax, "samples") == {"home / 1"}
    assert written(ax) == {name: name[-1] for name in names if name != "ball / 0"}
    assert legend(ax)[:3] == ["home", "away", "ball"]
    axes = plot.plot_forecast(*given[:2], ids=[("away", 1), ("home", 0)], columns=columns)
    assert [ax.get_title(loc="left") for ax in axes] == ["away / 1", "home / 0"]
    shown = plot.plot_correlation(given[3], history=given[0], columns=columns)
    assert {t.get_text() for t in shown.get_yticklabels()} == names
    with pytest.raises(DataError, match=r"scene=\('M', 0\) is not in column \['league', 'scene'\]"):
        plot.plot_rollout(given[0], scene=("M", 0), columns=columns)
    backtest = composite(forecast.merge(full.drop(columns="team"))).assign(cutoff=T - 1)
    assert len(plot.plot_errors(convert(backtest), columns=columns).lines[0].get_xdata()) == H


@pytest.mark.parametrize("kind", ["date", "zone", "uint8", "text"])
@in_all_libraries
def test_times_of_every_kind(convert, kind):
    change = {
        "date": lambda ds: [dt.date(2020, 1, 1) + dt.timedelta(days=int(i)) for i in ds],
        "zone": lambda ds: pd.Timestamp("2020-01-01", tz="Europe/Berlin") + ds * pd.Timedelta("1D"),
        "uint8": lambda ds: (ds + 240 - T).astype("uint8"),
        "text": lambda ds: [f"2020-01-{i + 1:02d}" for i in ds],
    }[kind]
    frames = [convert(frame.assign(ds=change(frame.ds))) for frame in story()]
    assert drawn(plot.plot_rollout(*frames)) == set(TEAM)
    axes = plot.plot_forecast(*frames)
    line = next(a for a in axes[0].lines if a.get_gid() == "forecast")
    x = line.get_xdata()
    assert len(x) == H + 1
    wanted = 239 if kind == "uint8" else np.datetime64("2020-01-12")
    assert x[0] == wanted and np.diff(x)[0] == (1 if kind == "uint8" else np.timedelta64(1, "D"))


def test_types_of_columns_and_missing_cells(tmp_path):
    history, forecast, full = story()
    samples = forecast_of(history, draws=4)
    labels = {"unique_id": "category", "team": "category"}
    plain = plot.plot_rollout(history, forecast, samples=samples)
    for other in (
        history.astype(labels),
        history.convert_dtypes(),
        pl.from_pandas(history.astype(labels)),
    ):
        ax = plot.plot_rollout(other, forecast, samples=samples)
        for a, b in zip(plain.lines, ax.lines, strict=True):
            assert a.get_xydata() == pytest.approx(b.get_xydata())
    gone = forecast.assign(M_x=forecast.M_x.mask(forecast.unique_id == "ball"))
    assert gids(plot.plot_rollout(history, gone), "forecast") == set(TEAM) - {"ball"}
    untrue = forecast.merge(full.drop(columns="team")).assign(cutoff=T - 1, x=np.nan)
    empty, doubled = history.assign(x=np.nan), pd.concat([samples, samples])
    for bad, message in (
        (lambda: plot.plot_rollout(history, forecast.assign(M_x=np.nan)), "'M_x' .* no finite"),
        (lambda: plot.plot_rollout(empty, forecast), "no row with finite positions"),
        (lambda: plot.plot_rollout(history.assign(x="a")), "'x' of the history .* no numbers"),
        (lambda: plot.plot_rollout(history.assign(ds="soon")), "'ds' of the history .* no times"),
        (lambda: plot.plot_rollout(history, samples=doubled), "several times.*one scene"),
        (lambda: plot.plot_errors(untrue), "both a truth"),
    ):
        with pytest.raises(DataError, match=re.compile(message, re.DOTALL)):
            bad()
    opened = plt.get_fignums()
    with pytest.raises(RuntimeError):
        plot.plot_rollout(history, court=lambda ax: (_ for _ in ()).throw(RuntimeError()))
    assert plt.get_fignums() == opened, "no empty figure is left"
    alone = plot.plot_rollout(
        history[history.unique_id == "home_0"], forecast[forecast.unique_id == "home_0"]
    )
    assert drawn(alone) == {"home_0"}
    step = history[history.ds == T - 1].assign(ds=pd.Timestamp("2020-01-01"))
    assert drawn(plot.plot_rollout(step)) == set(TEAM)
    without = plot.plot_correlation(samples.drop(columns="scene"), history=history)
    assert len(without.get_yticklabels()) == len(TEAM)


@newest
def test_names_that_matplotlib_takes_for_something_else(tmp_path):
    rename = {"home_0": "$AAPL_$1", "home_1": "_x", "away_0": "Игрок", "away_1": "球員"}
    history = play().replace({"unique_id": rename, "team": {"home": "_home"}})
    ax = plot.plot_rollout(history, labels=str)
    assert sorted(legend(ax)) == ["away", "ball", "past", "\N{ZERO WIDTH SPACE}_home"]
    assert written(ax)["$AAPL_$1"] == r"\$AAPL_\$1"
    ax.figure.savefig(tmp_path / "a.png")  # warnings are errors here
    text = next(text for text in ax.texts if text.get_text() == "球員")
    assert len(text.get_fontfamily()) == 2
    plain = plt.figure().text(0, 0, "Игрок")
    legible(plain)
    assert len(plain.get_fontfamily()) == 1
