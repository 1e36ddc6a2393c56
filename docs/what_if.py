"""Runs the what-if of its page and writes the picture: `python docs/what_if.py`, some minutes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import matplotlib

from hierforecast import Columns, Forecaster, HiPerformer
from hierforecast.datasets import simulate_basketball
from hierforecast.plot import plot_rollout

HERE = Path(__file__).parent


def block() -> str:
    """The page's code of the picture."""
    text = (HERE / "what_if.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return next(code for code in blocks if "player = Forecaster(" in code)


def main(out: Path) -> None:
    """Run it with the names of the page's first lines, on more scenes, and save the figure."""
    names: dict[str, Any] = {
        "Forecaster": Forecaster,
        "HiPerformer": HiPerformer,
        "plot_rollout": plot_rollout,
        "columns": Columns(target=["x", "y"], group="team", group_type="kind", scene="scene"),
        "train": simulate_basketball(n_scenes=200, seed=0),
        "test": simulate_basketball(n_scenes=20, seed=1),
    }
    exec(compile(block(), "what_if.md", "exec"), names)
    names["figure"].savefig(out, dpi=72, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    matplotlib.use("Agg")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "what_if.png")
