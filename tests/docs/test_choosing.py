"""The table of choices: all models and columns in it can be made, and every verb exists."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from hierforecast import Columns, Forecaster, HiPerformer, Ridge, SeasonalNaive, compare

PAGE = Path(__file__).parents[2] / "docs" / "choosing.md"
CODE = re.findall(r"`([^`]+)`", PAGE.read_text())
MADE = [code for code in CODE if re.match(r"(Columns|HiPerformer|Ridge|SeasonalNaive)\(", code)]
CALLED = [code for code in CODE if re.match(r"(predict|sample|futures|distribution)\(", code)]


@pytest.mark.parametrize("code", sorted(set(MADE)))
def test_what_the_table_names_can_be_made(code):
    names = {one.__name__: one for one in (Columns, HiPerformer, Ridge, SeasonalNaive)}
    assert type(eval(code, names)).__name__ == code.partition("(")[0]


@pytest.mark.parametrize("code", sorted(set(CALLED)))
def test_what_the_table_asks_can_be_asked(code):
    found = {}

    class Asked:
        def __getattr__(self, verb):
            def call(*args, **options):
                found[verb] = inspect.signature(getattr(Forecaster, verb)).bind(
                    None, *args, **options
                )

            return call

    names = dict.fromkeys(("frame", "history", "plan", "shock"), object())
    eval(f"asked.{code}", {"asked": Asked(), **names})
    assert list(found) == [code.partition("(")[0]]


def test_the_table_is_read():
    assert len(MADE) > 10 and len(CALLED) > 6
    assert "metrics" in inspect.signature(compare).parameters
