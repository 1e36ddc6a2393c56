"""Rollouts of data that is not a basketball game of ten: who is drawn, and called what."""

from __future__ import annotations

import datetime as dt
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest

from hierforecast import plot
from hierforecast.errors import DataError
from hierforecast.frame import Columns
from hierforecast.plot.animate import HOLD
from hierforecast.plot.labels import legible
from tests.helpers import newest
from tests.plot.plays import (
    TEAM,
    H,
    T,
    ahead,
    clock,
    crowd,
    forecast_of,
    gids,
    in_all_libraries,
    legend,
    play,
    story,
)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def drawn(ax) -> set[str]:
    return gids(ax, "now") | gids(ax, "hidden")


def written(ax) -> dict[str, str]:
    found = [text for text in ax.texts if str(text.get_gid()).startswith("label/")]
    return {text.get_gid().split("/", 1)[1]: text.get_text() for text in found}


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


def test_coordinates_have_names_and_units():
    frame = crowd().rename(columns={"x": "east", "y": "north"})
    columns = Columns(target=["east", "north"], group=None)
    ax = plot.plot_rollout(frame, columns=columns, unit="m")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("east (m)", "north (m)")
    ax = plot.plot_rollout(play(), court="basketball")
    assert [t.get_text() for t in ax.texts if t.get_gid() == "size"] == ["94 × 50 ft"]


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
