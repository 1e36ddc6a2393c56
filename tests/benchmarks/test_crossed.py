"""The benchmark of crossed groups at a toy size: its arms differ in the roles of one column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import crossed, hierarchical
from hierforecast import Columns
from hierforecast.datasets import Demand

NODES = ("all", "a", "b", "0", "1", "a0", "a1", "b0", "b1")
SUMMING = np.array(
    [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1], *np.eye(4)]
)


@pytest.fixture
def demand() -> Demand:
    rng, steps = np.random.default_rng(0), 60
    season = 10 + 5 * np.sin(np.arange(steps) * np.pi / 2)
    frame = pd.DataFrame(
        {
            "ds": np.tile(np.arange(steps), 4),
            "unique_id": np.repeat(NODES[-4:], steps),
            "region": np.repeat(list("aabb"), steps),
            "purpose": np.repeat(list("0101"), steps),
            "y": (season + rng.gamma(2.0, 1.0, (4, steps))).reshape(-1),
        }
    )
    tags = {"total": np.array(NODES[:1]), "region": np.array(NODES[1:3])}
    tags |= {"purpose": np.array(NODES[3:5]), "series": np.array(NODES[5:])}
    return Demand(frame, SUMMING, NODES, tags, Columns(group=["region"]), horizon=3, season=2)


def test_every_arm_has_a_row_of_scores(demand, monkeypatch, tmp_path):
    monkeypatch.setattr(hierarchical, "DRAWS", 20)
    monkeypatch.setattr(crossed, "demand_of", lambda name: demand)
    monkeypatch.setattr(crossed, "cutoffs_before", lambda end, *rest: [end - 9, end - 5])
    one = crossed.EXPERIMENTS["crossed"]
    given = one.given(tmp_path, steps=2, seeds=[0])
    assert crossed.cutoffs(demand, "test") == [51, 55]
    assert max(crossed.cutoffs(demand, "validation")) + demand.horizon <= 51
    found = one.run(given)
    assert len(found) == len(crossed.ARMS)
    assert all(0 < row[name] < 2 for row in found.values() for name in ("validation", "test"))
    assert len({row["test"] for row in found.values()}) == len(crossed.ARMS)
    (section,) = one.tables(found, given)
    assert list(section.table.index) == [f"purpose as {arm}" for arm in crossed.ARMS]
    roles = [crossed.study(arm, "test", given).demand.columns for arm in crossed.ARMS]
    assert [bool(each.crossed) for each in roles] == [False, True, True]
    assert [bool(each.static) for each in roles] == [True, False, True]
