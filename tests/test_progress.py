"""Bars of long work: beside the answer, for several things only, and not where nobody wants one."""

from __future__ import annotations

import pytest
from rich.console import Console

from hierforecast import _progress
from hierforecast._progress import console_of_bars, progress


@pytest.mark.parametrize(
    ("count", "bar", "shown"), [(3, True, True), (1, True, False), (3, False, False)]
)
def test_a_bar_is_drawn_beside_the_answer(capsys, count: int, bar: bool, shown: bool):
    assert list(progress(range(count), "surprise", count, bar)) == list(range(count))
    out, err = capsys.readouterr()
    assert out == "" and ("surprise" in err) == shown


def test_a_notebook_without_widgets_gets_a_bar_and_no_advice(monkeypatch):
    monkeypatch.setattr(Console, "is_jupyter", True)
    monkeypatch.setattr(_progress, "find_spec", lambda name: None)
    assert console_of_bars(beside=True).stderr is False
    monkeypatch.setattr(_progress, "find_spec", lambda name: name)
    assert console_of_bars(beside=True).stderr is True
