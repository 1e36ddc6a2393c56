"""The runner: declarations and pages agree, runs are kept once, options are held to the folder."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from inspect import signature

import pandas as pd
import pytest

from benchmarks import __main__ as command
from benchmarks import _results, experiment
from benchmarks._kept import SPENT, once, spent
from benchmarks.experiment import Experiment, OptionError, Section, cells, spread, tidy

KNOWN = experiment.experiments()
PAGES = {path.stem: path.read_text() for path in _results.PAGES.glob("*.md")}


def test_every_declared_table_stands_on_its_page_and_every_section_is_declared():
    stands = {page: re.findall(r"<!-- ([\w-]+) -->", text) for page, text in PAGES.items()}
    for name, one in KNOWN.items():
        for key in one.keys:
            some = Experiment("", "", (key,), print, print)
            assert any(map(some.declares, stands[one.page])), f"{name}: no section {key}"
    for page in {one.page for one in KNOWN.values()}:
        keys = stands[page]
        assert len(set(keys)) == len(keys)
        for key in keys:
            there = [n for n, one in KNOWN.items() if one.page == page and one.declares(key)]
            assert len(there) == 1, f"{page}: {key} is declared by {there}"


def counted() -> tuple[Experiment, list[tuple[str, int, int]]]:
    """An experiment of three arms that says what it has measured."""
    calls: list[tuple[str, int, int]] = []

    def measure(name, given):
        calls.append((name, given.seed, given.steps))
        if name == "a frame":
            return pd.DataFrame({"score": [0.5, given.seed]})
        return None if name == "later" else {"x": f"{given.steps}"}

    def sections(found, given):
        rows = {key: row for key, row in found.items() if isinstance(row, dict)}
        yield Section("made", "Made", cells(rows), f"{given.steps} steps")

    arms = ("a row", "a frame", "later")
    return Experiment(
        "made", "speed", ("made",), measure, sections, arms, (0, 1), {"steps": 3}
    ), calls


def test_what_is_measured_takes_the_options_that_are_declared():
    found = [one for one in experiment.experiments().values() if isinstance(one.measure, partial)]
    tables = [one for one in found if one.measure.func is experiment._steadily]
    assert len(tables) > 15
    for one in tables:
        measure, options = one.measure.args
        signature(measure).bind(**{name: one.options[name] for name in options})


def test_runs_are_kept_and_not_done_again(tmp_path):
    one, calls = counted()
    found = one.run(one.given(tmp_path))
    assert len(calls) == 6 and list(found) == [(n, s) for n in one.arms[:2] for s in (0, 1)]
    pd.testing.assert_frame_equal(found["a frame", 1], pd.DataFrame({"score": [0.5, 1.0]}))
    assert tidy({k: v for k, v in found.items() if k[0] == "a frame"})["seed"].tolist() == [
        0,
        0,
        1,
        1,
    ]
    assert len(one.run(one.given(tmp_path, seeds=(2,)), ["a ro?"])) == 5  # those of before as well
    assert calls[6:] == [("a row", 2, 3)]
    one.run(one.given(tmp_path, seeds=(0,)))
    assert calls[7:] == [("later", 0, 3)]
    with pytest.raises(OptionError, match=r"steps.*3.*another --folder"):
        one.run(one.given(tmp_path, steps=4))
    with pytest.raises(OptionError, match=r"no such arm: b; there are a row"):
        one.run(one.given(tmp_path), ["b"])
    with pytest.raises(OptionError, match="no such option: speed; there are steps"):
        one.given(tmp_path, speed=4)


def test_there_is_no_table_without_the_runs_that_it_needs(tmp_path, capsys):
    one, _ = counted()
    one = replace(one, needs=("a row",))
    given = one.given(tmp_path)
    assert one.tables(one.run(given, ["a frame"]), given) == []
    assert "without a row" in capsys.readouterr().out
    assert one.tables(one.run(given, ["a row"]), given)[0].key == "made"


def test_an_interrupted_run_keeps_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        once(tmp_path / "x", lambda: 1 / 0)
    assert not list(tmp_path.iterdir()) and once(tmp_path / "x", lambda: [1]) == [1]


def test_mean_and_spread_are_over_seeds():
    values = pd.Series([0.1, 0.2, 0.3])
    assert spread(values) == "0.200 ± 0.100" and spread(values[:1], 2) == "0.10"
    assert spread(values[:0]) == "-"


def test_options_are_read_as_their_defaults_are():
    defaults = {"n": 1, "x": 0.5, "on": False, "name": "a", "many": (0.0, 0.2), "start": None}
    given = ["n=2", "x=1", "on=true", "name=b=c", "many=1,0.4", "start=runs/x"]
    found = {"n": 2, "x": 1.0, "on": True, "name": "b=c", "many": [1.0, 0.4], "start": "runs/x"}
    assert command.changes(given, defaults) == found
    for wrong in ("n=1.5", "m=1", "n"):
        with pytest.raises(OptionError):
            command.changes([wrong], defaults)


def test_the_command_lists_runs_and_writes(monkeypatch, tmp_path, capsys):
    one, calls = counted()
    monkeypatch.setattr(command, "experiments", lambda: {"made": one})
    monkeypatch.setattr(command, "write", lambda *given, **more: calls.append((*given, more)))
    command.main([])
    assert "made" in (shown := capsys.readouterr().out) and "steps=3" in shown
    command.main(["made", "--set", "steps=7", "--folder", str(tmp_path), "--seeds", "0"])
    assert "7 steps" in capsys.readouterr().out and len(calls) == 3
    command.main(["made", "--set", "steps=7", "--folder", str(tmp_path), "--seeds", "0", "--write"])
    page, section, more = calls[-1]
    assert page == "speed" and section.table.loc["a row", "x"] == "7"
    assert more["seconds"] == spent(tmp_path) > 0
    assert (tmp_path / SPENT).read_text().count('"a row"') == 1  # it was kept: not run again
    for wrong in (["typo"], ["made", "--set", "typo=1"], ["made", "--arms", "typo"]):
        with pytest.raises(SystemExit):
            command.main([*wrong, "--folder", str(tmp_path)])
        assert re.search("no such .*: typo", capsys.readouterr().err)


def test_a_section_is_put_into_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "made", "--set", "a=b c"])
    for cell in ("1", "2"):
        table = pd.DataFrame({"x": [cell]}, index=["row"])
        _results.write("page", Section("one", "One", table, "a note"), tmp_path)
        _results.write("page", Section("two", "Two", table), tmp_path, seconds=5430)
    text = (tmp_path / "page.md").read_text()
    assert text.count("## One") == text.count("## Two") == 1 and "| row | 2 |" in text
    assert "`python -m benchmarks made --set 'a=b c'` · commit" in text and "| 1 |" not in text
    first, second = (line for line in text.splitlines() if "· commit" in line)
    assert second.endswith(" · 1 h 30 min of one core") and "of one core" not in first
    assert _results.took(20) == " · 1 min of one core"
