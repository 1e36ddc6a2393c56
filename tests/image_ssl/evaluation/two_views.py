"""What tests of probes of two views share."""

from __future__ import annotations

VIEWS, SMALL = 4, 9


def score_of(table, **where) -> float:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return float(table.score.iloc[0])
