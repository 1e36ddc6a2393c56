"""Bars of long work: beside the answer, for several things only, and not where nobody wants one."""

from __future__ import annotations

import pytest

from hierforecast._progress import progress


@pytest.mark.parametrize(
    ("count", "bar", "shown"), [(3, True, True), (1, True, False), (3, False, False)]
)
def test_a_bar_is_drawn_beside_the_answer(capsys, count: int, bar: bool, shown: bool):
    assert list(progress(range(count), "surprise", count, bar)) == list(range(count))
    out, err = capsys.readouterr()
    assert out == "" and ("surprise" in err) == shown
