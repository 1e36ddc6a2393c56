"""The benchmark of hidden players: who is hidden, simple ways to fill a gap, and the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import _hidden, impute
from benchmarks._draws_data import Motion
from benchmarks._hidden import AFTER, BEFORE, KEYS, PLACE, delay, filled, hide
from benchmarks.experiment import experiments
from hierforecast.datasets import simulate_basketball
from hierforecast.nn.heads import RowsHead


def one_scene(**gaps: tuple[int, int]) -> pd.DataFrame:
    """Four runners of two teams over 20 steps; some are not there from a step to another."""
    parts = []
    for number, name in enumerate(("a1", "a2", "b1", "b2")):
        ds = np.arange(20)
        start, stop = gaps.get(name, (0, 0))
        seen = (ds < start) | (ds >= stop)
        x = number + (1 + number) * ds + 0.1 * ds**2
        frame = pd.DataFrame({"ds": ds, "x": x, "y": -2.0 * ds})[seen]
        parts.append(frame.assign(scene="s", unique_id=name, team=name[0], kind="player"))
    return pd.concat(parts, ignore_index=True)


def at(found: pd.DataFrame, name: str, ds: int) -> list[float]:
    one = found[(found["unique_id"] == name) & (found["ds"] == ds)]
    return one[PLACE].to_numpy()[0].tolist()


def test_simple_ways_to_fill_a_gap_whether_its_rows_are_nan_or_not_there():
    whole, gone = one_scene(), one_scene(a1=(10, 14))
    nan = whole.copy()
    nan.loc[(nan.unique_id == "a1") & nan.ds.between(10, 13), PLACE] = np.nan
    last, step = np.array(at(whole, "a1", 9)), np.array(at(whole, "a1", 9)) - at(whole, "a1", 8)
    mate = np.array(at(whole, "a2", 12)) - at(whole, "a2", 9)
    back = np.array(at(whole, "a1", 14))
    expected = {
        "last position": last,
        "constant velocity": last + 3 * step,
        "team's mean movement": last + mate,
        "linear interpolation": last + (back - last) * 3 / 5,
    }
    assert set(expected) == set(_hidden.SIMPLE)
    for name, place in expected.items():
        for frame in (gone, nan):
            found = filled(name, frame)
            assert at(found, "a1", 12) == pytest.approx(place.tolist()), name
            assert at(found, "b1", 12) == pytest.approx(at(whole, "b1", 12))


def test_players_are_hidden_who_are_seen_before_and_after():
    frame = simulate_basketball(4, 60, seed=0)
    lost = (frame.unique_id == "home_1") & frame.ds.between(20, 40)
    frame = frame[~lost]
    hidden = hide(frame, 10, 3)
    rows = frame[hidden].groupby(["scene", "unique_id"])["ds"]
    assert (rows.size() == 10).all() and (rows.max() - rows.min() == 9).all()
    assert (rows.size().groupby("scene").size() == 3).all() and len(rows) == 12
    assert rows.min().min() >= BEFORE and rows.max().max() < 60 - AFTER
    assert "ball" not in set(frame[hidden].unique_id)
    assert not hidden.equals(hide(frame, 10, 3, seed=1))
    assert not hide(frame, 60, 1).any(), "no scene is long enough"


def test_who_really_got_lost_is_shown_a_little_later():
    frame = one_scene(a1=(6, 9), b2=(8, 14), a2=(3, 6), b1=(6, 12))
    hidden = frame[delay(frame, AFTER, 1, 4)]
    assert set(hidden["unique_id"]) == {"a1"}, "a2 was not seen for long before"
    assert hidden["ds"].tolist() == [9, 10, 11, 12, 13]
    assert not delay(frame, AFTER, 5, 5).any()
    later = frame[delay(frame, 3, 6, 6)]
    assert set(later["unique_id"]) == {"b1"}, "b2 is not seen for long after"


@pytest.mark.slow
def test_the_tables_at_a_toy_size(monkeypatch, tmp_path):
    games = simulate_basketball(4, 70, seed=1)

    def motion(given):
        return Motion(20, 24, lambda: simulate_basketball(6, 60, seed=0), lambda: games, 8, "feet")

    toy = _hidden.Players(
        "toys", "feet", 2.0, lambda given: games, motion, RowsHead(), times=2, returns=False
    )
    monkeypatch.setitem(_hidden.PLAYERS_OF, "soccer", toy)
    monkeypatch.setattr(_hidden, "GAPS", (5, 10))
    monkeypatch.setattr(_hidden, "PLAYERS", (1, 2))
    monkeypatch.setattr(impute, "DRAWS", 3)
    one = experiments()["impute-soccer"]
    given = one.given(tmp_path, steps=2, width=16)
    tables = {section.key: section.table for section in one.tables(one.run(given, ()), given)}
    assert tuple(tables) == one.keys
    error, draws = tables.values()
    assert error.index.tolist() == [f"{n} hidden, {s} s" for s in (1, 2) for n in (1, 2)]
    assert error["paths"].tolist() == ["8", "16", "8", "16"]
    assert draws.index.tolist() == error.index.tolist()
    # Errors are means over paths, in the table's unit.
    seen, expected = games, []
    for seed in (0, 1):
        rows = hide(games, 5, 1, seed)
        seen = games.copy()
        seen.loc[rows, PLACE] = np.nan
        both = games[rows].merge(filled("last position", seen), on=KEYS)
        expected.append(np.hypot(both.x_x - both.x_y, both.y_x - both.y_y).mean())
    assert float(error["last position"].iloc[0]) == pytest.approx(2 * np.mean(expected), abs=6e-4)
