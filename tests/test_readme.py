"""What the README shows runs, and what it points to is there."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from typer.testing import CliRunner

import hierforecast
from hierforecast.cli import app
from tests import pages

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
# It sends on to these: who adds something, and who works at a command line.
INSIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = ("command_line", "image_ssl")


def blocks(language, text=TEXT):
    return pages.blocks(text, language)


@pytest.fixture
def short_fit(monkeypatch, tmp_path):
    """The code as it stands, but with a few training steps."""
    pages.short_fits(monkeypatch)
    monkeypatch.chdir(tmp_path)


def test_python_runs(short_fit):
    names: dict[str, object] = {}
    assert blocks("python")
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    forecast, history = names["forecast"], names["history"]
    assert "HiPerformer_x-lo-90" in forecast
    assert "away_3" not in set(forecast.unique_id), "the hidden player is not forecast"
    assert len(forecast) == history.scene.nunique() * 10 * 10
    plt.close("all")


def test_the_picture_of_the_what_if_is_made_by_its_code(short_fit, monkeypatch):
    path = ROOT / "docs" / "what_if.py"
    spec = importlib.util.spec_from_file_location("what_if", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.block() in blocks("python", (ROOT / "docs" / "what_if.md").read_text("utf-8"))
    few = hierforecast.datasets.simulate_basketball
    monkeypatch.setattr(script, "simulate_basketball", lambda n_scenes, seed: few(20, seed=seed))
    script.main(Path("what_if.png"))
    assert Path("what_if.png").stat().st_size > 10_000
    plt.close("all")


@pytest.mark.parametrize("page", COMMANDS)
def test_commands_run(page, short_fit):
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    lines = [line for block in blocks("bash", text) for line in block.splitlines()]
    commands = [shlex.split(x, comments=True)[1:] for x in lines if x.startswith("hierforecast ")]
    assert len(commands) >= 4
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, (command, result.output)


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", TEXT))
    assert {"demo", "test"} <= named <= targets


def test_links_and_paths_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", TEXT + INSIDE)
    near = [link for link in links if not link.startswith("http")]
    code = re.findall(r"`((?:hierforecast|datasets|notebooks|benchmarks)/[\w./]*)`", INSIDE)
    assert near and code
    assert not [path for path in [*near, *code] if not (ROOT / path).exists()]


def test_the_tree_names_every_room_and_no_other():
    tree = next(block for block in blocks("text", INSIDE) if block.startswith("hierforecast/"))
    named = re.findall(r"^  (\w+(?:\.py|/))|(?<=, )(\w+\.py)", tree, re.MULTILINE)
    rooms = [first or second for first, second in named]
    folder = ROOT / "hierforecast"
    there = {f"{path.name}/" for path in folder.iterdir() if (path / "__init__.py").exists()}
    there |= {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    assert len(set(rooms)) == len(rooms)
    assert set(rooms) == there


def test_the_picture_is_small():
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT):
        assert (ROOT / picture).stat().st_size < 150_000


def test_it_is_a_page_and_a_half():
    assert len(TEXT.splitlines()) < 90
