"""What it takes to begin: imports and help, each in a fresh interpreter, against torch alone."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pandas as pd

from benchmarks.timing import Arm, interleave

BEGINNINGS = {
    "import torch": "import torch",
    "import hierforecast": "import hierforecast",
    "from hierforecast import Forecaster, HiPerformer": (
        "from hierforecast import Forecaster, HiPerformer"
    ),
    "hierforecast --help": "from hierforecast.cli import app; app(['--help'])",
    "hierforecast fit --help": "from hierforecast.cli import app; app(['fit', '--help'])",
}


def run(statements: str) -> None:
    """Run statements in an interpreter of their own."""
    subprocess.run([sys.executable, "-c", statements], check=True, stdout=subprocess.DEVNULL)


def children() -> float:
    """Processor's seconds of all processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def imports(rounds: int) -> pd.DataFrame:
    """Time of each beginning relative to `import torch`."""
    arms: dict[str, Arm] = {name: partial(run, code) for name, code in BEGINNINGS.items()}
    timings = interleave(arms, rounds, clock=children)
    ratios = {name: f"{timings.ratio(name, 'import torch'):.2f}" for name in arms}
    return pd.DataFrame({"of `import torch`": ratios})
