"""Bars of long work: beside the answer, for several things only, and not where nobody wants one."""

from __future__ import annotations

import pytest

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
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(_progress, "find_spec", lambda name: None)
    plain = console_of_bars(beside=True)
    assert not plain.is_jupyter and not plain.stderr
    monkeypatch.setattr(_progress, "find_spec", lambda name: name)
    assert console_of_bars(beside=True).is_jupyter
