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
from hierforecast.image_ssl import training
from tests import pages

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return pages.blocks(TEXT, language)


@pytest.fixture
def short_fit(monkeypatch, tmp_path):
    """The code as it stands, but with a few training steps."""
    pages.short_fits(monkeypatch)
    usual = training.over_defaults
    monkeypatch.setattr(
        training,
        "over_defaults",
        lambda options, saver, steps, name: usual(options, saver, 2, name),
    )
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
    assert set(names["scores"].part) == {"all", "ball", "player"}
    plt.close("all")


def test_the_picture_of_the_what_if_is_made_by_its_code(short_fit, monkeypatch):
    path = ROOT / "docs" / "what_if.py"
    spec = importlib.util.spec_from_file_location("what_if", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.block() in blocks("python")
    few = hierforecast.datasets.simulate_basketball
    monkeypatch.setattr(script, "simulate_basketball", lambda n_scenes, seed: few(20, seed=seed))
    script.main(Path("what_if.png"))
    assert Path("what_if.png").stat().st_size > 10_000
    plt.close("all")


def test_commands_run(short_fit):
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    ours = [line for line in lines if line.startswith("hierforecast ")]
    commands = [shlex.split(line, comments=True)[1:] for line in ours]
    assert len(commands) >= 4
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, (command, result.output)
    assert Path("forecast.csv").stat().st_size > 0


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", TEXT))
    assert {"demo", "test"} <= named <= targets


def test_links_and_paths_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    near = [link for link in links if not link.startswith("http")]
    code = re.findall(r"`((?:hierforecast|datasets|notebooks|benchmarks)/[\w./]*)`", TEXT)
    assert near and code
    assert not [path for path in [*near, *code] if not (ROOT / path).exists()]


def test_the_tree_names_every_room_and_no_other():
    tree = next(block for block in blocks("text") if block.startswith("hierforecast/"))
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
