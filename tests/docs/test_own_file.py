"""The page about a file of one's own: its files, its commands and its code, one after the other."""

from __future__ import annotations

import shlex
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from typer.testing import CliRunner

from hierforecast.cli import app
from tests.pages import blocks, short_fits

TEXT = (Path(__file__).parents[2] / "docs" / "own_file.md").read_text(encoding="utf-8")


def test_the_page_runs(monkeypatch, tmp_path):
    short_fits(monkeypatch)
    monkeypatch.chdir(tmp_path)
    make, use, wide = blocks(TEXT, "python")
    names: dict[str, object] = {}
    exec(compile(make, "own_file.md", "exec"), names)
    (lines,) = blocks(TEXT, "bash")
    commands = [shlex.split(line) for line in lines.replace("\\\n", "").splitlines() if line]
    for command in commands:
        result = CliRunner().invoke(app, command[1:])
        assert result.exit_code == 0, (command, result.output)
    assert Path("play.html").stat().st_size > 10_000 < Path("units.png").stat().st_size
    units = pd.read_csv("units.csv", parse_dates=["Day"])
    assert (units.Day.dt.day_name() != "Sunday").all(), "closed"
    assert set(pd.read_csv("lows.csv").Ticker) >= {"XOM", "GS"}
    exec(compile(use, "own_file.md", "exec"), names)
    exec(compile(wide, "own_file.md", "exec"), names)
    assert list(names["long"].columns) == ["unique_id", "ds", "x", "y"] and len(names["long"]) == 60
    plt.close("all")
