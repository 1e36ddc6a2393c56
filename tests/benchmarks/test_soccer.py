"""The soccer benchmarks on a made match: bins, intervals and tables are right."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks import _visibility, soccer


def made(subsets: tuple[int, ...], steps: int = 90) -> pd.DataFrame:
    """Two players a team and a ball walk; home_1 is out of view for long, others now and then."""
    parts = []
    for scene in subsets:
        rng = np.random.default_rng(scene)
        for name in ("ball", "home_1", "home_2", "away_1", "away_2"):
            walk = rng.standard_normal((steps, 2)).cumsum(0)
            seen = rng.random(steps) < 0.9
            if name == "home_1":
                seen[35:58] = False
            team = name.split("_")[0]
            frame = pd.DataFrame({"ds": np.arange(steps), "x": walk[:, 0], "y": walk[:, 1]})[seen]
            kind = "ball" if name == "ball" else "player"
            parts.append(frame.assign(scene=f"subset{scene}", unique_id=name, team=team, kind=kind))
    return pd.concat(parts, ignore_index=True)


def test_steps_since_last_seen_are_counted_back_from_the_cutoff(monkeypatch):
    test = made((1,))
    monkeypatch.setattr(soccer, "matches", made)
    given = soccer.EXPERIMENTS["soccer"].given()
    rows = soccer.scored(soccer.fitted("LastValue", given), test, stride=1)
    for (series, cutoff), part in rows.groupby(["unique_id", "cutoff"]):
        seen = test.loc[(test["unique_id"] == series) & (test["ds"] <= cutoff), "ds"]
        assert (part["unseen"] == cutoff - seen.max()).all()
        assert part["ahead"].tolist() == list(range(1, 11))
    known = rows.dropna(subset=["x"])
    distance = np.hypot(known["LastValue_x"] - known["x"], known["LastValue_y"] - known["y"])
    np.testing.assert_allclose(known["error"], distance)
    binned = _visibility.binned(rows)
    assert set(binned["last seen"]) == set(_visibility.BINS)
    assert "ball" not in set(binned["unique_id"]) and binned["error"].notna().all()


def test_intervals_by_visibility():
    rows = pd.DataFrame(
        {
            "last seen": ["in view", "in view", "16-39 steps"],
            "error": [1.0, 3.0, 5.0],
            "ahead": [9, 10, 10],
            "x": [0.0, 9.0, 0.0],
            "y": [0.0, 0.0, 0.0],
            **{f"M_{c}-{s}-90": [v] * 3 for c, w in (("x", 1), ("y", 3)) for s, v in
               (("lo", -w), ("hi", w))},
        }
    )  # fmt: skip
    table = _visibility.by_visibility(rows, "M")
    found = table.loc["in view", ["error", "last", "width", "inside", "cells"]]
    assert found.tolist() == [2, 3, 4, 75, 2]
    assert table.loc["16-39 steps", "inside"] == 100 and table.loc["1-5 steps"].isna()["error"]
