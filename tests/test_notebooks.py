"""The notebooks run from top to bottom, on little work: HIERFORECAST_FAST=1."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NEEDS = {"02_nba_rollouts": "nba", "03_sector_stocks": "stocks"}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, request, tmp_path, monkeypatch):
    monkeypatch.setenv("HIERFORECAST_FAST", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # Its own settings: nobody's IPython start-up files, and no debugger that warns.
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # pictures go into the notebook
    if path.stem in NEEDS:
        folder = request.getfixturevalue("shared_data")
        if not (folder / NEEDS[path.stem]).is_dir():
            pytest.skip(f"the folder of real data has no {NEEDS[path.stem]}/")
        monkeypatch.setenv("HIERFORECAST_DATA", os.fspath(folder))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": os.fspath(tmp_path)}}
    patience = {"timeout": 7200, "startup_timeout": 3600}  # seconds; a busy machine is slow
    nbclient.NotebookClient(notebook, **patience, resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    noise = [output.text for output in outputs if output.get("name") == "stderr"]
    # Lightning imports tqdm, which misses a widget that nobody here needs.
    assert not [text for text in noise if "TqdmWarning" not in text], "a reader would see this"
    assert any("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_shows_what_it_gave(path):
    """As `make notebooks` leaves it: pictures and tables, and nothing of the machine."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "make notebooks"
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not re.search(r"(?<![\w.])/(home|mnt|root|tmp|work|Users)/", path.read_text())
    assert path.stat().st_size < 1_200_000, "modest"
    assert len(code) <= 15, "short"
