"""Every block of Python on the pages of `docs/` runs, here or in a page's own test file."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from hierforecast import Columns, Forecaster, Ridge
from hierforecast.datasets import simulate_basketball
from tests.pages import blocks, run, short_fits

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path for path in sorted((ROOT / "docs").glob("*.md"))}
ELSEWHERE = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
WITH_CODE = [name for name, path in PAGES.items() if blocks(path.read_text(), "python")]
HERE = [name for name in WITH_CODE if name not in ELSEWHERE]


@pytest.mark.parametrize("name", HERE)
def test_the_code_of_the_page_runs(name, monkeypatch, tmp_path):
    short_fits(monkeypatch)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    if name == "fitting":  # it goes on from a fit
        columns = Columns(target=["x", "y"], group="team", group_type="kind", scene="scene")
        lengths = {"context_length": 20, "prediction_length": 10}
        forecaster = Forecaster(Ridge(), columns=columns, **lengths)
        names["forecaster"] = forecaster.fit(simulate_basketball(n_scenes=20))
    run(PAGES[name], names)
    plt.close("all")


def test_no_page_is_left_out():
    assert {"quickstart", "frames", "missing", "what_if", "backtests"} <= set(HERE)
    for name in set(WITH_CODE) - set(HERE):
        assert "exec(" in Path(__file__).with_name(f"test_{name}.py").read_text()
