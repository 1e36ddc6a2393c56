"""The benchmarks of very wide scenes, at a tiny size."""

from __future__ import annotations

from benchmarks import wide
from benchmarks.wide import COSTS, EXPERIMENTS, SETS
from tests.benchmarks.test_hierarchical import demand  # noqa: F401 (a fixture)


def test_a_fit_of_each_width_and_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(wide, "alone", lambda work, *given: work(*given))
    monkeypatch.setattr(wide, "peak_growth", lambda work: (work(), 3_000_000))
    one = EXPERIMENTS["wide"]
    given = one.given(tmp_path, series=12, groups=3, steps=2, width=8)
    (section,) = one.tables(one.run(given), given)
    assert [*section.table.index] == [*COSTS] and "12 series in 3 groups" in section.note


def test_what_is_learned_from_some_rows(demand, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(wide, "demand_of", lambda name: demand)
    monkeypatch.setitem(SETS, "traffic, 30", ("traffic", 2))
    one = EXPERIMENTS["wide-sets"]
    given = one.given(tmp_path, steps=3, seeds=(0, 1))
    found = one.run(given, arms=["traffic, all", "traffic, 30"])
    assert found["traffic, all", 0] != found["traffic, 30", 0]
    (section,) = one.tables(found, given)
    assert [*section.table.index] == ["traffic, all", "traffic, 30"]
    assert "over 2 seed(s)" in section.note
