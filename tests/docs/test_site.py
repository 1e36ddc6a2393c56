"""The site: it names all that is public, and it builds without a warning."""

from __future__ import annotations

import importlib
import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROOMS = ("", "datasets", "distributions", "image_ssl", "metrics", "models", "plot")


def reference() -> list[tuple[str, str]]:
    """Module and name of everything that the reference documents."""
    found = []
    for page in sorted((DOCS / "reference").glob("*.md")):
        module = ""
        for kind, name in re.findall(r"^\.\. (\w+):: ([\w.]+)$", page.read_text(), re.MULTILINE):
            if kind == "currentmodule":
                module = name
            else:
                found.append((module, name))
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_in_the_reference(room):
    documented = [getattr(importlib.import_module(module), name) for module, name in reference()]
    module = importlib.import_module(f"hierforecast.{room}".rstrip("."))
    known = {id(one) for one in documented}
    assert len(module.__all__) > 3
    assert not [name for name in module.__all__ if id(getattr(module, name)) not in known]


def test_the_reference_names_nothing_twice_and_nothing_else():
    found = reference()
    assert len(found) == len(set(found)) > 80
    for module, name in found:
        assert name in importlib.import_module(module).__all__


def test_every_page_is_in_a_table_of_contents():
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.glob("*.md")}
    listed = set()
    for path in [*DOCS.glob("*.md")]:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", path.read_text(), re.M | re.S):
            listed |= {line.strip() for line in block.splitlines() if line}
    assert pages - {"index"} <= listed


@pytest.mark.parametrize("network", ["", "1"])
def test_other_libraries_are_looked_up_where_there_is_a_network_only(network, monkeypatch):
    monkeypatch.delenv("HIERFORECAST_INTERSPHINX", raising=False)
    monkeypatch.setenv("READTHEDOCS", network)
    monkeypatch.setattr(sys, "path", [*sys.path])
    settings = runpy.run_path(str(DOCS / "conf.py"))
    assert ("sphinx.ext.intersphinx" in settings["extensions"]) == bool(network)
    assert ("pandas" in settings.get("intersphinx_mapping", {})) == bool(network)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    for needed in ("sphinx", "furo", "myst_nb", "sphinx_design", "sphinx_copybutton"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    command += ["-d", str(tmp_path / "trees"), str(DOCS), str(tmp_path / "html")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    verbs = (tmp_path / "html" / "reference" / "forecaster.html").read_text()
    for verb in ("fit", "predict", "sample", "impute", "backtest", "evaluate", "save", "load"):
        assert f'id="hierforecast.Forecaster.{verb}"' in verbs
    page = (tmp_path / "html" / "reference" / "cli.html").read_text()
    assert "hierforecast ssl pretrain" in page and "--context" in page
    shown = re.search(r'<iframe[^>]*src="([^"]+)"', (tmp_path / "html" / "index.html").read_text())
    assert shown is not None
    scene = (tmp_path / "html" / shown[1]).read_text()
    assert "away_3 is hidden" in scene and "http" not in scene.replace("http-equiv", "")
