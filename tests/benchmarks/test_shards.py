"""The benchmark of tables larger than memory, at a tiny size."""

from __future__ import annotations

from benchmarks import shards, timing
from benchmarks.shards import EXPERIMENTS, PHASES


def test_every_phase_and_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "alone", lambda work, *given: work(*given))
    monkeypatch.setattr(shards, "peak_growth", lambda work: (work(), 3_000_000))
    one = EXPERIMENTS["shards"]
    given = one.given(tmp_path, rows=12_000, steps=2, width=8)
    (section,) = one.tables(one.run(given), given)
    assert [*section.table.index] == [*PHASES]
    assert section.table.loc["one shard in memory", "largest difference"] == "0.0e+00"
    assert section.table.loc["predict", "forecasts"] == "1,200"
    assert "12,000 rows" in section.note
    assert timing.peak_growth is not shards.peak_growth
